"""How a figure is taken on a noisy machine: CPU per operation, subject and reference in turn, median of the rounds.

A ratio of one run can be trusted, an absolute cannot; so a row is always a subject over a reference that was measured
in the same rounds. CPU time is read from the scheduler's own account of every thread, not from the wall clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

__all__ = ["Taken", "from_pairs", "in_turn", "own_cpu_ns", "process_cpu_ns"]

STRAY: Final = 0.3
"""How far a round's reference may lie from the median of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the rounds of one row gave."""

    ratio: float
    """The row's figure: the median of the rounds, where the row does not say otherwise."""
    low: float
    high: float
    detail: str
    """For orientation: what the subject and the reference cost on this machine."""

    def inverse(self) -> Taken:
        """Reference over subject: more is better."""
        return replace(self, ratio=1 / self.ratio, low=1 / self.high, high=1 / self.low)


def process_cpu_ns(pid: int) -> int:
    """CPU nanoseconds that every living thread of a process has used."""
    total = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(stat.read_text(encoding="ascii").split(maxsplit=1)[0])
        except FileNotFoundError:  # the thread ended between the listing and the reading
            continue
    return total


def own_cpu_ns(work: Callable[[int], None], count: int) -> float:
    """CPU nanoseconds of this thread for one of `count` operations of `work`."""
    began = time.thread_time_ns()
    work(count)
    return (time.thread_time_ns() - began) / count


async def in_turn(
    subject: Callable[[], Awaitable[float]], reference: Callable[[], Awaitable[float]], rounds: int, turns: int = 1
) -> Taken:
    """Rounds of one operation's nanoseconds, A B B A.

    In a round each has so many turns; the shorter they are, the more surely what disturbs one disturbs the other.
    """
    pairs = []
    for number in range(rounds):
        above = below = 0.0
        for turn in range(turns):
            if (number + turn) % 2:
                below += await reference()
                above += await subject()
            else:
                above += await subject()
                below += await reference()
        pairs.append((above / turns, below / turns))
    return from_pairs(pairs)


def from_pairs(pairs: Sequence[tuple[float, float]]) -> Taken:
    """From the (subject, reference) of each round, in nanoseconds of one operation.

    A round in which the reference strays by more than 30 % from its median says more about the machine than about us,
    and is left out.
    """
    usual = statistics.median(below for _, below in pairs)
    kept = [(above, below) for above, below in pairs if abs(below / usual - 1) <= STRAY]
    ratios = [above / below for above, below in kept]
    subject, reference = (statistics.median(side) / 1_000 for side in zip(*kept, strict=True))
    return Taken(
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        detail=f"{subject:.2f} us / {reference:.2f} us",
    )
