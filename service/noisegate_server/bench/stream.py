"""`stream`: messages per CPU second of the server, batches of 64 through one Transport stream / unary, the same server.

Both seal 256 bytes for distinct DATAGRAM sessions of as many players. Every batch is checked: its number, lengths and
counters; the records of the last of each session are opened by their players.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.batch import PAYLOAD, RECORD, Match
from noisegate_server.bench.measure import Figure, figure, in_turn, process_cpu_ns
from noisegate_server.bench.own_cost import Load, pin, process
from noisegate_server.bench.seam import make_bench_parts

BATCH = 64
UNDER_WAY = 8
_BATCHES = 600
_CALLS = 3_000
_ROUNDS = 11
_SERVE = (sys.executable, "-m", "noisegate_server", "serve", "--dev", "--listen", "127.0.0.1:0")
_PREFIX = "/noisegate.v1.SessionCryptoService/"


class Stream:
    """One Transport stream with a fixed number of batches under way."""

    def __init__(self, found: Match) -> None:
        method: Any = found.channel.stream_stream(_PREFIX + "Transport", None, None)
        self._call = method()
        self._found = found
        self._groups = [range(at, at + BATCH) for at in range(0, len(found.ids) - BATCH + 1, BATCH)]
        self._plaintexts = [os.urandom(PAYLOAD) for _ in range(BATCH)]
        self._bodies = [self._body(group) for group in self._groups]
        self._next = 0
        self._last: dict[int, pb.EncryptBatchResponse] = {}
        self._counters: set[tuple[int, int]] = set()

    def _body(self, group: range) -> bytes:
        batch = pb.EncryptBatchRequest(
            session_ids=b"".join(self._found.ids[n] for n in group),
            lengths=[PAYLOAD] * BATCH,
            plaintexts=b"".join(self._plaintexts),
        )
        return pb.TransportRequest(encrypt=batch).SerializeToString()

    async def run(self, batches: int) -> list[bytes]:
        """Send so many; their answers, in the order in which they came."""
        numbers = iter(range(self._next, self._next + batches))
        self._next += batches
        answers: list[bytes] = []
        for number in islice(numbers, UNDER_WAY):
            await self._send(number)
        while len(answers) < batches:
            answers.append(await self._call.read())
            for number in islice(numbers, 1):
                await self._send(number)
        return answers

    async def _send(self, number: int) -> None:
        # Behind the batch, as a field of the same message.
        await self._call.write(self._bodies[number % len(self._bodies)] + b"\x08" + bytes(_varint(number)))

    def check(self, answers: list[bytes]) -> None:
        """Every batch answered once, every record there, every counter new; RuntimeError otherwise."""
        for body in answers:
            answer = pb.TransportResponse.FromString(body)
            sealed = answer.encrypt
            if sealed.errors or list(sealed.lengths) != [RECORD] * BATCH:
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
            self._found.read(self._last[place], self._plaintexts, group)

    def close(self) -> None:
        """End it."""
        self._call.cancel()


def _varint(value: int) -> Iterator[int]:
    while value >> 7:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


async def measure() -> Figure:
    """Take the figure."""
    pin(os.getpid(), 1)
    with process(*_SERVE) as (pid, address):
        async with grpc.aio.insecure_channel(address) as channel:
            found = Match(make_bench_parts(), channel)
            await found.meet()
            stream = Stream(found)
            requests = [pb.EncryptRequest(session_id=each, plaintext=os.urandom(PAYLOAD)) for each in found.ids]
            length = pb.EncryptResponse(ciphertext=bytes(RECORD), counter=5_000).ByteSize()
            bodies = [request.SerializeToString() for request in requests]
            unary = Load(address, _PREFIX + "Encrypt", bodies, range(length - 3, length + 2))

            async def subject() -> float:
                before = process_cpu_ns(pid)
                answers = await stream.run(_BATCHES)
                spent = process_cpu_ns(pid) - before
                stream.check(answers)
                return spent / _BATCHES / BATCH

            async def reference() -> float:
                before = process_cpu_ns(pid)
                await unary.run(_CALLS)
                return (process_cpu_ns(pid) - before) / _CALLS

            await subject()
            await reference()
            stream.read()
            ratios, above, below = await in_turn(subject, reference, _ROUNDS)
            stream.read()
            stream.close()
            await unary.close()
    row = figure(
        [1 / ratio for ratio in ratios], above, below,
        id="stream",
        what="messages (256 B) per CPU second of the server, batches of 64 through one Transport stream",
        reference="unary Encrypt on the same server",
        must=50,
        aim=80,
    )  # fmt: skip
    return replace(row, better="higher")
