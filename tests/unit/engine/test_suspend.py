"""Suspend and restore: out of memory, back once, and what is told to whoever comes meanwhile."""

from __future__ import annotations

import pytest

from noisegate_server.engine import sessions, suspend
from noisegate_server.engine.events import EventKind, SessionEvent, Watch
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.restore import recall_suspended
from noisegate_server.engine.revoke import revoke
from noisegate_server.session.constants import BLOB_ID
from noisegate_server.session.errors import (
    BlobRejected,
    DecryptFailed,
    NotEstablished,
    SessionClosed,
    SessionNotFound,
    SessionQuota,
)
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import Suite
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.suspended import Dormant
from tests.support.engines import TENANT, Engine, Engines, Link, at_once, establish
from tests.support.requests import initiation
from tests.support.slow_vault import SlowVault
from tests.support.suspending import MODES, come_back, put_away, wake


@pytest.mark.parametrize("mode", MODES)
def test_a_suspended_session_comes_back_and_both_directions_flow(engines: Engines, mode: RecordMode) -> None:
    """With its ids, names and life; DATAGRAM in a new epoch, NOISE at the counters where it was."""
    link = establish(engines, mode=mode)
    link.talk()
    end = link.responder
    before = end.engine.view(end.session_id)
    suspended = end.engine.suspend(end.session_id)
    assert (suspended.blob, suspended.expires_in) == (b"", 86_400.0)
    engines.clock.step(100)
    come_back(link, end)
    after = end.engine.view(end.session_id)
    assert (after.peer_id, after.group, after.connection_id) == (before.peer_id, before.group, before.connection_id)
    assert after.established is not None
    assert after.established.expires_in == 86_300.0
    # The salted epoch's base is old, so a renegotiation follows it at once.
    assert after.epoch == (2 if mode is RecordMode.DATAGRAM else 0)
    assert link.initiator.received == link.responder.received == [b"ping"] * 2


@pytest.mark.parametrize("mode", MODES)
def test_a_suspended_session_is_refused_until_it_is_restored(engines: Engines, mode: RecordMode) -> None:
    """NOT_ESTABLISHED that names the state, for every use of it; it is still seen and listed."""
    link = establish(engines, mode=mode)
    end = link.responder
    packet = link.initiator.seal(b"late")
    end.engine.suspend(end.session_id)
    calls = (
        lambda: end.engine.encrypt(end.session_id, b"no"),
        lambda: end.engine.decrypt(end.session_id, packet),
        end.renegotiate,
        lambda: end.engine.issue(end.session_id),
    )
    for call in calls:
        with pytest.raises(NotEstablished) as refused:
            call()
        assert refused.value.metadata == {"state": "SUSPENDED"}
    view = end.engine.view(end.session_id)
    assert (view.state, view.suspended_by_service, view.mode) == (SessionState.SUSPENDED, False, mode)
    listed, _ = end.engine.parts.store.select(TENANT)
    assert [each.session_id for each in listed] == [end.session_id]


def test_nothing_secret_of_a_suspended_session_stays_in_memory(engines: Engines) -> None:
    """Its keys are wiped; what is left in the store has ids and names."""
    link = establish(engines)
    end = link.responder
    session, records = end.session, end.datagrams
    root, export = records.current.root, session.export
    assert any(root)
    assert any(export)
    end.engine.suspend(end.session_id)
    assert not any(root)
    assert not any(export)
    assert session.records is None


def test_suspending_twice_is_answered_likewise(engines: Engines) -> None:
    """A caller that repeats itself is told the same; the blob cannot be had afterwards."""
    link = establish(engines)
    end = link.responder
    first = end.engine.suspend(end.session_id)
    engines.clock.step(10)
    again = end.engine.suspend(end.session_id)
    assert again.expires_in == first.expires_in - 10
    with pytest.raises(NotEstablished):
        end.engine.suspend(end.session_id, return_blob=True)


def test_restoring_what_is_not_suspended_changes_nothing(engines: Engines) -> None:
    """It is answered as it is."""
    link = establish(engines)
    restored = link.responder.engine.restore(link.responder.session_id)
    assert restored.to_peer == ()
    assert restored.session.state == SessionState.ESTABLISHED
    assert link.epochs() == (0, 0)


def test_a_half_open_session_cannot_be_suspended(engines: Engines) -> None:
    """Its handshake's keys are in no blob."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(remote_static_key=second.identity.public))
    with pytest.raises(NotEstablished) as refused:
        first.suspend(begun.session_id)
    assert refused.value.metadata == {"state": "HANDSHAKING"}


@pytest.mark.parametrize("action", ["view", "suspend", "restore", "close"])
def test_a_foreign_suspended_session_is_as_unknown_as_a_living_one(engines: Engines, action: str) -> None:
    """Its id is answered like one that never was, and nothing happens to it."""
    link = establish(engines)
    end = link.responder
    end.engine.suspend(end.session_id)
    engine = end.engine
    calls = {
        "view": lambda: engine.view(end.session_id, "cards"),
        "suspend": lambda: engine.suspend(end.session_id, tenant="cards"),
        "restore": lambda: engine.restore(end.session_id, tenant="cards"),
        "close": lambda: at_once(sessions.close(engine.parts, "cards", end.session_id, engines.clock.now)),
    }
    with pytest.raises(SessionNotFound, match=r"^no such session$"):
        calls[action]()
    come_back(link, end)


def test_closing_a_suspended_session_deletes_its_blob(engines: Engines) -> None:
    """Its owner is told why it is gone; the vault has nothing of it."""
    link = establish(engines)
    end = link.responder
    end.engine.suspend(end.session_id)
    assert end.engine.close(end.session_id) == ()
    assert at_once(end.engine.parts.vault.kept()) == []
    with pytest.raises(SessionClosed) as closed:
        end.engine.restore(end.session_id)
    assert closed.value.cause == "CLOSED"


def test_a_suspended_session_ends_with_its_lifetime(engines: Engines) -> None:
    """Idleness does not end what its caller has put away; its lifetime does."""
    link = establish(engines, options=Options(idle_timeout=10, lifetime=100))
    end = link.responder
    end.engine.suspend(end.session_id)
    engines.clock.step(99)
    assert end.engine.view(end.session_id).state == SessionState.SUSPENDED
    engines.clock.step(1)
    with pytest.raises(SessionClosed) as closed:
        end.engine.restore(end.session_id)
    assert closed.value.cause == "LIFETIME"


def test_suspended_sessions_count_towards_the_caps(engines: Engines) -> None:
    """A player cannot park sessions beyond its cap."""
    first, second = engines.make(), engines.make(limits=StoreLimits(sessions_per_tenant=1))
    link = establish(engines, initiator=first, responder=second)
    second.suspend(link.responder.session_id)
    with pytest.raises(SessionQuota):
        establish(engines, initiator=first, responder=second)
    come_back(link, link.responder)


# What the service suspends by itself


@pytest.mark.parametrize("mode", MODES)
def test_the_first_call_brings_back_what_the_service_suspended(engines: Engines, mode: RecordMode) -> None:
    """The call that came runs again and goes through; the player need not know."""
    link = establish(engines, mode=mode)
    end = link.responder
    put_away(end)
    view = end.engine.view(end.session_id)
    assert (view.state, view.suspended_by_service) == (SessionState.SUSPENDED, True)
    with pytest.raises(Dormant) as dormant:
        end.engine.encrypt(end.session_id, b"hello")
    wake(end, dormant.value)
    end.send(b"hello")
    link.settle()
    link.talk()
    assert link.initiator.received == [b"hello", b"ping"]


def test_a_packet_finds_its_suspended_session_by_the_connection_id(engines: Engines) -> None:
    """Its old keys are gone, so it opens nothing; the player is told of the new ones, and its next packet opens."""
    link = establish(engines)
    end = link.responder
    put_away(end)
    packet = link.initiator.seal(b"lost")
    with pytest.raises(Dormant) as dormant:
        end.engine.decrypt(b"", packet)
    wake(end, dormant.value)
    told = end.engine.decrypt(b"", packet)
    assert told.plaintext is None
    end.outbox.extend(told.to_peer)
    link.settle()
    link.talk()
    assert end.received == [b"ping"]


def test_what_the_service_suspends_ends_when_it_would_have_ended_anyway(engines: Engines) -> None:
    """Its idle time runs on."""
    link = establish(engines, options=Options(idle_timeout=10))
    end = link.responder
    put_away(end)
    engines.clock.step(10)
    with pytest.raises(SessionClosed) as closed:
        end.engine.encrypt(end.session_id, b"late")
    assert closed.value.cause == "IDLE"


@pytest.mark.parametrize("mode", MODES)
def test_suspended_sessions_are_found_again_by_another_process(engines: Engines, mode: RecordMode) -> None:
    """With the same vault, identity and blob key; ten of them, those of the caller and of the service."""
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    links = [establish(engines, mode=mode, responder=engine) for _ in range(10)]
    for number, link in enumerate(links):
        if number % 2:
            put_away(link.responder)
        else:
            engine.suspend(link.responder.session_id)
    heir = engines.make(identity=engine.identity, blob_keys=engine.parts.blob_keys, vault=vault)
    at_once(recall_suspended(heir.parts, engines.clock.now, engines.clock.wall))
    assert heir.parts.store.counts().suspended == 10
    for number, link in enumerate(links):
        link.responder.engine = heir
        if number % 2:
            with pytest.raises(Dormant) as dormant:
                heir.encrypt(link.responder.session_id, b"hello")
            wake(link.responder, dormant.value)
            link.responder.send(b"hello")
            link.settle()
            link.talk()
        else:
            come_back(link, link.responder)
    assert at_once(vault.kept()) == []


# What keeps a session from coming back


def lost(link: Link, heir: Engine) -> str:
    """Why `heir` cannot bring back the responder's session."""
    at_once(recall_suspended(heir.parts, link.clock.now, link.clock.wall))
    with pytest.raises(SessionClosed) as closed:
        heir.restore(link.responder.session_id)
    with pytest.raises(SessionClosed):
        heir.restore(link.responder.session_id)
    return closed.value.cause


@pytest.mark.parametrize("change", ["key", "identity", "suite", "blob"])
def test_a_session_whose_blob_cannot_be_used_is_lost(engines: Engines, change: str) -> None:
    """Its owner is told, and a ticket may help."""
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    link = establish(engines, responder=engine)
    engine.suspend(link.responder.session_id)
    if change == "blob":
        at_once(vault.forget([link.responder.session_id]))
        with pytest.raises(SessionClosed) as closed:
            engine.restore(link.responder.session_id)
        assert closed.value.cause == "LOST"
        return
    heir = engines.make(
        identity=None if change == "identity" else engine.identity,
        blob_keys=None if change == "key" else engine.parts.blob_keys,
        policy=Policy(suites=(Suite.AES256_GCM_X25519,)) if change == "suite" else None,
        vault=vault,
    )
    assert lost(link, heir) == "LOST"


@pytest.mark.parametrize("by_key", [True, False])
def test_revoking_a_player_ends_its_suspended_sessions(engines: Engines, by_key: bool) -> None:
    """By name or static key; their blobs are deleted, also those in callers' hands."""
    link = establish(engines, options=Options())
    engine = link.responder.engine
    other = establish(engines, initiator=link.initiator.engine, responder=engine)
    blob = engine.suspend(other.responder.session_id, return_blob=True).blob
    engine.suspend(link.responder.session_id)
    parts, clock = engine.parts, engines.clock
    peer_id = engine.view(link.responder.session_id).peer_id
    named = {"static_key": link.initiator.engine.identity.public} if by_key else {"peer_id": peer_id}
    done = at_once(revoke(parts, TENANT, now=clock.now, wall=clock.wall, **named))
    assert (done.sessions_ended, done.suspended_deleted) == (0, 1)
    assert at_once(parts.vault.kept()) == []
    with pytest.raises(SessionClosed) as closed:
        engine.restore(link.responder.session_id)
    assert closed.value.cause == "REVOKED"
    with pytest.raises(BlobRejected):
        engine.restore_blob(blob)


def test_watchers_hear_of_both(engines: Engines) -> None:
    """Suspended and restored, each once."""
    link = establish(engines)
    heard: list[SessionEvent] = []
    end = link.responder
    end.engine.parts.events.join(Watch(TENANT, "", "", heard.append))
    end.engine.suspend(end.session_id)
    end.engine.restore(end.session_id)
    assert [(each.kind, each.resumable) for each in heard] == [
        (EventKind.SUSPENDED, True),
        (EventKind.RESTORED, False),
    ]


def test_a_packet_from_before_the_restore_does_not_open_after_it(engines: Engines) -> None:
    """No receive key outlives a suspension in DATAGRAM mode."""
    link = establish(engines)
    packet = link.initiator.seal(b"old")
    end = link.responder
    end.engine.suspend(end.session_id)
    come_back(link, end)
    with pytest.raises(DecryptFailed):
        end.open(packet)


def test_anybody_s_packets_keep_no_session_alive(engines: Engines) -> None:
    """Woken again and again by who knows its connection id and nothing else, it ends at its idle time all the same."""
    link = establish(engines, options=Options(idle_timeout=60))
    end = link.responder
    [connection_id] = end.session.connection_ids()
    forged = b"\x0a" + connection_id + bytes(40)
    for _ in range(5):
        put_away(end)
        engines.clock.step(10)
        with pytest.raises(Dormant) as dormant:
            end.engine.decrypt(b"", forged)
        wake(end, dormant.value)
        end.engine.decrypt(b"", forged)
        assert end.session.last_used < engines.clock.now
    put_away(end)
    engines.clock.step(10)
    with pytest.raises(SessionClosed) as closed:
        end.engine.decrypt(b"", forged)
    assert closed.value.cause == "IDLE"


def test_one_that_has_no_room_in_a_blob_leaves_the_others_where_they_are(engines: Engines) -> None:
    """All of them go on: none was moved for it."""
    engine = engines.make()
    links = [establish(engines, responder=engine) for _ in range(3)]
    random_bytes, calls = engine.parts.random_bytes, iter(range(100))

    def too_long_once(count: int) -> bytes:
        return random_bytes(count + 1 if count == BLOB_ID and next(calls) == 1 else count)

    object.__setattr__(engine.parts, "random_bytes", too_long_once)
    all_of_them = [link.responder.session for link in links]
    clock = engine.clock
    leaving = suspend.put_away(engine.parts, all_of_them, by_service=True, now=clock.now, wall=clock.wall)
    with pytest.raises(ValueError, match="length"):
        at_once(leaving)
    for link in links:
        link.talk()
    assert engine.parts.store.counts().suspended == 0
