"""From 64-bit numbers to integers, in a fifth of a dict's memory and without its steps.

A dict entry costs 38 bytes and two objects of 32 to 48, and a dict of a million entries stops the loop for a quarter of
a second when it grows. Here an entry is two numbers in the array of one of many buckets: nothing but such an array ever
grows, and the garbage collector walks none of it. A look-up goes through a bucket at the speed of C.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

__all__ = ["CompactIndex", "buckets_for"]

_FILL: Final = 64
"""Entries of a bucket, on average, in an index that is full."""


def buckets_for(capacity: int, shards: int) -> int:
    """How many buckets each of `shards` shards should have, for `capacity` entries in all."""
    return max(1, capacity // (shards * _FILL))


class CompactIndex:
    """A multimap from numbers of 64 bits, of which the low ones say the shard, to positive integers of 63."""

    __slots__ = ("_bits", "_buckets", "_each", "_mask", "_size")

    def __init__(self, shards: int, each: int = 1) -> None:
        """`shards`: a power of two; `each`: buckets of a shard."""
        self._mask = shards - 1
        self._bits = shards.bit_length() - 1
        self._each = each
        self._buckets: list[array[int] | None] = [None] * (shards * each)
        """Key, value, key, value and so on, in the order of insertion."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def first(self, key: int) -> int:
        """The value that was put under the key first; 0 for none."""
        bucket = self._buckets[self._place(key)]
        at = -1 if bucket is None else _find(bucket, key, 0)
        return 0 if bucket is None or at < 0 else bucket[at + 1]

    def add(self, key: int, value: int) -> None:
        """Put another value under the key."""
        place = self._place(key)
        bucket = self._buckets[place]
        if bucket is None:
            bucket = self._buckets[place] = array("Q")
        bucket.append(key)
        bucket.append(value)
        self._size += 1

    def remove(self, key: int, value: int) -> bool:
        """Take one entry out; False if it is not here."""
        place = self._place(key)
        bucket = self._buckets[place]
        if bucket is None:
            return False
        at = _find(bucket, key, 0)
        while at >= 0 and bucket[at + 1] != value:
            at = _find(bucket, key, at + 2)
        if at < 0:
            return False
        # What is behind moves up, some hundred bytes.
        del bucket[at : at + 2]
        if not bucket:
            self._buckets[place] = None
        self._size -= 1
        return True

    def shard(self, number: int) -> Iterator[int]:
        """Every key of one shard; a bucket at a time as it is then."""
        start = (number & self._mask) * self._each
        for place in range(start, start + self._each):
            bucket = self._buckets[place]
            if bucket is not None:
                yield from bucket[::2].tolist()

    def _place(self, key: int) -> int:
        return (key & self._mask) * self._each + (key >> self._bits) % self._each


def _find(bucket: array[int], key: int, start: int) -> int:
    """The place of the key from an even place on; -1 for none. A value that is the same number is passed over."""
    try:
        at = bucket.index(key, start)
        while at & 1:
            at = bucket.index(key, at + 1)
    except ValueError:
        return -1
    return at
