"""The seam between transports and the RPC table: two shapes of method, and what they are handed.

A transport turns sockets into these calls and these replies into sockets, and does nothing else: it parses no request,
decides nothing and maps no error. The shapes are synchronous, because one call costs about a microsecond of crypto and
a task or a future per call would cost more than that.

    Unary   (Call, bytes) -> Reply | Awaitable[Reply]
    Stream  (Call, Outbox) -> Inbox
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol


class Code(IntEnum):
    """gRPC status codes; ours, so that `grpc` is imported in transport/grpcio.py alone."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is at the other end of a connection; made once per connection."""

    identity: str
    """The SPIFFE id of the client certificate; empty on a connection without credentials."""
    tenant: str
    """The tenant whose sessions the caller may touch; empty when the caller has none (every method then refuses)."""
    address: str = ""
    """The connection's address, for logs."""


def no_metadata() -> Mapping[str, str]:
    """The metadata of a call that has none."""
    return {}


_AHEAD_SECONDS: Final = 0.05


class Call:
    """One RPC as the seam sees it."""

    __slots__ = ("_deadline", "_metadata", "caller", "on_abandoned")

    on_abandoned: Callable[[int], None] | None
    """Told by the transport, with the code that the caller sees, that it waits for this call's reply no longer."""

    def __init__(
        self,
        caller: Caller,
        deadline: float = math.inf,
        metadata: Callable[[], Mapping[str, str]] = no_metadata,
    ) -> None:
        self.caller = caller
        self._deadline = deadline
        self._metadata = metadata

    @property
    def deadline(self) -> float:
        """Monotonic seconds, as the composition root's clock counts them; `math.inf` for none."""
        return self._deadline

    def metadata(self) -> Mapping[str, str]:
        """The request's metadata, decoded on demand."""
        return self._metadata()

    def header(self, key: str) -> str:
        """One value of the metadata, empty for none: for what is asked of every call."""
        return self._metadata().get(key, "")

    def lost(self, now: float) -> Code:
        """How a call ended that its caller has left: by its deadline, or before it.

        The caller's own clock comes to the deadline a moment before ours does.
        """
        return Code.CANCELLED if now < self.deadline - _AHEAD_SECONDS else Code.DEADLINE_EXCEEDED

    def abandon(self, code: Code) -> None:
        """The transport's: it has ended the call itself, before there was a reply. Most calls tell nobody."""
        told = getattr(self, "on_abandoned", None)
        if told is not None:
            told(code)


Reply = tuple[int, bytes]
"""`(0, response)`, or `(code, serialised google.rpc.Status)` from which a transport makes its trailers."""


class Inbox(Protocol):
    """Ours: what a transport calls on a stream. Every method returns at once."""

    def message(self, body: bytes) -> Awaitable[None] | None:
        """A whole request message has come. An awaitable where it needs more time: the next one comes only after it.

        The transport awaits it, once, and cancels it where the stream is gone.
        """

    def half_closed(self) -> None:
        """The caller will send no more."""

    def writable(self) -> None:
        """The outbox has room again after `send` answered False."""

    def draining(self) -> None:
        """The server is about to stop: finish soon."""

    def cancelled(self) -> None:
        """The stream is gone (cancelled, deadline passed, connection lost). Called once at most, and last."""


class Outbox(Protocol):
    """The transport's: what a stream's method calls."""

    def send(self, body: bytes) -> bool:
        """Queue a response message. Always accepted; False means: produce no more until `writable()`."""

    def finish(self, code: int = 0, status: bytes = b"") -> None:
        """End the stream with a code and, unless it is OK, a serialised google.rpc.Status. Once."""


Unary = Callable[[Call, bytes], Reply | Awaitable[Reply]]
Stream = Callable[[Call, Outbox], Inbox]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One row of the table. Exactly one of `unary` and `stream` is set."""

    unary: Unary | None = None
    stream: Stream | None = None
    client_streaming: bool = False
    """For a stream: does the caller send many messages?"""
    server_streaming: bool = False
    """For a stream: does the method answer with many?"""
    joined_bytes: int = 0
    """For a stream whose answers mean the same one behind the other in one message: how long that may become."""


Table = Mapping[str, Method]
"""Full method name, as HTTP/2's :path has it (`/package.Service/Method`), to its row."""
