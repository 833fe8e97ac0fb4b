"""A real gRPC server on 127.0.0.1 that answers from a script, and a TCP relay that cuts connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract

SERVICE = "noisegate.v1.SessionCryptoService"
REQUESTS: dict[str, type[Message]] = {
    method.name: getattr(service, method.input_type.name)
    for method in service.DESCRIPTOR.services_by_name["SessionCryptoService"].methods
}


class Refusal(Exception):
    """What a scripted answer raises to be refused."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: dict[str, str] | None = None,
        *,
        domain: str = "noisegate",
        retry_delay: float | None = None,
        details: bytes | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        status = status_pb2.Status(code=code.value[0], message=f"scripted {reason}")
        for detail in (
            error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata) if reason else None,
            None if retry_delay is None else error_details_pb2.RetryInfo(retry_delay=_duration(retry_delay)),
        ):
            if detail is not None:
                packed = AnyMessage()
                packed.Pack(detail)
                status.details.append(packed)
        self.details = status.SerializeToString() if details is None else details


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


Answer = Message | Refusal | Callable[[Message], Message | Awaitable[Message]]


class ScriptedService:
    """Answers of each method in their order; the last one for ever. Keeps every request and its deadline."""

    def __init__(self) -> None:
        self.address = ""
        self.script: dict[str, list[Answer]] = {}
        self.raw: list[tuple[str, bytes]] = []
        self.remaining: list[float] = []

    def answer(self, method: str, *answers: Answer) -> None:
        """Set the script of one method."""
        self.script[method] = list(answers)

    def requests(self, method: str) -> list[Any]:
        """The requests of one method, in the order in which they came."""
        return [REQUESTS[method].FromString(body) for name, body in self.raw if name == method]

    def bodies(self, method: str) -> list[bytes]:
        """The same, as the bytes that came."""
        return [body for name, body in self.raw if name == method]

    async def handle(self, method: str, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """One call."""
        self.raw.append((method, body))
        self.remaining.append(context.time_remaining())
        answers = self.script[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            if isinstance(answer, Refusal):
                raise answer
            if callable(answer):
                made = answer(REQUESTS[method].FromString(body))
                answer = made if isinstance(made, Message) else await made
        except Refusal as refusal:
            context.set_trailing_metadata((("grpc-status-details-bin", refusal.details),))
            await context.abort(refusal.code, "scripted")
        return answer.SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a grpc.aio server serves."""

        def handler(name: str) -> grpc.RpcMethodHandler:
            async def unary(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
                return await self.handle(name, body, context)

            return grpc.unary_unary_rpc_method_handler(unary)

        return grpc.method_handlers_generic_handler(SERVICE, {name: handler(name) for name in REQUESTS})


@asynccontextmanager
async def scripted_service() -> AsyncIterator[ScriptedService]:
    """A running service; `address` says where."""
    scripted = ScriptedService()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((scripted.handlers(),))
    scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(None)


class CuttingRelay:
    """Passes bytes on to `upstream`; cuts the connection at an answer while `cuts` is above 0."""

    def __init__(self, upstream: str) -> None:
        self.address = ""
        self.cuts = 0
        self.connections = 0
        self._upstream = upstream
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until one side ends it or it is cut."""
        self.connections += 1
        host, port = self._upstream.split(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        there = asyncio.create_task(self._pass_on(reader, up_writer, cutting=False))
        back = asyncio.create_task(self._pass_on(up_reader, writer, cutting=True))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        for end in (writer, up_writer):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin a connection."""
        task = asyncio.create_task(self.serve(reader, writer))
        self.tasks.add(task)

    async def finished(self) -> None:
        """Wait for all connections to end: by then the client has closed its own."""
        await asyncio.gather(*self.tasks)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cutting: bool) -> None:
        while data := await reader.read(65_536):
            if cutting and self.cuts and _has_data_frame(data):
                self.cuts -= 1
                return
            writer.write(data)
            await writer.drain()


def _has_data_frame(data: bytes) -> bool:
    """Whether an HTTP/2 DATA frame (RFC 9113, section 6.1) begins in these bytes."""
    offset = 0
    while offset + 9 <= len(data):
        if data[offset + 3] == 0:
            return True
        offset += 9 + int.from_bytes(data[offset : offset + 3], "big")
    return False


@asynccontextmanager
async def cutting_relay(upstream: str) -> AsyncIterator[CuttingRelay]:
    """A relay in front of `upstream`."""
    relay = CuttingRelay(upstream)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    relay.address = f"{host}:{port}"
    try:
        yield relay
    finally:
        server.close()
        await server.wait_closed()
        await relay.finished()


SESSION_ID = b"s" * 24
CONNECTION_ID = b"cccccccc"


def established(**fields: object) -> contract.Established:
    """A finished handshake."""
    values: dict[str, object] = {
        "remote_static_key": b"k" * 32,
        "handshake_hash": b"h" * 32,
        "protocol_name": "Noise_XX_25519_ChaChaPoly_SHA256",
        "expires_in": _duration(1.5),
        "overhead_bytes": 16,
    }
    return contract.Established(**{**values, **fields})  # type: ignore[arg-type]  # fields by name, checked by protobuf


def pending(seconds: float = 10) -> service.HandshakePending:
    """A handshake that needs the player."""
    return service.HandshakePending(expires_in=_duration(seconds))
