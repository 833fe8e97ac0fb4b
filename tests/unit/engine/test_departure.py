"""At a stop all established sessions leave the process, packed or not, and come back in the next one."""

from __future__ import annotations

import pytest

from noisegate_server.engine.departure import departures
from noisegate_server.engine.policy import Options
from noisegate_server.engine.restore import recall_suspended
from noisegate_server.noise import KeyPair
from noisegate_server.session.constants import BLOB_ID, MAX_BLOB
from noisegate_server.session.errors import SessionNotFound
from noisegate_server.session.sealing import KEY_ID, SealingKey, SealingKeys
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern
from noisegate_server.store.packing import IDLE_S
from noisegate_server.store.suspended import Dormant
from noisegate_server.store.vault import KeptSession, MemoryVault
from tests.support.engines import Engine, Engines, Link, at_once, establish
from tests.support.requests import initiation
from tests.support.slow_vault import SlowVault
from tests.support.suspending import MODES, wake

KEYS = SealingKeys(current=SealingKey(key_id=bytes(KEY_ID), key=bytes(range(32))))
IDENTITY = KeyPair.from_private(bytes(range(1, 33)))


def process(engines: Engines, vault: MemoryVault) -> Engine:
    """One of the processes that are the same service."""
    return engines.make(vault=vault, identity=IDENTITY, blob_keys=KEYS)


def stop(engine: Engine) -> list[KeptSession]:
    """All that leaves, and is kept for the next process."""
    clock = engine.clock
    left = list(departures(engine.parts, lambda: clock.now, lambda: clock.wall))
    at_once(engine.parts.vault.keep(left))
    return left


def begin_again(link: Link, vault: MemoryVault, engines: Engines) -> None:
    """The responder's next process has taken over what the last one left."""
    engine = process(engines, vault)
    at_once(recall_suspended(engine.parts, engine.clock.now, engine.clock.wall))
    link.responder.engine = engine


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_what_leaves_comes_back_by_its_first_call_and_talks_on(
    engines: Engines, mode: RecordMode, packed: bool
) -> None:
    """With names and ids; DATAGRAM in keys of its own, NOISE at its very counters; nothing is left behind."""
    vault = MemoryVault(b"kept")
    link = establish(engines, mode=mode, responder=process(engines, vault), options=Options(lifetime=5_000.0))
    link.talk()
    end = link.responder
    before = end.engine.view(end.session_id)
    if packed:
        engines.clock.step(IDLE_S + 1.0)
        end.engine.sweep()
    store = end.engine.parts.store
    assert store.counts().packed == packed
    (left,) = stop(end.engine)
    assert (left.by_service, left.session_id, left.mode) == (True, end.session_id, mode)
    assert store.counts().sessions == 0
    with pytest.raises(SessionNotFound):
        end.engine.view(end.session_id)
    begin_again(link, vault, engines)
    with pytest.raises(Dormant) as dormant:
        end.engine.encrypt(end.session_id, b"welcome")
    wake(end, dormant.value)
    end.send(b"welcome")
    link.settle()
    link.talk()
    after = end.engine.view(end.session_id)
    assert (after.peer_id, after.group, after.connection_id) == (before.peer_id, before.group, before.connection_id)
    assert b"welcome" in link.initiator.received


def test_a_rotation_does_not_keep_a_session_here(engines: Engines) -> None:
    """It cannot be waited for."""
    link = establish(engines, responder=engines.make(vault=SlowVault()))
    link.responder.renegotiate()
    assert (
        len(list(departures(link.responder.engine.parts, lambda: engines.clock.now, lambda: engines.clock.wall))) == 1
    )


def test_handshakes_and_what_is_over_stay(engines: Engines) -> None:
    """Nobody could go on with them."""
    over = establish(engines, options=Options(lifetime=20.0), responder=engines.make())
    engine = over.responder.engine
    engines.clock.step(IDLE_S + 1.0)
    engine.sweep()
    engine.initiate(initiation(pattern=Pattern.XX))
    engines.clock.step(5.0)
    assert list(departures(engine.parts, lambda: engines.clock.now, lambda: engines.clock.wall)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_one_that_has_no_room_in_a_blob_does_not_keep_the_others(engines: Engines, packed: bool) -> None:
    """It ends with the process."""
    while True:
        # Each in a shard of its own: one that stays packed is tried once more as the others of its shard are.
        engine = engines.make()
        links = [establish(engines, responder=engine) for _ in range(3)]
        if len({link.responder.session.handle % engine.parts.store.shards for link in links}) == 3:
            break
    if packed:
        engines.clock.step(IDLE_S + 1.0)
        engine.sweep()
    assert engine.parts.store.counts().packed == 3 * packed
    random_bytes, calls = engine.parts.random_bytes, iter(range(100))
    fail = {1, 2} if packed else {1}

    def too_long_for_one(count: int) -> bytes:
        return random_bytes(MAX_BLOB if count == BLOB_ID and next(calls) in fail else count)

    object.__setattr__(engine.parts, "random_bytes", too_long_for_one)
    left = {each.session_id for each in departures(engine.parts, lambda: engines.clock.now, lambda: engines.clock.wall)}
    assert len(left) == 2
    assert left < {link.responder.session_id for link in links}
    assert engine.parts.store.counts().sessions == 1
