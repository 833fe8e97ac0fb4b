"""Keeps the vault in order while the service runs, and lets sessions leave memory: idle ones, and all at a stop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from noisegate_server.config import Config, ConfigError
from noisegate_server.engine.departure import departures
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.restore import recall_suspended
from noisegate_server.engine.revoke import recall
from noisegate_server.engine.slumber import leaving
from noisegate_server.engine.suspend import put_away
from noisegate_server.session.errors import Overloaded
from noisegate_server.session.session import Session
from noisegate_server.store.vault import KeptSession, VaultFailed
from noisegate_server.telemetry.logs import LOG
from noisegate_server.vault.troubles import trouble

__all__ = ["Keeper"]

_EXPIRE_SECONDS: Final = 1.0
_EXPIRE_BUDGET: Final = 1_000
_LOOK_SECONDS: Final = 0.1
"""Between two looks for idle sessions."""
_SHARDS_A_ROUND: Final = 8
"""Looked through for those that are idle at one and the same moment."""
_SLICES_A_LOOK: Final = 4
"""At most 512 sessions, a millisecond for each hundred where none is idle. A million are looked at in 4 minutes."""
_PAUSE_SECONDS: Final = 0.002
"""Between two of these, in which a call comes through: on grpc.aio it takes many turns of the loop."""
_GROUP: Final = 256
"""Sessions that leave at a stop together: some 10 ms, after which probes have their turn."""
_SILENCE_SECONDS: Final = 60.0
"""Between two lines of the log about a vault that fails."""

Clock = Callable[[], float]


class Keeper:
    """Of one running instance."""

    def __init__(self, parts: Parts, config: Config, *, clock: Clock, wall: Clock) -> None:
        self._parts: Final = parts
        self._clock: Final = clock
        self._wall: Final = wall
        self._idle: Final = config.suspend_idle
        self._lasting: Final = parts.vault.survives and config.blob_key is not None
        """Whether what is suspended can come back in another process."""
        self._expire_at = 0.0
        self._look_at = 0.0 if self._idle else math.inf
        self._shard = 0
        self._leaving: Iterator[list[Session]] = iter(())
        """Of the shards that are being looked through."""
        self._said_at = -_SILENCE_SECONDS
        self._at_work: asyncio.Task[None] | None = None

    async def recall(self) -> None:
        """Take over what earlier processes have left. ConfigError where the file does not give it."""
        try:
            await recall(self._parts)
            if self._lasting:
                await recall_suspended(self._parts, self._clock(), self._wall())
            else:
                # Sealed under a key that is gone.
                kept = await self._parts.vault.kept()
                await self._parts.vault.forget([session.session_id for session in kept])
        except VaultFailed as failure:
            raise ConfigError("--state-file", ": ".join(trouble(failure.cause))) from None

    async def tick(self) -> None:
        """What is due, in slices: forget what is over, suspend what is idle."""
        now = self._clock()
        if now >= min(self._expire_at, self._look_at):
            # A task, because half of it would lose sessions: whoever is cancelled here leaves it at work.
            self._at_work = asyncio.create_task(self._tick(now), name="keeper")
            await asyncio.shield(self._at_work)

    async def _tick(self, now: float) -> None:
        try:
            if now >= self._expire_at:
                self._expire_at = now + _EXPIRE_SECONDS
                await self._parts.vault.expire(self._wall(), _EXPIRE_BUDGET)
            if now >= self._look_at:
                self._look_at = now + _LOOK_SECONDS
                await self._suspend_idle(now)
        except (VaultFailed, Overloaded) as failure:
            self._complain(failure, now)

    async def _suspend_idle(self, now: float) -> None:
        """Overloaded where the vault fails: those that have not left go on."""
        for _ in range(_SLICES_A_LOOK):
            group = next(self._leaving, None)
            if group is None:
                shards = range(self._shard, self._shard + _SHARDS_A_ROUND)
                self._shard = shards.stop
                self._leaving = leaving(self._parts, shards, used_before=now - self._idle)
            elif group:
                await put_away(self._parts, group, by_service=True, now=self._clock(), wall=self._wall())
            await asyncio.sleep(_PAUSE_SECONDS)

    async def drain(self, seconds: float) -> None:
        """At a stop: suspend every session, where another process can bring them back, for so long at most.

        Must not be cancelled: what has left the store and is not written yet would be lost.
        """
        if self._at_work is not None:
            await asyncio.wait((self._at_work,))
        if not self._lasting:
            return
        until = self._clock() + seconds
        leaving = departures(self._parts, self._clock, self._wall)
        suspended = 0
        writing: asyncio.Task[int] | None = None
        try:
            # Who was on the way in or out of memory arrives first.
            await self._parts.vault.settle()
            while self._clock() < until and (group := list(islice(leaving, _GROUP))):
                before, writing = writing, asyncio.create_task(self._write(group))
                # While one group is written the next one is sealed; nobody runs further ahead of the disk.
                suspended += 0 if before is None else await before
                await asyncio.sleep(0)
            suspended += 0 if writing is None else await writing
        except VaultFailed as failure:
            self._complain(failure, self._clock())
            if writing is not None:
                await asyncio.gather(writing, return_exceptions=True)
        left = self._parts.store.counts().sessions
        if left:
            LOG.warning(
                "the time to suspend sessions is over: those that are left end",
                count=left,
                option="--suspend-grace",
                remedy="raise it, or lower --max-sessions",
            )
        LOG.info("sessions suspended: their first calls bring them back", count=suspended)

    async def _write(self, group: list[KeptSession]) -> int:
        await self._parts.vault.keep(group)
        return len(group)

    def _complain(self, failure: Exception, now: float) -> None:
        if now >= self._said_at + _SILENCE_SECONDS:
            self._said_at = now
            cause = failure if isinstance(failure, VaultFailed) else failure.__cause__ or failure.__context__
            what, remedy = trouble(cause.cause if isinstance(cause, VaultFailed) else type(failure).__name__)
            LOG.error("the state file fails", option="--state-file", cause=what, remedy=remedy)
