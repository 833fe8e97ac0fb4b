"""Tickets: how they reach the player, and which ones the service keeps."""

from __future__ import annotations

import os

import pytest

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.constants import TICKET_LIFETIME_S
from noisegate_server.session.errors import NotEstablished, PolicyRejected, SessionNotFound
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern
from noisegate_server.session.ticket import decode_ticket_content
from tests.support.engines import TENANT, End, Engines, Link, establish, resumed
from tests.support.requests import initiation

TICKETS = Options(tickets=True)
TICKET, UNKNOWN = 2, 6


def kept(end: End) -> bool:
    """Whether this end holds a ticket of its session's peer."""
    return end.engine.parts.received.get((TENANT, end.session_id), end.engine.clock.now) is not None


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])
def test_a_hello_with_the_tickets_flag_gets_one_by_itself(engines: Engines, pattern: Pattern) -> None:
    """The responder owes one ticket, sends it once the handshake is confirmed, and no second one."""
    link = establish(engines, pattern=pattern, options=TICKETS, settle=False)
    link.talk()
    assert kept(link.initiator)
    assert not link.responder.session.ticket_owed
    assert link.initiator.controls.count(TICKET) == 1
    link.talk()
    assert link.initiator.controls.count(TICKET) == 1


def test_without_the_flag_there_is_none_until_it_is_asked_for(engines: Engines) -> None:
    """IssueTicket makes one on demand."""
    link = establish(engines)
    assert not kept(link.initiator)
    issued = link.responder.engine.issue(link.responder.session_id)
    assert issued.expires_in == TICKET_LIFETIME_S
    assert link.initiator.open(issued.to_peer[0]).control == TICKET
    assert kept(link.initiator)


def test_in_noise_mode_the_caller_says_which_message_is_the_ticket(engines: Engines) -> None:
    """The ticket is the plaintext of a transport message, and is not handed to the game."""
    link = establish(engines, mode=RecordMode.NOISE)
    issued = link.responder.engine.issue(link.responder.session_id)
    opened = link.initiator.open(issued.to_peer[0], ticket=True)
    assert (opened.plaintext, opened.control) == (None, TICKET)
    assert kept(link.initiator)


def test_a_newer_ticket_replaces_the_older_and_wipes_it(engines: Engines) -> None:
    """One ticket a session; the PSK of the one before is zero afterwards."""
    link = establish(engines, options=TICKETS)
    parts = link.initiator.engine.parts
    former = parts.received.get((TENANT, link.initiator.session_id), engines.clock.now)
    assert former is not None
    link.initiator.open(link.responder.engine.issue(link.responder.session_id).to_peer[0])
    assert not any(former.psk)
    assert len(parts.received) == 1


def test_our_own_ticket_is_not_kept(engines: Engines) -> None:
    """A peer that gives our ticket back to us would have us resume with ourselves (protocol, section 6)."""
    link = establish(engines)
    parts = link.initiator.engine.parts
    issued = link.responder.engine.issue(link.responder.session_id).to_peer[0]
    content = link.initiator.datagrams.open(issued, b"", engines.clock.now, parts.aeads).content
    decode_ticket_content(content)
    opened = link.responder.open(link.initiator.datagrams.control(Kind.TICKET, content, parts.aeads))
    assert opened.control == UNKNOWN
    assert not kept(link.responder)


@pytest.mark.parametrize(("pattern", "is_kept"), [(Pattern.IK, True), (Pattern.NK, False)])
def test_an_initiator_s_ticket_is_kept_if_it_has_a_static_key(
    engines: Engines, pattern: Pattern, is_kept: bool
) -> None:
    """Resumed in the opposite role, an anonymous player would be a responder without a key, who cannot rotate."""
    link = establish(engines, pattern=pattern)
    issued = link.initiator.engine.issue(link.initiator.session_id)
    assert link.responder.open(issued.to_peer[0]).control == (TICKET if is_kept else UNKNOWN)
    assert kept(link.responder) is is_kept
    if is_kept:
        new = resumed(Link(initiator=link.responder, responder=link.initiator))
        new.initiator.renegotiate()
        new.settle()
        assert new.epochs() == (1, 1)


@pytest.mark.parametrize("content", [b"", bytes(40), os.urandom(39), os.urandom(40 + 1_025), bytes(41)], ids=len)
def test_what_is_no_ticket_is_not_kept(engines: Engines, content: bytes) -> None:
    """Too short, too long, an all-zero PSK: authenticated, and otherwise ignored."""
    link = establish(engines)
    record = link.initiator.datagrams.control(Kind.TICKET, content, link.initiator.engine.parts.aeads)
    assert link.responder.open(record).control == UNKNOWN
    assert not kept(link.responder)


def test_a_ticket_lives_no_longer_than_its_chain(engines: Engines) -> None:
    """Near the end of the chain the lifetime shrinks, and at the end there is none (protocol, section 6)."""
    policy = Policy(chain_lifetime=1_000.0)
    link = establish(engines, responder=engines.make(policy=policy))
    assert link.responder.engine.issue(link.responder.session_id).expires_in == 1_000.0
    engines.clock.wall += 900.0
    assert link.responder.engine.issue(link.responder.session_id).expires_in == 100.0
    engines.clock.wall += 99.5
    with pytest.raises(PolicyRejected):
        link.responder.engine.issue(link.responder.session_id)


def test_a_half_open_or_unknown_session_gets_none(engines: Engines) -> None:
    """NOT_ESTABLISHED and SESSION_NOT_FOUND."""
    engine = engines.make()
    begun = engine.initiate(initiation(pattern=Pattern.XX))
    with pytest.raises(NotEstablished):
        engine.issue(begun.session_id)
    with pytest.raises(SessionNotFound):
        engine.issue(os.urandom(24))


def test_no_psk_stays_with_the_issuer(engines: Engines) -> None:
    """The issuer keeps nothing of a ticket: its tables are as they were."""
    link = establish(engines)
    parts = link.responder.engine.parts
    before = len(parts.received), len(parts.spent), len(parts.answers)
    link.responder.engine.issue(link.responder.session_id)
    assert (len(parts.received), len(parts.spent), len(parts.answers)) == before
