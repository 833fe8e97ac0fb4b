"""When something is said again that the peer has not reacted to (docs/protocol.md, section 4)."""

from __future__ import annotations

import math

from noisegate_server.session.constants import REMIND_FIRST_S, REMIND_GROWTH, REMIND_LAST_S


class Backoff:
    """After 1 s, then after waits that are 1.5 times as long each, at most 5 s. Made at rest."""

    __slots__ = ("at", "delay")

    def __init__(self) -> None:
        self.at = math.inf
        """The next time (monotonic seconds); never, at rest."""
        self.delay = REMIND_FIRST_S

    def start(self, now: float) -> None:
        """Begin with the first wait."""
        self.delay = REMIND_FIRST_S
        self.at = now + REMIND_FIRST_S

    def stop(self) -> None:
        """Come to rest."""
        self.at = math.inf

    def due(self, now: float) -> bool:
        """Whether it is time; if so the next wait begins."""
        if now < self.at:
            return False
        self.delay = min(self.delay * REMIND_GROWTH, REMIND_LAST_S)
        self.at = now + self.delay
        return True
