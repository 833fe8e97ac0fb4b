"""`match`: how much of one core a service needs for 100 players at 60 ticks a second, and how late a tick is.

Each tick sends one message on a Transport stream, over a socket: a batch with a packet of every player to open, and one
with 256 bytes for every player to seal. The load is open: a tick begins when it is due, whether the one before is
through or not, and its time counts from when it was due. So a service that falls behind cannot hide it (coordinated
omission).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any, Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.measure import Taken, process_cpu_ns
from noisegate_server.bench.players import PAYLOAD, PREFIX, Players, play
from noisegate_server.bench.processes import SERVICE, pin, process

__all__ = ["measure"]

_PLAYERS: Final = 100
_HZ: Final = 60
_TICKS: Final = 3 * _HZ
_ROUNDS: Final = 9
_WARM_UP: Final = _HZ
_SPIN: Final = 0.002
"""Seconds before a tick from which the clock is watched: the loop's own timers are a millisecond coarse."""


async def _wait_until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.perf_counter() - _SPIN))
    while time.perf_counter() < due:  # noqa: ASYNC110  # what is waited for is a time, and no event comes with it
        await asyncio.sleep(0)


class _Round:
    """Ticks of a match, made beforehand and checked afterwards."""

    def __init__(self, players: Players, ticks: int) -> None:
        self._players = players
        self._inputs = [[os.urandom(PAYLOAD) for _ in players.ids] for _ in range(ticks)]
        self._outputs = [os.urandom(PAYLOAD) for _ in players.ids]
        self._messages = [self._message(number) for number in range(ticks)]
        self._due = [0.0] * ticks
        self._opened: dict[int, pb.DecryptBatchResponse] = {}
        self._sealed: dict[int, pb.EncryptBatchResponse] = {}
        self.late: list[float] = []
        """Of each tick, the seconds from when it was due until it was through."""

    def _message(self, number: int) -> bytes:
        sealing = pb.EncryptBatchRequest(
            session_ids=b"".join(self._players.ids),
            lengths=map(len, self._outputs),
            plaintexts=b"".join(self._outputs),
        )
        opening = self._players.packets(self._inputs[number])
        batches = (
            pb.TransportBatch(correlation_id=2 * number, decrypt=opening),
            pb.TransportBatch(correlation_id=2 * number + 1, encrypt=sealing),
        )
        return pb.TransportRequest(batches=batches).SerializeToString()

    async def run(self, stream: Any) -> None:
        """All ticks at their times, over an open Transport stream."""
        messages: asyncio.Queue[bytes] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(stream, messages))
            group.create_task(self._read(stream))
            first = time.perf_counter() + 1 / _HZ
            for number, message in enumerate(self._messages):
                self._due[number] = first + number / _HZ
                await _wait_until(self._due[number])
                messages.put_nowait(message)

    async def _write(self, stream: Any, messages: asyncio.Queue[bytes]) -> None:
        for _ in self._messages:
            await stream.write(await messages.get())

    async def _read(self, stream: Any) -> None:
        while len(self.late) < len(self._messages):
            for answer in pb.TransportResponse.FromString(await stream.read()).answers:
                number, is_sealed = divmod(answer.correlation_id, 2)
                if is_sealed:
                    self._sealed[number] = answer.encrypt
                else:
                    self._opened[number] = answer.decrypt
                if number in self._sealed and number in self._opened:
                    self.late.append(time.perf_counter() - self._due[number])

    def check(self) -> None:
        """RuntimeError unless every packet was opened, and every record is there, new, and what its player expects."""
        counters: set[tuple[int, int]] = set()
        for number, inputs in enumerate(self._inputs):
            opened, sealed = self._opened[number], self._sealed[number]
            if opened.errors or opened.plaintexts != b"".join(inputs):
                raise RuntimeError("a packet was refused, or holds something else")
            self._players.read(sealed, self._outputs)
            counters.update(enumerate(sealed.counters))
        if len(counters) != len(self._inputs) * _PLAYERS:
            raise RuntimeError("a counter was used twice")


async def measure() -> Taken:
    """Take the figure."""
    pin(os.getpid(), 1)
    shares, late = [], []
    with process(*SERVICE) as (pid, address):
        async with play(address, _PLAYERS) as players:
            method: Any = players.channel.stream_stream(PREFIX + "Transport", None, None)
            stream = method()
            await _Round(players, _WARM_UP).run(stream)
            for _ in range(_ROUNDS):
                round_ = _Round(players, _TICKS)
                cpu, began = process_cpu_ns(pid), time.perf_counter_ns()
                await round_.run(stream)
                shares.append((process_cpu_ns(pid) - cpu) / (time.perf_counter_ns() - began))
                round_.check()
                late += round_.late
            stream.cancel()
    ranks = statistics.quantiles(late, n=100)
    return Taken(
        ratio=statistics.median(shares),
        low=min(shares),
        high=max(shares),
        detail=f"a tick was through {ranks[49] * 1e3:.1f} ms (p50), {ranks[98] * 1e3:.1f} ms (p99) after it was due",
    )
