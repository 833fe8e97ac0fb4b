"""What was opened before, and which counter a header means.

RFC 6479's window: a ring of 64-bit blocks of which one is always redundant, so that moving forward clears whole blocks
and shifts nothing. `check` first, `commit` only after the tag was verified (RFC 4303, section 3.4.3): a forged packet
that could move the window would shut out the genuine ones.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from noisegate_server.session.constants import MAX_COUNTER, WINDOW, WINDOW_BLOCK, WINDOW_BLOCKS

_SHIFT: Final = WINDOW_BLOCK.bit_length() - 1
_LOW: Final = WINDOW_BLOCK - 1
_PACKED: Final = struct.Struct(f">{1 + WINDOW_BLOCKS}Q")
PACKED_WINDOW: Final = _PACKED.size
"""Bytes of a packed window: 144."""


class Verdict(IntEnum):
    """What a window says about a counter."""

    FRESH = 0
    REPLAYED = 1
    TOO_OLD = 2


_FRESH: Final = Verdict.FRESH
_REPLAYED: Final = Verdict.REPLAYED
_TOO_OLD: Final = Verdict.TOO_OLD


class ReplayWindow:
    """The counters of one direction and epoch that were opened. New, it has seen none. Not safe for threads."""

    __slots__ = ("_ring", "highest")

    highest: int
    """The highest counter committed; -1 before the first."""

    def __init__(self) -> None:
        self.highest = -1
        self._ring = [0] * WINDOW_BLOCKS

    def __repr__(self) -> str:
        return f"ReplayWindow(highest={self.highest})"

    def check(self, counter: int) -> Verdict:
        """What `counter` (0 to 2^64 - 2) is, without a change; up to 1,024 behind `highest` it is known exactly."""
        behind = self.highest - counter
        if behind < 0:
            return _FRESH
        if behind > WINDOW:
            return _TOO_OLD
        if self._ring[(counter >> _SHIFT) % WINDOW_BLOCKS] >> (counter & _LOW) & 1:
            return _REPLAYED
        return _FRESH

    def commit(self, counter: int) -> None:
        """Marks a FRESH counter as opened; only after its tag was verified.

        ValueError where it is not fresh or outside 0 to 2^64 - 2: the caller has skipped `check`.
        """
        highest = self.highest
        block = counter >> _SHIFT
        if counter > highest:
            if counter > MAX_COUNTER:
                raise ValueError("counter: at most 2^64 - 2")
            passed = highest >> _SHIFT
            if block != passed:
                ring = self._ring
                for stale in range(max(passed, block - WINDOW_BLOCKS) + 1, block + 1):
                    ring[stale % WINDOW_BLOCKS] = 0
            self.highest = counter
        elif counter < 0 or self.check(counter) is not _FRESH:
            raise ValueError("counter: not fresh")
        self._ring[block % WINDOW_BLOCKS] |= 1 << (counter & _LOW)

    def newest(self, counter: int) -> bool:
        """Whether `counter` is above all that were committed. Ask before the commit."""
        return counter > self.highest

    def pack(self) -> bytes:
        """PACKED_WINDOW bytes: highest + 1 (0: none), then the blocks of the ring."""
        return _PACKED.pack(self.highest + 1, *self._ring)

    @classmethod
    def unpack(cls, data: bytes) -> ReplayWindow:
        """The window that `pack` wrote. ValueError for another length or a state that no window can have."""
        if len(data) != PACKED_WINDOW:
            raise ValueError("packed window: length")
        above, *ring = _PACKED.unpack(data)
        window = cls()
        window.highest = above - 1
        window._ring = ring
        if above == 0:
            if any(ring):
                raise ValueError("packed window: bits without a highest counter")
        elif ring[window.highest // WINDOW_BLOCK % WINDOW_BLOCKS].bit_length() - 1 != window.highest % WINDOW_BLOCK:
            raise ValueError("packed window: the highest counter is not the highest bit")
        return window


def nearest(low: int, bits: int, highest: int) -> int:
    """The number that ends in the `bits` low bits `low` and is nearest to `highest`; never negative.

    For the shortened counter, phase and epoch of a header (protocol, section 2); `highest` is the highest authenticated
    one, or -1. Of two equally near numbers the later. The caller bounds the result above (counter 2^64 - 2).
    """
    span = 1 << bits
    ahead = (low - highest) % span
    number = highest + ahead
    if ahead > span >> 1:
        number -= span
    return number if number >= 0 else number + span
