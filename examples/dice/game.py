"""The rules of the pass line, dice that nobody can choose, and the money. Pure: no I/O, no clock, no entropy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

HOUSE, STAKE = 1_000, 100
"""Dollars that the house and each player begin with."""


class Outcome(StrEnum):
    """How a round ends for those who bet on the pass line."""

    WIN = "win"
    LOSE = "lose"


COME_OUT: Final = {
    7: Outcome.WIN,
    11: Outcome.WIN,
    2: Outcome.LOSE,
    3: Outcome.LOSE,
    12: Outcome.LOSE,
}


def judge(point: int, total: int) -> tuple[int, Outcome | None]:
    """The point after a throw (0: none yet) and the outcome, if the throw ends the round."""
    if point == 0:
        outcome = COME_OUT.get(total)
        return (0 if outcome else total), outcome
    if total == point:
        return point, Outcome.WIN
    return point, Outcome.LOSE if total == 7 else None


def payout(bet: int, outcome: Outcome) -> int:
    """What comes back for a bet: twice as much, or nothing."""
    return 2 * bet if outcome is Outcome.WIN else 0


def commitment(seed: str) -> str:
    """What the table shows before the bets, so that it cannot choose its seed after them."""
    return hashlib.sha256(b"dice commitment" + bytes.fromhex(seed)).hexdigest()


def throw(seed: str, lucks: Iterable[str], number: int) -> tuple[int, int]:
    """The dice of throw `number` of a round: from the table's seed and every player's luck, so that nobody can choose.

    Bytes from 252 on are passed over: 252 is a multiple of six, so each face is as likely as any other.
    """
    state = hashlib.sha256("|".join((seed, *lucks, str(number))).encode()).digest()
    faces: list[int] = []
    while True:
        for byte in state:
            if byte < 252:
                faces.append(byte % 6 + 1)
            if len(faces) == 2:
                return faces[0], faces[1]
        state = hashlib.sha256(state).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A finished round: who bet what, the throws, and how it ended."""

    number: int
    bets: dict[str, int]
    throws: list[tuple[int, int]]
    outcome: Outcome


@dataclass(slots=True)
class Bank:
    """Everybody's money. What is on the table is nobody's until the round ends."""

    bankrolls: dict[str, int]
    house: int = HOUSE
    bets: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All the money there is; no bet and no payout changes it."""
        return sum(self.bankrolls.values()) + self.house + sum(self.bets.values())

    def bet(self, name: str, amount: int) -> None:
        """Puts a bet on the table. ValueError: a second one of the round, or more than the player has."""
        if name in self.bets or not 0 <= amount <= self.bankrolls[name]:
            raise ValueError(f"{name} cannot bet ${amount}")
        self.bankrolls[name] -= amount
        self.bets[name] = amount

    def settle(self, outcome: Outcome) -> dict[str, int]:
        """Ends the round: who gets how much."""
        paid = {name: payout(amount, outcome) for name, amount in self.bets.items()}
        self.house += sum(self.bets.values()) - sum(paid.values())
        for name, amount in paid.items():
            self.bankrolls[name] += amount
        self.bets = {}
        return paid
