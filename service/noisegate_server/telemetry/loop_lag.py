"""How late the event loop comes to what is due: one timer, ten times a second."""

from __future__ import annotations

import asyncio
from typing import Final

from noisegate_server.telemetry.durations import Histogram

__all__ = ["LoopLag"]

_EVERY: Final = 0.1
_BOUNDS: Final = (0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures the loop that it is started on."""

    __slots__ = ("_due", "_timer", "histogram")

    def __init__(self) -> None:
        self.histogram: Final = Histogram(_BOUNDS)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _EVERY
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.histogram.record(max(0.0, asyncio.get_running_loop().time() - self._due))
        self.start()
