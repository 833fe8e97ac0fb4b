"""Encrypt and Decrypt: who may, and what a record that is nothing for the game makes the service do."""

from __future__ import annotations

import os

import pytest

from noisegate_server.engine import records
from noisegate_server.session.connection_ids import follow_connection_id
from noisegate_server.session.constants import GRACE_S, NO_CONNECTION_ID
from noisegate_server.session.errors import DecryptFailed, SessionClosed, SessionNotFound
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode
from tests.support.engines import End, Engines, Link, establish
from tests.support.fingerprint import fingerprint

ROTATION, TICKET, KEEP_ALIVE, CONNECTION_ID, CLOSE, UNKNOWN = range(1, 7)
"""The contract's ControlKind."""


def control(end: End, kind: int, content: bytes) -> bytes:
    """A control record of this end."""
    return end.datagrams.record(end.datagrams.current, kind, content, b"", end.engine.parts.aeads)


@pytest.fixture
def link(engines: Engines) -> Link:
    """A session between two engines."""
    return establish(engines)


@pytest.mark.parametrize("tenant", ["dice", "cards"])
def test_a_foreign_session_is_answered_like_an_unknown_one(link: Link, tenant: str) -> None:
    """Another tenant's id, and one that never was: the same words, and no trace (row 15)."""
    engine, clock = link.initiator.engine, link.clock
    session_id = link.initiator.session_id if tenant == "cards" else os.urandom(24)
    before = fingerprint(link.initiator.session)
    packet = link.responder.seal(b"roll")
    with pytest.raises(SessionNotFound, match=r"^no such session$"):
        records.encrypt(engine.parts, tenant, session_id, b"roll", b"", clock.now)
    for sought in (session_id, b""):
        with pytest.raises(SessionNotFound, match=r"^no such session$"):
            records.decrypt(engine.parts, "cards", sought, packet, b"", ticket=False, now=clock.now, wall=clock.wall)
    assert fingerprint(link.initiator.session) == before


@pytest.mark.parametrize("packet", [b"", b"\x0a", bytes(40), b"\xff" * 40])
def test_bytes_that_are_no_packet_find_no_session(link: Link, packet: bytes) -> None:
    """Without a session id, what is no packet of ours is DECRYPT_FAILED."""
    with pytest.raises(DecryptFailed):
        link.responder.engine.decrypt(b"", packet)


def test_a_keep_alive_that_asks_is_answered_with_its_token(link: Link) -> None:
    """1 ‖ token is answered by 2 ‖ token; an answer, an empty one, or another length is not (protocol, section 3)."""
    token = os.urandom(8)
    asked = link.responder.open(control(link.initiator, Kind.KEEP_ALIVE, b"\x01" + token))
    assert (asked.plaintext, asked.control, len(asked.to_peer)) == (None, KEEP_ALIVE, 1)
    inside = link.initiator.datagrams.open(asked.to_peer[0], b"", link.clock.now, link.initiator.engine.parts.aeads)
    assert (inside.kind, inside.content) == (Kind.KEEP_ALIVE, b"\x02" + token)
    for content in (b"", b"\x02" + token, b"\x01", b"\x01" + token[:7], b"\x01" + token + b"x", b"\x03" + token):
        assert link.responder.open(control(link.initiator, Kind.KEEP_ALIVE, content)).to_peer == ()


def test_a_kind_of_a_later_version_is_ignored(link: Link) -> None:
    """An unknown kind is authenticated, counted and otherwise without effect."""
    opened = link.responder.open(control(link.initiator, 0x6F, b"new"))
    assert (opened.plaintext, opened.control, opened.to_peer) == (None, UNKNOWN, ())
    link.talk()


def test_a_new_connection_id_is_followed_and_the_old_one_still_found(link: Link) -> None:
    """What the peer sends under the new id is found, and so is what was on its way under the old one."""
    new, early = os.urandom(8), link.initiator.seal(b"early")
    opened = link.responder.open(control(link.initiator, Kind.CONNECTION_ID, new))
    assert opened.control == CONNECTION_ID
    assert link.responder.seal(b"roll")[1:9] == new
    link.initiator.engine.parts.store.bind_connection(link.initiator.session, new)
    follow_connection_id(link.initiator.datagrams, new, (opened.epoch, opened.counter))
    packet = link.initiator.seal(b"late")
    assert packet[1:9] == new
    assert [link.responder.engine.decrypt(b"", each).plaintext for each in (early, packet)] == [b"early", b"late"]


def test_the_id_before_the_last_is_forgotten(link: Link) -> None:
    """Two changes on, the first id finds nothing any more."""
    early = link.initiator.seal(b"early")
    for _ in range(2):
        link.responder.open(control(link.initiator, Kind.CONNECTION_ID, os.urandom(8)))
    with pytest.raises(SessionNotFound):
        link.responder.engine.decrypt(b"", early)


def test_the_former_id_ends_30_s_after_the_new_one_was_used(link: Link) -> None:
    """Not before the peer has sent under the new id, however long that takes (protocol, section 2)."""
    peer, new = link.initiator, os.urandom(8)
    old = peer.datagrams.connection_id
    link.responder.open(control(peer, Kind.CONNECTION_ID, new))
    link.clock.step(2 * GRACE_S)
    link.responder.open(peer.seal(b"still under the old one"))
    assert link.responder.session.connection_ids() == (new, old)
    late = peer.seal(b"late")
    peer.engine.parts.store.bind_connection(peer.session, new)
    follow_connection_id(peer.datagrams, new, (0, 0))
    link.responder.open(peer.seal(b"used"))
    link.clock.step(GRACE_S - 0.01)
    link.responder.open(peer.seal(b"again"))
    assert link.responder.session.connection_ids() == (new, old)
    link.clock.step(0.01)
    link.responder.seal(b"any call")
    assert link.responder.session.connection_ids() == (new,)
    with pytest.raises(SessionNotFound):
        link.responder.engine.decrypt(b"", late)
    assert link.responder.engine.decrypt(b"", peer.seal(b"roll")).plaintext == b"roll"


@pytest.mark.parametrize("seen", [True, False], ids=["known before", "never seen"])
def test_a_late_record_does_not_lead_back_to_an_older_id(link: Link, *, seen: bool) -> None:
    """The record that gives the second id comes, perhaps again, after the one that gave the third: ignored."""
    second, third = os.urandom(8), os.urandom(8)
    given = [control(link.initiator, Kind.CONNECTION_ID, second) for _ in range(2)]
    last = control(link.initiator, Kind.CONNECTION_ID, third)
    if seen:
        link.responder.open(given[0])
    link.responder.open(last)
    before = link.responder.session.connection_ids()
    assert before[0] == third
    link.responder.open(given[1])
    assert link.responder.session.connection_ids() == before


@pytest.mark.parametrize("what", ["taken", "zeros", "short", "long", "its own"])
def test_a_connection_id_that_cannot_be_followed_changes_nothing(engines: Engines, link: Link, what: str) -> None:
    """Another session's id, the id of no session, a wrong length, the id that it has: ignored."""
    other = establish(engines, responder=link.responder.engine)
    own = link.initiator.datagrams.connection_id
    content = {
        "taken": other.initiator.datagrams.connection_id,
        "zeros": NO_CONNECTION_ID,
        "short": os.urandom(7),
        "long": os.urandom(9),
        "its own": own,
    }[what]
    link.responder.open(control(link.initiator, Kind.CONNECTION_ID, content))
    assert link.responder.session.connection_ids() == (own,)
    assert link.responder.engine.decrypt(b"", link.initiator.seal(b"roll")).plaintext == b"roll"
    assert other.responder.engine.decrypt(b"", other.initiator.seal(b"roll")).session_id == other.responder.session_id


def test_only_the_side_that_chose_the_connection_id_changes_it(link: Link) -> None:
    """The responder took the initiator's; its wish for another is ignored."""
    own = link.initiator.session.connection_ids()
    link.initiator.open(control(link.responder, Kind.CONNECTION_ID, os.urandom(8)))
    assert link.initiator.session.connection_ids() == own


def test_a_close_record_ends_the_session(link: Link) -> None:
    """The peer's close: CLOSE, and from then on SESSION_CLOSED with the reason."""
    farewell = link.initiator.engine.close(link.initiator.session_id)
    opened = link.responder.open(farewell[0])
    assert (opened.plaintext, opened.control, opened.to_peer) == (None, CLOSE, ())
    for packet in (farewell[0], b""):
        with pytest.raises(SessionClosed, match="PEER_CLOSED"):
            link.responder.engine.decrypt(link.responder.session_id, packet)
    assert len(link.responder.engine.parts.aeads) == 0


def test_a_forged_close_does_not_end_it(link: Link) -> None:
    """A close that does not open is refused like anything else."""
    farewell = control(link.initiator, Kind.CLOSE, b"")
    with pytest.raises(DecryptFailed):
        link.responder.open(farewell[:-1] + bytes((farewell[-1] ^ 1,)))
    link.talk()


def test_the_caller_s_word_that_it_is_a_ticket_counts_in_noise_mode_alone(engines: Engines, link: Link) -> None:
    """A DATAGRAM record says itself what it is: data stays data, and a rotation's step is not lost."""
    opened = link.responder.open(link.initiator.seal(b"roll"), ticket=True)
    assert (opened.plaintext, opened.control) == (b"roll", 0)
    link.initiator.renegotiate()
    assert link.responder.open(link.responder.inbox.popleft(), ticket=True).control == ROTATION
    link.settle()
    assert link.epochs() == (1, 1)
    stream = establish(engines, mode=RecordMode.NOISE)
    opened = stream.responder.open(stream.initiator.seal(b"no ticket"), ticket=True)
    assert (opened.plaintext, opened.control) == (None, UNKNOWN)


def test_the_session_is_named_and_refusals_are_counted(link: Link) -> None:
    """Decrypt by connection id says which session it was; each refused packet is counted."""
    packet = link.initiator.seal(b"roll")
    assert link.responder.engine.decrypt(b"", packet).session_id == link.responder.session_id
    with pytest.raises(Exception, match="opened before"):
        link.responder.open(packet)
    assert link.responder.engine.view(link.responder.session_id).refused == 1
