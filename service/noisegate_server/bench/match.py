"""`match`: how much of one core a service needs for 100 players at 60 ticks a second, and how late a tick is.

Each tick opens a packet of every player with one DecryptBatch, then seals 256 bytes for every player with one
EncryptBatch, over a socket. The load is open: a tick begins when it is due, whether the one before is through or not,
and its time counts from when it was due. So a service that falls behind cannot hide it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.measure import Taken, process_cpu_ns
from noisegate_server.bench.players import PAYLOAD, Players, play
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
        self._packets = [players.packets(each).SerializeToString() for each in self._inputs]
        self._outputs = [os.urandom(PAYLOAD) for _ in players.ids]
        self._frame = pb.EncryptBatchRequest(
            session_ids=b"".join(players.ids), lengths=map(len, self._outputs), plaintexts=b"".join(self._outputs)
        ).SerializeToString()
        self._answers: list[tuple[int, bytes, bytes]] = []
        self.late: list[float] = []
        """Of each tick, the seconds from when it was due until it was through."""

    async def run(self) -> None:
        """All ticks at their times."""
        first = time.perf_counter() + 1 / _HZ
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._packets)):
                due = first + number / _HZ
                await _wait_until(due)
                group.create_task(self._tick(number, due))

    async def _tick(self, number: int, due: float) -> None:
        opened = await self._players.raw("DecryptBatch", self._packets[number])
        sealed = await self._players.raw("EncryptBatch", self._frame)
        self.late.append(time.perf_counter() - due)
        self._answers.append((number, opened, sealed))

    def check(self) -> None:
        """RuntimeError unless every packet was opened, and every record is there, new, and what its player expects."""
        counters: set[tuple[int, int]] = set()
        for number, opened_body, sealed_body in sorted(self._answers):
            opened = pb.DecryptBatchResponse.FromString(opened_body)
            if opened.errors or opened.plaintexts != b"".join(self._inputs[number]):
                raise RuntimeError("a packet was refused, or holds something else")
            sealed = pb.EncryptBatchResponse.FromString(sealed_body)
            self._players.read(sealed, self._outputs)
            counters.update(enumerate(sealed.counters))
        if len(counters) != len(self._packets) * _PLAYERS:
            raise RuntimeError("a counter was used twice, or a tick is missing")


async def measure() -> Taken:
    """Take the figure."""
    pin(os.getpid(), 1)
    shares, late = [], []
    with process(*SERVICE) as (pid, address):
        async with play(address, _PLAYERS) as players:
            await _Round(players, _WARM_UP).run()
            for _ in range(_ROUNDS):
                round_ = _Round(players, _TICKS)
                cpu, began = process_cpu_ns(pid), time.perf_counter_ns()
                await round_.run()
                shares.append((process_cpu_ns(pid) - cpu) / (time.perf_counter_ns() - began))
                round_.check()
                late += round_.late
    ranks = statistics.quantiles(late, n=100)
    return Taken(
        ratio=statistics.median(shares),
        low=min(shares),
        high=max(shares),
        detail=f"a tick was through {ranks[49] * 1e3:.1f} ms (p50), {ranks[98] * 1e3:.1f} ms (p99) after it was due",
    )
