"""RETRY in both roles: when a responder sends one, and where an initiator goes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.noise import KeyPair
from noisegate_server.session.constants import HANDSHAKE_FAILURES
from noisegate_server.session.errors import (
    ClockSkew,
    HandshakeFailed,
    HandshakeNotDue,
    InvalidField,
    PolicyRejected,
)
from noisegate_server.session.hello import Flags, Hello, decode_hello
from noisegate_server.session.packets import HandshakeStep1, RetryReason, decode_handshake
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engine, Engines
from tests.support.fingerprint import fingerprint, secrets_of
from tests.support.requests import initiation, response
from tests.support.written_out import sha256

CLASSICAL, AES, HYBRID = Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519, Suite(3)
XX_OFFER = ((Pattern.XX, HYBRID), (Pattern.XX, CLASSICAL))
NO_MASK = Policy(flags=Policy().flags & ~Flags.MASK)


def retry(refused: bytes, tail: bytes) -> bytes:
    """A RETRY to `refused`, from docs/protocol.md: `tail` is the reason and what follows it."""
    return b"\x0e" + bytes(8) + sha256(refused)[:8] + tail


def choose(refused: bytes, choice: int, flags: int = 0xFF) -> bytes:
    """RETRY, reason 1."""
    return retry(refused, bytes((1, choice, flags)))


def clock(refused: bytes, wall: float) -> bytes:
    """RETRY, reason 2, without work."""
    return retry(refused, b"\x02\0" + int(wall * 1000).to_bytes(8, "big"))


def hello_of(packet: bytes) -> Hello:
    """The hello in a first packet."""
    return decode_hello(opened(packet).hello)


def opened(packet: bytes) -> HandshakeStep1:
    """A first packet's fields."""
    step = decode_handshake(packet)
    assert isinstance(step, HandshakeStep1)
    return step


def sessions_of(engine: Engine) -> int:
    """How many sessions the engine keeps."""
    return engine.parts.store.counts().sessions


def begun_as(engine: Engine, **fields: Any) -> HandshakeStep:
    """A handshake that `engine` has begun; XX, classical, of an offer that begins with the hybrid."""
    return engine.initiate(initiation(**{"pattern": Pattern.XX, "suite": CLASSICAL, "offer": XX_OFFER, **fields}))


def finish(first: Engine, session_id: bytes, second: Engine, packet: bytes) -> str:
    """Carry a handshake on from its first packet to its end; the name of the protocol that both ends have run."""
    answered = second.respond(response(packet))
    done = first.proceed(session_id, answered.to_peer[0])
    for message in done.to_peer:
        second.proceed(b"", message)
    names = {
        view.protocol_name
        for view in (first.view(session_id).established, second.view(answered.session_id).established)
        if view is not None
    }
    sealed = first.encrypt(session_id, b"roll")
    assert second.decrypt(answered.session_id, sealed.ciphertext).plaintext == b"roll"
    return names.pop() if len(names) == 1 else ""


# --- the responder ---------------------------------------------------------------------------------------------------


def test_another_choice_than_ours_is_answered_with_ours(engines: Engines) -> None:
    """20 bytes, fewer than what came, made without state, randomness or a look at the Noise message."""
    first, second = engines.make(), engines.make()
    packet = begun_as(first).to_peer[0]
    second.parts = replace(second.parts, random_bytes=lambda size: pytest.fail(f"{size} random bytes drawn"))
    for message in (packet, packet[:-32] + bytes(32), packet[:-31]):
        answer = second.respond(response(message))
        assert (answer.to_peer, answer.retry) == ((choose(message, 0, 31),), RetryReason.CHOOSE)
        assert len(answer.to_peer[0]) == 20 < len(message)
        assert (answer.session_id, answer.connection_id, answer.established) == (b"", b"", None)
    assert sessions_of(second) == 0
    assert second.leftovers() == []


def test_flags_that_are_not_granted_are_answered_with_those_that_are(engines: Engines) -> None:
    """The right choice once more, and the flags of the policy."""
    first, second = engines.make(), engines.make(policy=NO_MASK)
    packet = first.initiate(
        initiation(remote_static_key=second.identity.public, options=Options(mask=True, ratchet=True))
    ).to_peer[0]
    assert second.respond(response(packet)).to_peer == (choose(packet, 0, 1 | 4 | 8 | 16),)
    assert sessions_of(second) == 0


@pytest.mark.parametrize("seconds", [-30.5, 30.5])
def test_another_clock_is_answered_with_ours(engines: Engines, seconds: float) -> None:
    """Reason 2 with no work and the time in milliseconds: 27 bytes, fewer than came (row 30)."""
    first, second = engines.make(), engines.make()
    packet = first.initiate(initiation(remote_static_key=second.identity.public)).to_peer[0]
    engines.clock.wall += seconds
    answer = second.respond(response(packet))
    assert (answer.to_peer, answer.retry) == ((clock(packet, engines.clock.wall),), RetryReason.PUZZLE)
    assert len(answer.to_peer[0]) == 27 < len(packet)
    assert sessions_of(second) == 0
    assert second.leftovers() == []


def test_the_choice_comes_before_the_clock(engines: Engines) -> None:
    """Who is wrong in both hears of the choice first: the clock's answer is used while it is fresh."""
    first, second = engines.make(), engines.make()
    packet = begun_as(first).to_peer[0]
    engines.clock.wall += 3_600.0
    assert second.respond(response(packet)).retry is RetryReason.CHOOSE


@pytest.mark.parametrize("seconds", [0.0, 3_600.0])
def test_an_offer_with_nothing_that_we_allow_is_a_refusal(engines: Engines, seconds: float) -> None:
    """There is nowhere to send the player: POLICY_REJECTED (row 17), whatever its clock."""
    first, second = engines.make(), engines.make(policy=Policy(suites=(AES,)))
    packet = begun_as(first).to_peer[0]
    engines.clock.wall += seconds
    with pytest.raises(PolicyRejected):
        second.respond(response(packet))
    assert sessions_of(second) == 0


@pytest.mark.parametrize(("seconds", "suite", "refusal"), [(0.0, 1, PolicyRejected), (31.0, 3, ClockSkew)])
def test_noise_mode_has_no_retry(engines: Engines, seconds: float, suite: int, refusal: type[Exception]) -> None:
    """It has no packets: the caller is told, as before."""
    first, second = engines.make(), engines.make()
    begun = begun_as(first, mode=RecordMode.NOISE, suite=suite)
    engines.clock.wall += seconds
    with pytest.raises(refusal):
        second.respond(response(begun.to_peer[0], mode=RecordMode.NOISE, hello=begun.hello))


# --- the initiator ---------------------------------------------------------------------------------------------------


def test_a_retry_leads_to_the_responder_s_choice(engines: Engines) -> None:
    """The same offer under a new ephemeral key and a later timestamp; both ends run the responder's choice."""
    first, second = engines.make(), engines.make()
    begun = begun_as(first, payload=b"hi")
    again = first.proceed(begun.session_id, second.respond(response(begun.to_peer[0])).to_peer[0])
    assert (again.session_id, again.connection_id) == (begun.session_id, begun.connection_id)
    assert again.established is None
    before, after = hello_of(begun.to_peer[0]), hello_of(again.to_peer[0])
    assert after == replace(before, choice=0, timestamp_ms=after.timestamp_ms)
    assert after.timestamp_ms > before.timestamp_ms
    keys = [opened(step.to_peer[0]).message[:32] for step in (begun, again)]
    assert keys[0] != keys[1]
    engines.clock.step(1.0)
    name = finish(first, begun.session_id, second, again.to_peer[0])
    assert name == "Noise_XXhfs_25519+MLKEM1024_ChaChaPoly_SHA256"


def test_layers_that_are_denied_are_left_out(engines: Engines) -> None:
    """The session runs without the mask, at both ends, and with the rest of what was asked for."""
    first, second = engines.make(), engines.make(policy=NO_MASK)
    options = Options(mask=True, pad=True, ratchet=True)
    begun = first.initiate(initiation(remote_static_key=second.identity.public, options=options))
    again = first.proceed(begun.session_id, second.respond(response(begun.to_peer[0])).to_peer[0])
    finish(first, begun.session_id, second, again.to_peer[0])
    assert first.session(begun.session_id).flags == Flags.DATAGRAM | Flags.PAD | Flags.RATCHET


def test_a_retry_of_the_clock_is_for_one_hello(engines: Engines) -> None:
    """The next handshake has our own clock's time again."""
    first, second = engines.make(), engines.make()
    own = engines.clock.wall
    begun = first.initiate(initiation(remote_static_key=second.identity.public))
    engines.clock.wall += 3_600.0
    refusal = second.respond(response(begun.to_peer[0])).to_peer[0]
    engines.clock.wall = own
    again = first.proceed(begun.session_id, refusal)
    assert hello_of(again.to_peer[0]).timestamp_ms == int((own + 3_600.0) * 1000)
    other = first.initiate(initiation(remote_static_key=second.identity.public))
    assert hello_of(other.to_peer[0]).timestamp_ms <= int(own * 1000) + 1
    engines.clock.wall += 3_600.0
    finish(first, begun.session_id, second, again.to_peer[0])


def test_both_reasons_are_followed_one_after_the_other(engines: Engines) -> None:
    """A wrong choice by a wrong clock: two RETRYs, three attempts, one session."""
    first, second = engines.make(), engines.make()
    own = engines.clock.wall
    step = begun_as(first)
    session_id = step.session_id
    for _ in range(2):
        engines.clock.wall = own + 3_600.0
        refusal = second.respond(response(step.to_peer[0])).to_peer[0]
        engines.clock.wall = own
        step = first.proceed(session_id, refusal)
    engines.clock.wall = own + 3_600.0
    assert "hfs" in finish(first, session_id, second, step.to_peer[0])


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_every_attempt_stays_alive_until_one_is_answered(engines: Engines, answered: int) -> None:
    """A forged RETRY costs nothing: the packet that it refuses may be answered still, and its protocol is run then."""
    first = engines.make()
    begun = begun_as(first)
    packets = [begun.to_peer[0]]
    packets += first.proceed(begun.session_id, choose(packets[0], 0)).to_peer
    packets += first.proceed(begun.session_id, clock(packets[0], engines.clock.wall + 1)).to_peer
    suites = (CLASSICAL, HYBRID, CLASSICAL)
    second = engines.make(policy=Policy(suites=(suites[answered],)))
    buffers = secrets_of(first.session(begun.session_id))
    name = finish(first, begun.session_id, second, packets[answered])
    assert ("hfs" in name) is (answered == 1)
    assert first.session(begun.session_id).suite is suites[answered]
    assert not any(map(any, buffers))


def test_a_repeated_retry_gets_the_same_packet_and_another_one_none(engines: Engines) -> None:
    """Its answer may have been lost. Each reason is followed once."""
    first = engines.make()
    begun = begun_as(first, offer=(*XX_OFFER, (Pattern.XX, AES)))
    genuine = choose(begun.to_peer[0], 0)
    again = first.proceed(begun.session_id, genuine)
    assert first.proceed(begun.session_id, genuine) is again
    for refused, choice in ((begun.to_peer[0], 2), (again.to_peer[0], 1), (again.to_peer[0], 2)):
        before = fingerprint(first.session(begun.session_id))
        with pytest.raises(HandshakeNotDue):
            first.proceed(begun.session_id, choose(refused, choice))
        assert fingerprint(first.session(begun.session_id)) == before


FORGED = {
    "another echo": lambda packet: choose(packet + b".", 0),
    "a choice outside the offer": lambda packet: choose(packet, 3),
    "a choice that our policy forbids": lambda packet: choose(packet, 2),
    "the same again": lambda packet: choose(packet, 1),
    "without the ratchet": lambda packet: choose(packet, 0, 0xFE),
    "a puzzle with work": lambda packet: retry(packet, b"\x02\x01" + bytes(8)),
    "a short clock": lambda packet: retry(packet, b"\x02\0" + bytes(7)),
    "no reason of version 1": lambda packet: retry(packet, b"\x03\0\0"),
    "a byte too many": lambda packet: choose(packet, 0) + b"\0",
    "cut": lambda packet: choose(packet, 0)[:17],
    "a connection id": lambda packet: b"\x0e" + b"c" * 8 + choose(packet, 0)[9:],
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_retry_that_leads_nowhere_changes_nothing(engines: Engines, forged: Any) -> None:
    """HANDSHAKE_FAILED without a trace, and the genuine one is followed afterwards."""
    first = engines.make(policy=Policy(suites=(HYBRID, CLASSICAL)))
    begun = begun_as(first, offer=(*XX_OFFER, (Pattern.XX, AES)), options=Options(ratchet=True))
    before = fingerprint(first.session(begun.session_id))
    for _ in range(HANDSHAKE_FAILURES + 1):
        with pytest.raises(HandshakeFailed):
            first.proceed(begun.session_id, forged(begun.to_peer[0]))
    assert fingerprint(first.session(begun.session_id)) == before
    assert first.proceed(begun.session_id, choose(begun.to_peer[0], 0)).to_peer


@pytest.mark.parametrize(
    ("begins", "elsewhere", "psk"),
    [(Pattern.XXPSK3, Pattern.XX, b"k" * 32), (Pattern.XX, Pattern.XXPSK3, b""), (Pattern.XX, Pattern.IK, b"")],
)
def test_a_retry_does_not_take_keys_away_or_ask_for_more(
    engines: Engines, begins: Pattern, elsewhere: Pattern, psk: bytes
) -> None:
    """Without its PSK an XX would believe anybody; a PSK or a static key that the caller did not give is not there."""
    first = engines.make()
    offer = ((begins, CLASSICAL), (elsewhere, CLASSICAL))
    begun = begun_as(first, pattern=begins, psk=psk, offer=offer)
    with pytest.raises(HandshakeFailed):
        first.proceed(begun.session_id, choose(begun.to_peer[0], 1))


@pytest.mark.parametrize("honest", [True, False])
def test_a_named_key_holds_elsewhere_too(engines: Engines, honest: bool) -> None:
    """From IK to XX, which would take any key: only the one that the caller named is taken."""
    named = KeyPair.generate(os.urandom)
    first = engines.make()
    second = engines.make(identity=named if honest else None, policy=Policy(patterns=(Pattern.XX, Pattern.IK)))
    offer = ((Pattern.IK, CLASSICAL), (Pattern.XX, CLASSICAL))
    begun = first.initiate(initiation(offer=offer, remote_static_key=named.public))
    again = first.proceed(begun.session_id, second.respond(response(begun.to_peer[0])).to_peer[0])
    if honest:
        assert "XX" in finish(first, begun.session_id, second, again.to_peer[0])
        return
    with pytest.raises(HandshakeFailed):
        finish(first, begun.session_id, second, again.to_peer[0])
    assert first.view(begun.session_id).established is None


def test_every_attempt_is_wiped_with_its_handshake(engines: Engines) -> None:
    """Failed 16 times or closed: no private key, PSK or payload of any attempt is left."""
    for end in ("failures", "closed"):
        first = engines.make()
        begun = begun_as(first, pattern=Pattern.XXPSK3, psk=b"k" * 32, payload=b"secret", offer=(
            (Pattern.XXPSK3, HYBRID), (Pattern.XXPSK3, CLASSICAL)
        ))  # fmt: skip
        first.proceed(begun.session_id, choose(begun.to_peer[0], 0))
        buffers = secrets_of(first.session(begun.session_id))
        assert {bytes(b"k" * 32), b"secret"} <= {bytes(buffer) for buffer in buffers}
        if end == "closed":
            first.close(begun.session_id)
        else:
            for _ in range(HANDSHAKE_FAILURES):
                with pytest.raises(HandshakeFailed):
                    first.proceed(begun.session_id, b"\x09" + begun.connection_id + b"\x02" + bytes(1_700))
        assert not any(map(any, buffers))
        assert sessions_of(first) == 0


def test_a_retry_is_for_a_handshake_that_we_began(engines: Engines) -> None:
    """As responder, after the end, or without a session's id: refused, and nothing changes."""
    first, second = engines.make(), engines.make()
    begun = begun_as(first, suite=HYBRID)
    answered = second.respond(response(begun.to_peer[0]))
    with pytest.raises(HandshakeNotDue):
        second.proceed(answered.session_id, choose(begun.to_peer[0], 1))
    with pytest.raises(InvalidField, match="session_id"):
        first.proceed(b"", choose(begun.to_peer[0], 1))
    first.proceed(begun.session_id, answered.to_peer[0])
    with pytest.raises(HandshakeNotDue):
        first.proceed(begun.session_id, choose(begun.to_peer[0], 1))
