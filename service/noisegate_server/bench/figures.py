"""A claim with what was measured for it, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from noisegate_server.bench.claims import Claim
from noisegate_server.bench.measure import Taken

__all__ = ["Figure", "Verdict", "to_json"]


class Verdict(Enum):
    """What a run says about a claim."""

    AIM = "aim met"
    MUST = "must met"
    UNSURE = "unsure: the best round meets the must, the median does not"
    MISSED = "missed, by every round"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the result."""

    id: str
    claim: Claim
    taken: Taken
    seconds: float
    """How long it took."""

    @property
    def verdict(self) -> Verdict:
        """By the median; on a noisy machine a claim has failed only where the best round misses, too."""
        claim, taken = self.claim, self.taken
        if claim.met(taken.ratio, claim.aim):
            return Verdict.AIM
        if claim.met(taken.ratio, claim.must):
            return Verdict.MUST
        best = taken.low if claim.better == "lower" else taken.high
        return Verdict.UNSURE if claim.met(best, claim.must) else Verdict.MISSED

    def row(self) -> dict[str, Any]:
        """The row for other programs."""
        claim, taken = self.claim, self.taken
        return {
            "id": self.id,
            "ratio": taken.ratio,
            "better": claim.better,
            "low": taken.low,
            "high": taken.high,
            "what": claim.what,
            "reference": claim.reference,
        }


def to_json(figures: Iterable[Figure]) -> str:
    """A list of rows."""
    return json.dumps([figure.row() for figure in figures], indent=2) + "\n"
