"""What is left of an ended session: its owner, why it ended, whether a ticket may help. No secrets; not for long."""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, NamedTuple

from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import StoreLimits

__all__ = ["Tombstone", "Tombstones"]


_ROW: Final = struct.Struct("=dB?")
"""A Tombstone's expires_at, reason and resumable; its tenant follows."""


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
        # Bytes, because the garbage collector walks whatever can hold a reference.
        self._shards: list[dict[bytes, bytes]] = [{} for _ in range(shards)]
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self._shard(session_id)

    def _shard(self, session_id: bytes) -> dict[bytes, bytes]:
        # As in `table`: ids are random and ours. What is looked for may be anything.
        return self._shards[(session_id or b"\0")[-1] & self._mask]

    def add(self, session_id: bytes, tenant: str, reason: TerminationReason, now: float, *, resumable: bool) -> None:
        """Remember the end of a session that has no tombstone yet."""
        if len(self._order) >= self._limits.tombstones:
            self._drop_oldest()
        self._order.append(session_id)
        row = _ROW.pack(now + self._limits.tombstone_s, reason, resumable) + tenant.encode()
        self._shard(session_id)[session_id] = row

    def find(self, tenant: str, session_id: bytes, now: float) -> Tombstone | None:
        """The tenant's own tombstone while it lives."""
        row = self._shard(session_id).get(session_id)
        if row is None:
            return None
        expires_at, reason, resumable = _ROW.unpack_from(row)
        if expires_at <= now or row[_ROW.size :] != tenant.encode():
            return None
        return Tombstone(tenant, TerminationReason(reason), resumable, expires_at)

    def expire(self, now: float, budget: int) -> int:
        """Drop those whose time is over, `budget` at most; how many there were."""
        dropped = 0
        while dropped < budget and self._order and self._end_of(self._order[0]) <= now:
            self._drop_oldest()
            dropped += 1
        return dropped

    def next_expiry(self) -> float | None:
        """When the oldest one's time is over; None if there is none."""
        return self._end_of(self._order[0]) if self._order else None

    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self._order and not any(self._shards)

    def _end_of(self, session_id: bytes) -> float:
        return float(_ROW.unpack_from(self._shard(session_id)[session_id])[0])

    def _drop_oldest(self) -> None:
        oldest = self._order.popleft()
        del self._shard(oldest)[oldest]
