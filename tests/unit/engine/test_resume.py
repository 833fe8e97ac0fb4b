"""Resume: one round trip with a ticket, and every ticket that is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.constants import REPEAT_ANSWER_S, TICKET_LIFETIME_S
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue, SessionQuota, TicketRejected
from noisegate_server.session.packets import ResumeStep1, decode_resume, encode_resume
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import TicketKeys
from noisegate_server.store.base import StoreLimits
from tests.support.engines import TENANT, Engine, Engines, Link, establish, resumed, ticket_key
from tests.support.fingerprint import secrets_of
from tests.support.requests import resumption
from tests.support.tickets import resume_request, with_ticket

TICKETS = Options(tickets=True)


def request_of(link: Link, prologue: bytes = b"") -> ResumeRequested:
    """The initiator's first message, as the game passes it on."""
    return resume_request(link, prologue=prologue)


def with_spoiled(request: ResumeRequested, **changes: bytes) -> ResumeRequested:
    """The same RESUME packet with some of its parts exchanged."""
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    return replace(request, message=encode_resume(replace(packet, **changes)))


def sessions_of(engine: Engine) -> int:
    """How many sessions the engine keeps."""
    return engine.parts.store.counts().sessions


@pytest.mark.parametrize("mode", list(RecordMode))
@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK])
def test_a_resumed_session_flows_rotates_and_resumes_again(
    engines: Engines, mode: RecordMode, suite: Suite, pattern: Pattern
) -> None:
    """Identity, suite and mode are the first session's; its keys, id and hash are new; it can do all that it could."""
    first = with_ticket(engines, mode, pattern=pattern, suite=suite)
    link = resumed(first)
    link.talk()
    for end, before in zip(link.ends, first.ends, strict=True):
        session, former = end.session, before.session
        assert (session.suite, session.mode, session.peer_id) == (suite, mode, former.peer_id)
        assert session.remote_static == former.remote_static
        assert session.session_id != former.session_id
        assert session.handshake_hash != former.handshake_hash
    if mode is RecordMode.DATAGRAM:
        link.initiator.renegotiate()
        link.settle()
        assert link.epochs() == (1, 1)
    else:
        message = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
        answer = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message)).to_peer[0]
        link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answer))
        for end in link.ends:
            end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))
    link.talk()
    issued = link.responder.engine.issue(link.responder.session_id)
    link.initiator.open(issued.to_peer[0], ticket=mode is RecordMode.NOISE)
    resumed(link).talk()


def test_a_ticket_is_used_once_by_the_one_who_holds_it(engines: Engines) -> None:
    """The initiator's copy is wiped when its resume has begun; a second resume has none (row 37)."""
    link = with_ticket(engines)
    held = link.initiator.engine.parts.received.get((TENANT, link.initiator.session_id), engines.clock.now)
    assert held is not None
    request_of(link)
    assert not any(held.psk)
    with pytest.raises(TicketRejected):
        request_of(link)


def test_a_ticket_is_taken_once_by_the_one_who_issued_it(engines: Engines) -> None:
    """A second packet with a spent ticket, even one that differs, is TICKET_REJECTED (row 37)."""
    link = with_ticket(engines)
    request = request_of(link)
    taker = link.responder.engine
    taker.accept_resume(request)
    before = sessions_of(taker)
    engines.clock.step(REPEAT_ANSWER_S)
    for second in (request, with_spoiled(request, puzzle=b"x")):
        with pytest.raises(TicketRejected):
            taker.accept_resume(second)
    assert sessions_of(taker) == before


def test_a_repeat_gets_the_same_answer_for_ten_seconds(engines: Engines) -> None:
    """The player sends at 0, 2 and 10 s: byte for byte the same answer, one session."""
    link = with_ticket(engines)
    request = request_of(link)
    taker = link.responder.engine
    answer = taker.accept_resume(request)
    engines.clock.step(REPEAT_ANSWER_S - 0.1)
    assert taker.accept_resume(request) is answer
    assert sessions_of(taker) == 2


def test_a_copy_with_another_connection_id_does_not_burn_the_ticket(engines: Engines) -> None:
    """As for a handshake: the genuine packet that comes after it gets the answer that its ticket has earned."""
    link = with_ticket(engines)
    request = request_of(link)
    assert request.mode is RecordMode.DATAGRAM
    altered = replace(request, message=request.message[:1] + bytes((request.message[1] ^ 1,)) + request.message[2:])
    taker = link.responder.engine
    answer = taker.accept_resume(altered)
    assert taker.accept_resume(request) is answer


def test_the_spent_mark_outlives_the_ticket(engines: Engines) -> None:
    """At no time in a ticket's life is it taken a second time, also where policy lets tickets live shorter."""
    link = with_ticket(engines, responder=engines.make(policy=Policy(ticket_lifetime=600.0)))
    request = request_of(link)
    link.responder.engine.accept_resume(request)
    for seconds in (11.0, 590.0, 4_000.0, TICKET_LIFETIME_S - 4_700.0, 7_200.0):
        engines.clock.step(seconds)
        link.responder.engine.sweep()
        with pytest.raises(TicketRejected):
            link.responder.engine.accept_resume(request)


@pytest.mark.parametrize(("seconds", "taken"), [(599.0, True), (601.0, False)])
def test_a_shorter_lifetime_of_policy_is_kept(engines: Engines, seconds: float, taken: bool) -> None:
    """The issuer refuses a ticket that is older than its policy lets one be, whatever the player says."""
    link = with_ticket(engines, responder=engines.make(policy=Policy(ticket_lifetime=600.0)))
    request = request_of(link)
    engines.clock.step(seconds)
    if taken:
        assert link.responder.engine.accept_resume(request).established is not None
        return
    with pytest.raises(TicketRejected):
        link.responder.engine.accept_resume(request)


@pytest.mark.parametrize(
    "what", ["garbage", "truncated", "another key", "tenant", "prologue", "policy", "expired", "future", "identity"]
)
def test_a_ticket_that_cannot_be_used_leaves_nothing(engines: Engines, what: str) -> None:
    """Whatever is wrong with it, the answer is TICKET_REJECTED, without a session and without a mark (row 36)."""
    link = with_ticket(engines, suite=Suite.AES256_GCM_X25519)
    request, taker, tenant = request_of(link), link.responder.engine, TENANT
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    if what == "garbage":
        request = with_spoiled(request, ticket=os.urandom(len(packet.ticket)))
    elif what == "truncated":
        request = with_spoiled(request, ticket=packet.ticket[:-1])
    elif what == "another key":
        taker = engines.make(identity=taker.identity)
    elif what == "tenant":
        tenant = "cards"
    elif what == "prologue":
        request = replace(request, prologue=b"another game")
    elif what == "policy":
        policy = Policy(suites=(Suite.CHACHA20_POLY1305_X25519,))
        taker = engines.make(identity=taker.identity, ticket_keys=taker.parts.ticket_keys, policy=policy)
    elif what == "expired":
        engines.clock.step(TICKET_LIFETIME_S + 1.0)
    elif what == "future":
        engines.clock.wall -= 61.0
    else:
        taker = engines.make(ticket_keys=taker.parts.ticket_keys)
    before = sessions_of(taker)
    with pytest.raises(TicketRejected):
        taker.accept_resume(request, tenant=tenant)
    assert (sessions_of(taker), len(taker.parts.spent)) == (before, 0)


def test_a_previous_ticket_key_still_opens(engines: Engines) -> None:
    """An instance whose ring has moved on takes what the former key has sealed."""
    former = ticket_key()
    link = with_ticket(engines, responder=engines.make(ticket_keys=TicketKeys(current=former)))
    identity = link.responder.engine.identity
    taker = engines.make(identity=identity, ticket_keys=TicketKeys(current=ticket_key(), previous=former))
    assert taker.accept_resume(request_of(link)).established is not None


def test_a_spoiled_first_message_does_not_spend_the_ticket(engines: Engines) -> None:
    """Only who knows the PSK can spend a ticket: HANDSHAKE_FAILED, and the genuine packet is taken."""
    link = with_ticket(engines)
    request = request_of(link)
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    taker = link.responder.engine
    with pytest.raises(HandshakeFailed):
        taker.accept_resume(with_spoiled(request, message=packet.message[:-1] + bytes((packet.message[-1] ^ 1,))))
    assert len(taker.parts.spent) == 0
    assert taker.accept_resume(request).established is not None


def test_without_room_the_ticket_is_not_spent(engines: Engines) -> None:
    """SESSION_QUOTA: the player may come again with the same ticket."""
    responder = engines.make(limits=StoreLimits(sessions_per_peer=1))
    link = with_ticket(engines, responder=responder)
    request = request_of(link)
    with pytest.raises(SessionQuota):
        responder.accept_resume(request)
    assert len(responder.parts.spent) == 0
    responder.close(link.responder.session_id)
    assert responder.accept_resume(request).established is not None


def test_without_a_ticket_there_is_no_resume(engines: Engines) -> None:
    """TICKET_REJECTED for a session whose peer gave none, another prologue, and a lifetime that is over."""
    plain = establish(engines)
    with pytest.raises(TicketRejected):
        request_of(plain)
    link = with_ticket(engines, prologue=b"table 7")
    with pytest.raises(TicketRejected):
        request_of(link, b"table 8")
    engines.clock.wall += TICKET_LIFETIME_S
    with pytest.raises(TicketRejected):
        request_of(link, b"table 7")


def test_a_ticket_serves_after_its_session_has_ended(engines: Engines) -> None:
    """That is what it is for."""
    link = with_ticket(engines)
    mode = link.initiator.session.mode
    for end in link.ends:
        end.engine.close(end.session_id)
    begun = link.initiator.engine.resume(link.initiator.session_id)
    answered = link.responder.engine.accept_resume(resumption(begun, mode))
    finished = link.initiator.engine.finish_resume(b"", answered.to_peer[0])
    assert finished.established is not None
    assert answered.established is not None
    assert finished.established.handshake_hash == answered.established.handshake_hash


def test_a_revoked_player_s_ticket_is_used_no_more_though_its_session_is_gone(engines: Engines) -> None:
    """We held it beyond the session; a player that is revoked by name afterwards is not resumed with it."""
    link = with_ticket(engines)
    engine = link.initiator.engine
    session = link.initiator.session
    tenant, peer_id = session.tenant, session.peer_id
    engine.close(link.initiator.session_id)
    engine.parts.revocations.revoke_name(tenant, peer_id, engine.clock.wall)
    with pytest.raises(TicketRejected):
        engine.resume(link.initiator.session_id)


def test_spoofed_answers_do_not_end_a_resume(engines: Engines) -> None:
    """15 forged packets leave it as it was; 16 end and wipe it."""
    for forged, survives in ((15, True), (16, False)):
        link = with_ticket(engines)
        engine = link.initiator.engine
        begun = engine.resume(link.initiator.session_id)
        answer = link.responder.engine.accept_resume(resumption(begun, RecordMode.DATAGRAM)).to_peer[0]
        buffers = secrets_of(engine.session(begun.session_id))
        for _ in range(forged):
            with pytest.raises(HandshakeFailed):
                engine.finish_resume(begun.session_id, answer[:-1] + bytes((answer[-1] ^ 1,)))
        if survives:
            assert engine.finish_resume(begun.session_id, answer).established is not None
        assert not any(map(any, buffers))


def test_steps_of_resume_and_handshake_do_not_mix(engines: Engines) -> None:
    """A resume's answer is no handshake's step, and a step that is not due is HANDSHAKE_STATE (row 19)."""
    link = with_ticket(engines)
    begun = link.initiator.engine.resume(link.initiator.session_id)
    with pytest.raises(HandshakeNotDue):
        link.initiator.engine.proceed(begun.session_id, bytes(64))
    for end in link.ends:
        with pytest.raises(HandshakeNotDue):
            end.engine.finish_resume(end.session_id, bytes(64))
