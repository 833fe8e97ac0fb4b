"""Transport: one stream that carries many batches; each is the unary call of its method in an envelope.

So admission, limits, request_ids, suspended sessions and refusals are those of the unary methods, and nothing here
knows what a batch is. A batch that has to wait is answered when it is done, and others overtake it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from google.rpc import status_pb2

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Code, Inbox, Outbox, Reply, Unary
from noisegate_server.rpc.convert import carried
from noisegate_server.rpc.errors import refusal
from noisegate_server.rpc.running import Running
from noisegate_server.session.errors import InvalidField, Overloaded, SessionError, SessionQuota

__all__ = ["BATCHES", "Transports"]

BATCHES: Final[Mapping[str, int]] = {
    "EncryptBatch": pb.TransportBatch.ENCRYPT_FIELD_NUMBER,
    "DecryptBatch": pb.TransportBatch.DECRYPT_FIELD_NUMBER,
    "Broadcast": pb.TransportBatch.BROADCAST_FIELD_NUMBER,
}
"""Unary method to the field of TransportBatch with its request, and of TransportAnswer with its answer."""


class Transports:
    """What the streams of one table share: the methods that they carry, and how many each tenant has open."""

    __slots__ = ("_count", "_methods", "_open", "answer_seconds", "clock", "drain_seconds", "running")

    def __init__(
        self,
        methods: Mapping[str, Unary],
        clock: Callable[[], float],
        running: Running,
        *,
        answer_seconds: float = limits.UNARY_SECONDS,
        drain_seconds: float = limits.DRAIN_SECONDS,
    ) -> None:
        self.clock = clock
        """Monotonic seconds."""
        self.running = running
        """What is under way, for streams that are gone too: it runs to its end, as behind a cancelled unary call."""
        self.answer_seconds = answer_seconds
        """How long a batch may take."""
        self.drain_seconds = drain_seconds
        """How long a stream stays after it was told to go."""
        self._methods: Final = {field: methods[name] for name, field in BATCHES.items()}
        self._open: Final[dict[str, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many streams are open."""
        return self._count

    def start(self, call: Call, outbox: Outbox) -> Inbox:
        """A stream's inbox. SessionQuota at the tenant's cap, Overloaded at the process's."""
        tenant = call.caller.tenant
        ours = self._open.get(tenant, 0)
        if ours >= limits.MAX_TRANSPORTS_PER_TENANT:
            raise SessionQuota("tenant", f"at most {limits.MAX_TRANSPORTS_PER_TENANT} Transport streams")
        if self._count >= limits.MAX_TRANSPORTS:
            raise Overloaded("the process has no room for another Transport stream")
        self._open[tenant] = ours + 1
        self._count += 1
        return _Transport(self, call, outbox)

    def leave(self, tenant: str) -> None:
        """A stream of the tenant has ended."""
        self._count -= 1
        self._open[tenant] -= 1
        if not self._open[tenant]:
            del self._open[tenant]

    def method(self, field: int) -> Unary | None:
        """The unary method whose request stands in this field."""
        return self._methods.get(field)


class _Transport(Inbox):
    """One stream."""

    __slots__ = (
        "_away", "_call", "_ending", "_full", "_gathered", "_left", "_no_more", "_outbox", "_room", "_since", "_size",
        "_transports", "_waiting",
    )  # fmt: skip

    def __init__(self, transports: Transports, call: Call, outbox: Outbox) -> None:
        self._transports = transports
        self._call = call
        self._outbox = outbox
        self._waiting: dict[object, asyncio.TimerHandle] = {}
        """A key for each batch that waits, and what ends its wait."""
        self._gathered: list[bytes] = []
        """Answers to batches of the message that is being served: they leave as one message, which costs both sides
        hardly more than one of them alone."""
        self._size = 0
        """Bytes of these."""
        self._since = 0.0
        """When the first of them was there."""
        self._away = 0.0
        """How long others ran when they did so last in the middle of a message."""
        self._full = False
        self._room = asyncio.Event()
        self._no_more = False
        self._ending: asyncio.TimerHandle | None = None
        self._left = False

    def message(self, body: bytes) -> Awaitable[None] | None:
        """Some batches; each is served at once, and answered soon after unless it has to wait."""
        batches = carried.read(body)
        served = self._serve(batches)
        return None if served == len(batches) else self._serve_rest(batches[served:])

    def half_closed(self) -> None:
        self._finish()

    def writable(self) -> None:
        self._full = False
        self._room.set()

    def draining(self) -> None:
        """What was read is still answered; then the stream ends, by the caller's half-close or soon without it.

        To end it at once could cost answers: a caller in the middle of a write may drop what it has not read yet.
        """
        self._send(carried.DRAINING)
        self._ending = asyncio.get_running_loop().call_later(self._transports.drain_seconds, self._finish)

    def cancelled(self) -> None:
        for late in self._waiting.values():
            late.cancel()
        self._waiting.clear()
        # What runs on holds this stream, and answers may be plaintexts.
        self._gathered.clear()
        self._leave()

    def _serve(self, batches: Sequence[carried.Batch]) -> int:
        """Serve batches for as long as one call may take and as the outbox has room; how many.

        What has gathered leaves with the last of them, or where it would wait for too long for the next.
        """
        clock, served = self._transports.clock, 0
        until = clock() + limits.PAUSE_SECONDS
        for batch in batches:
            self._serve_one(*batch)
            served += 1
            if self._full or clock() >= until:
                break
        if served == len(batches) or clock() + self._away >= self._since + limits.GATHER_SECONDS:
            self._flush()
        return served

    async def _serve_rest(self, batches: Sequence[carried.Batch]) -> None:
        clock = self._transports.clock
        while batches:
            paused = clock()
            await (self._room.wait() if self._full else turn())
            self._away = clock() - paused
            if self._left:
                return
            batches = batches[self._serve(batches) :]

    def _serve_one(self, correlation: int, field: int, request: bytes) -> None:
        method = self._transports.method(field)
        if method is None:
            self._refuse(correlation, InvalidField("batch", "one of encrypt, decrypt and broadcast"))
        elif len(self._waiting) >= limits.MAX_WAITING_BATCHES:
            self._refuse(correlation, Overloaded(f"{limits.MAX_WAITING_BATCHES} batches of this stream are waiting"))
        else:
            reply = method(self._call, request)
            if isinstance(reply, tuple):
                self._gather(carried.write(correlation, field, reply))
            else:
                self._wait(correlation, field, reply)

    def _wait(self, correlation: int, field: int, reply: Awaitable[Reply]) -> None:
        """Answer when it is done, or that it was late."""
        # Not the future: where two batches have one request_id both wait for the same.
        key = object()
        running = self._transports.running.begin(reply)
        answer = partial(self._answer, key, correlation, field)
        loop = asyncio.get_running_loop()
        self._waiting[key] = loop.call_later(self._transports.answer_seconds, answer, running)
        running.add_done_callback(answer)

    def _answer(self, key: object, correlation: int, field: int, running: asyncio.Future[Reply]) -> None:
        late = self._waiting.pop(key, None)
        if late is None or running.cancelled():
            return
        late.cancel()
        # Those that were ready before leave before.
        self._flush()
        self._send(carried.write(correlation, field, running.result() if running.done() else _LATE))
        if self._no_more:
            self._finish()

    def _refuse(self, correlation: int, error: SessionError) -> None:
        reply = refusal(error)
        if reply is not None:
            self._gather(carried.write(correlation, carried.NOTHING, reply))

    def _gather(self, body: bytes) -> None:
        if self._size + len(body) > limits.MAX_JOINED_BYTES:
            self._flush()
        if not self._gathered:
            self._since = self._transports.clock()
        self._gathered.append(body)
        self._size += len(body)
        if self._size >= limits.MAX_JOINED_BYTES:
            self._flush()

    def _flush(self) -> None:
        gathered, self._gathered, self._size = self._gathered, [], 0
        if gathered:
            self._send(b"".join(gathered))

    def _send(self, body: bytes) -> None:
        if not self._outbox.send(body):
            self._full = True
            self._room.clear()

    def _finish(self) -> None:
        self._no_more = True
        self._flush()
        if not self._waiting:
            self._leave()
            self._outbox.finish()

    def _leave(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        if not self._left:
            self._left = True
            self._transports.leave(self._call.caller.tenant)


def _late() -> Reply:
    status = status_pb2.Status(code=Code.DEADLINE_EXCEEDED, message="the batch took longer than it may")
    return Code.DEADLINE_EXCEEDED, status.SerializeToString()


_LATE: Final = _late()
