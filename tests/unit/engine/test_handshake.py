"""Handshake, a step per call: every pattern, repeats, spoofed packets, and what hostile first messages get."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from noisegate_server.engine.policy import Policy
from noisegate_server.noise import KeyPair
from noisegate_server.session.constants import HALF_OPEN_S, HANDSHAKE_FAILURES, REPEAT_ANSWER_S
from noisegate_server.session.errors import (
    DecryptFailed,
    HandshakeFailed,
    HandshakeNotDue,
    InvalidField,
    MessageTooLarge,
    NotEstablished,
    PolicyRejected,
    SessionError,
    SessionNotFound,
    SessionQuota,
    UnsupportedProtocol,
)
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.base import StoreLimits
from tests.support.engines import Engine, Engines, establish
from tests.support.fingerprint import fingerprint, secrets_of
from tests.support.requests import initiation, response

XX: dict[str, Any] = {"pattern": Pattern.XX, "suite": Suite.CHACHA20_POLY1305_X25519}
IK: dict[str, Any] = {"pattern": Pattern.IK, "suite": Suite.CHACHA20_POLY1305_X25519}
PATTERNS = [pattern for pattern in Pattern if pattern is not Pattern.NNPSK0]
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]
"""Points whose product with any key is zero (RFC 7748, section 7; the list of cr.yp.to/ecdh.html)."""


def sessions_of(engine: Engine) -> int:
    """How many sessions the engine keeps."""
    return engine.parts.store.counts().sessions


@pytest.mark.parametrize(
    ("mode", "pattern", "suite"), list(itertools.product(RecordMode, PATTERNS, Suite)), ids=lambda each: each.name
)
def test_every_protocol_establishes(engines: Engines, mode: RecordMode, pattern: Pattern, suite: Suite) -> None:
    """Both ends have the same handshake hash, know each other's keys as the pattern says, and records flow."""
    link = establish(engines, mode=mode, pattern=pattern, suite=suite)
    link.talk()
    views = [end.engine.view(end.session_id).established for end in link.ends]
    assert views[0] is not None
    assert views[1] is not None
    assert views[0].handshake_hash == views[1].handshake_hash
    assert views[0].remote_static_key == link.responder.engine.identity.public
    anonymous = pattern in {Pattern.NK, Pattern.NKPSK0, Pattern.NKPSK2}
    assert views[1].remote_static_key == (b"" if anonymous else link.initiator.engine.identity.public)


@pytest.mark.parametrize("what", ["psk", "prologue"])
@pytest.mark.parametrize("mode", list(RecordMode))
def test_another_psk_or_prologue_fails(engines: Engines, mode: RecordMode, what: str) -> None:
    """What the two games agreed on must be the same at both ends (row 25)."""
    shared: dict[str, Any] = {} if what == "psk" else {"psk": os.urandom(32)}
    ours: dict[str, Any] = {what: os.urandom(32), **shared}
    theirs: dict[str, Any] = {what: os.urandom(32), **shared}
    first, second = engines.make(), engines.make()
    begun = first.initiate(
        initiation(mode=mode, pattern=Pattern.IKPSK1, remote_static_key=second.identity.public, **ours)
    )
    named = IK | {"pattern": Pattern.IKPSK1} if mode is RecordMode.NOISE else {}
    with pytest.raises(HandshakeFailed):
        second.respond(response(begun.to_peer[0], mode=mode, **named, **theirs))
    assert sessions_of(second) == 0


def test_payloads_reach_the_other_end(engines: Engines) -> None:
    """Each step's payload comes out at the other end."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(remote_static_key=second.identity.public, payload=b"hi"))
    answered = second.respond(response(begun.to_peer[0], payload=b"yo"))
    assert answered.payload == b"hi"
    assert first.proceed(begun.session_id, answered.to_peer[0]).payload == b"yo"


def test_a_repeated_packet_gets_the_same_answer_for_ten_seconds(engines: Engines) -> None:
    """Byte for byte the same, also after completion; then it is a packet like any other (row 19)."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(**XX))
    answered = second.respond(response(begun.to_peer[0]))
    finished = first.proceed(begun.session_id, answered.to_peer[0])
    confirmed = second.proceed(b"", finished.to_peer[0])
    engines.clock.step(REPEAT_ANSWER_S - 0.1)
    assert second.respond(response(begun.to_peer[0])) is answered
    assert first.proceed(b"", answered.to_peer[0]) is finished
    assert second.proceed(answered.session_id, finished.to_peer[0]) is confirmed
    assert sessions_of(second) == 1
    engines.clock.step(0.2)
    with pytest.raises(HandshakeNotDue):
        second.proceed(answered.session_id, finished.to_peer[0])
    with pytest.raises(HandshakeNotDue):
        first.proceed(begun.session_id, answered.to_peer[0])


def test_a_copy_with_another_connection_id_does_not_take_the_genuine_packets_place(engines: Engines) -> None:
    """Nothing authenticates the id of step 1: whoever alters it and comes first makes the same session, not another."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(remote_static_key=second.identity.public))
    genuine = begun.to_peer[0]
    altered = genuine[:1] + bytes((genuine[1] ^ 1,)) + genuine[2:]
    answered = second.respond(response(altered))
    assert second.respond(response(genuine)) is answered
    assert sessions_of(second) == 1


def test_a_repeated_answer_is_for_its_own_tenant_alone(engines: Engines) -> None:
    """Another tenant that sends the same packet does not get what the first one got (row 15)."""
    identity = KeyPair.generate(os.urandom)
    first, second = engines.make(), engines.make(identity=identity)
    begun = first.initiate(initiation(remote_static_key=identity.public))
    answered = second.respond(response(begun.to_peer[0]))
    other = second.respond(response(begun.to_peer[0]), tenant="cards")
    assert other.session_id != answered.session_id
    assert other.to_peer != answered.to_peer


def test_an_initiator_repeats_its_last_packet_until_a_record_opens(engines: Engines) -> None:
    """The third packet of XX may be lost: it goes out again, unchanged, inside the calls that come."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(**XX))
    answered = second.respond(response(begun.to_peer[0]))
    lost = first.proceed(begun.session_id, answered.to_peer[0]).to_peer[0]
    engines.clock.step(1.0)
    repeated = first.encrypt(begun.session_id, b"roll").to_peer
    assert repeated == (lost,)
    greeting = second.proceed(b"", repeated[0]).to_peer
    first.decrypt(begun.session_id, greeting[0])
    engines.clock.step(5.0)
    assert first.encrypt(begun.session_id, b"roll").to_peer == ()


@pytest.mark.parametrize("step", ["second", "third"])
def test_spoofed_packets_do_not_end_a_datagram_handshake(engines: Engines, step: str) -> None:
    """15 forged packets leave it as it was; 16 end it (protocol, section 2)."""
    for forged, survives in ((HANDSHAKE_FAILURES - 1, True), (HANDSHAKE_FAILURES, False)):
        first, second = engines.make(), engines.make()
        begun = first.initiate(initiation(**XX))
        answered = second.respond(response(begun.to_peer[0]))
        target, session_id, packet = first, begun.session_id, answered.to_peer[0]
        if step == "third":
            packet = first.proceed(begun.session_id, packet).to_peer[0]
            target, session_id = second, answered.session_id
        before = fingerprint(target.session(session_id))
        buffers = secrets_of(target.session(session_id))
        for number in range(forged):
            if number:
                assert fingerprint(target.session(session_id)) == before
            with pytest.raises(HandshakeFailed):
                target.proceed(session_id, packet[:-1] + bytes((packet[-1] ^ 1,)))
        if survives:
            assert target.proceed(session_id, packet).established is not None
        else:
            assert not any(map(any, buffers))
            with pytest.raises(SessionNotFound):
                target.proceed(session_id, packet)


def test_one_failure_ends_a_noise_handshake(engines: Engines) -> None:
    """NOISE mode: the specification's rule, section 5; its half-open session is freed and wiped."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(mode=RecordMode.NOISE, **XX))
    answered = second.respond(response(begun.to_peer[0], mode=RecordMode.NOISE, **XX)).to_peer[0]
    buffers = secrets_of(first.session(begun.session_id))
    with pytest.raises(HandshakeFailed):
        first.proceed(begun.session_id, answered[:-1] + bytes((answered[-1] ^ 1,)))
    assert not any(map(any, buffers))
    assert sessions_of(first) == 0
    with pytest.raises(SessionNotFound):
        first.proceed(begun.session_id, answered)


def test_a_payload_that_is_too_long_leaves_the_handshake_as_it_was(engines: Engines) -> None:
    """The caller's mistake costs nothing: the same message is read again, with a payload that fits."""
    for mode in RecordMode:
        first, second = engines.make(), engines.make()
        begun = first.initiate(initiation(mode=mode, **XX))
        named = XX if mode is RecordMode.NOISE else {}
        answered = second.respond(response(begun.to_peer[0], mode=mode, **named))
        before = fingerprint(first.session(begun.session_id))
        with pytest.raises(MessageTooLarge):
            first.proceed(begun.session_id, answered.to_peer[0], bytes(65_500))
        assert fingerprint(first.session(begun.session_id)) == before
        finished = first.proceed(begun.session_id, answered.to_peer[0], b"fits")
        assert second.proceed(answered.session_id, finished.to_peer[0]).payload == b"fits"


def test_records_before_the_end_are_refused_without_a_trace(engines: Engines) -> None:
    """Encrypt and Decrypt of a half-open session: NOT_ESTABLISHED (row 20)."""
    first = engines.make()
    begun = first.initiate(initiation(**XX))
    before = fingerprint(first.session(begun.session_id))
    with pytest.raises(NotEstablished):
        first.encrypt(begun.session_id, b"roll")
    with pytest.raises(NotEstablished):
        first.decrypt(begun.session_id, bytes(64))
    assert fingerprint(first.session(begun.session_id)) == before


@pytest.mark.parametrize("mode", list(RecordMode))
def test_steps_that_are_not_due_are_refused(engines: Engines, mode: RecordMode) -> None:
    """After completion, and out of turn: HANDSHAKE_STATE, and the session goes on (row 19)."""
    link = establish(engines, mode=mode, pattern=Pattern.XX)
    engines.clock.step(REPEAT_ANSWER_S)
    for end in link.ends:
        with pytest.raises(HandshakeNotDue):
            end.engine.proceed(end.session_id, bytes(96))
    link.talk()


@pytest.mark.parametrize("length", [0, 31])
@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_first_message_that_is_too_short_leaves_nothing(engines: Engines, mode: RecordMode, length: int) -> None:
    """XX message 1 has at least the 32 bytes of a key (row 21)."""
    first, second = engines.make(), engines.make()
    genuine = first.initiate(initiation(mode=mode, **XX)).to_peer[0]
    named = XX if mode is RecordMode.NOISE else {}
    with pytest.raises(HandshakeFailed):
        second.respond(response(genuine[: len(genuine) - 32 + length], mode=mode, **named))
    assert sessions_of(second) == 0


def test_a_first_message_may_be_of_the_greatest_length(engines: Engines) -> None:
    """65,535 bytes are legal, one more is not (row 21)."""
    second = engines.make()
    key = KeyPair.generate(os.urandom).public
    assert second.respond(response(key + bytes(65_503), mode=RecordMode.NOISE, **XX)).payload == bytes(65_503)
    with pytest.raises(HandshakeFailed):
        second.respond(response(key + bytes(65_504), mode=RecordMode.NOISE, **XX))
    assert sessions_of(second) == 1


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_points_of_low_order_are_refused_and_nothing_stays(engines: Engines, point: bytes) -> None:
    """As the player's ephemeral key in message 1, and as a static key to which we should begin (row 22)."""
    engine = engines.make()
    with pytest.raises(HandshakeFailed):
        engine.respond(response(point, mode=RecordMode.NOISE, **XX))
    with pytest.raises(HandshakeFailed):
        engine.initiate(initiation(**IK, remote_static_key=point))
    assert sessions_of(engine) == 0


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])
@pytest.mark.parametrize("mode", list(RecordMode))
def test_our_own_key_as_the_peer_s_is_refused(engines: Engines, mode: RecordMode, pattern: Pattern) -> None:
    """A peer that shows our own static key is a reflection of ourselves (row 29)."""
    identity = KeyPair.generate(os.urandom)
    first, second = engines.make(identity=identity), engines.make(identity=identity)
    if pattern is Pattern.IK:
        with pytest.raises(InvalidField):
            first.initiate(initiation(mode=mode, **IK, remote_static_key=identity.public))
        return
    begun = first.initiate(initiation(mode=mode, **XX))
    named = XX if mode is RecordMode.NOISE else {}
    answered = second.respond(response(begun.to_peer[0], mode=mode, **named))
    with pytest.raises(HandshakeFailed):
        first.proceed(begun.session_id, answered.to_peer[0])
    if mode is RecordMode.NOISE:
        assert sessions_of(first) == 0


@pytest.mark.parametrize("psk", [b"", b"k"], ids=["missing", "not wanted"])
def test_a_psk_belongs_to_psk_patterns_alone(engines: Engines, psk: bytes) -> None:
    """A psk pattern without one, and another pattern with one: INVALID_REQUEST, and no session (row 26)."""
    engine = engines.make()
    pattern = Pattern.XX if psk else Pattern.XXPSK3
    with pytest.raises(InvalidField):
        engine.initiate(initiation(pattern=pattern, psk=psk * 32))
    assert sessions_of(engine) == 0


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"pattern": 99}, UnsupportedProtocol),
        ({"suite": 99}, UnsupportedProtocol),
        ({"pattern": Pattern.NNPSK0, "psk": b"k" * 32}, UnsupportedProtocol),
        ({"suite": Suite.AES256_GCM_X25519}, PolicyRejected),
        ({"pattern": Pattern.NK}, PolicyRejected),
        ({"prologue": b"ng1 hello", "mode": RecordMode.NOISE}, InvalidField),
        ({"remote_static_key": b""}, InvalidField),
    ],
    ids=str,
)
def test_what_the_caller_must_not_ask_for(
    engines: Engines, changes: dict[str, Any], refusal: type[SessionError]
) -> None:
    """Unknown numbers, what policy forbids, a reserved prologue, a missing key: each has its own refusal (17, 18)."""
    policy = Policy(suites=(Suite.CHACHA20_POLY1305_X25519,), patterns=(Pattern.IK, Pattern.XX))
    engine = engines.make(policy=policy)
    key = KeyPair.generate(os.urandom).public
    with pytest.raises(refusal):
        engine.initiate(initiation(**{"remote_static_key": key, **changes}))
    assert sessions_of(engine) == 0


def test_a_half_open_handshake_is_given_up(engines: Engines) -> None:
    """After 10 s it is gone as if it had never been (row 31)."""
    first = engines.make()
    begun = first.initiate(initiation(**XX))
    engines.clock.step(HALF_OPEN_S)
    first.sweep()
    assert sessions_of(first) == 0
    with pytest.raises(SessionNotFound):
        first.view(begun.session_id)


def test_half_open_handshakes_of_a_player_have_a_cap(engines: Engines) -> None:
    """One more is SESSION_QUOTA, and its secrets are wiped; established sessions are not affected (row 31)."""
    limits = StoreLimits(half_open_per_peer=2)
    responder = engines.make(limits=limits)
    link = establish(engines, responder=responder)
    for _ in range(2):
        responder.respond(response(engines.make().initiate(initiation(**XX)).to_peer[0]))
    with pytest.raises(SessionQuota):
        responder.respond(response(engines.make().initiate(initiation(**XX)).to_peer[0]))
    assert sessions_of(responder) == 3
    link.talk()


def test_a_packet_for_another_connection_does_not_pass(engines: Engines) -> None:
    """A step-2 packet that names another connection id is refused, and the handshake goes on."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(**XX))
    answered = second.respond(response(begun.to_peer[0])).to_peer[0]
    with pytest.raises(HandshakeFailed):
        first.proceed(begun.session_id, answered[:1] + os.urandom(8) + answered[9:])
    assert first.proceed(begun.session_id, answered).established is not None


def test_both_ends_use_the_initiating_service_s_connection_id(engines: Engines) -> None:
    """A service that begins puts its connection id in the first packet, and the responder takes it."""
    link = establish(engines)
    ids = {end.session.connection_ids() for end in link.ends}
    assert len(ids) == 1
    assert [end.session.follows_connection_id for end in link.ends] == [False, True]


def test_a_fragment_is_for_whoever_holds_the_socket(engines: Engines) -> None:
    """The service reads whole packets: as a handshake or as a record it is as mute as any other garbage."""
    first, second = engines.make(), engines.make()
    link = establish(engines, initiator=first, responder=second)
    packet = first.initiate(initiation(**XX)).to_peer[0]
    fragment = b"\x0d" + packet[1:9] + b"\0\x01\0\x01" + packet
    with pytest.raises(HandshakeFailed):
        second.respond(response(fragment))
    with pytest.raises(DecryptFailed):
        second.decrypt(link.responder.session_id, fragment)
    link.talk()
