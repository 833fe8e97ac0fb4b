"""What is left of an ended session: its owner, why it ended, whether a ticket may help. No secrets; not for long."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import StoreLimits

__all__ = ["Tombstone", "Tombstones"]


_EXPIRES_AT: Final = 3


class Tombstone(NamedTuple):
    """One ended session."""

    tenant: str
    reason: TerminationReason
    resumable: bool
    expires_at: float
    """Monotonic seconds."""


class Tombstones:
    """Tombstones by session id, at most `limits.tombstones`: the newest pushes the oldest out.

    All live equally long, so the order in which they came is the order in which they go.
    """

    __slots__ = ("_limits", "_mask", "_order", "_shards")

    def __init__(self, limits: StoreLimits, shards: int) -> None:
        self._limits = limits
        self._mask = shards - 1
        # The fields of a Tombstone, the reason as a number: the garbage collector stops walking plain tuples of plain
        # values, and nothing else. A hundred thousand objects would hold the loop for some 10 ms whenever it looks.
        self._shards: list[dict[bytes, tuple[str, int, bool, float]]] = [{} for _ in range(shards)]
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self._shard(session_id)

    def _shard(self, session_id: bytes) -> dict[bytes, tuple[str, int, bool, float]]:
        return self._shards[xxh3_64_intdigest(session_id) & self._mask]

    def add(self, session_id: bytes, tenant: str, reason: TerminationReason, now: float, *, resumable: bool) -> None:
        """Remember the end of a session that has no tombstone yet."""
        if len(self._order) >= self._limits.tombstones:
            self._drop_oldest()
        self._order.append(session_id)
        self._shard(session_id)[session_id] = (tenant, int(reason), resumable, now + self._limits.tombstone_s)

    def find(self, tenant: str, session_id: bytes, now: float) -> Tombstone | None:
        """The tenant's own tombstone while it lives."""
        row = self._shard(session_id).get(session_id)
        if row is None:
            return None
        tombstone = Tombstone(row[0], TerminationReason(row[1]), row[2], row[3])
        if tombstone.tenant != tenant or tombstone.expires_at <= now:
            return None
        return tombstone

    def expire(self, now: float, budget: int) -> int:
        """Drop those whose time is over, `budget` at most; how many were looked at."""
        looked_at = 0
        while looked_at < budget and self._order:
            looked_at += 1
            oldest = self._order[0]
            if self._shard(oldest)[oldest][_EXPIRES_AT] > now:
                break
            self._drop_oldest()
        return looked_at

    def next_expiry(self) -> float | None:
        """When the oldest one's time is over; None if there is none."""
        if not self._order:
            return None
        oldest = self._order[0]
        return self._shard(oldest)[oldest][_EXPIRES_AT]

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._order and not any(self._shards)

    def _drop_oldest(self) -> None:
        oldest = self._order.popleft()
        del self._shard(oldest)[oldest]
