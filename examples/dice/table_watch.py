"""What noisegate tells of the table's sessions by itself: the stream of WatchSessions, for screen and books."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from examples.dice.child import emit
from examples.dice.script import GROUP
from noisegate import Client, Lagged, SessionEvent, SessionEventKind, Watching

SHOWN: Final = {
    SessionEventKind.ROTATED: "has new keys, epoch {epoch}",
    SessionEventKind.SUSPENDED: "is out of memory",
    SessionEventKind.RESTORED: "is back in memory, epoch {epoch}",
}
"""The others are many; the books count them."""


class Watch:
    """One watcher. `name_of`: who it is to whom noisegate gives this name."""

    def __init__(self, client: Client, name_of: Callable[[str], str]) -> None:
        self._client, self._name_of = client, name_of
        self.begun = asyncio.Event()
        self.told: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Listens until it is cancelled. NoisegateError."""
        async with aclosing(self._client.watch_sessions(group=GROUP)) as stream:
            async for told in stream:
                if isinstance(told, Watching):
                    self.begun.set()
                elif isinstance(told, SessionEvent):
                    self._event(told)
                elif isinstance(told, Lagged):
                    self.told["lagged"] += told.missed
                self._news.set()

    async def settled(self, sessions: int, patience_s: float) -> None:
        """Returns when the end of so many sessions was told, or when it has waited long enough."""
        try:
            async with asyncio.timeout(patience_s):
                while self.told["ended"] < sessions:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _event(self, event: SessionEvent) -> None:
        self.told[event.kind.name.lower()] += 1
        if event.kind in SHOWN:
            what = SHOWN[event.kind].format(epoch=event.epoch)
            emit("told", text=f"{self._name_of(event.peer_id)}'s session {what}")
