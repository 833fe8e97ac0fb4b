"""What the service suspends by itself, a slice at a time: nothing leaves twice."""

from __future__ import annotations

import math

import pytest

from noisegate_server.engine import slumber
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.packing import IDLE_S
from tests.support.engines import End, Engine, Engines, establish
from tests.support.slow_vault import SlowVault
from tests.support.suspending import suspending, turns


def two_of_one_shard(engines: Engines, engine: Engine) -> tuple[int, list[End]]:
    """A shard of an engine's store, and two sessions in it."""
    store = engine.parts.store
    while True:
        establish(engines, responder=engine)
        for number in range(store.shards):
            if len(shard := [each for each in store.shard(number) if each is not None]) > 1:
                return number, [End(engine=engine, session_id=session.session_id) for session in shard]


def test_a_session_that_a_call_unpacks_meanwhile_leaves_with_the_others(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed or an object, it is found where it is then."""
    monkeypatch.setattr(slumber, "_SLICE", 1)
    engine = engines.make(limits=StoreLimits(sessions_per_peer=1_000))
    number, ends = two_of_one_shard(engines, engine)
    engines.clock.step(IDLE_S + 1.0)
    engine.sweep()
    ids = [end.session_id for end in ends]
    counts = engine.parts.store.counts()
    assert counts.packed == counts.sessions
    left = []
    for group in slumber.leaving(engine.parts, [number], used_before=math.inf):
        left += [session.session_id for session in group]
        assert [end.session.session_id for end in ends] == ids
    assert sorted(left) == sorted(ids)


async def test_a_session_that_is_on_its_way_out_already_does_not_leave_again(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller suspends it while the slice before it is written: one blob, and one that wipes it."""
    monkeypatch.setattr(slumber, "_SLICE", 1)
    vault = SlowVault()
    engine = engines.make(vault=vault, limits=StoreLimits(sessions_per_peer=1_000))
    number, (first, second) = two_of_one_shard(engines, engine)
    groups = slumber.leaving(engine.parts, [number], used_before=math.inf)
    assert next(groups) == [first.session]
    waiting = suspending(second)
    await turns()
    assert list(groups) == []
    vault.gate.set()
    await waiting
    assert list(slumber.leaving(engine.parts, [number], used_before=math.inf)) == [[first.session]]
    await engine.parts.vault.forget([second.session_id])


def test_looks_at_sessions_that_stay_are_counted_too(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is idle, whoever takes the slices has a turn between so many looks."""
    monkeypatch.setattr(slumber, "_LOOKS", 2)
    engine = engines.make(limits=StoreLimits(sessions_per_peer=1_000))
    for _ in range(5):
        establish(engines, responder=engine)
    shards, before = range(engine.parts.store.shards), engines.clock.now - 1.0
    engines.clock.step(IDLE_S + 1.0)
    engine.sweep()
    counts = engine.parts.store.counts()
    assert list(slumber.leaving(engine.parts, shards, used_before=before)) == [[], []]
    assert engine.parts.store.counts() == counts
    assert counts.packed == 5
    assert sum(map(len, slumber.leaving(engine.parts, shards, used_before=math.inf))) == 5
