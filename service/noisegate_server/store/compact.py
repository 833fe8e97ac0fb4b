"""From 64-bit numbers to integers, in a fifth of a dict's memory and without its steps.

A dict entry costs 38 bytes and two objects of 32 to 48, and a dict of a million entries stops the loop for a quarter of
a second when it grows. Here an entry is two numbers in one of many buckets of bytes: nothing but such a bucket ever
grows, and the garbage collector knows of none (it walks an `array`). A look-up goes through one at the speed of C.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["CompactIndex", "buckets_for"]

_FILL: Final = 32
"""Entries of a bucket, on average, in an index that is full."""
_ENTRY: Final = struct.Struct("=Qq")
"""Key and value."""
_NUMBER: Final = struct.Struct("=Q")
_WIDTH: Final = _NUMBER.size
_SIZE: Final = _ENTRY.size
_INSIDE: Final = _SIZE - 1


def buckets_for(capacity: int, shards: int) -> int:
    """How many buckets each of `shards` shards should have, for `capacity` entries in all."""
    return max(1, capacity // (shards * _FILL))


class CompactIndex:
    """A multimap from numbers of 64 bits, of which the low ones say the shard, to positive integers of 63."""

    __slots__ = ("_buckets", "_places", "_shards", "_size")

    def __init__(self, shards: int, each: int = 1) -> None:
        """`shards`: a power of two; `each`: buckets of a shard."""
        self._shards = shards
        self._places = shards * each
        self._buckets: list[bytearray | None] = [None] * self._places
        """Entries in the order of insertion. Those of shard n are in every `shards`-th bucket from n on."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def first(self, key: int) -> int:
        """The value that was put under the key first; 0 for none."""
        bucket = self._buckets[key % self._places]
        if bucket is None:
            return 0
        sought = _NUMBER.pack(key)
        at = bucket.find(sought)
        # The same bytes may also lie across two numbers, or in a value. -1, for none, has these bits as well.
        while at & _INSIDE:
            if at < 0:
                return 0
            at = bucket.find(sought, at + 1)
        value: int = _NUMBER.unpack_from(bucket, at + _WIDTH)[0]
        return value

    def add(self, key: int, value: int) -> None:
        """Put another value under the key."""
        place = key % self._places
        bucket = self._buckets[place]
        if bucket is None:
            self._buckets[place] = bytearray(_ENTRY.pack(key, value))
        else:
            bucket += _ENTRY.pack(key, value)
        self._size += 1

    def remove(self, key: int, value: int) -> bool:
        """Take one entry out; False if it is not here."""
        place = key % self._places
        bucket = self._buckets[place]
        if bucket is None:
            return False
        entry = _ENTRY.pack(key, value)
        at = bucket.find(entry)
        while at & _INSIDE:
            if at < 0:
                return False
            at = bucket.find(entry, at + 1)
        # What is behind moves up, some hundred bytes.
        del bucket[at : at + _SIZE]
        if not bucket:
            self._buckets[place] = None
        self._size -= 1
        return True

    def shard(self, number: int) -> Iterator[int]:
        """Every key of one shard; a bucket at a time as it is then."""
        for place in range(number % self._shards, self._places, self._shards):
            bucket = self._buckets[place]
            if bucket is not None:
                yield from [key for key, _ in _ENTRY.iter_unpack(bucket)]
