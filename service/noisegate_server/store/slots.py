"""Where packed sessions lie: slots of fixed sizes in chunks that are made one by one and never moved.

A slab that grows by copying would stop the whole loop (206 ms at a million sessions) and leave its old copy, full of
keys, to nobody. Slots come in steps of 16 bytes, so a record wastes 8 on average. A free slot is all zeros but for its
first four bytes, which lead to the next free one of its size.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["LARGEST", "Slots"]

_STEP: Final = 16
_STEPS: Final = 64
LARGEST: Final = _STEP * _STEPS
"""Bytes that a slot can have at most."""
_CHUNK: Final = 256 * 1024
"""Bytes of a chunk, of which the system gives memory only for what was written."""
_SIZE_BITS: Final = 7
"""Of a reference, the low ones: how many steps its slot has. The others are the slot's number."""
_SIZE_MASK: Final = (1 << _SIZE_BITS) - 1
_LINK: Final = struct.Struct(">I")


class Slots:
    """Bytes by reference, an integer that is never 0. What is freed is wiped, and used again before a chunk is made."""

    __slots__ = ("_chunks", "_free", "_fresh", "_used")

    def __init__(self) -> None:
        self._chunks: list[list[memoryview]] = [[] for _ in range(_STEPS + 1)]
        self._free = [0] * (_STEPS + 1)
        """By size: one more than the number of the first free slot; 0 for none."""
        self._fresh = [0] * (_STEPS + 1)
        """By size: the number of the first slot that was never used."""
        self._used = 0

    def __len__(self) -> int:
        """Slots in use."""
        return self._used

    def take(self, length: int) -> int:
        """A slot of at least so many bytes (1 to LARGEST), all zeros. ValueError for another length."""
        steps = (length + _STEP - 1) // _STEP
        if not 1 <= steps <= _STEPS:
            raise ValueError(f"a slot has 1 to {LARGEST} bytes")
        number = self._free[steps] - 1
        if number < 0:
            number = self._fresh[steps]
            if number == len(self._chunks[steps]) * (_CHUNK // (steps * _STEP)):
                self._chunks[steps].append(memoryview(bytearray(_CHUNK)))
            self._fresh[steps] += 1
            reference = number << _SIZE_BITS | steps
        else:
            reference = number << _SIZE_BITS | steps
            slot = self.slot(reference)
            (self._free[steps],) = _LINK.unpack_from(slot)
            _LINK.pack_into(slot, 0, 0)
        self._used += 1
        return reference

    def slot(self, reference: int) -> memoryview:
        """The slot's bytes, to read and to write. Nobody keeps the view."""
        steps = reference & _SIZE_MASK
        size = steps * _STEP
        number, in_chunk = reference >> _SIZE_BITS, _CHUNK // size
        start = number % in_chunk * size
        return self._chunks[steps][number // in_chunk][start : start + size]

    def free(self, reference: int, slot: memoryview) -> None:
        """Wipe a slot that is in use, of which `slot` are the bytes, and keep it for the next of its size."""
        steps = reference & _SIZE_MASK
        slot[:] = bytes(steps * _STEP)
        _LINK.pack_into(slot, 0, self._free[steps])
        self._free[steps] = (reference >> _SIZE_BITS) + 1
        self._used -= 1
