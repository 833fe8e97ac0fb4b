"""Sessions in use as objects, idle ones as records, behind one table: who asks for a packed one gets an object.

A session is looked at when it may have been idle for `IDLE_S`, and not before: the wheel has one entry for each object,
and nothing is scanned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from noisegate_server.session.record_layout import Glance
from noisegate_server.store.base import S
from noisegate_server.store.compact import buckets_for
from noisegate_server.store.expiry import ExpiryWheel
from noisegate_server.store.packed import PackedSessions, Packer
from noisegate_server.store.suspended import NO_HANDLE
from noisegate_server.store.table import SessionTable

__all__ = ["IDLE_S", "PackingTable"]

IDLE_S: Final = 15.0
"""Seconds without use after which a session is packed: longer than any rate limit that a record does not know."""
_UNUSED_S: Final = 1.0
"""Seconds after which a session is looked at that was unpacked: unless it was used, it is packed again."""
_COST: Final = 2
"""Entries of a budget that one packing counts for: it takes twice as long as the end of a session."""


class PackingTable(SessionTable[S]):
    """A `SessionTable` that packs. Without a packer every session stays an object."""

    __slots__ = ("_now", "_packer", "_wheel", "resting")

    def __init__(self, shards: int, packer: Packer[S] | None, capacity: int) -> None:
        super().__init__(shards)
        self._packer = packer
        self.resting = None if packer is None else PackedSessions(packer, shards, buckets_for(capacity, shards))
        """The packed sessions; None where none can be."""
        self._wheel = ExpiryWheel()
        self._now = 0.0
        """When a sweep last came by here."""

    def __contains__(self, session_id: bytes) -> bool:
        return super().__contains__(session_id) or self.glance(session_id) is not None

    @property
    def packed(self) -> int:
        """How many of the sessions are packed now."""
        return 0 if self.resting is None else len(self.resting)

    def place(self, session: S) -> None:
        """Keep a session under the handle that it carries already; once it is idle, it will be packed."""
        self._place(session, IDLE_S)

    def _place(self, session: S, seconds: float) -> None:
        super().place(session)
        if self._packer is not None:
            session.idle_second = self._wheel.arm(session.handle, self._now + seconds, self._now)

    def find(self, handle: int) -> S | None:
        """The session with this handle, unpacked if need be; None once it has ended."""
        session = super().find(handle)
        if session is None and self.resting is not None and (session := self.resting.take(handle)) is not None:
            self._size -= 1
            # Who unpacks it may not come to use it: a packet of somebody else's that does not open.
            self._place(session, _UNUSED_S)
        return session

    def awake(self, handle: int) -> S | None:
        """The session with this handle if it is an object at present."""
        return super().find(handle)

    def look(self, handle: int) -> S | Glance | None:
        """The session with this handle as it is at present; None once it has ended."""
        session = super().find(handle)
        return session if session is not None or self.resting is None else self.resting.glance(handle)

    def glance(self, session_id: bytes) -> Glance | None:
        """What can be seen of the packed session with this id."""
        return None if self.resting is None else self.resting.glance_by_id(session_id)

    def packed_record(self, tenant: str, session_id: bytes) -> tuple[Any, memoryview] | None:
        """What the tenant's packed session of this id shares, and its record, to read and to write at once."""
        return None if self.resting is None else self.resting.record_of(tenant, session_id)

    def remove(self, session: S | Glance) -> bool:
        """Let go of a session, and wipe its record if it is packed; False if it is not here."""
        if not isinstance(session, Glance):
            return super().remove(session)
        if self.resting is None or not self.resting.drop(session):
            return False
        self._size -= 1
        return True

    def shard(self, number: int, used_before: float = math.inf) -> Iterator[S | None]:
        """The sessions of one shard that were last used before: each unpacked when it comes up, if need be.

        None for each of the others, so that who iterates knows how many it has looked at.
        """
        handles = list(self.by_handle[number & self.mask])
        if self.resting is not None:
            handles += self.resting.shard(number)
        for handle in handles:
            # Asked now: whoever iterates may wait in between, and then sessions are packed and unpacked.
            found = self.look(handle)
            if isinstance(found, Glance):
                found = self.find(handle) if found.last_used <= used_before else None
            yield found

    def packed_records(self, number: int) -> Iterator[tuple[int, Any, memoryview]]:
        """(handle, what it shares, record) of the packed sessions of one shard, each when it comes up."""
        return iter(()) if self.resting is None else self.resting.records(number)

    def everything(self) -> Iterator[S | Glance]:
        """Every session as it is at present, so that each may be removed on the way."""
        yield from self.drain()
        if self.resting is not None:
            for number in range(self.mask + 1):
                for handle in list(self.resting.shard(number)):
                    if (glance := self.resting.glance(handle)) is not None:
                        yield glance

    def pack_idle(self, now: float, budget: int) -> int:
        """Pack sessions that were not used for `IDLE_S`; how much of the budget that took."""
        self._now = now
        if self._packer is None or self.resting is None:
            return 0
        self._wheel.turn(now)
        spent = 0
        for handle in self._wheel.take(budget + 1 - _COST):
            spent += self._look_at(handle, now, self.resting, self._packer)
            if spent + _COST > budget:
                break
        return spent

    def _look_at(self, handle: int, now: float, resting: PackedSessions[S], packer: Packer[S]) -> int:
        """Pack a session if it is idle, and look at it again later if it is not; what that costs."""
        session = super().find(handle)
        if session is None or session.idle_second != self._wheel.second or session.expires_at <= now:
            # Gone, or looked at again later, or over: that is another queue's.
            return 1
        due = packer.idle_since(session) + IDLE_S
        if due <= now and packer.packable(session) and resting.put(session):
            super().remove(session)
            self._size += 1
            session.handle = NO_HANDLE
            return _COST
        session.idle_second = self._wheel.arm(handle, due if due > now else now + IDLE_S, now)
        return 1

    def next_idle(self) -> float | None:
        """When the next session may be idle; None while none can become so."""
        return self._wheel.next_due()

    def is_empty(self) -> bool:
        """Whether no session is left."""
        return super().is_empty() and (self.resting is None or self.resting.is_empty())

    def per_shard(self) -> tuple[int, ...]:
        """Sessions in each shard, packed or not."""
        awake = super().per_shard()
        return awake if self.resting is None else tuple(map(sum, zip(awake, self.resting.per_shard, strict=True)))
