"""The keeper at a stop: who leaves, for how long, and what it says when the vault does not take them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from noisegate_server.config import Config, read_config
from noisegate_server.engine import slumber
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import KeptSession
from noisegate_server.vault import keeper
from noisegate_server.vault.keeper import Keeper
from tests.support.engines import Engine, Engines, establish
from tests.support.slow_vault import SlowVault

COUNT = 5


@pytest.fixture
def vault() -> SlowVault:
    """One that outlives the process, and does not make anybody wait."""
    vault = SlowVault()
    vault.gate.set()
    return vault


@pytest.fixture
def engine(engines: Engines, vault: SlowVault, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Five sessions, of which two leave together."""
    monkeypatch.setattr(keeper, "_GROUP", 2)
    engine = engines.make(vault=vault, limits=StoreLimits(sessions_per_peer=1_000))
    for _ in range(COUNT):
        establish(engines, responder=engine)
    return engine


def config(**more: float) -> Config:
    """Of a service whose sessions can come back."""
    return read_config({"dev": True, "blob_key": "blobs", "state_file": "state", **more})


def keeper_of(engine: Engine, clock: Callable[[], float] | None = None, **more: float) -> Keeper:
    """That of a service over an engine; `more` are options."""
    return Keeper(
        engine.parts, config(**more), clock=clock or (lambda: engine.clock.now), wall=lambda: engine.clock.wall
    )


def told(caplog: pytest.LogCaptureFixture, what: str) -> list[int]:
    """The counts of the lines that begin so."""
    lines: list[Any] = [record.msg for record in caplog.records]
    return [line["count"] for line in lines if line["event"].startswith(what)]


async def test_all_leave_and_are_kept(engine: Engine, vault: SlowVault, caplog: pytest.LogCaptureFixture) -> None:
    """In groups, to the last one."""
    caplog.set_level(logging.INFO, logger="noisegate")
    await keeper_of(engine).drain(60.0)
    assert len(await vault.kept()) == COUNT
    assert engine.parts.store.counts().sessions == 0
    assert told(caplog, "sessions suspended") == [COUNT]


async def test_when_the_time_is_over_the_others_stay_to_end(
    engine: Engine, vault: SlowVault, caplog: pytest.LogCaptureFixture
) -> None:
    """And are counted: what was sealed is kept, and nothing is half gone."""
    moments = iter([0.0, 0.0, *[0.5] * 4, 2.0])

    def clock() -> float:
        return next(moments, 2.0) + engine.clock.now

    await keeper_of(engine, clock).drain(1.0)
    kept = len(await vault.kept())
    assert 0 < kept < COUNT
    assert engine.parts.store.counts().sessions == COUNT - kept
    assert told(caplog, "the time to suspend sessions is over") == [COUNT - kept]
    assert "raise it, or lower --max-sessions" in caplog.text


class OnceBroken(SlowVault):
    """Fails to keep what it is given first, if it is broken."""

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        try:
            await super().keep(sessions)
        finally:
            self.broken = False


@pytest.mark.parametrize("fails", [False, True])
async def test_a_tick_that_is_cancelled_loses_nothing(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """A stop cancels whoever ticks: idle sessions on their way out arrive, or go back and leave with the others."""
    vault = OnceBroken()
    engine = engines.make(vault=vault, limits=StoreLimits(sessions_per_peer=1_000))
    for _ in range(COUNT):
        establish(engines, responder=engine)
    monkeypatch.setattr(keeper, "_SHARDS_A_ROUND", engine.parts.store.shards)
    engine.clock.step(2.0)
    ticking_keeper = keeper_of(engine, suspend_idle=1)
    ticking = asyncio.ensure_future(ticking_keeper.tick())
    await asyncio.wait_for(vault.asking.wait(), 5)
    ticking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ticking
    vault.broken = fails
    stopping = asyncio.ensure_future(ticking_keeper.drain(60.0))
    vault.gate.set()
    await stopping
    assert len(await vault.kept()) == engine.parts.counts.suspended == COUNT
    assert engine.parts.store.counts().sessions == 0


async def test_looks_for_idle_sessions_are_few_however_often_sweeps_come(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times a second at most, and a few slices each time: of very many sessions a look must not go through all."""
    monkeypatch.setattr(keeper, "_SHARDS_A_ROUND", engine.parts.store.shards)
    monkeypatch.setattr(slumber, "_SLICE", 1)
    ticking, left = keeper_of(engine, suspend_idle=1), []
    engine.clock.step(2.0)
    for _ in range(4):
        for _ in range(3):
            await ticking.tick()
        left.append(engine.parts.counts.suspended)
        engine.clock.step(0.11)
    assert left == [3, 5, 5, 5]


async def test_a_vault_that_fails_is_said_once_and_ends_the_stop(
    engine: Engine, vault: SlowVault, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that had left the store already have ended, as all others do then."""
    drained = keeper_of(engine)
    vault.broken, vault.cause = True, "SQLITE_FULL"
    await drained.drain(60.0)
    assert await vault.kept() == []
    (line,) = (record.msg for record in caplog.records if "--state-file" in str(record.msg))
    assert isinstance(line, dict)
    assert line["remedy"] == "make room on it, or lower --max-sessions"
    assert engine.parts.store.counts().sessions > 0
