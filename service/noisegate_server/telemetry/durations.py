"""How long calls took, in buckets of plain integers: OpenTelemetry's own histogram costs more than a whole call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["CALL_BOUNDS", "CallDurations", "Histogram"]

CALL_BOUNDS: Final = (
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
"""Seconds. The conventions advise 5 ms to 10 s; most calls here take some microseconds between the table and back."""


class Histogram:
    """Numbers of values by size."""

    __slots__ = ("bounds", "buckets", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = bounds
        """Upper bounds, each part of its bucket."""
        self.buckets: Final = [0] * (len(bounds) + 1)
        """One more than `bounds`, for what is above the last."""
        self.sum = 0.0

    def record(self, value: float) -> None:
        """Count one value."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.buckets)


class CallDurations:
    """Of the calls of one table, by method and status code."""

    __slots__ = ("_by_call",)

    def __init__(self) -> None:
        self._by_call: Final[dict[tuple[str, int], Histogram]] = {}

    def of(self, method: str, code: int) -> Histogram:
        """The histogram of a method's calls that ended with a code."""
        found = self._by_call.get((method, code))
        if found is None:
            found = self._by_call[method, code] = Histogram(CALL_BOUNDS)
        return found

    def __iter__(self) -> Iterator[tuple[str, int, Histogram]]:
        """(method, code, histogram) of everything that was ever asked for."""
        return ((method, code, histogram) for (method, code), histogram in self._by_call.items())
