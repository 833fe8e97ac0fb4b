"""Runs what blocks (exporters of OpenTelemetry do) on a thread that nobody has to wait for, not even at the exit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["aside"]


async def aside(work: Callable[[], object], seconds: float | None) -> bool:
    """Whether `work` has come to its end within so many seconds, None for any number. It runs on in any case.

    Not `asyncio.to_thread`: its pool is joined when the loop ends, and a collector that does not answer would hold that
    up.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            # The loop may be gone by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="telemetry", daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), seconds)
    return done.is_set()
