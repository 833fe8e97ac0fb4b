"""When to look at which session: a timer wheel with a bucket for each second.

A session that is used moves its deadline with every message, and the wheel is not told: when the entry comes up, who
looks at it finds the deadline further away and arms it again. A deadline beyond the wheel's reach is put in the
farthest bucket and comes round again, so that no entry of a session that ended early stays longer than `REACH_S`.

Whoever arms an entry notes at the session in which second it comes up. A deadline that moves back gets an entry of its
own only where that is earlier, and then the one of before is not the noted one any more: when it comes up, it is
dropped. So a session has one entry that counts, and others for no longer than the reach.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from math import ceil, floor
from typing import Final

__all__ = ["REACH_S", "ExpiryWheel"]

REACH_S: Final = 256
"""Buckets of the wheel, so seconds. A longer reach: fewer looks at idle sessions, more entries of ended ones."""


class ExpiryWheel:
    """Handles by the second in which they are due. An entry comes up less than a second after its deadline.

    The bucket of second s holds deadlines in (s - 1, s], and those with s in [_next, _next + REACH_S) are on the wheel.
    Due buckets are moved off it whole, so a clock that jumps far costs `REACH_S` steps and no copying.
    """

    __slots__ = ("_due", "_next", "_size", "_wheel", "second")

    def __init__(self) -> None:
        self._wheel: list[array[int]] = [array("q") for _ in range(REACH_S)]
        self._due: deque[tuple[int, array[int]]] = deque()
        self._next = 0
        self._size = 0
        self.second = 0
        """In which the entry that `take` gave last was due."""

    def __len__(self) -> int:
        return self._size

    def arm(self, handle: int, deadline: float, now: float, noted: int = 0) -> int:
        """Bring the handle up once the deadline has passed, or earlier when that is far away; the second, to be noted.

        `noted`: what was noted when this was done last, while that entry has not come up; 0 for none. Where it comes up
        early enough, it stays the only one.
        """
        if not self._size:
            self._next = max(self._next, floor(now) + 1)
        last = self._next + REACH_S - 1
        second = last if deadline > last else max(ceil(deadline), self._next)
        if 0 < noted <= second:
            return noted
        self._wheel[second % REACH_S].append(handle)
        self._size += 1
        return second

    def turn(self, now: float) -> None:
        """Make all that is due at `now` available to `take`."""
        if now < self._next:
            return
        second = floor(now)
        for each in range(self._next, min(second + 1, self._next + REACH_S)):
            slot = each % REACH_S
            if self._wheel[slot]:
                self._due.append((each, self._wheel[slot]))
                self._wheel[slot] = array("q")
        self._next = second + 1

    def take(self, limit: int) -> Iterator[int]:
        """Take off due handles, each as it is given out, at most so many. One iterator at a time."""
        while limit > 0 and self._due:
            self.second, bucket = self._due[0]
            count = min(limit, len(bucket))
            limit -= count
            try:
                for _ in range(count):
                    self._size -= 1
                    yield bucket.pop()
            finally:
                if not bucket and self._due and self._due[0][1] is bucket:
                    self._due.popleft()

    def next_due(self) -> float | None:
        """The earliest second in which an entry comes up; one that has passed if any is due already; None if empty."""
        if not self._size:
            return None
        if self._due:
            return float(self._due[0][0])
        return float(next(each for each in range(self._next, self._next + REACH_S) if self._wheel[each % REACH_S]))
