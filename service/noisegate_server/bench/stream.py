"""`stream`: messages per CPU second of the server, batches of 64 through one Transport stream / unary, the same server.

Both seal 256 bytes for distinct DATAGRAM sessions of as many players. The caller does what the SDK does: has as many
batches under way, sends those that are due together in one message. Every batch is checked: its number, lengths and
counters; the records of the last of each session are opened by their players.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.measure import Taken, in_turn, process_cpu_ns
from noisegate_server.bench.own_cost import Encrypts
from noisegate_server.bench.players import OVERHEAD, PAYLOAD, PREFIX, Players, play
from noisegate_server.bench.processes import SERVICE, pin, process

BATCH = 64
UNDER_WAY = 32
"""Batches without an answer, the most that the SDK has; of unary calls there are as many as a batch has items."""
_BATCHES = 200
_CALLS = 1_000
"""Of a turn."""
_TURNS = 3
_ROUNDS = 21
_SESSIONS = 1_000


class Stream:
    """One Transport stream with a fixed number of batches under way."""

    def __init__(self, players: Players) -> None:
        method: Any = players.channel.stream_stream(PREFIX + "Transport", None, None)
        self._call = method()
        self._players = players
        self._groups = [range(at, at + BATCH) for at in range(0, len(players.ids) - BATCH + 1, BATCH)]
        self._plaintexts = [os.urandom(PAYLOAD) for _ in range(BATCH)]
        self._bodies = [self._body(group) for group in self._groups]
        self._next = 0
        self._last: dict[int, pb.EncryptBatchResponse] = {}
        self._counters: set[tuple[int, int]] = set()

    def _body(self, group: range) -> bytes:
        batch = pb.EncryptBatchRequest(
            session_ids=b"".join(self._players.ids[n] for n in group),
            lengths=[PAYLOAD] * BATCH,
            plaintexts=b"".join(self._plaintexts),
        )
        return pb.TransportBatch(encrypt=batch).SerializeToString()

    async def run(self, batches: int) -> list[pb.TransportAnswer]:
        """Send so many; their answers, in the order in which they came."""
        numbers = iter(range(self._next, self._next + batches))
        self._next += batches
        due = asyncio.Semaphore(UNDER_WAY)
        writing = asyncio.ensure_future(self._write(numbers, due))
        answers: list[pb.TransportAnswer] = []
        while len(answers) < batches:
            response = pb.TransportResponse.FromString(await self._call.read())
            answers += response.answers
            for _ in response.answers:
                due.release()
        await writing
        return answers

    async def _write(self, numbers: Iterator[int], due: asyncio.Semaphore) -> None:
        """One message for all batches that are due by then, as the SDK does it."""
        for first in numbers:
            await due.acquire()
            message = [self._message(first)]
            while not due.locked():
                await due.acquire()
                message += [self._message(number) for number in islice(numbers, 1)]
            await self._call.write(b"".join(message))

    def _message(self, number: int) -> bytes:
        # The number stands behind the batch, as a field of the same envelope.
        envelope = self._bodies[number % len(self._bodies)] + b"\x08" + bytes(_varint(number))
        return b"\x0a" + bytes(_varint(len(envelope))) + envelope

    def check(self, answers: list[pb.TransportAnswer]) -> None:
        """Every batch answered once, every record there, every counter new; RuntimeError otherwise."""
        for answer in answers:
            sealed = answer.encrypt
            if sealed.errors or list(sealed.lengths) != [PAYLOAD + OVERHEAD] * BATCH:
                raise RuntimeError("a record was refused, or has another length")
            place = answer.correlation_id % len(self._groups)
            fresh = set(zip(self._groups[place], sealed.counters, strict=True))
            if fresh & self._counters:
                raise RuntimeError("a counter was used twice")
            self._counters |= fresh
            self._last[place] = sealed

    def read(self) -> None:
        """Open the last record of each session as its player does."""
        for place, group in enumerate(self._groups):
            self._players.read(self._last[place], self._plaintexts, group)

    def close(self) -> None:
        """End it."""
        self._call.cancel()


def _varint(value: int) -> Iterator[int]:
    while value >> 7:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


async def measure() -> Taken:
    """Take the figure."""
    pin(os.getpid(), 1)
    with process(*SERVICE) as (pid, address):
        async with play(address, _SESSIONS) as players:
            stream = Stream(players)
            unary = Encrypts(address, players)

            async def subject() -> float:
                before = process_cpu_ns(pid)
                answers = await stream.run(_BATCHES)
                spent = process_cpu_ns(pid) - before
                stream.check(answers)
                return spent / _BATCHES / BATCH

            async def reference() -> float:
                return await unary.cost(pid, _CALLS)

            await subject()
            await reference()
            stream.read()
            taken = await in_turn(subject, reference, _ROUNDS, _TURNS)
            stream.read()
            stream.close()
            await unary.close()
    return taken.inverse()
