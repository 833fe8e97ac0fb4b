"""The hybrid suite: what runs under its number, that it is chosen first, and what hostile KEM keys get."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest

from noisegate_server.engine.capabilities import capabilities
from noisegate_server.engine.policy import Policy
from noisegate_server.engine.records import parties
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.noise import HandshakeState, KeyPair, ProtocolName
from noisegate_server.noise.primitives import BytesLike, KemKeyPair
from noisegate_server.session import renegotiation
from noisegate_server.session.errors import HandshakeFailed, TicketRejected
from noisegate_server.session.hello import resume_prologue
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import HYBRID_PATTERN_NAMES, Pattern, Suite
from tests.support.engines import TENANT, Engine, Engines, Link, establish, resumed
from tests.support.requests import initiation, response, resumption

HYBRID = Suite.MLKEM1024_X25519_CHACHA20_POLY1305
PATTERNS = [pattern for pattern in Pattern if pattern is not Pattern.NNPSK0]
NO_KEY = b"\xff" * 1568
"""Of the length of a KEM key, with coefficients above q."""


def name_of(link: Link) -> set[str]:
    """The Noise names that both ends say they have run."""
    found = (end.engine.view(end.session_id).established for end in link.ends)
    return {known.protocol_name for known in found if known is not None}


@pytest.mark.parametrize(("mode", "pattern"), list(itertools.product(RecordMode, PATTERNS)), ids=lambda each: each.name)
def test_a_pattern_runs_with_hfs_under_the_hybrid_suite(engines: Engines, mode: RecordMode, pattern: Pattern) -> None:
    """Both ends, initiator and responder, name the hybrid protocol; records flow."""
    link = establish(engines, mode=mode, pattern=pattern, suite=HYBRID)
    assert name_of(link) == {f"Noise_{HYBRID_PATTERN_NAMES[pattern]}_25519+MLKEM1024_ChaChaPoly_SHA256"}
    link.talk()


@pytest.mark.parametrize(
    ("pattern", "handshake", "sizes"),
    [(Pattern.XX, "IKhfs+psk1", (1680, 1632)), (Pattern.NK, "NKhfs+psk0", (1632, 1632))],
)
def test_a_datagram_rotation_brings_a_new_kem_secret(
    engines: Engines, pattern: Pattern, handshake: str, sizes: tuple[int, int]
) -> None:
    """rotate-1 and rotate-2 are those of the hybrid protocol; both ends reach the epoch after it, twice."""
    link = establish(engines, pattern=pattern, suite=HYBRID)
    current = link.initiator.datagrams.current
    begun = renegotiation.begin(
        h=current.h,
        root=bytearray(current.root),
        number=0,
        parties=parties(link.initiator.engine.parts, link.initiator.session),
        random_bytes=os.urandom,
    )
    assert begun.handshake.protocol.name == f"Noise_{handshake}_25519+MLKEM1024_ChaChaPoly_SHA256"
    assert (len(begun.message), begun.handshake.protocol.overheads) == (sizes[0], sizes)
    begun.wipe()
    for number in (1, 2):
        (packet,) = link.initiator.renegotiate().to_peer
        assert len(packet) >= sizes[0]
        link.settle()
        assert link.epochs() == (number, number)
        link.talk()
        engines.clock.step(10.0)


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK])
def test_a_noise_rotation_runs_the_sessions_own_hybrid_pattern(engines: Engines, pattern: Pattern) -> None:
    """Message by message through the Rotate call, then both switch."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=pattern, suite=HYBRID)
    before = [bytes(end.noise.root) for end in link.ends]
    sender, message, sizes = 0, b"", []
    while True:
        answer = link.ends[sender].rotate(RotateCommand(kind=RENEGOTIATE, message=message)).to_peer
        if not answer:
            break
        (message,) = answer
        sizes.append(len(message))
        sender = 1 - sender
    assert sizes == ([1600, 1680, 64] if pattern is Pattern.XX else [1632, 1632])
    for end in link.ends:
        end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))
    assert all(bytes(end.noise.root) != root for end, root in zip(link.ends, before, strict=True))
    link.talk()


@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_resume_runs_nnhfs_psk0(engines: Engines, mode: RecordMode) -> None:
    """The ticket's suite is the first session's: the new one has a KEM secret of its own."""
    link = resumed(with_ticket(engines, mode))
    assert name_of(link) == {"Noise_NNhfs+psk0_25519+MLKEM1024_ChaChaPoly_SHA256"}
    link.talk()


def test_a_ticket_is_refused_once_the_policy_drops_its_suite(engines: Engines) -> None:
    """TICKET_REJECTED: nothing weaker is run in its place."""
    link = with_ticket(engines, RecordMode.DATAGRAM)
    request = resumption(link.initiator.engine.resume(link.initiator.session_id), RecordMode.DATAGRAM)
    taker = engines.make(
        policy=Policy(suites=(Suite.CHACHA20_POLY1305_X25519,)),
        identity=link.responder.engine.identity,
        ticket_keys=link.responder.engine.parts.ticket_keys,
    )
    with pytest.raises(TicketRejected):
        taker.accept_resume(request)


def test_three_suites_are_offered_and_the_hybrid_is_preferred(engines: Engines) -> None:
    """GetCapabilities names every pattern with it first; of an offer with all three it is the choice."""
    engine, player = engines.make(), engines.make()
    protocols = capabilities(engine.parts, TENANT).protocols
    assert [suite for pattern, suite, _ in protocols if pattern == Pattern.XX] == [HYBRID, 1, 2]
    assert protocols[0] == (Pattern.XX, HYBRID, "Noise_XXhfs_25519+MLKEM1024_ChaChaPoly_SHA256")
    offer = tuple((Pattern.XX, suite) for suite in (2, 1, 3))
    for suite in (Suite.AES256_GCM_X25519, Suite.CHACHA20_POLY1305_X25519):
        begun = player.initiate(initiation(pattern=Pattern.XX, suite=suite, offer=offer))
        assert engine.respond(response(begun.to_peer[0])).to_peer[0][18] == offer.index((Pattern.XX, HYBRID))
    begun = player.initiate(initiation(pattern=Pattern.XX, suite=HYBRID, offer=offer))
    answered = engine.respond(response(begun.to_peer[0]))
    assert engine.session(answered.session_id).suite is HYBRID


def test_an_offer_without_the_hybrid_is_served_as_before(engines: Engines) -> None:
    """Classical players lose nothing by the order."""
    engine, player = engines.make(), engines.make()
    offer = ((Pattern.XX, 1), (Pattern.XX, 2))
    begun = player.initiate(initiation(pattern=Pattern.XX, suite=1, offer=offer))
    answered = engine.respond(response(begun.to_peer[0]))
    assert engine.session(answered.session_id).suite is Suite.CHACHA20_POLY1305_X25519


def test_stripping_the_hybrid_from_an_offer_is_found_out(engines: Engines) -> None:
    """Offer and choice are in the prologue: IK's message 1 does not open under a hello that was cut."""
    engine, player = engines.make(), engines.make()
    offer = ((Pattern.IK, HYBRID), (Pattern.IK, 1))
    (packet,) = player.initiate(
        initiation(pattern=Pattern.IK, suite=HYBRID, offer=offer, remote_static_key=engine.identity.public)
    ).to_peer
    at = packet.index(bytes((2, Pattern.IK, HYBRID, Pattern.IK, 1, 0)))
    forged = packet[: at + 2] + bytes((1,)) + packet[at + 3 :]
    with pytest.raises(HandshakeFailed):
        engine.respond(response(forged))
    assert engine.parts.store.counts().sessions == 0


@pytest.mark.parametrize("mode", list(RecordMode))
@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK, Pattern.IK])
def test_a_kem_key_that_is_none_is_handshake_failed(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, mode: RecordMode, pattern: Pattern
) -> None:
    """A coefficient of q or more, sealed or in clear: no session, no other error (row 23)."""
    engine, player = engines.make(), engines.make()
    with monkeypatch.context() as patch:
        forge_kem_key(patch)
        remote = b"" if pattern is Pattern.XX else engine.identity.public
        begun = player.initiate(initiation(mode=mode, pattern=pattern, suite=HYBRID, remote_static_key=remote))
    named = (pattern, HYBRID) if mode is RecordMode.NOISE else (0, 0)
    with pytest.raises(HandshakeFailed):
        engine.respond(response(begun.to_peer[0], mode=mode, pattern=named[0], suite=named[1]))
    assert engine.parts.store.counts().sessions == 0


@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_kem_key_that_is_none_does_not_spend_a_ticket(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, mode: RecordMode
) -> None:
    """The ticket's holder proves the PSK and sends rubbish: HANDSHAKE_FAILED, and the ticket is as it was."""
    link = with_ticket(engines, mode)
    with monkeypatch.context() as patch:
        forge_kem_key(patch)
        begun = link.initiator.engine.resume(link.initiator.session_id)
    assert_not_spent(link.responder.engine, resumption(begun, mode))


def test_a_point_of_low_order_does_not_spend_a_ticket(engines: Engines) -> None:
    """As above in a classical suite: the ephemeral key is first used in the answer."""
    link = with_ticket(engines, RecordMode.NOISE, suite=Suite.CHACHA20_POLY1305_X25519)
    held = link.initiator.engine.parts.received.get((TENANT, link.initiator.session_id), engines.clock.now)
    assert held is not None
    handshake = HandshakeState(
        ProtocolName.parse("Noise_NNpsk0_25519_ChaChaPoly_SHA256"),
        initiator=True,
        prologue=resume_prologue(None, held.ticket, b""),
        e=KeyPair(KeyPair.generate(os.urandom)._private, bytes(32)),
        psks=(bytes(held.psk),),
        random_bytes=os.urandom,
    )
    message = handshake.write_message()
    begun = link.initiator.engine.resume(link.initiator.session_id)
    assert_not_spent(link.responder.engine, replace(resumption(begun, RecordMode.NOISE), message=message))


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK])
def test_a_rotation_with_a_kem_key_that_is_none_changes_nothing(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, pattern: Pattern
) -> None:
    """The peer of a session sends rubbish in its rotate-1: it is dropped, and the old keys go on."""
    link = establish(engines, pattern=pattern, suite=HYBRID)
    with monkeypatch.context() as patch:
        forge_kem_key(patch)
        link.initiator.renegotiate()
    link.settle()
    assert link.responder.datagrams.current.number == 0
    assert link.responder.datagrams.next is None
    link.responder.send(b"still here")
    link.settle()
    assert link.initiator.received == [b"still here"]


def with_ticket(engines: Engines, mode: RecordMode, suite: Suite = HYBRID) -> Link:
    """A session whose initiator holds a ticket of the responder."""
    link = establish(engines, mode=mode, suite=suite)
    issued = link.responder.engine.issue(link.responder.session_id)
    link.initiator.open(issued.to_peer[0], ticket=mode is RecordMode.NOISE)
    return link


def assert_not_spent(taker: Engine, request: ResumeRequested) -> None:
    """HANDSHAKE_FAILED, no new session, and the ticket is as it was."""
    before = taker.parts.store.counts().sessions
    with pytest.raises(HandshakeFailed):
        taker.accept_resume(request)
    assert (taker.parts.store.counts().sessions, len(taker.parts.spent)) == (before, 0)


def forge_kem_key(patch: pytest.MonkeyPatch) -> None:
    """From here on every KEM key pair shows a public key that is none."""
    genuine = KemKeyPair.from_seed

    def forged(seed: BytesLike) -> KemKeyPair:
        return KemKeyPair(genuine(seed)._private, NO_KEY)

    patch.setattr(KemKeyPair, "from_seed", forged)
