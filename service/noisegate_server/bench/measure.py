"""How a figure is taken on a noisy machine: CPU per operation, subject and reference in turn, median of the rounds.

A ratio of one run can be trusted, an absolute cannot; so a row is always a subject over a reference that was measured
in the same rounds. CPU time is read from the scheduler's own account of every thread, not from the wall clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

STRAY: Final = 0.3
"""How far a round's reference may lie from the median of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table."""

    id: str
    what: str
    reference: str
    ratio: float
    """The median of the rounds."""
    low: float
    high: float
    must: float
    aim: float
    subject_ns: float = 0.0
    """CPU of one operation, for orientation only."""
    reference_ns: float = 0.0
    detail: str = ""
    """What the table says in their place."""
    better: Literal["lower", "higher"] = "lower"

    @property
    def holds(self) -> bool:
        """Whether the median keeps what the project asks of itself."""
        return self.ratio <= self.must if self.better == "lower" else self.ratio >= self.must


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
    """CPU nanoseconds of this process for one of `count` operations of `work`."""
    began = time.process_time_ns()
    work(count)
    return (time.process_time_ns() - began) / count


async def in_turn(
    subject: Callable[[], Awaitable[float]], reference: Callable[[], Awaitable[float]], rounds: int
) -> tuple[list[float], float, float]:
    """Ratios of `rounds` rounds, A B then B A, with the medians of both sides (nanoseconds).

    A round in which the reference strays by more than 30 % from its median says more about the machine than about us,
    and is left out.
    """
    pairs = []
    for number in range(rounds):
        if number % 2:
            below, above = await reference(), await subject()
        else:
            above, below = await subject(), await reference()
        pairs.append((above, below))
    usual = statistics.median(below for _, below in pairs)
    kept = [(above, below) for above, below in pairs if abs(below / usual - 1) <= STRAY]
    ratios = [above / below for above, below in kept]
    return ratios, statistics.median(above for above, _ in kept), statistics.median(below for _, below in kept)


def figure(
    ratios: list[float],
    subject_ns: float,
    reference_ns: float,
    *,
    id: str,  # noqa: A002 - the name of the column
    what: str,
    reference: str,
    must: float,
    aim: float,
) -> Figure:
    """A row from the ratios of its rounds."""
    return Figure(
        id=id,
        what=what,
        reference=reference,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        subject_ns=subject_ns,
        reference_ns=reference_ns,
        must=must,
        aim=aim,
    )
