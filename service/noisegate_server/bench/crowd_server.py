"""A service with very many sessions in a process of its own: `python -m noisegate_server.bench.crowd_server`.

It says its address, does what the lines of its standard input say, and answers each with a line of JSON:

    install N   adds idle sessions until N live: the memory that the process has then
    ids         of 1,024 sessions, whose keys are young from now on
    expire      10,000 sessions a second will expire for the next 8 seconds: how many live now
    steps       the longest step of the loop since the line before, and how many sessions live
    rest        packs every session
    scale       see `bench.scale`

It runs as the service does, but on asyncio's own loop: that one lets every step be watched. A step counts by the CPU
time of its thread.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from asyncio.events import Handle
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

from noisegate_server import process
from noisegate_server.bench import scale
from noisegate_server.bench.crowd import TENANT, Crowd
from noisegate_server.huge_pages import keep_huge

EXPIRE_PER_SECOND: Final = 10_000
EXPIRE_SECONDS: Final = 8
_INSTALL_PER_SECOND: Final = 2_000
_MARGIN: Final = 90.0
"""Seconds of the service's clock for which the installing of those that expire may last beyond its plan."""
_KINDS_PER_SECOND: Final = 4
"""Idle timeouts: what sessions have in common is kept once, and not for every session a timeout of its own."""


def resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watch_steps() -> Callable[[], float]:
    """From here on measure every step of every loop by its thread's CPU time; gives the longest since it was asked."""
    longest = 0
    run = Handle._run

    def measured(self: Handle) -> None:
        nonlocal longest
        began = time.thread_time_ns()
        run(self)
        longest = max(longest, time.thread_time_ns() - began)

    Handle._run = measured  # type: ignore[method-assign]  # the one place through which every step goes

    def take() -> float:
        nonlocal longest
        taken, longest = longest, 0
        return taken / 1e6

    return take


class CrowdServer:
    """What the lines mean."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.longest_ms = watch_steps()
        self.ids: list[bytes] = []

    def install(self, sessions: int) -> dict[str, Any]:
        """Add idle sessions until so many live."""
        store = self.crowd.parts.store
        self.crowd.install(sessions - store.counts().sessions)
        counts = store.counts()
        if counts.packed != sessions:
            raise RuntimeError(f"{counts.packed} of {sessions} sessions are packed")
        return {"resident": resident()}

    def some(self) -> dict[str, Any]:
        """Take some sessions into use."""
        self.ids = [session.session_id for session in self.crowd.parts.store.select(TENANT, limit=1_024)[0]]
        self.crowd.renew(self.ids)
        return {"ids": [each.hex() for each in self.ids]}

    def expire(self) -> dict[str, Any]:
        """Have EXPIRE_PER_SECOND sessions a second expire for the next EXPIRE_SECONDS."""
        crowd, number = self.crowd, count()
        sessions = EXPIRE_SECONDS * EXPIRE_PER_SECOND
        first = crowd.clock() + sessions / _INSTALL_PER_SECOND + _MARGIN

        def idle_timeout(now: float) -> float:
            wanted = first - now + next(number) / EXPIRE_PER_SECOND
            return round(wanted * _KINDS_PER_SECOND) / _KINDS_PER_SECOND

        crowd.install(sessions, idle_timeout, per_second=_INSTALL_PER_SECOND)
        crowd.pass_time(max(0.0, first - 0.5 - crowd.clock()))
        crowd.renew(self.ids)
        return {"sessions": crowd.server.sessions}

    def rest(self) -> dict[str, Any]:
        """Pack every session."""
        self.crowd.renew(self.ids)
        self.crowd.rest()
        return {}

    async def answer(self, line: str) -> dict[str, Any]:
        """What a line asks for."""
        match line.split():
            case ["install", sessions]:
                return self.install(int(sessions))
            case ["ids"]:
                return self.some()
            case ["expire"]:
                return self.expire()
            case ["rest"]:
                return self.rest()
            case ["steps"]:
                return {}
            case ["scale"]:
                return await scale.measure(self.crowd)
        raise ValueError(line)


async def serve() -> None:
    """Answer calls, and lines."""
    crowd = Crowd()
    await crowd.start()
    server = CrowdServer(crowd)
    say(address=crowd.address, empty=resident())
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        longest_ms = server.longest_ms()
        said = await server.answer(line)
        # What has piled up meanwhile is not the sweeper's doing; and the step that has done this ends here.
        await asyncio.sleep(0.2)
        server.longest_ms()
        say(longest_ms=longest_ms, **{"sessions": crowd.server.sessions, **said})


def say(**fields: Any) -> None:
    """One line for whoever has started this process."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    process.run_in_batches()
    process.keep_freed_memory()
    keep_huge()
    asyncio.run(serve())
