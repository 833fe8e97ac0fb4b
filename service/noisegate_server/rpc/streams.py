"""The wrapper around every streaming method of ours: what `rpc.unary` is for the other shape.

A stream's method may raise a SessionError anywhere; it ends the stream with the same refusal that a unary call gets.
After the end, whoever ended it, nothing more reaches the method or the outbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from noisegate_server.rpc.call import Call, Inbox, Outbox, Stream, Unary
from noisegate_server.rpc.unary import Refuse, Rpc, admission, refuser

__all__ = ["Open", "StreamRow", "guarded"]

Open = Callable[[Call, Outbox], Inbox]
"""(admitted call, outbox) -> inbox: a streaming method behind its guard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """What is known of one streaming method beside its name; as `rpc.unary.Row`."""

    request: Any
    """The protobuf class of its request messages."""
    make: Callable[[Rpc, Mapping[str, Unary]], Open]
    """(what the methods share, the unary methods by their short names) -> the method. Once for each table."""
    client_streaming: bool = False
    """Does the caller send many messages?"""
    joined_bytes: int = 0
    """As in `rpc.call.Method`."""


class _Guard(Inbox):
    """Both ends at once: the transport's Inbox and the method's Outbox.

    After the end it holds neither, so that a stream leaves no cycle: the collector does not look at what is old.
    """

    __slots__ = ("_inner", "_outbox", "_refuse")

    def __init__(self, outbox: Outbox, refuse: Refuse) -> None:
        self._outbox: Outbox | None = outbox
        self._refuse = refuse
        self._inner: Inbox | None = None

    def open(self, start: Callable[[], Inbox]) -> None:
        """Run the method's first part."""
        try:
            inner = start()
        except Exception as error:  # noqa: BLE001  # the outermost frame of every stream, as in rpc.unary
            self._fail(error)
            return
        if self._outbox is not None:
            self._inner = inner

    def message(self, body: bytes) -> Awaitable[None] | None:
        if self._inner is None:
            return None
        try:
            more = self._inner.message(body)
        except Exception as error:  # noqa: BLE001  # likewise
            self._fail(error)
            return None
        return None if more is None else self._rest(more)

    def half_closed(self) -> None:
        if self._inner is not None:
            self._guard(self._inner.half_closed)

    def writable(self) -> None:
        if self._inner is not None:
            self._guard(self._inner.writable)

    def draining(self) -> None:
        if self._inner is not None:
            self._guard(self._inner.draining)

    def cancelled(self) -> None:
        self._tell_gone(self._end()[0])

    def send(self, body: bytes) -> bool:
        return False if self._outbox is None else self._outbox.send(body)

    def finish(self, code: int = 0, status: bytes = b"") -> None:
        _, outbox = self._end()
        if outbox is not None:
            outbox.finish(code, status)

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # likewise
            self._fail(error)

    async def _rest(self, more: Awaitable[None]) -> None:
        try:
            await more
        except Exception as error:  # noqa: BLE001  # likewise
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        inner = self._inner
        self.finish(*self._refuse(error, ""))
        # What the method holds must go: to it, a stream that its own error ended is a stream that is gone.
        self._tell_gone(inner)

    def _tell_gone(self, inner: Inbox | None) -> None:
        if inner is not None:
            try:
                inner.cancelled()
            except Exception as error:  # noqa: BLE001  # likewise; nobody is left who could be answered
                self._refuse(error, "")

    def _end(self) -> tuple[Inbox | None, Outbox | None]:
        ends = self._inner, self._outbox
        self._inner = self._outbox = None
        return ends


def guarded(method: str, rpc: Rpc, start: Open) -> Stream:
    """The seam's function for a streaming method."""
    admit, refuse = admission(method, rpc), refuser(method, rpc)

    def open_stream(call: Call, outbox: Outbox) -> Inbox:
        guard = _Guard(outbox, refuse)

        def begin() -> Inbox:
            admit(call, 0)
            return start(call, guard)

        guard.open(begin)
        return guard

    return open_stream
