"""When to have which session wipe keys that have outlived their use: a wheel beside that of the deadlines.

Sessions that have something to wipe are on it, and no others: nothing is scanned. A session is on it once, or a few
times where an earlier moment came to be known after a later one; an entry that finds nothing costs a look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic

from noisegate_server.store.base import S
from noisegate_server.store.expiry import ExpiryWheel

__all__ = ["Tending"]


class Tending(Generic[S]):
    """The wheel of one store. `tend_at` of a session is this object's to set."""

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
            self._wheel.arm(session.handle, moment, now)

    def begin_anew(self, session: S) -> None:
        """The session is back: its entry may have come up and found nobody. Its next record arms another one."""
        session.tend_at = math.inf

    def sweep(self, now: float, budget: int, find: Callable[[int], S | None]) -> int:
        """Have sessions wipe what is over, looking at `budget` entries at most; how many it looked at."""
        self._wheel.turn(now)
        looked_at = 0
        while looked_at < budget and (handle := self._wheel.pop()):
            looked_at += 1
            session = find(handle)
            if session is not None:
                self.wiped += session.tend_at <= now
                session.tend_at = math.inf
                self.arm(session, session.forget(now), now)
        return looked_at

    def next_due(self) -> float | None:
        """When the next entry comes up; None while there is none."""
        return self._wheel.next_due()
