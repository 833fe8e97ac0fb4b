"""The replay window of an epoch (docs/protocol.md, section 3)."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 1024
"""So far behind the highest counter that has opened a record may still come."""


class Window:
    """Which counters have opened: the highest (-1 for none), and a bit for each of those behind it."""

    def __init__(self) -> None:
        self.highest = -1
        self._seen = 0

    def fresh(self, counter: int) -> bool:
        """Whether it has not opened yet, as far as is known."""
        behind = self.highest - counter
        return behind < 0 or (behind <= WINDOW and not self._seen >> behind & 1)

    def add(self, counter: int) -> None:
        """A record with this counter has opened."""
        ahead = counter - self.highest
        if ahead > 0:
            self._seen = self._seen << min(ahead, WINDOW + 1) & ((2 << WINDOW) - 1)
            self.highest = counter
        self._seen |= 1 << self.highest - counter
