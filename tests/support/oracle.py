"""Which records an end has to open: bookkeeping beside a session, from docs/protocol.md and not from its code.

    oracle = Oracle(ratchet=True)
    oracle.verdict(held, sight, now)          # MUST open, or MUST_NOT
    oracle.opened(sight, now)                 # after it has opened

What the receiver holds (its epochs, by h) is asked of the receiver; what it has opened, when a counter or a phase was
passed and for how long its keys live is kept here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from tests.support.written_out import header_mask, xor

WINDOW: Final = 1_024
GRACE_S: Final = 30.0
JUMP: Final = 64
"""Phases."""
MESSAGES: Final = 256
"""Of a phase with the ratchet."""
RECORD_BYTE, SALTED_BYTE = 0x0A, 0x0B


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a RECORD or SALTED packet says once it is unmasked; low bytes only."""

    salted: bool
    connection_id: bytes
    epoch: int
    phase: int
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A record as its sender made it."""

    h: bytes
    """The handshake hash of its epoch: two owners of one blob may have epochs of one number."""
    phase: int
    counter: int


def read_header(packet: bytes, mask_key: bytes | None) -> Header | None:
    """The header of a record; None for another packet."""
    if packet[0] not in (RECORD_BYTE, SALTED_BYTE):
        return None
    salted = packet[0] == SALTED_BYTE
    size = 32 if salted else 15
    header = packet[:15]
    if mask_key is not None:
        header = xor(header, header_mask(mask_key, packet[size : size + 16]))
    return Header(
        salted=salted,
        connection_id=header[1:9],
        epoch=header[9],
        phase=header[10],
        counter=int.from_bytes(header[11:15], "big"),
    )


@dataclass(slots=True)
class Progress:
    """When the highest number seen has become what."""

    highest: int = -1
    numbers: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def reach(self, number: int, now: float) -> None:
        if number > self.highest:
            self.highest = number
            self.numbers.append(number)
            self.times.append(now)

    def passed_at(self, number: int) -> float:
        """When a higher one than `number`, which is below the highest, was first seen."""
        return self.times[bisect_right(self.numbers, number)]


@dataclass(slots=True)
class Seen:
    """What one end has opened of one epoch."""

    counters: set[int] = field(default_factory=set)
    counter: Progress = field(default_factory=Progress)
    phase: Progress = field(default_factory=Progress)


class Oracle:
    """What one owner of one end has opened, and so what it still opens."""

    def __init__(self, *, ratchet: bool) -> None:
        self.ratchet = ratchet
        self.epochs: dict[bytes, Seen] = {}

    def must_open(self, held: set[bytes], sight: Sight, now: float) -> bool:
        """Whether a genuine record opens, now, at an end that holds the epochs `held`; if not, it is refused."""
        if sight.h not in held:
            return False
        seen = self.epochs.get(sight.h)
        if seen is None:
            # Nothing has come: the jump is counted from the first phase.
            return not self.ratchet or sight.counter // MESSAGES <= JUMP
        if sight.counter in seen.counters or seen.counter.highest - sight.counter > WINDOW:
            return False
        if self.ratchet:
            if sight.counter > seen.counter.highest:
                return sight.counter // MESSAGES - seen.counter.highest // MESSAGES <= JUMP
            return now < seen.counter.passed_at(sight.counter) + GRACE_S
        return sight.phase >= seen.phase.highest or now < seen.phase.passed_at(sight.phase) + GRACE_S

    def has_opened(self, sight: Sight, now: float) -> None:
        """A record has opened."""
        seen = self.epochs.setdefault(sight.h, Seen())
        seen.counters.add(sight.counter)
        seen.counter.reach(sight.counter, now)
        seen.phase.reach(sight.phase, now)
