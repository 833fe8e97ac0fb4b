"""Idle sessions are packed, and nobody but their owner's next call undoes that."""

from __future__ import annotations

import os
from functools import partial

import pytest

from noisegate_server.engine import open_batch, revoke, sessions
from noisegate_server.engine.events import EventKind, SessionEvent, Watch
from noisegate_server.engine.policy import Options
from noisegate_server.session.errors import DecryptFailed, ReplayDetected, SessionClosed, SessionNotFound
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.store import packed
from noisegate_server.store.packing import IDLE_S
from tests.support.engines import TENANT, Engine, Engines, Link, at_once, establish
from tests.support.fingerprint import secrets_of


def doze(engines: Engines, seconds: float = IDLE_S + 1.0) -> None:
    """Nobody calls for a while."""
    engines.clock.step(seconds)
    for engine in engines.made:
        engine.sweep()


def packed_in(engine: Engine) -> int:
    """How many of its sessions are packed."""
    return engine.parts.store.counts().packed


@pytest.mark.parametrize("mode", RecordMode)
@pytest.mark.parametrize("ratchet", [False, True])
def test_an_idle_session_is_packed_and_goes_on_at_the_next_call(
    engines: Engines, mode: RecordMode, ratchet: bool
) -> None:
    """Its object is wiped, contexts and all; counters, windows and names are as they were."""
    link = establish(engines, mode=mode, options=Options(ratchet=ratchet))
    link.talk()
    old = link.ends[0].session
    buffers = secrets_of(old)
    before = [sessions.view(end.session, 0.0) for end in link.ends]
    doze(engines)
    assert [packed_in(end.engine) for end in link.ends] == [1, 1]
    assert not any(map(any, buffers))
    assert all(len(end.engine.parts.aeads) == 0 for end in link.ends)
    assert [end.engine.parts.store.counts().sessions for end in link.ends] == [1, 1]
    assert [sessions.view(end.session, 0.0) for end in link.ends] == before
    assert [packed_in(end.engine) for end in link.ends] == [0, 0]
    assert link.ends[0].session is not old
    link.talk()
    doze(engines)
    link.talk()


def test_a_session_in_use_is_not_packed(engines: Engines) -> None:
    """Whoever speaks every ten seconds keeps an object, however long."""
    link = establish(engines)
    for _ in range(10):
        doze(engines, 10.0)
        assert packed_in(link.initiator.engine) == 0
        link.talk()


def test_a_session_with_something_under_way_stays_an_object(engines: Engines) -> None:
    """A rotation that waits for the peer's answer is not put to sleep."""
    link = establish(engines)
    link.initiator.renegotiate()
    doze(engines)
    assert packed_in(link.initiator.engine) == 0
    link.settle()
    link.talk()
    doze(engines, 45.0)
    doze(engines)
    assert packed_in(link.initiator.engine) == 1


def test_a_packet_finds_a_packed_session_by_its_connection_id(engines: Engines) -> None:
    """The window has come along: what was opened before is a replay."""
    link = establish(engines)
    early = link.initiator.seal(b"1")
    link.responder.open(early)
    doze(engines)
    packet = link.initiator.seal(b"2")
    engine = link.responder.engine
    assert engine.decrypt(b"", packet).plaintext == b"2"
    doze(engines)
    with pytest.raises(ReplayDetected):
        link.responder.open(early)


def test_a_forged_packet_unpacks_a_session_for_a_moment_alone(engines: Engines) -> None:
    """Who knows a connection id can make no crowd of idle sessions into objects."""
    link = establish(engines)
    doze(engines)
    engine, packet = link.responder.engine, link.initiator.seal(b"genuine")
    with pytest.raises(DecryptFailed):
        engine.decrypt(b"", packet[:-1] + bytes((packet[-1] ^ 1,)))
    assert packed_in(engine) == 0
    doze(engines, 2.0)
    assert packed_in(engine) == 1
    assert engine.decrypt(b"", packet).plaintext == b"genuine"
    doze(engines, 2.0)
    assert packed_in(engine) == 0


@pytest.mark.parametrize("mode", RecordMode)
def test_a_rotation_that_is_due_is_still_due_after_sleep(engines: Engines, mode: RecordMode) -> None:
    """Whatever has made it due, which the counters need not show: a million packets that did not open, say."""
    link = establish(engines, mode=mode)
    for end in link.ends:
        assert end.session.records is not None
        end.session.records.fall_due()
    doze(engines)
    assert [packed_in(end.engine) for end in link.ends] == [1, 1]
    for end in link.ends:
        assert end.session.records is not None
        assert end.session.records.due
    if mode is RecordMode.DATAGRAM:
        link.talk()
        link.settle()
        assert link.epochs() == (1, 1)


@pytest.mark.parametrize("named", [False, True])
def test_a_batch_for_packed_sessions_unpacks_one_between_two_pauses(engines: Engines, named: bool) -> None:
    """So that others wait for one of them at most, and not for a slice."""
    engine = engines.make()
    links = [establish(engines, responder=engine) for _ in range(4)]
    packets = [link.initiator.seal(b"%d" % number) for number, link in enumerate(links)]
    doze(engines)
    ids = [link.responder.session_id for link in links] if named else []
    steps = open_batch.decrypt_batch(engine.parts, TENANT, ids, packets, [], engines.clock.now, engines.clock.wall)
    left = [packed_in(engine) for _ in steps]
    assert list(dict.fromkeys(left)) == [3, 2, 1, 0]
    for link, packet in zip(links, packets, strict=True):
        with pytest.raises(ReplayDetected):
            link.responder.open(packet)


def test_another_tenant_neither_sees_nor_wakes_it(engines: Engines) -> None:
    """A foreign call is answered as an unknown id is, and the session stays packed."""
    link = establish(engines)
    doze(engines)
    engine = link.responder.engine
    with pytest.raises(SessionNotFound):
        engine.parts.store.get("other", link.responder.session_id, engines.clock.now)
    connection_id = link.initiator.datagrams.connection_id
    with pytest.raises(SessionNotFound):
        engine.parts.store.get_by_connection("other", connection_id, engines.clock.now)
    assert packed_in(engine) == 1


@pytest.mark.parametrize("end", ["sweep", "look", "shutdown"])
def test_a_packed_session_ends_as_any_other(engines: Engines, end: str) -> None:
    """In time, at a look past its time, or at the stop: watchers hear of it, its owner is told why, no slot is left."""
    link = establish(engines, options=Options(idle_timeout=60.0))
    engine, session_id = link.responder.engine, link.responder.session_id
    heard: list[SessionEvent] = []
    engine.parts.events.join(Watch(TENANT, "", "", heard.append))
    doze(engines)
    assert packed_in(engine) == 1
    engines.clock.step(61.0)
    if end == "sweep":
        engine.sweep()
    elif end == "shutdown":
        assert engine.parts.store.end_all(engines.clock.now, TerminationReason.SHUTDOWN) == 1
    reason = "SHUTDOWN" if end == "shutdown" else "IDLE"
    with pytest.raises(SessionClosed, match=reason):
        engine.parts.store.get(TENANT, session_id, engines.clock.now)
    assert [(each.kind, each.session_id, each.reason) for each in heard] == [
        (EventKind.ENDED, session_id, TerminationReason[reason])
    ]
    assert set(engine.parts.store.leftovers()) <= {"tombstones", "expiry", "tended", "unreported"}


def test_nothing_leads_to_a_packed_session_that_has_ended_not_its_former_connection_id_either(engines: Engines) -> None:
    """A player that has just moved, and then stays away."""
    link = establish(engines, options=Options(idle_timeout=20.0))
    player, engine = link.initiator, link.responder.engine
    link.responder.open(player.datagrams.control(Kind.CONNECTION_ID, os.urandom(8), player.engine.parts.aeads))
    assert len(link.responder.session.connection_ids()) == 2
    doze(engines)
    assert packed_in(engine) == 1
    engines.clock.step(6.0)
    engine.sweep()
    assert set(engine.parts.store.leftovers()) <= {"tombstones", "expiry", "tended"}


def test_a_listing_has_packed_sessions_in_their_place(engines: Engines) -> None:
    """Pages are the same whether sessions are packed or not."""
    engine = engines.make()
    links = [establish(engines, responder=engine) for _ in range(3)]
    listed = partial(sessions.listing, engine.parts, TENANT, "", "", 2, now=engines.clock.now)
    before = [each.session_id for each in listed(page_token="")[0]]
    doze(engines)
    links[1].initiator.send(b"awake")
    links[1].settle()
    assert packed_in(engine) == 2
    assert [each.session_id for each in listed(page_token="")[0]] == before
    assert before == [each.responder.session_id for each in links[:2]]


@pytest.mark.parametrize("mode", RecordMode)
@pytest.mark.parametrize("ratchet", [False, True])
def test_a_listing_unpacks_nothing_and_says_all(engines: Engines, mode: RecordMode, ratchet: bool) -> None:
    """Every field is what the object had: who lists a million sessions does not bring them all back into memory."""
    link = establish(engines, mode=mode, options=Options(ratchet=ratchet, idle_timeout=90.0))
    link.talk()
    link.talk()
    for end in link.ends:
        listed = partial(sessions.listing, end.engine.parts, TENANT, "", "", 1_000, "", now=engines.clock.now)
        before = listed()
        assert before[0][0].sealed > 0
        doze(engines)
        assert packed_in(end.engine) == 1
        assert listed() == before
        assert packed_in(end.engine) == 1


def test_revoking_a_key_unpacks_nobody(engines: Engines) -> None:
    """All of the tenant's sessions are looked at, those of the key end, the others stay as they are."""
    engine = engines.make()
    gone, stays = (establish(engines, responder=engine) for _ in range(2))
    doze(engines)
    parts, clock = engine.parts, engines.clock
    key = gone.initiator.engine.identity.public
    revoked = at_once(revoke.revoke(parts, TENANT, static_key=key, now=clock.now, wall=clock.wall))
    assert revoked.sessions_ended == 1
    assert packed_in(engine) == 1
    with pytest.raises(SessionClosed, match="REVOKED"):
        parts.store.get(TENANT, gone.responder.session_id, clock.now)
    stays.talk()


def test_sessions_that_share_nothing_stay_objects_once_the_table_is_full(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sessions share is bounded: where there is no room for another kind, a session is kept as it was."""
    monkeypatch.setattr(packed, "MAX_SHARED", 2)
    engine = engines.make()
    links = [establish(engines, responder=engine, options=Options(lifetime=1_000.0 + n)) for n in range(4)]
    doze(engines)
    assert packed_in(engine) == 2
    talk_all(links)
    doze(engines)
    assert packed_in(engine) == 2
    talk_all(links)


def talk_all(links: list[Link]) -> None:
    """One record each way in each."""
    for link in links:
        link.talk()
