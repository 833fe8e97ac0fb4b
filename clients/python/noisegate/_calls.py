"""One call: its deadline, its repeats, and the endpoint that it ends up at.

A call is repeated only when nothing came back (UNAVAILABLE, CANCELLED: refused work or a dead connection), with the
same bytes and so the same request_id: the service answers a repeat of what it has already done with the answer that was
lost. One deadline covers all attempts. While an instance is away, because it restarts, that alone bounds them: its
sessions live there and nowhere else, and come back with it. A service that is there and refuses is asked a bounded
number of times.

A burst of calls can be more streams than the service takes at once. gRPC does not always hold the rest back, and then
each is refused with RST_STREAM, REFUSED_STREAM: it was not processed, and may be sent again whatever it was (RFC 9113,
section 8.7). A whole burst can be refused many times in a row, so these attempts are bounded by the deadline alone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc.aio import AioRpcError

from noisegate.v1 import session_crypto_service_pb2 as service

from ._channels import Channels
from ._tracing import INSTALLED, NOT_TRACED, Metadata, Traced, begin_stream, tracing
from .errors import Cancelled, ClientClosed, Draining, NoisegateError, WrongOwner, from_rpc_error

if TYPE_CHECKING:
    from ._multiplexer import Multiplexer

Entropy = Callable[[int], bytes]
"""n -> n random bytes, e.g. os.urandom."""

SERVICE: Final = "noisegate.v1.SessionCryptoService"
MAX_HOPS: Final = 2
# gRPC has no status of its own for it: the HTTP/2 error code (RFC 9113, section 7) stands in the text alone.
_REFUSED_STREAM: Final = "RST_STREAM with error code 7"
_AWAY: Final = frozenset({"", Draining.REASON})
"""Reasons of UNAVAILABLE with which nobody has looked at the call; the empty one is gRPC's own."""
_DOUBLINGS: Final = 64
"""Of a back-off at most: repeats may be many."""
_JITTER_BYTES: Final = 4
_JITTER_RANGE: Final = 0xFFFF_FFFF

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """How long calls may take and how they are repeated. Seconds.

    The service remembers a request_id for 5 s (those of Handshake and Resume for 10 s): keep deadlines below that.
    """

    packet_deadline: float = 0.25
    """Of `encrypt` and `decrypt`, all attempts together. NOISE mode: set it higher, e.g. 2 s, where a machine may be
    loaded. A late answer there costs the session, since the counter has moved; with time left, a repeat with the same
    request_id still gets a lost answer, for 5 s. DATAGRAM mode: a late packet is worth nothing, and costs nothing."""
    control_deadline: float = 2.0
    """Of every other call, all attempts together."""
    attempts: int = 5
    """Of one call at a service that refuses it (OVERLOADED), the first included. Those do not count that found nobody,
    a service that drains, or REFUSED_STREAM. 1: the last of these alone is repeated."""
    first_backoff: float = 0.025
    """Before the first repeat, at most; doubles from one to the next."""
    max_backoff: float = 0.5
    """The most that it doubles to."""

    def __post_init__(self) -> None:
        if min(self.packet_deadline, self.control_deadline) <= 0 or self.attempts < 1 or self.first_backoff < 0:
            raise ValueError("deadlines must be positive, attempts at least 1, back-off not negative")

    def counts(self, error: NoisegateError) -> bool:
        """Whether an attempt that ended so is one of `attempts`."""
        if _REFUSED_STREAM in error.message:
            return False
        return self.attempts == 1 or error.reason not in _AWAY

    def delay(self, repeat: int, share: float, retry_delay: float | None) -> float:
        """Seconds before repeat 0, 1, ...; `share` is random in [0, 1]. RetryInfo's delay comes on top."""
        backoff: float = min(self.max_backoff, self.first_backoff * 2.0 ** min(repeat, _DOUBLINGS))
        # Half is fixed, so that a repeat is never at once; half is random, so that clients do not march in step.
        return (retry_delay or 0.0) + backoff * (0.5 + 0.5 * share)


DEFAULT_POLICY: Final = CallPolicy()


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """One row of the contract."""

    name: str
    request: type[RequestT]
    response: type[ResponseT]
    is_packet: bool = False
    """Whether the packet deadline holds."""
    service: str = SERVICE

    @property
    def path(self) -> str:
        """As HTTP/2's :path has it."""
        return f"/{self.service}/{self.name}"


GET_CAPABILITIES: Final = Method("GetCapabilities", service.GetCapabilitiesRequest, service.GetCapabilitiesResponse)
HANDSHAKE: Final = Method("Handshake", service.HandshakeRequest, service.HandshakeResponse)
ENCRYPT: Final = Method("Encrypt", service.EncryptRequest, service.EncryptResponse, is_packet=True)
DECRYPT: Final = Method("Decrypt", service.DecryptRequest, service.DecryptResponse, is_packet=True)
ENCRYPT_BATCH: Final = Method("EncryptBatch", service.EncryptBatchRequest, service.EncryptBatchResponse)
DECRYPT_BATCH: Final = Method("DecryptBatch", service.DecryptBatchRequest, service.DecryptBatchResponse)
BROADCAST: Final = Method("Broadcast", service.BroadcastRequest, service.BroadcastResponse)
ROTATE: Final = Method("Rotate", service.RotateRequest, service.RotateResponse)
RESUME: Final = Method("Resume", service.ResumeRequest, service.ResumeResponse)
ISSUE_TICKET: Final = Method("IssueTicket", service.IssueTicketRequest, service.IssueTicketResponse)
GET_SESSION: Final = Method("GetSession", service.GetSessionRequest, service.GetSessionResponse)
LIST_SESSIONS: Final = Method("ListSessions", service.ListSessionsRequest, service.ListSessionsResponse)
CLOSE_SESSION: Final = Method("CloseSession", service.CloseSessionRequest, service.CloseSessionResponse)
SUSPEND_SESSION: Final = Method("SuspendSession", service.SuspendSessionRequest, service.SuspendSessionResponse)
RESTORE_SESSION: Final = Method("RestoreSession", service.RestoreSessionRequest, service.RestoreSessionResponse)
CHANGE_NETWORK: Final = Method("ChangeNetwork", service.ChangeNetworkRequest, service.ChangeNetworkResponse)
EXPORT_SECRET: Final = Method("ExportSecret", service.ExportSecretRequest, service.ExportSecretResponse)
WATCH_SESSIONS: Final = Method("WatchSessions", service.WatchSessionsRequest, service.WatchSessionsResponse)


@dataclass(frozen=True, slots=True)
class Answer(Generic[ResponseT]):
    """What came back, and from where."""

    message: ResponseT
    endpoint: str
    """HOST:PORT that answered; empty for the client's own target."""


class Calls:
    """Calls of one client. Belongs to one event loop."""

    def __init__(self, channels: Channels, policy: CallPolicy, entropy: Entropy) -> None:
        self._channels = channels
        self._policy = policy
        self._entropy = entropy
        self.together: Multiplexer | None = None
        """What lets packets of many sessions travel together, where the client was told to."""

    def request_id(self) -> str:
        """A new UUID4."""
        return str(uuid.UUID(bytes=self._entropy(16), version=4))

    async def call(
        self, method: Method[RequestT, ResponseT], request: RequestT, *, endpoint: str = ""
    ) -> Answer[ResponseT]:
        """Run one call to its end. Raises NoisegateError."""
        if not INSTALLED:
            return await self._run(method, request, endpoint, NOT_TRACED)
        with tracing(method.path, endpoint or self._channels.target) as traced:
            return await self._run(method, request, endpoint, traced)

    async def _run(
        self, method: Method[RequestT, ResponseT], request: RequestT, endpoint: str, traced: Traced
    ) -> Answer[ResponseT]:
        body = request.SerializeToString()
        clock = asyncio.get_running_loop().time
        limit = self._policy.packet_deadline if method.is_packet else self._policy.control_deadline
        deadline = clock() + limit
        attempts = repeats = hops = 0
        while True:
            try:
                answer = await self._attempt(method, body, endpoint, deadline - clock(), traced.metadata)
                return Answer(answer, endpoint)
            except WrongOwner as error:
                hops += 1
                if not error.owner or hops > MAX_HOPS:
                    raise
                endpoint = error.owner
            except NoisegateError as error:
                attempts += self._policy.counts(error)
                if not _is_unanswered(error) or attempts >= self._policy.attempts:
                    raise
                delay = self._policy.delay(repeats, self.share(), error.retry_delay)
                if clock() + delay >= deadline:
                    raise
                repeats += 1
                traced.repeated(error, delay)
                await asyncio.sleep(delay)

    async def stream(
        self, method: Method[RequestT, ResponseT], request: RequestT, *, endpoint: str = ""
    ) -> AsyncGenerator[ResponseT, None]:
        """What a streaming method answers, one message after the other, for as long as somebody reads.

        It has no deadline, and nothing is repeated. Raises NoisegateError.
        """
        lane = await self._channels.lane(endpoint)
        traced = begin_stream(method.path, endpoint or self._channels.target)
        call = lane.stream(method.path)(request.SerializeToString(), metadata=traced.metadata)
        try:
            async for answer in call:
                yield _parsed(method, answer)
        except AioRpcError as error:
            failed = from_rpc_error(error)
            traced.end(failed)
            raise failed from error
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        finally:
            traced.end(None)
            call.cancel()
            lane.in_flight -= 1

    async def close(self) -> None:
        """End every connection."""
        await self._channels.close()
        if self.together is not None:
            await self.together.close()

    async def _attempt(
        self,
        method: Method[RequestT, ResponseT],
        body: bytes,
        endpoint: str,
        seconds: float,
        metadata: Metadata,
    ) -> ResponseT:
        lane = await self._channels.lane(endpoint)
        try:
            answer = await lane.method(method.path)(body, timeout=max(seconds, 0.001), metadata=metadata)
        except AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        finally:
            lane.in_flight -= 1
        return _parsed(method, answer)

    def _raise_if_closed(self) -> None:
        """grpc.aio cancels a call, too, when the channel was closed under it: then it is ClientClosed."""
        task = asyncio.current_task()
        if self._channels.closed and (task is None or not task.cancelling()):
            raise ClientClosed from None

    def share(self) -> float:
        """Random in [0, 1], for jitter."""
        return int.from_bytes(self._entropy(_JITTER_BYTES), "big") / _JITTER_RANGE


def _is_unanswered(error: NoisegateError) -> bool:
    """Whether nothing came back, so that a repeat with the same request_id is right.

    gRPC cancels calls that reach a server in the very moment in which it stops.
    """
    return error.code is StatusCode.UNAVAILABLE or isinstance(error, Cancelled)


def _parsed(method: Method[RequestT, ResponseT], answer: bytes) -> ResponseT:
    try:
        return method.response.FromString(answer)
    except DecodeError as error:
        message = f"the answer is not a {method.response.DESCRIPTOR.name}"
        raise NoisegateError(StatusCode.INTERNAL, message=message) from error
