"""Early data: taken once, where everything speaks for it, and dropped where anything does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noisegate_server.engine.opening import resume_handshake
from noisegate_server.engine.outcomes import Early, ResumeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.errors import HandshakeFailed, MessageTooLarge
from noisegate_server.session.hello import resume_prologue
from noisegate_server.session.packets import ResumeStep1, ResumeStep2, decode_resume, encode_resume
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from noisegate_server.session.ticket import open_ticket
from noisegate_server.store.vault import MemoryVault
from tests.support.engines import Engine, Engines, Link
from tests.support.requests import resumption
from tests.support.tickets import give_ticket, resume_request, with_ticket

MOST = 1_200
EARLY = Options(max_early=MOST)
POLICY = Policy(max_early=MOST)
MODES = pytest.mark.parametrize("mode", list(RecordMode))


def generous(engines: Engines, vault: MemoryVault | None = None) -> Engine:
    """An instance whose operator allows early data."""
    return engines.make(policy=POLICY, vault=vault)


def early_link(engines: Engines, mode: RecordMode = RecordMode.DATAGRAM, options: Options = EARLY) -> Link:
    """A session whose initiator may send early data with its ticket."""
    return with_ticket(engines, mode, options=options, responder=generous(engines))


def answer(link: Link, early_data: bytes = b"jump", *, accept_early: bool = True) -> tuple[ResumeStep, ResumeStep]:
    """(what the responder's caller is told, what the initiator's is)."""
    mode = link.initiator.session.mode
    begun = link.initiator.engine.resume(link.initiator.session_id, b"", early_data)
    taken = link.responder.engine.accept_resume(replace(resumption(begun, mode), accept_early=accept_early))
    return taken, link.initiator.engine.finish_resume(begun.session_id, taken.to_peer[0])


@MODES
def test_early_data_is_delivered_and_confirmed_by_the_first_record(engines: Engines, mode: RecordMode) -> None:
    """Both callers learn that it was taken; the session is early until a record of the player opens."""
    link = early_link(engines, mode)
    taken, told = answer(link)
    assert (taken.early, taken.early_data, told.early) == (Early.ACCEPTED, b"jump", Early.ACCEPTED)
    assert told.payload == b""
    taker, player = link.responder.engine, link.initiator.engine
    assert taker.view(taken.session_id).early
    assert not player.view(told.session_id).early
    opened = taker.decrypt(taken.session_id, player.encrypt(told.session_id, b"land").ciphertext)
    assert (opened.plaintext, opened.early) == (b"land", False)
    assert not taker.view(taken.session_id).early


@MODES
def test_early_data_goes_with_the_hybrid_suite_too(engines: Engines, mode: RecordMode) -> None:
    """Its message 1 is sealed before the KEM takes part; what is delivered, and how often, is the same."""
    link = with_ticket(
        engines, mode, suite=Suite.MLKEM1024_X25519_CHACHA20_POLY1305, options=EARLY, responder=generous(engines)
    )
    taken, told = answer(link, bytes(MOST))
    assert (taken.early, taken.early_data, told.early) == (Early.ACCEPTED, bytes(MOST), Early.ACCEPTED)


@MODES
def test_a_resume_without_early_data_says_nothing_of_it(engines: Engines, mode: RecordMode) -> None:
    """Neither accepted nor rejected, and the session is not early."""
    link = early_link(engines, mode)
    taken, told = answer(link, b"")
    assert (taken.early, told.early) == (Early.NONE, Early.NONE)
    assert not link.responder.engine.view(taken.session_id).early


@MODES
@pytest.mark.parametrize("why", ["caller", "operator", "operator allows less", "session", "another vault"])
def test_early_data_that_may_not_be_taken_is_dropped_and_the_resume_goes_on(
    engines: Engines, mode: RecordMode, why: str
) -> None:
    """The player is told, and sends it again as a record."""
    link = early_link(engines, mode)
    taker = link.responder.engine
    if why == "session":
        # What the ticket says and what the player was told differ only where somebody lies to the player.
        link = early_link(engines, mode, Options())
        taker = link.responder.engine
        kept = link.initiator.engine.parts.received
        key, (ticket, until) = next(iter(kept._rows.items()))
        kept._rows[key] = (replace(ticket, max_early=MOST), until)
    elif why != "caller":
        policy = {"operator": Policy(), "operator allows less": Policy(max_early=3)}.get(why, POLICY)
        vault = None if why == "another vault" else MemoryVault(taker.parts.vault.issuer)
        taker = engines.make(identity=taker.identity, ticket_keys=taker.parts.ticket_keys, policy=policy, vault=vault)
    begun = link.initiator.engine.resume(link.initiator.session_id, b"", b"jump")
    request = replace(resumption(begun, mode), accept_early=why != "caller")
    taken = taker.accept_resume(request)
    assert (taken.early, taken.early_data) == (Early.REJECTED, b"")
    assert taken.established is not None
    assert not taker.view(taken.session_id).early
    told = link.initiator.engine.finish_resume(begun.session_id, taken.to_peer[0])
    assert told.early is Early.REJECTED
    sealed = link.initiator.engine.encrypt(told.session_id, b"jump")
    assert taker.decrypt(taken.session_id, sealed.ciphertext).plaintext == b"jump"


def test_a_repeat_gets_the_same_bytes_and_no_early_data(engines: Engines) -> None:
    """The player hears again that it was taken; the game is not told twice."""
    link = early_link(engines)
    request = resume_request(link, early_data=b"jump")
    first = link.responder.engine.accept_resume(request)
    again = link.responder.engine.accept_resume(request)
    assert again.to_peer == first.to_peer
    assert again.session_id == first.session_id
    assert (again.early, again.early_data) == (Early.NONE, b"")


def test_the_largest_early_data_is_taken_and_more_is_refused_to_who_sends_it(engines: Engines) -> None:
    """MessageTooLarge names the limit, and the ticket is still there afterwards."""
    link = early_link(engines)
    with pytest.raises(MessageTooLarge, match="1200"):
        resume_request(link, early_data=bytes(MOST + 1))
    taken, _ = answer(link, bytes(MOST))
    assert taken.early_data == bytes(MOST)


def test_a_ticket_without_early_data_lets_none_be_sent(engines: Engines) -> None:
    """Off by default: neither the operator nor the session's caller has allowed any."""
    for options, policy in ((EARLY, Policy()), (Options(), POLICY)):
        link = with_ticket(engines, options=options, responder=engines.make(policy=policy))
        with pytest.raises(MessageTooLarge):
            resume_request(link, early_data=b"x")
        assert resume_request(link).message


def test_the_limit_is_the_lower_of_the_two(engines: Engines) -> None:
    """The session's and the operator's; it goes on over a chain of resumes."""
    link = early_link(engines, options=Options(max_early=16_384))
    for _ in range(3):
        assert link.responder.session.max_early == MOST
        taken, told = answer(link, bytes(MOST))
        assert taken.early is Early.ACCEPTED
        link.initiator.session_id, link.responder.session_id = told.session_id, taken.session_id
        give_ticket(link)


@MODES
@pytest.mark.parametrize("payload", [b"", b"\x02", b"\xff welcome"])
def test_an_answer_that_says_neither_fails_the_resume(engines: Engines, mode: RecordMode, payload: bytes) -> None:
    """docs/protocol.md, section 6: message 2's payload begins with 0 or 1."""
    link = early_link(engines, mode)
    engine = link.initiator.engine
    begun = engine.resume(link.initiator.session_id)
    session = link.responder.engine.accept_resume(resumption(begun, mode))
    forged = _answer_with(link, begun, mode, payload, session)
    with pytest.raises(HandshakeFailed):
        engine.finish_resume(begun.session_id, forged)
    assert engine.parts.store.counts().half_open == 0


def _answer_with(link: Link, begun: ResumeStep, mode: RecordMode, payload: bytes, answered: ResumeStep) -> bytes:
    """Message 2 of somebody who has the ticket's PSK and another idea of its payload."""
    parts, wall = link.responder.engine.parts, link.clock.wall
    if mode is RecordMode.DATAGRAM:
        packet = decode_resume(begun.to_peer[0])
        assert isinstance(packet, ResumeStep1)
        hello, blob, message = packet.hello, packet.ticket, packet.message
    else:
        hello, blob, message = b"", begun.ticket, begun.to_peer[0]
    ticket = open_ticket(parts.ticket_keys, "dice", blob, wall)
    handshake = resume_handshake(
        parts, ticket.suite, bytes(ticket.psk), resume_prologue(hello, blob, b""), initiator=False
    )
    handshake.read_message(message)
    reply = handshake.write_message(payload)
    if mode is RecordMode.NOISE:
        return reply
    return encode_resume(ResumeStep2(connection_id=answered.connection_id, message=reply))
