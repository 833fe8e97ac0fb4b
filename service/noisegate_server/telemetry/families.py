"""What a metric is, whoever it is sent to: a name, a unit, a kind, and its points at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["Attributes", "Buckets", "Family", "Kind", "Point", "Snapshot"]


class Kind(Enum):
    """What its numbers do."""

    COUNTER = "counter"
    """They only grow."""
    GAUGE = "gauge"
    """They are what they are now."""
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric's name in OpenTelemetry, and what it means."""

    name: str
    kind: Kind
    unit: str
    """In UCUM: s, By, or what is counted in braces."""
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """A histogram as it is now."""

    bounds: Sequence[float]
    counts: Sequence[int]
    """One more than bounds."""
    sum: float


Attributes = Mapping[str, str]
Point = tuple[Attributes, float | Buckets]
Snapshot = Sequence[tuple[Family, Sequence[Point]]]
"""Families with their points at one moment; none of both is touched any more."""
