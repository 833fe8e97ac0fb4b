"""What is under way and whose caller may be gone: it runs to its end, and a stop waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from noisegate_server.rpc.call import Reply

__all__ = ["Running"]


class Running:
    """Operations of one process that had to wait. Half an operation on a store is worse than an unread answer."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: Final[set[asyncio.Future[Reply]]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, reply: Awaitable[Reply]) -> asyncio.Future[Reply]:
        """Keep it until it is done, whatever becomes of the call. Not for the caller to cancel."""
        running = asyncio.ensure_future(reply)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def end(self, seconds: float) -> None:
        """Return when all of it is done, or after so long."""
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, seconds))
