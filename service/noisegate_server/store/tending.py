"""When to have which session wipe keys that have outlived their use: a wheel beside that of the deadlines.

Sessions that have something to wipe are on it, and no others: nothing is scanned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic

from noisegate_server.store.base import S
from noisegate_server.store.expiry import ExpiryWheel

__all__ = ["Tending"]


class Tending(Generic[S]):
    """The wheel of one store. `tend_at` and `tend_second` of a session are this object's to set."""

    __slots__ = ("_wheel", "wiped")

    def __init__(self) -> None:
        self._wheel = ExpiryWheel()
        self.wiped = 0
        """How often a session has wiped something."""

    def __len__(self) -> int:
        """Entries, those of sessions that have ended included."""
        return len(self._wheel)

    def arm(self, session: S, moment: float, now: float) -> None:
        """Come by at `moment` (monotonic seconds), unless that is to happen before."""
        if moment < session.tend_at:
            session.tend_at = moment
            session.tend_second = self._wheel.arm(session.handle, moment, now, session.tend_second)

    def begin_anew(self, session: S) -> None:
        """The session is on the wheel no more: its entry has come up, maybe when it was not here."""
        session.tend_at, session.tend_second = math.inf, 0

    def sweep(self, now: float, budget: int, find: Callable[[int], S | None]) -> int:
        """Have sessions wipe what is over, looking at `budget` entries at most; how many it looked at."""
        self._wheel.turn(now)
        looked_at = 0
        for handle in self._wheel.take(budget):
            looked_at += 1
            session = find(handle)
            if session is not None and session.tend_second == self._wheel.second:
                self.wiped += session.tend_at <= now
                self.begin_anew(session)
                self.arm(session, session.forget(now), now)
        return looked_at

    def next_due(self) -> float | None:
        """When the next entry comes up; None while there is none."""
        return self._wheel.next_due()
