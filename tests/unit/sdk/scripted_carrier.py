"""A gRPC server on 127.0.0.1 whose Transport seals and opens by a toy rule, and that a script can make misbehave.

Sealing number n of a session makes the record `n:plaintext`. Opening gives the record backwards, once; a second time it
is a replay. A request_id is remembered for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import SERVICE, Refusal

Context = grpc.aio.ServicerContext[bytes, bytes]
Rows = dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]
BAD = b"bad"
"""A record that does not open; also a plaintext that is refused."""


class Stream:
    """One open stream as the script sees it."""

    def __init__(self, carrier: ScriptedCarrier, number: int, context: Context) -> None:
        self.carrier = carrier
        self.number = number
        self.context = context
        self.half_closed = asyncio.Event()
        self.over = False
        """Set by a script that ends the stream with OK."""

    async def answer(self, batch: service.TransportBatch) -> None:
        """Do the work and say so."""
        await self.send(service.TransportResponse(answers=[self.carrier.work(batch)]))

    async def send(self, response: service.TransportResponse) -> None:
        """Any word."""
        await self.context.write(response.SerializeToString())

    async def refuse(self, request: service.TransportBatch, refusal: Refusal) -> None:
        """Refuse one batch as a whole."""
        code: int = refusal.code.value[0]
        refused = service.TransportRefused(code=code, status=refusal.details)
        answer = service.TransportAnswer(correlation_id=request.correlation_id, refused=refused)
        await self.send(service.TransportResponse(answers=[answer]))

    async def drain(self) -> None:
        """Say that the service is about to stop."""
        await self.send(service.TransportResponse(draining=service.TransportDraining()))

    async def abort(self, refusal: Refusal) -> None:
        """End the stream with a refusal."""
        self.context.set_trailing_metadata((("grpc-status-details-bin", refusal.details),))
        await self.context.abort(refusal.code, "scripted")


Script = Callable[[Stream, service.TransportBatch], Awaitable[None]]


class ScriptedCarrier:
    """What it was asked, and the toy rule."""

    def __init__(self) -> None:
        self.address = ""
        self.script: Script = Stream.answer
        self.streams: list[Stream] = []
        self.requests: list[tuple[int, service.TransportBatch]] = []
        """(number of the stream, batch)."""
        self.messages = 0
        """What they came in."""
        self.sealed: Counter[bytes] = Counter()
        self.opened: set[tuple[bytes, bytes]] = set()
        self.done = asyncio.Event()
        """A half-closed stream ends once this is set."""
        self.done.set()
        self._known: dict[str, service.TransportAnswer] = {}

    @property
    def batches(self) -> list[service.TransportBatch]:
        """Every batch, in the order in which they came."""
        return [request for _, request in self.requests]

    async def transport(self, _: object, context: Context) -> None:
        """One stream."""
        stream = Stream(self, len(self.streams), context)
        self.streams.append(stream)
        assert context.time_remaining() is None, "a stream has no deadline"
        # The published types know of no end of input.
        while isinstance(body := cast("Any", await context.read()), bytes):
            self.messages += 1
            for batch in service.TransportRequest.FromString(body).batches:
                self.requests.append((stream.number, batch))
                await self.script(stream, batch)
                if stream.over:
                    return
        stream.half_closed.set()
        await self.done.wait()

    def work(self, request: service.TransportBatch) -> service.TransportAnswer:
        """Seal or open, once for a request_id."""
        kind = request.WhichOneof("batch") or ""
        request_id: str = getattr(request, kind).request_id
        known = self._known.get(request_id)
        if known is None:
            known = getattr(self, f"_{kind}")(getattr(request, kind))
            if request_id:
                self._known[request_id] = known
        answer = service.TransportAnswer(correlation_id=request.correlation_id)
        answer.MergeFrom(known)
        return answer

    def _encrypt(self, batch: service.EncryptBatchRequest) -> service.TransportAnswer:
        answer = service.EncryptBatchResponse()
        for index, (session_id, text) in enumerate(items(batch, batch.plaintexts)):
            if text == BAD:
                _refuse(answer, index)
                continue
            counter = self.sealed[session_id]
            self.sealed[session_id] += 1
            record = b"%d:" % counter + text
            answer.ciphertexts += record
            answer.lengths.append(len(record))
            answer.counters.append(counter)
        return service.TransportAnswer(encrypt=answer)

    def _broadcast(self, batch: service.BroadcastRequest) -> service.TransportAnswer:
        count = len(batch.session_ids) // 24
        each = service.EncryptBatchRequest(
            session_ids=batch.session_ids, lengths=[len(batch.plaintext)] * count, plaintexts=batch.plaintext * count
        )
        sealed = self._encrypt(each).encrypt
        return service.TransportAnswer(broadcast=service.BroadcastResponse.FromString(sealed.SerializeToString()))

    def _decrypt(self, batch: service.DecryptBatchRequest) -> service.TransportAnswer:
        answer = service.DecryptBatchResponse()
        for index, (session_id, record) in enumerate(items(batch, batch.ciphertexts)):
            if (session_id, record) in self.opened:
                _refuse(answer, index, reasons.ERROR_REASON_REPLAY_DETECTED)
                continue
            self.opened.add((session_id, record))
            answer.plaintexts += record[::-1]
            answer.lengths.append(len(record))
            answer.counters.append(0)
        return service.TransportAnswer(decrypt=answer)


def _refuse(
    answer: service.EncryptBatchResponse | service.DecryptBatchResponse,
    index: int,
    reason: reasons.ErrorReason.ValueType = reasons.ERROR_REASON_SESSION_CLOSED,
) -> None:
    answer.lengths.append(0)
    answer.counters.append(0)
    answer.errors.add(index=index, code=9, reason=reason, message="scripted", metadata={"cause": "CLOSED"})


def items(
    batch: service.EncryptBatchRequest | service.DecryptBatchRequest, joined: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """(session, bytes) of each item of a packed batch, read as the contract's comments say."""
    ids = [batch.session_ids[at : at + 24] for at in range(0, len(batch.session_ids), 24)]
    owners = [each for each, count in zip(ids, batch.counts or [1] * len(ids), strict=True) for _ in range(count)]
    at = 0
    for owner, length in zip(owners, batch.lengths, strict=True):
        yield owner, joined[at : at + length]
        at += length
    assert at == len(joined)


@asynccontextmanager
async def scripted_carrier(*options: tuple[str, int]) -> AsyncIterator[ScriptedCarrier]:
    """A running service; `options` are gRPC's of the server."""
    carrier = ScriptedCarrier()
    server = grpc.aio.server(options=options)
    rows: Rows = {"Transport": grpc.stream_stream_rpc_method_handler(carrier.transport)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, rows),))
    carrier.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield carrier
    finally:
        await server.stop(None)
