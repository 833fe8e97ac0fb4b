"""The seam over grpc.aio: sockets to calls, replies to trailers, and nothing else.

Handlers are registered without (de)serialisers, so what comes in and goes out is bytes. That makes a malformed protobuf
our INVALID_ARGUMENT, and lets no exception reach grpc.aio, which would send its text to the caller. Adapters are
`async def` because grpc.aio runs a plain function in a thread pool, and the core below has no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Caller, Code, Method, Reply, Table, Unary
from noisegate_server.rpc.errors import defect
from noisegate_server.rpc.policy import Peer, Policy
from noisegate_server.rpc.running import Running
from noisegate_server.rpc.trailers import trailers
from noisegate_server.rpc.unary import ignore_defect
from noisegate_server.transport.streams import Pump

__all__ = ["SERVER_OPTIONS", "Credentials", "GrpcioTransport"]

_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}

SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    # Backstops above the table's own limit of a batch, and above what the longest one can be answered.
    ("grpc.max_receive_message_length", 2 * 1024 * 1024),
    ("grpc.max_send_message_length", 8 * 1024 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    # Of one connection: a match server's burst. gRPC does not hold back a longer one exactly; it refuses some with
    # RST_STREAM, REFUSED_STREAM. The SDK repeats that; callers with a bare stub see UNAVAILABLE: 100 is too few.
    ("grpc.max_concurrent_streams", 1_000),
    # A dead caller is noticed within 40 s; one that pings more often than every 10 s is told to go away.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
)
_MAX_CONCURRENT_CALLS: Final = 10_000
"""gRPC's own limit for all connections, answered RESOURCE_EXHAUSTED: a backstop, not a control."""

_MAX_CALLERS: Final = 4_096
"""Callers that are kept; the oldest goes first."""

_CANCELLATION_LAG_SECONDS: Final = 0.005
_METADATA: Final[ContextVar[Any]] = ContextVar("metadata", default=None)
"""Of the call whose task this is, as grpcio has read it to find the method."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """PEM texts of the listener's TLS."""

    certificate: bytes
    """The chain, leaf first."""
    private_key: bytes
    client_ca: bytes | None
    """Roots of client certificates, which are then demanded; None to demand none."""

    def __repr__(self) -> str:
        return f"Credentials(mutual={self.client_ca is not None})"


class GrpcioTransport:
    """One listener of grpc.aio over a table."""

    def __init__(
        self,
        *,
        policy: Policy,
        clock: Callable[[], float],
        credentials: Credentials | None,
        unary_seconds: float = limits.UNARY_SECONDS,
        running: Running | None = None,
        reflected: Sequence[str] = (),
        on_defect: Callable[[str, Exception], None] = ignore_defect,
    ) -> None:
        self._policy = policy
        self._on_defect = on_defect
        self.clock = clock
        self._credentials = credentials
        self._renewed: Credentials | None = None
        mutual = credentials is not None and credentials.client_ca is not None
        # Without client certificates every caller is the same one, and no connection has to be asked.
        self._anonymous = None if mutual else policy.caller(Peer(authenticated=False))
        self.unary_seconds = unary_seconds
        self._callers: dict[tuple[str, tuple[str, ...]], Caller] = {}
        self._pumps: set[Pump] = set()
        self._running = Running() if running is None else running
        self._server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=_MAX_CONCURRENT_CALLS)
        self._reflected = reflected

    def bind(self, host: str, port: int) -> int:
        """Take an address, without answering yet; the port is the system's choice where it is 0. Raises OSError."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, self._server_credentials(self._credentials))
        except RuntimeError:
            # grpcio says nothing more, and logs the system's reason by itself.
            raise OSError(f"cannot listen on {address}") from None

    def renew(self, credentials: Credentials) -> None:
        """Give these to connections from now on; those that stand go on. Whether callers must have some stays."""
        self._renewed = credentials

    def _server_credentials(self, credentials: Credentials) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            _certificates(credentials),
            self._take_renewed,  # type: ignore[arg-type]  # the published type lacks None, gRPC's word for no change
            require_client_authentication=credentials.client_ca is not None,
        )

    def _take_renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC at each new connection, on a thread of its own: what is new, once."""
        renewed, self._renewed = self._renewed, None
        return None if renewed is None else _certificates(renewed)

    async def start(self, table: Table) -> None:
        """Answer calls of the table's methods."""
        handlers = _Handlers({name: self._handler(row) for name, row in table.items()})
        self._server.add_generic_rpc_handlers([handlers])
        if self._reflected:
            reflection.enable_server_reflection((*self._reflected, reflection.SERVICE_NAME), self._server)
        await self._server.start()

    def drain(self) -> None:
        """Tell every stream that the server is about to stop. New calls are the table's to refuse."""
        for pump in list(self._pumps):
            pump.draining()

    async def stop(self, grace: float) -> None:
        """Take no more connections, let calls finish for `grace` seconds, then cut what is left.

        What runs on behind a cancelled call has the same grace.
        """
        deadline = self.clock() + grace
        await self._server.stop(grace)
        await self._running.end(deadline - self.clock())

    def _handler(self, row: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        if row.unary is not None:
            # grpc.aio waits for the message itself and leaves a caller that never sends one to its own deadline. To
            # read it as a stream would let us answer that caller, with a timer and one more wait in every other call.
            return grpc.unary_unary_rpc_method_handler(self._unary(row.unary))
        # On the wire all shapes of stream are one. Whether more messages may come is for the method to judge, so that a
        # wrong number of them is its refusal and not gRPC's.
        return grpc.stream_stream_rpc_method_handler(partial(self._stream, row))

    def _unary(self, function: Unary) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        # A closure: grpc.aio inspects the handler at each call, and takes several microseconds over a partial.
        anonymous, caller, new = self._anonymous, self._caller, object.__new__

        async def unary(body: bytes, context: _Context) -> bytes:
            # Filled in here and not by a constructor: after gRPC's work every Python call begins with cold caches.
            call = new(_UnaryCall)
            try:
                call.caller = anonymous or caller(context)
                call.context = context
                call.transport = self
                reply = function(call, body)
                if not isinstance(reply, tuple):
                    reply = await self._wait(call, reply, context)
                code, payload = reply
                if code:
                    await _refuse(context, code, payload)
            except grpc.aio.AbortError as abort:
                # gRPC keeps it with the call. With our frames in its traceback, which know the call, that would be a
                # cycle, and refusals work for the garbage collector.
                del call, context
                abort.__traceback__ = None
                raise
            except Exception as error:  # the outermost frame: grpc.aio would send its text to the caller
                await self._fail(context, error)
                raise
            return payload

        return unary

    async def _fail(self, context: _Context, error: Exception) -> None:
        """End a call whose adapter broke: INTERNAL, without a word of the error."""
        self._on_defect("transport", error)
        await _refuse(context, *defect(""))

    async def _wait(self, call: Call, reply: Awaitable[Reply], context: _Context) -> Reply:
        running = self._running.begin(reply)
        try:
            done, _ = await asyncio.wait([running], timeout=call.deadline - self.clock())
        except asyncio.CancelledError:
            call.abandon(call.lost(self.clock()))
            raise
        if not done:
            call.abandon(Code.DEADLINE_EXCEEDED)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took longer than it may")
        return running.result()

    async def _stream(self, row: Method, _: Any, context: _Context) -> None:
        try:
            await self._serve(row, context)
        except grpc.aio.AbortError as abort:
            del context, _  # likewise
            abort.__traceback__ = None
            raise
        except Exception as error:  # likewise
            await self._fail(context, error)
            raise

    async def _serve(self, row: Method, context: _Context) -> None:
        if row.stream is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        remaining = context.time_remaining()
        deadline = self.clock() + remaining if remaining is not None else float("inf")
        call = Call(self._caller(context), deadline, partial(_metadata, context))
        pump = Pump(partial(_read, context), partial(_write, context), joined_bytes=row.joined_bytes)
        self._pumps.add(pump)
        try:
            code, status = await pump.run(row.stream, call)
        finally:
            self._pumps.discard(pump)
        if code:
            await _refuse(context, code, status)

    def _caller(self, context: _Context) -> Caller:
        if self._anonymous is not None:
            return self._anonymous
        address = context.peer()
        # An address alone does not name a caller: another one may come from the same port as soon as it is free. So
        # with client certificates the names are read for each call, and only what follows from them is kept.
        uris = tuple(uri.decode("ascii", "replace") for uri in context.auth_context().get("peer_uri", ()))
        known = self._callers.get((address, uris))
        if known is None:
            known = self._policy.caller(Peer(authenticated=True, uris=uris, address=address))
            if len(self._callers) >= _MAX_CALLERS:
                del self._callers[next(iter(self._callers))]
            self._callers[address, uris] = known
        return known


class _UnaryCall(Call):
    """A call that asks grpcio for its deadline and metadata only when somebody wants them: few methods do."""

    __slots__ = ("context", "transport")

    context: _Context
    transport: GrpcioTransport

    @property
    def deadline(self) -> float:
        """The caller's, or ours where that is earlier (monotonic seconds)."""
        remaining = self.context.time_remaining()
        cap = self.transport.unary_seconds
        return self.transport.clock() + (cap if remaining is None else min(remaining, cap))

    def metadata(self) -> Mapping[str, str]:
        """The request's metadata."""
        return _metadata(self.context)

    def header(self, key: str) -> str:
        """One of its values. To ask the context costs grpcio some microseconds, and it has the pairs already."""
        for name, value in _METADATA.get() or self.context.invocation_metadata() or ():
            if name == key and isinstance(value, str):
                return value
        return ""


class _Handlers(grpc.GenericRpcHandler):
    """Finds a method by its full name; an unknown one is UNIMPLEMENTED, which grpc.aio says by itself."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        _METADATA.set(handler_call_details.invocation_metadata)
        return self._handlers.get(handler_call_details.method)


def _certificates(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(credentials.private_key, credentials.certificate)], root_certificates=credentials.client_ca
    )


def _metadata(context: _Context) -> Mapping[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}


async def _refuse(context: _Context, code: int, status: bytes) -> None:
    message, pairs = trailers(status)
    try:
        await context.abort(_CODES[code], message, pairs)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        # The call has ended before it could be refused: its connection is gone, or the server stopped. grpc.aio cancels
        # such a call as a rule; where it comes too late for that, this does.
        raise asyncio.CancelledError from None


async def _read(context: _Context) -> bytes | None:
    try:
        # The published types know of no end of input.
        body: Any = await context.read()
    except grpc.aio.BaseError:
        raise ConnectionResetError from None
    if isinstance(body, bytes):
        return body
    # grpc.aio reports a cancelled stream's end of input first and cancels its task a moment later. A method must not
    # take the one for the other, so the task waits for its own cancellation here.
    await asyncio.sleep(_CANCELLATION_LAG_SECONDS)
    return None


async def _write(context: _Context, body: bytes) -> None:
    try:
        await context.write(body)
    except grpc.aio.BaseError:
        raise ConnectionResetError from None
