"""When sessions end by themselves, in whatever form they are by then: as objects, packed or suspended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic

from noisegate_server.session.record_layout import Glance
from noisegate_server.store.base import S
from noisegate_server.store.expiry import ExpiryWheel
from noisegate_server.store.packing import PackingTable
from noisegate_server.store.suspended import SuspendedSession
from noisegate_server.store.table import SessionTable

__all__ = ["Deadlines"]

_ENTRIES: Final = 4
"""Entries of the wheel for each session of the capacity. Sessions that end early leave theirs on it for up to its
reach; only thousands of sessions a second, begun and ended, come near this cap."""
_ENTRIES_MIN: Final = 1_000_000
"""The same cap for a small store: 8 MB."""


class Deadlines(Generic[S]):
    """The wheel of one store's sessions. `expiry_second` of a session is this object's to set."""

    __slots__ = ("_asleep", "_cap", "_table", "_wheel")

    def __init__(self, table: PackingTable[S], asleep: SessionTable[SuspendedSession], capacity: int) -> None:
        self._table = table
        self._asleep = asleep
        self._cap = max(_ENTRIES_MIN, _ENTRIES * capacity)
        self._wheel = ExpiryWheel()

    def __len__(self) -> int:
        """Entries, those of sessions that have ended included."""
        return len(self._wheel)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for the entry of another session."""
        return len(self._wheel) >= self._cap

    def arm(self, session: S | SuspendedSession, now: float) -> None:
        """The session is new, or its deadline has moved back: let a sweep come by in time."""
        session.expiry_second = self._wheel.arm(session.handle, session.expires_at, now, session.expiry_second)

    def sweep(self, now: float, budget: int, over: Callable[[S | Glance | SuspendedSession, float], None]) -> int:
        """Hand each session whose time is over to `over`, looking at `budget` entries at most; how many it looked at.

        A suspended session that is on its way is let go there first, and comes up again.
        """
        wheel, packed = self._wheel, self._table.resting
        awake, mask = self._table.by_handle, self._table.mask
        wheel.turn(now)
        looked_at = 0
        for handle in wheel.take(budget):
            looked_at += 1
            if (session := awake[handle & mask].get(handle)) is not None:
                if session.expiry_second != wheel.second:
                    continue
                if session.expires_at > now:
                    session.expiry_second = wheel.arm(handle, session.expires_at, now)
                else:
                    over(session, now)
            elif packed is not None and (known := packed.expiry(handle)) is not None:
                expires_at, second, reference, slot = known
                if second != wheel.second:
                    continue
                if expires_at > now:
                    packed.note_expiry(slot, wheel.arm(handle, expires_at, now))
                else:
                    over(packed.glance_at(reference, slot), now)
            else:
                self._look_at_asleep(handle, now, over)
        return looked_at

    def next_due(self) -> float | None:
        """When the next entry comes up; None while there is none."""
        return self._wheel.next_due()

    def _look_at_asleep(self, handle: int, now: float, over: Callable[[SuspendedSession, float], None]) -> None:
        record = self._asleep.find(handle)
        if record is None or record.expiry_second != self._wheel.second:
            return
        if record.expires_at > now or record.moving:
            record.expiry_second = self._wheel.arm(handle, max(record.expires_at, now), now)
        else:
            over(record, now)
