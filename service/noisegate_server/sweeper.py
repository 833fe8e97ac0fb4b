"""How what nobody calls for is done beside the calls: in slices of time, with pauses between them.

A slice counts time and not entries, because to end a session takes several times as long as to find that it lives.
Between two slices there is always a pause: without one gRPC's own threads may wait for the core until the system's next
tick, 4 ms, and calls with them. So what is far behind gets longer slices, the further the longer, and no pause is left
out for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from noisegate_server.engine import upkeep
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.repeats import Repeats
from noisegate_server.store.base import Ended
from noisegate_server.telemetry.logs import LOG

__all__ = ["Sweeper"]

_STEP: Final = 6
"""Entries of each table between two looks at the clock: a fifth of a millisecond as a rule."""
_SLICE: Final = 0.0007
"""Seconds, as all here."""
_LATE: Final = 1.0
"""Behind what is due after which slices are longer. Less means nothing: what is due comes up by the second."""
_LONGER: Final = 0.0008
"""For each second behind. A slice that stays the same where more comes than it ends falls behind ever further."""
_LONGEST: Final = 0.003
_PAUSE: Final = 0.001
"""Until the next slice while more is due; what the loop's timer adds comes on top."""
_REST: Final = 0.1
"""Until the next look while nothing is."""


class Sweeper:
    """Sweeps one service. Of its event loop."""

    def __init__(self, parts: Parts, repeats: Repeats, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._parts: Final = parts
        self._repeats: Final = repeats
        self._clock: Final = clock
        self._wall: Final = wall

    def sweep(self) -> float:
        """End what is over and drop what was kept long enough, for the time of a slice; the pause that follows it."""
        parts, store, now, wall = self._parts, self._parts.store, self._clock(), self._wall()
        parts.counts.sweeps += 1
        wiped, over = store.wiped, list[Ended]()
        while True:
            ended, more = upkeep.sweep(parts, now, wall, _STEP)
            over += ended
            dropped = self._repeats.expire(now, _STEP) + self._repeats.cut(_STEP)
            due = store.next_expiry()
            behind = 0.0 if due is None else now - due
            more = more or dropped >= _STEP or (due is not None and due <= now)
            if not more or self._clock() >= now + _slice(behind):
                break
        _log_swept(over, store.wiped - wiped)
        return _PAUSE if more else _REST


def _slice(behind: float) -> float:
    """How long a slice may be where the oldest of what is due was due so long ago."""
    return _SLICE if behind < _LATE else min(_SLICE + _LONGER * behind, _LONGEST)


def _log_swept(ended: list[Ended], wiped: int) -> None:
    """Say what a slice has ended and wiped: numbers and causes, nothing of any session."""
    if ended or wiped:
        LOG.debug("swept", ended=dict(Counter(each.reason.name for each in ended)), keys_wiped_of=wiped)
