"""A sender that may have a fast path: what it counts, until when its path holds, and which rooms have joined it.

It stands beside the key, in one object: of very many sessions each further object is one that no cache of the processor
has. How keys follow is the business of `session.phases`; what a fast path is, of session/fast_path.py.
"""

from __future__ import annotations

import math
from typing import Final

from noisegate_server.session.aeads import Keyed

_HOLDS: Final = 8
"""Rooms of one session whose paths hold at the same time; the oldest goes first."""


class Hold:
    """Until when what was found out about many sessions together holds: as long as the fast path of each of them."""

    __slots__ = ("sent", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        """As FastSender.fast_until."""
        self.sent = 0
        """Bytes that were sealed for each of the sessions: its sender adds them to `sent_bytes` when the hold ends. To
        add them to each at once would fetch each one's number, which is an object of its own.
        """


class FastSender(Keyed):
    """Counter, bytes and fast path of one epoch. A rekey ends the path; the counts go on."""

    __slots__ = ("counter", "fast_until", "holds", "sent_bytes")

    def __init__(self) -> None:
        self.aead = None
        self.asked = 0
        self.counter = 0
        """That of the next record."""
        self.sent_bytes = 0
        """Bytes of the game's plaintexts, but for what `holds` have and has not been added yet."""
        self.fast_until = -math.inf
        """Until when the fast path of what is sealed here holds (monotonic seconds); see session/fast_path.py."""
        self.holds: tuple[Hold, ...] = ()
        """Those of the rooms that the session is in; see session/room.py."""

    @property
    def sealed_bytes(self) -> int:
        """Bytes of the game's plaintexts that were sealed in this epoch."""
        return self.sent_bytes + sum(hold.sent for hold in self.holds)

    def join(self, hold: Hold) -> None:
        """What `hold` is about holds no longer than the fast path here."""
        if len(self.holds) >= _HOLDS:
            self._let_go(self.holds[0])
        self.holds = (*self.holds[-_HOLDS + 1 :], hold)

    def leave_fast_path(self) -> None:
        """It holds no more, nor does anything that joined it."""
        self.fast_until = -math.inf
        for hold in self.holds:
            self._let_go(hold)
        self.holds = ()

    def _let_go(self, hold: Hold) -> None:
        hold.until = -math.inf
        self.sent_bytes += hold.sent
