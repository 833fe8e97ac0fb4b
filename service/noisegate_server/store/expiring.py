"""A bounded table whose rows all live equally long: answers to repeated packets, spent tickets, tickets we were given.

Bounded in rows and, where rows differ in size, in bytes. Rows lie in the order of their insertion, which is that of
their expiry, so forgetting what is over never scans.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _keep(_value: object) -> None:
    """Nothing to do for a value that holds no secret."""


def _weightless(_value: object) -> int:
    """For rows of like size, which their number bounds."""
    return 0


class ExpiringTable(Generic[K, V]):
    """Rows of `ttl` seconds, at most `capacity` of them and `budget` bytes as `weigh` counts them.

    `now` is monotonic seconds. Not safe for threads.
    """

    __slots__ = ("_budget", "_bytes", "_capacity", "_on_drop", "_rows", "_ttl", "_weigh")

    def __init__(
        self,
        *,
        ttl: float,
        capacity: int,
        on_drop: Callable[[V], None] = _keep,
        weigh: Callable[[V], int] = _weightless,
        budget: int = 0,
    ) -> None:
        """`weigh`: bytes of a value, the same whenever it is asked."""
        self._ttl: Final = ttl
        self._capacity: Final = capacity
        self._on_drop: Final = on_drop
        self._weigh: Final = weigh
        self._budget: Final = budget
        self._bytes = 0
        self._rows: Final[dict[K, tuple[V, float]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def held_bytes(self) -> int:
        """The weight of all rows."""
        return self._bytes

    def is_full(self, now: float) -> bool:
        """Whether `put` would have to drop a row that is still alive."""
        self.forget_expired(now)
        return len(self._rows) >= self._capacity

    def put(self, key: K, value: V, now: float) -> None:
        """Keep a row; in a full table the oldest ones make room. A value over the whole budget is dropped at once."""
        self.pop(key, now)
        self.forget_expired(now)
        self._rows[key] = (value, now + self._ttl)
        self._bytes += self._weigh(value)
        while len(self._rows) > self._capacity or self._bytes > self._budget:
            self._drop(next(iter(self._rows)))

    def get(self, key: K, now: float) -> V | None:
        """The row's value, or None where there is none any more."""
        row = self._rows.get(key)
        return row[0] if row is not None and now < row[1] else None

    def pop(self, key: K, now: float) -> V | None:
        """Take a row out: its value is the caller's now, and `on_drop` is not called for it."""
        row = self._rows.pop(key, None)
        if row is None:
            return None
        self._bytes -= self._weigh(row[0])
        if now >= row[1]:
            self._on_drop(row[0])
            return None
        return row[0]

    def forget_expired(self, now: float, budget: int = 64) -> int:
        """Drop rows whose time is over, at most `budget` of them; how many."""
        rows = self._rows
        for dropped in range(budget):
            key = next(iter(rows), None)
            if key is None or rows[key][1] > now:
                return dropped
            self._drop(key)
        return budget

    def clear(self) -> None:
        """Drop every row."""
        while self._rows:
            self._drop(next(iter(self._rows)))

    def _drop(self, key: K) -> None:
        value, _ = self._rows.pop(key)
        self._bytes -= self._weigh(value)
        self._on_drop(value)
