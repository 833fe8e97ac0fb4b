"""A full handshake beside a resume: begun where the ticket is refused, and not looked at where it is not."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest

from noisegate_server.engine.opening import resume_handshake
from noisegate_server.engine.outcomes import ResumeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.constants import NO_CONNECTION_ID
from noisegate_server.session.errors import (
    HandshakeFailed,
    InvalidField,
    PeerRevoked,
    StaleHandshake,
    TicketRejected,
    UnsupportedProtocol,
)
from noisegate_server.session.hello import resume_prologue
from noisegate_server.session.packets import (
    HandshakeStep1,
    ResumeStep1,
    RetryChoice,
    decode_handshake,
    decode_resume,
    decode_retry,
    encode_resume,
    retry_echo,
)
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import TENANT, Engine, Engines, Link
from tests.support.requests import initiation, response
from tests.support.tickets import with_ticket

CHACHA = Suite.CHACHA20_POLY1305_X25519


@dataclass(frozen=True, slots=True)
class Both:
    """A resume and a full handshake in one packet, and what is needed to go on with the handshake."""

    request: ResumeRequested
    player: Engine
    session_id: bytes
    handshake: bytes
    """The HANDSHAKE packet that would have come alone."""


def both(
    link: Link,
    pattern: Pattern = Pattern.IK,
    offer: tuple[tuple[int, int], ...] = (),
    psk: bytes = b"",
    *,
    connection_id: bytes | None = None,
) -> Both:
    """What the link's initiator sends if it is careful; under its own connection id unless another one is given."""
    player, taker = link.initiator.engine, link.responder.engine
    remote = taker.identity.public if pattern in (Pattern.IK, Pattern.IKPSK1) else b""
    begun = player.initiate(initiation(pattern=pattern, offer=offer, remote_static_key=remote, psk=psk))
    first = decode_handshake(begun.to_peer[0])
    assert isinstance(first, HandshakeStep1)
    kept = player.parts.received.get((TENANT, link.initiator.session_id), link.clock.now)
    assert kept is not None
    noise = resume_handshake(
        player.parts, kept.suite, bytes(kept.psk), resume_prologue(first.hello, kept.ticket, b""), initiator=True
    )
    packet = ResumeStep1(
        connection_id=first.connection_id if connection_id is None else connection_id,
        hello=first.hello,
        ticket=kept.ticket,
        message=noise.write_message(b""),
        fallback=first.message,
    )
    request = ResumeRequested(
        mode=RecordMode.DATAGRAM,
        message=encode_resume(packet),
        ticket=b"",
        hello=b"",
        prologue=b"",
        payload=b"",
        psk=psk,
        peer_id="ann",
        group="table 9",
        options=Options(idle_timeout=77.0),
    )
    return Both(request, player, begun.session_id, begun.to_peer[0])


def refusing(engines: Engines, link: Link, policy: Policy | None = None) -> Engine:
    """The same service with other ticket keys: it knows none of the tickets."""
    return engines.make(identity=link.responder.engine.identity, policy=policy)


def flows(taker: Engine, taken: bytes, player: Engine, begun: bytes) -> None:
    """A record each way."""
    assert taker.decrypt(taken, player.encrypt(begun, b"roll").ciphertext).plaintext == b"roll"
    assert player.decrypt(begun, taker.encrypt(taken, b"six").ciphertext).plaintext == b"six"


@pytest.mark.parametrize("pattern", [Pattern.IK, Pattern.XX, Pattern.IKPSK1])
def test_a_refused_ticket_is_answered_by_the_handshake(engines: Engines, pattern: Pattern) -> None:
    """HANDSHAKE step 2 in the same call; names and options are the request's, and the handshake goes on as any."""
    link = with_ticket(engines)
    sent = both(link, pattern, psk=os.urandom(32) if pattern is Pattern.IKPSK1 else b"")
    taker = refusing(engines, link)
    answer = taker.accept_resume(sent.request)
    assert answer.fell_back
    assert (answer.established is None) is (pattern is Pattern.XX)
    finished = sent.player.proceed(sent.session_id, answer.to_peer[0])
    if pattern is Pattern.XX:
        assert answer.expires_in > 0
        taker.proceed(answer.session_id, finished.to_peer[0])
    flows(taker, answer.session_id, sent.player, sent.session_id)
    session = taker.session(answer.session_id)
    assert (session.peer_id, session.group, session.idle_timeout) == ("ann", "table 9", 77.0)
    assert session.remote_static == sent.player.identity.public


def test_a_good_ticket_leaves_the_handshake_untouched(engines: Engines) -> None:
    """It is not looked at, and its timestamp does not count: the same message is taken later, in its own packet."""
    link = with_ticket(engines)
    sent = both(link, connection_id=NO_CONNECTION_ID)
    taker = link.responder.engine
    answer = taker.accept_resume(sent.request)
    assert not answer.fell_back
    assert answer.established is not None
    assert answer.established.pattern == Pattern.NNPSK0
    assert taker.respond(response(sent.handshake)).established is not None


def test_a_repeat_gets_the_same_handshake(engines: Engines) -> None:
    """One session, the same bytes; the timestamp counts once."""
    link = with_ticket(engines)
    sent = both(link)
    taker = refusing(engines, link)
    first, again = taker.accept_resume(sent.request), taker.accept_resume(sent.request)
    assert (first.to_peer, first.session_id) == (again.to_peer, again.session_id)
    assert taker.parts.store.counts().sessions == 1
    engines.clock.step(11.0)
    with pytest.raises(StaleHandshake):
        taker.accept_resume(sent.request)


def test_a_spent_ticket_is_a_refused_one(engines: Engines) -> None:
    """The player who comes back too late with the same packet begins anew with it."""
    link = with_ticket(engines)
    sent = both(link, connection_id=NO_CONNECTION_ID)
    taker = link.responder.engine
    assert not taker.accept_resume(sent.request).fell_back
    engines.clock.step(11.0)
    assert taker.accept_resume(sent.request).fell_back


def test_a_wrong_choice_is_answered_by_retry_to_the_packet_that_came(engines: Engines) -> None:
    """The echo is that of the RESUME packet; there is no session."""
    link = with_ticket(engines)
    offer = ((Pattern.IK, Suite.AES256_GCM_X25519), (Pattern.IK, CHACHA))
    sent = _with_choice(link, offer)
    taker = refusing(engines, link)
    answer = taker.accept_resume(sent.request)
    assert answer.fell_back
    assert answer.retry is not None
    retry = decode_retry(answer.to_peer[0])
    assert isinstance(retry, RetryChoice)
    assert (retry.echo, retry.choice) == (retry_echo(sent.request.message), 1)
    assert (answer.session_id, taker.parts.store.counts().sessions) == (b"", 0)


def test_a_resume_that_fails_is_no_refused_ticket(engines: Engines) -> None:
    """A forged message 1 is HANDSHAKE_FAILED: it must not make the service begin a handshake instead."""
    link = with_ticket(engines)
    sent = both(link)
    packet = _parsed(sent.request)
    forged = replace(packet, message=packet.message[:-1] + bytes((packet.message[-1] ^ 1,)))
    taker = link.responder.engine
    with pytest.raises(HandshakeFailed):
        taker.accept_resume(replace(sent.request, message=encode_resume(forged)))
    assert taker.accept_resume(sent.request).established is not None


def test_a_fallback_that_fails_is_a_failed_handshake(engines: Engines) -> None:
    """And without one the ticket is rejected."""
    link = with_ticket(engines)
    sent = both(link)
    packet = _parsed(sent.request)
    taker = refusing(engines, link)
    with pytest.raises(HandshakeFailed):
        taker.accept_resume(replace(sent.request, message=encode_resume(replace(packet, fallback=bytes(96)))))
    with pytest.raises(TicketRejected):
        taker.accept_resume(replace(sent.request, message=encode_resume(replace(packet, fallback=b""))))
    assert taker.parts.store.counts().sessions == 0


def test_in_noise_mode_the_game_carries_the_handshake(engines: Engines) -> None:
    """`fallback_message` under the protocol that the call names; both prologues are the game's own."""
    link = with_ticket(engines, RecordMode.NOISE)
    taker = refusing(engines, link)
    request, player, begun = _noise(link)
    answer = taker.accept_resume(request)
    assert answer.fell_back
    player.proceed(begun, answer.to_peer[0])
    flows(taker, answer.session_id, player, begun)


def test_in_noise_mode_a_fallback_without_protocol_or_psk_is_the_callers_mistake(engines: Engines) -> None:
    """As Handshake would say it."""
    link = with_ticket(engines, RecordMode.NOISE)
    taker = refusing(engines, link)
    request, _, _ = _noise(link)
    with pytest.raises(UnsupportedProtocol):
        taker.accept_resume(replace(request, pattern=0, suite=0))
    with pytest.raises(InvalidField):
        taker.accept_resume(replace(request, pattern=Pattern.IKPSK1))


def test_a_revoked_players_fallback_is_refused_by_its_key(engines: Engines) -> None:
    """The ticket is refused, and then the handshake."""
    link = with_ticket(engines)
    sent = both(link)
    taker = link.responder.engine
    taker.parts.revocations.revoke_key(TENANT, sent.player.identity.public)
    with pytest.raises(PeerRevoked):
        taker.accept_resume(sent.request)


def _noise(link: Link) -> tuple[ResumeRequested, Engine, bytes]:
    player, taker = link.initiator.engine, link.responder.engine
    begun = player.initiate(
        initiation(mode=RecordMode.NOISE, pattern=Pattern.IK, remote_static_key=taker.identity.public)
    )
    resume: ResumeStep = player.resume(link.initiator.session_id)
    request = ResumeRequested(
        mode=RecordMode.NOISE,
        message=resume.to_peer[0],
        ticket=resume.ticket,
        hello=b"",
        prologue=b"",
        payload=b"",
        fallback_message=begun.to_peer[0],
        pattern=Pattern.IK,
        suite=CHACHA,
    )
    return request, player, begun.session_id


def _parsed(request: ResumeRequested) -> ResumeStep1:
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    return packet


def _with_choice(link: Link, offer: tuple[tuple[int, int], ...]) -> Both:
    """The player chooses the first of its offer, which the service does not."""
    player, taker = link.initiator.engine, link.responder.engine
    request = initiation(pattern=offer[0][0], suite=offer[0][1], offer=offer, remote_static_key=taker.identity.public)
    begun = player.initiate(request)
    first = decode_handshake(begun.to_peer[0])
    assert isinstance(first, HandshakeStep1)
    packet = ResumeStep1(hello=first.hello, ticket=bytes(200), message=bytes(48), fallback=first.message)
    resume = ResumeRequested(
        mode=RecordMode.DATAGRAM,
        message=encode_resume(packet),
        ticket=b"",
        hello=b"",
        prologue=b"",
        payload=b"",
    )
    return Both(resume, player, begun.session_id, begun.to_peer[0])
