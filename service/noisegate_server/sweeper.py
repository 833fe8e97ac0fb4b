"""How what nobody calls for is done beside the calls: in slices of time, between which others run.

A slice counts time and not entries, because to end a session takes several times as long as to find that it lives.

A call on grpc.aio is some ten turns of the loop: gRPC's threads tell of each event by a byte, a turn reads one byte,
and what it begins is another event. With a slice in each turn a call would wait for ten of them; so after a slice come
as many turns as a call has. Before these the thread sleeps: where there is but one core, gRPC's threads would wait for
it until the system's next tick, 4 ms, and calls with them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from noisegate_server.engine import upkeep
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc.repeats import Repeats
from noisegate_server.store.base import Ended
from noisegate_server.telemetry.logs import LOG, is_detailed

__all__ = ["REST", "Sweeper"]

_STEP: Final = 6
"""Entries of the store between two looks at the clock: a quarter of a millisecond where sessions end."""
_ROWS: Final = 12
"""Of each table of what is kept beside sessions: first in a slice, and again while there are more of them."""
_SLICE: Final = 0.00025
"""Seconds, as all here."""
_LATE: Final = 1.0
"""Behind what is due from where on slices are longer. Less means nothing: what is due comes up by the second."""
_LONGER: Final = 0.0008
"""For each second more. A slice that stays the same where more comes than it ends falls behind ever further."""
_LONGEST: Final = 0.003
_SLEEP: Final = 0.000001
"""Of the thread, after a slice; the system's timers make some 60 microseconds of it."""
_TURNS: Final = 12
"""Of the loop, after a slice: those of a call, and some in which gRPC's threads are on their way."""
_GIVEN: Final = 0.001
"""How long these may take: where calls fill every turn, the sweeper has its share all the same."""
REST: Final = 0.1
"""Until the next look while nothing is due."""


class Sweeper:
    """Sweeps one service. Of its event loop."""

    def __init__(
        self,
        parts: Parts,
        repeats: Repeats,
        clock: Callable[[], float],
        wall: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._parts: Final = parts
        self._repeats: Final = repeats
        self._clock: Final = clock
        self._wall: Final = wall
        self._sleep: Final = sleep

    async def give_way(self) -> None:
        """Let others run between two slices: gRPC's threads, and then the calls that they have brought."""
        self._sleep(_SLEEP)
        until = self._clock() + _GIVEN
        for _ in range(_TURNS):
            await turn()
            if self._clock() >= until:
                break

    def sweep(self) -> bool:
        """End what is over and drop what was kept long enough, for the time of a slice; whether more is due."""
        parts, store, now, wall = self._parts, self._parts.store, self._clock(), self._wall()
        parts.counts.sweeps += 1
        wiped, over = store.wiped, list[Ended]()
        rows = self._forget(now, wall)
        while True:
            looked_at = store.looked_at
            over += store.sweep(now, _STEP)
            if store.looked_at - looked_at == _STEP and self._clock() < now + _SLICE:
                continue
            due = store.next_expiry()
            behind = -1.0 if due is None else now - due
            if behind < 0 or rows:
                rows = self._forget(now, wall)
            more = behind >= 0 or rows
            if not more or self._clock() >= now + _slice(behind):
                break
        _log_swept(over, store.wiped - wiped)
        return more

    def _forget(self, now: float, wall: float) -> bool:
        """Forget rows that are over; whether there may be more of them."""
        dropped = max(upkeep.forget(self._parts, now, wall, _ROWS), self._repeats.expire(now, _ROWS))
        # A few, since each may read an answer with a thousand records and write it anew.
        cut = self._repeats.cut(_STEP)
        return dropped >= _ROWS or cut >= _STEP


def _slice(behind: float) -> float:
    """How long a slice may be where the oldest of what is due was due so long ago."""
    return min(_SLICE + _LONGER * max(0.0, behind - _LATE), _LONGEST)


def _log_swept(ended: list[Ended], wiped: int) -> None:
    """Say what a slice has ended and wiped: numbers and causes, nothing of any session."""
    if (ended or wiped) and is_detailed():
        LOG.debug("swept", ended=dict(Counter(each.reason.name for each in ended)), keys_wiped_of=wiped)
