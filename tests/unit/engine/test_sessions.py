"""Looking at sessions and ending them."""

from __future__ import annotations

import os

import pytest

from noisegate_server.engine import sessions
from noisegate_server.session.errors import InvalidField, SessionClosed, SessionNotFound
from noisegate_server.session.state import RecordMode, Role, SessionState, TerminationReason
from noisegate_server.session.suites import Pattern
from tests.support.engines import TENANT, Engine, Engines, at_once, establish
from tests.support.requests import initiation


def page(
    engine: Engine, *, tenant: str = TENANT, peer_id: str = "", group: str = "", size: int = 100, token: str = ""
) -> tuple[list[bytes], str]:
    """The ids of one page of the listing, and the next page's token."""
    views, following = sessions.listing(engine.parts, tenant, peer_id, group, size, token, engine.clock.now)
    return [view.session_id for view in views], following


def test_a_session_shows_what_its_owner_may_know(engines: Engines) -> None:
    """State, names, counts and ages; nothing that is secret has a place in it."""
    link = establish(engines)
    sealed = link.initiator.datagrams.sealed
    engines.clock.step(3.0)
    link.initiator.send(b"roll")
    engines.clock.step(4.0)
    view = link.initiator.engine.view(link.initiator.session_id)
    assert (view.state, view.mode, view.role) == (SessionState.ESTABLISHED, RecordMode.DATAGRAM, Role.INITIATOR)
    assert (view.peer_id, view.group, view.epoch) == ("bob", "table 7", 0)
    assert (view.sealed, view.age, view.idle) == (sealed + 1, 7.0, 4.0)
    assert view.established is not None
    assert view.established.overhead_bytes == 32


def test_a_session_is_found_by_its_connection_id(engines: Engines) -> None:
    """As the game has it from a packet."""
    link = establish(engines)
    engine = link.responder.engine
    (connection_id,) = link.responder.session.connection_ids()
    found = sessions.get(engine.parts, TENANT, b"", connection_id, engines.clock.now)
    assert found.session_id == link.responder.session_id
    with pytest.raises(SessionNotFound):
        sessions.get(engine.parts, "cards", b"", connection_id, engines.clock.now)


@pytest.mark.parametrize("tenant", ["dice", "cards"])
def test_a_foreign_session_is_not_seen_and_not_closed(engines: Engines, tenant: str) -> None:
    """Its id is answered like one that never was (row 15)."""
    link = establish(engines)
    session_id = link.initiator.session_id if tenant == "cards" else os.urandom(24)
    engine = link.initiator.engine
    with pytest.raises(SessionNotFound, match=r"^no such session$"):
        engine.view(session_id, tenant)
    with pytest.raises(SessionNotFound, match=r"^no such session$"):
        at_once(sessions.close(engine.parts, tenant, session_id, engines.clock.now))
    assert page(engine, tenant="cards") == ([], "")
    link.talk()


def test_an_ended_session_says_why_while_its_tombstone_lives(engines: Engines) -> None:
    """TERMINATED with its reason and nothing else, for its owner alone; then unknown."""
    link = establish(engines)
    engine, session_id = link.initiator.engine, link.initiator.session_id
    engine.close(session_id)
    view = engine.view(session_id)
    assert (view.state, view.termination_reason) == (SessionState.TERMINATED, TerminationReason.CLOSED)
    assert view.established is None
    with pytest.raises(SessionNotFound):
        engine.view(session_id, "cards")
    with pytest.raises(SessionClosed):
        engine.close(session_id)
    engines.clock.step(61.0)
    with pytest.raises(SessionNotFound):
        engine.view(session_id)


@pytest.mark.parametrize("mode", list(RecordMode))
def test_closing_tells_the_peer_in_datagram_mode(engines: Engines, mode: RecordMode) -> None:
    """NOISE mode has no such record: the game's connection ends."""
    link = establish(engines, mode=mode)
    assert len(link.initiator.engine.close(link.initiator.session_id)) == (mode is RecordMode.DATAGRAM)


def test_a_handshake_can_be_closed(engines: Engines) -> None:
    """The session's id exists from the first step, and closing it leaves nothing behind."""
    engine = engines.make()
    begun = engine.initiate(initiation(pattern=Pattern.XX))
    assert engine.view(begun.session_id).state == SessionState.HANDSHAKING
    assert engine.close(begun.session_id) == ()
    with pytest.raises(SessionNotFound):
        engine.view(begun.session_id)


def test_the_listing_has_every_session_once(engines: Engines) -> None:
    """Pages, filters by player and group, and a token that is nobody's."""
    engine = engines.make()
    ours = [establish(engines, initiator=engine).initiator.session_id for _ in range(5)]
    collected: list[bytes] = []
    found, token = page(engine, size=2)
    while True:
        collected += found
        if not token:
            break
        found, token = page(engine, size=2, token=token)
    assert collected == ours
    assert page(engine, peer_id="bob", group="table 7") == (ours, "")
    assert page(engine, peer_id="eve") == page(engine, group="table 8") == ([], "")
    with pytest.raises(InvalidField):
        page(engine, token="no token")
