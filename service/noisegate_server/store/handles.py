"""An ordered set of handles that stays cheap at one element and at a million.

Listing needs a cursor that survives additions and removals, so the set is kept in order; and no single step may move
memory in proportion to the set's size, so it is kept in chunks. `array` rather than `list`, because the garbage
collector does not walk what is in one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

__all__ = ["CHUNK", "HandleSet"]

CHUNK: Final = 512
"""The most handles in a chunk."""


class HandleSet:
    """Ascending integers in chunks. `_floors[i]` is at most every handle of chunk i and above all those before it."""

    __slots__ = ("_chunks", "_floors", "size")

    def __init__(self) -> None:
        self._chunks: list[array[int]] = []
        self._floors: list[int] = []
        self.size = 0
        """How many there are."""

    def __len__(self) -> int:
        return self.size

    def append(self, handle: int) -> None:
        """Put in a handle above all others; a new session's always is."""
        if not self._chunks or len(self._chunks[-1]) >= CHUNK:
            self._chunks.append(array("q"))
            self._floors.append(handle)
        self._chunks[-1].append(handle)
        self.size += 1

    def remove(self, handle: int) -> bool:
        """Take a handle out; False if it is not in the set."""
        at = bisect_right(self._floors, handle) - 1
        if at < 0:
            return False
        chunk = self._chunks[at]
        place = bisect_left(chunk, handle)
        if place == len(chunk) or chunk[place] != handle:
            return False
        del chunk[place]
        self.size -= 1
        if not chunk:
            del self._chunks[at], self._floors[at]
        elif len(chunk) <= CHUNK // 4 and len(self._chunks) > 1:
            # Without this, a set that shrank could be left with a chunk for every handle.
            self._merge(at)
            self._merge(at - 1)
        return True

    def chunk_count(self) -> int:
        """How many chunks there are: never more than 1 + 8 * len / CHUNK."""
        return len(self._chunks)

    def page(self, after: int, limit: int) -> list[int]:
        """The first `limit` handles above `after`, in order."""
        found: list[int] = []
        at = max(bisect_right(self._floors, after) - 1, 0)
        while len(found) < limit and at < len(self._chunks):
            chunk = self._chunks[at]
            start = bisect_right(chunk, after)
            found.extend(chunk[start : start + limit - len(found)])
            at += 1
        return found

    def _merge(self, at: int) -> None:
        """Join chunk `at` and the next, where both are there and half a chunk holds them."""
        if 0 <= at < len(self._chunks) - 1 and len(self._chunks[at]) + len(self._chunks[at + 1]) <= CHUNK // 2:
            self._chunks[at].extend(self._chunks[at + 1])
            del self._chunks[at + 1], self._floors[at + 1]
