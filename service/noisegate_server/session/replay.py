"""What was opened before, and which counter a header means.

RFC 6479's window: a ring of 64-bit blocks of which one is always redundant, so that moving forward clears whole blocks
and shifts nothing. `check` first, `commit` only after the tag was verified (RFC 4303, section 3.4.3): a forged packet
that could move the window would shut out the genuine ones.

Packets mostly come in order, so what is next in order costs one assignment: the ring is brought up to it when another
one comes.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from noisegate_server.session.constants import MAX_COUNTER, WINDOW, WINDOW_BLOCK, WINDOW_BLOCKS

_SHIFT: Final = WINDOW_BLOCK.bit_length() - 1
_LOW: Final = WINDOW_BLOCK - 1
_PACKED: Final = struct.Struct(">QII")
_FULL: Final = (1 << WINDOW_BLOCK) - 1
_MIXED: Final = tuple(struct.Struct(f">{count}Q") for count in range(WINDOW_BLOCKS + 1))
PACKED_WINDOW: Final = _PACKED.size
"""Bytes of a packed window, 16, and 8 more for each block that is neither empty nor full."""


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

    __slots__ = ("_marked", "_ring", "highest")

    highest: int
    """The highest counter committed; -1 before the first. To set it to one more is to commit that one."""
    _marked: int
    """Up to here the ring says what was seen; whatever is above, up to `highest`, was."""

    def __init__(self) -> None:
        self.highest = self._marked = -1
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
        if counter > self._marked or self._ring[(counter >> _SHIFT) % WINDOW_BLOCKS] >> (counter & _LOW) & 1:
            return _REPLAYED
        return _FRESH

    def commit(self, counter: int) -> None:
        """Marks a FRESH counter as opened; only after its tag was verified.

        ValueError where it is not fresh or outside 0 to 2^64 - 2: the caller has skipped `check`.
        """
        highest = self.highest
        if counter > MAX_COUNTER:
            raise ValueError("counter: at most 2^64 - 2")
        if counter == highest + 1:
            self.highest = counter
            return
        self._mark()
        block = counter >> _SHIFT
        if counter > highest:
            passed = highest >> _SHIFT
            if block != passed:
                ring = self._ring
                for stale in range(max(passed, block - WINDOW_BLOCKS) + 1, block + 1):
                    ring[stale % WINDOW_BLOCKS] = 0
            self.highest = self._marked = counter
        elif counter < 0 or self.check(counter) is not _FRESH:
            raise ValueError("counter: not fresh")
        self._ring[block % WINDOW_BLOCKS] |= 1 << (counter & _LOW)

    def _mark(self) -> None:
        """Bring the ring up to `highest`."""
        marked, highest, ring = self._marked, self.highest, self._ring
        last = highest >> _SHIFT
        for block in range(max(marked + 1 >> _SHIFT, last + 1 - WINDOW_BLOCKS), last + 1):
            start = block << _SHIFT
            seen = _FULL if block < last else (2 << (highest & _LOW)) - 1
            if start <= marked:
                ring[block % WINDOW_BLOCKS] |= seen ^ ((2 << (marked & _LOW)) - 1)
            else:
                # Also where the one that had its place before has left.
                ring[block % WINDOW_BLOCKS] = seen
        self._marked = highest

    def pack(self) -> bytes:
        """highest + 1 (0: none), which blocks of the ring are full and which mixed, and the mixed ones."""
        self._mark()
        full = mixed = 0
        blocks = []
        for place, block in enumerate(self._ring):
            if block == _FULL:
                full |= 1 << place
            elif block:
                mixed |= 1 << place
                blocks.append(block)
        return _PACKED.pack(self.highest + 1, full, mixed) + _MIXED[len(blocks)].pack(*blocks)

    @classmethod
    def unpack(cls, data: bytes) -> ReplayWindow:
        """The window that `pack` wrote. ValueError for another length or a state that no window can have."""
        window, end = cls.unpack_from(data, 0)
        if end != len(data):
            raise ValueError("packed window: length")
        return window

    @classmethod
    def unpack_from(cls, data: bytes | memoryview, at: int) -> tuple[ReplayWindow, int]:
        """The window that lies at `at`, and where it ends. ValueError for a state that no window can have."""
        if len(data) < at + PACKED_WINDOW:
            raise ValueError("packed window: length")
        above, full, mixed = _PACKED.unpack_from(data, at)
        at += PACKED_WINDOW
        if full & mixed or (full | mixed) >> WINDOW_BLOCKS:
            raise ValueError("packed window: blocks")
        layout = _MIXED[mixed.bit_count()]
        if len(data) < at + layout.size:
            raise ValueError("packed window: length")
        blocks = layout.unpack_from(data, at)
        if 0 in blocks or _FULL in blocks:
            raise ValueError("packed window: blocks")
        ring = [_FULL * (full >> place & 1) for place in range(WINDOW_BLOCKS)] if full else [0] * WINDOW_BLOCKS
        for block in blocks:
            ring[(mixed & -mixed).bit_length() - 1] = block
            mixed &= mixed - 1
        window = cls()
        window.highest = window._marked = above - 1
        window._ring = ring
        if above == 0:
            if any(ring):
                raise ValueError("packed window: bits without a highest counter")
        elif ring[window.highest // WINDOW_BLOCK % WINDOW_BLOCKS].bit_length() - 1 != window.highest % WINDOW_BLOCK:
            raise ValueError("packed window: the highest counter is not the highest bit")
        return window, at + layout.size


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
