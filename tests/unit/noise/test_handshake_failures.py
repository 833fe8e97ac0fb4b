from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.noise import (
    DecryptError,
    HandshakeState,
    InvalidKey,
    MessageTooLong,
    MessageTooShort,
    NoiseError,
    OutOfTurn,
    ProtocolName,
    handshake_state,
)
from noisegate_server.noise.patterns import Pattern, Token, steps_of
from noisegate_server.noise.primitives import CIPHERS, HASHES, KeyPair
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, assert_dead, end, finish, pair, stream

XX = "Noise_XX_25519_ChaChaPoly_SHA256"
IK = "Noise_IK_25519_ChaChaPoly_SHA256"
NK = "Noise_NK_25519_ChaChaPoly_SHA256"
NNPSK0 = "Noise_NNpsk0_25519_ChaChaPoly_SHA256"
SUITE = "25519_ChaChaPoly_SHA256"
LOW_ORDER = bytes(32)


def test_any_flipped_bit_kills_the_handshake() -> None:
    """At every byte of IK's first message: refused with a NoiseError, and the state is dead."""
    message = end(IK, initiator=True).write_message(b"payload")
    for position in range(len(message)):
        forged = bytearray(message)
        forged[position] ^= 0x40
        responder = end(IK, initiator=False)
        with pytest.raises(NoiseError):
            responder.read_message(forged)
        assert_dead(responder)
        # The initiator's key shows once its tag was right: what is flipped behind it is the payload.
        assert (responder.rs is None) is (position < 80)
        with pytest.raises(OutOfTurn):
            responder.read_message(message)


@pytest.mark.parametrize("name", [XX, IK, NK, NNPSK0])
def test_a_truncated_message_kills_the_handshake(name: str) -> None:
    """Each shorter length: MessageTooShort, as the pattern's keys and tags do not fit."""
    message = end(name, initiator=True).write_message()
    for length in range(len(message)):
        responder = end(name, initiator=False)
        with pytest.raises(MessageTooShort):
            responder.read_message(message[:length])
        assert_dead(responder)


def test_messages_have_at_most_65535_bytes() -> None:
    """XX message 1 takes 65,503 bytes of payload; one more changes nothing; a longer message read is a failure."""
    initiator, responder = pair(XX)
    with pytest.raises(MessageTooLong):
        initiator.write_message(bytes(65504))
    message = initiator.write_message(bytes(65503))
    assert len(message) == 65535
    with pytest.raises(MessageTooLong):
        responder.copy().read_message(message + b"x")
    assert responder.read_message(message) == bytes(65503)
    with pytest.raises(MessageTooLong):
        responder.write_message(bytes(65535 - 96 + 1))
    message = responder.write_message(bytes(65535 - 96))
    assert len(message) == 65535
    assert initiator.read_message(message) == bytes(65439)


def test_a_low_order_ephemeral_key_kills_the_handshake() -> None:
    """The peer's `e` is refused at the first DH with it."""
    responder = end(NK, initiator=False)
    with pytest.raises(InvalidKey):
        responder.read_message(LOW_ORDER + bytes(16))
    assert_dead(responder)


def test_a_low_order_static_key_kills_the_handshake() -> None:
    """Also when it is found while writing."""
    initiator = HandshakeState(ProtocolName.parse(NK), initiator=True, rs=LOW_ORDER, random_bytes=stream("i"))
    with pytest.raises(InvalidKey):
        initiator.write_message()
    assert_dead(initiator)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failing_source_of_bytes_kills_the_handshake(error: type[BaseException]) -> None:
    """An exception of any kind in the middle of a message leaves nothing that could be used."""

    def failing(_size: int) -> bytes:
        raise error("no entropy")

    state = HandshakeState(ProtocolName.parse(NNPSK0), initiator=True, psks=(b"p" * 32,), random_bytes=failing)
    with pytest.raises(error, match="no entropy"):
        state.write_message()
    assert_dead(state)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_failure_below_kills_the_handshake(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where a message is read."""

    def failing(*_: object) -> bytes:
        raise error

    message = end(IK, initiator=True).write_message()
    responder = end(IK, initiator=False)
    monkeypatch.setattr(handshake_state, "dh", failing)
    with pytest.raises(error):
        responder.read_message(message)
    assert_dead(responder)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_source_that_gives_another_number_of_bytes_is_refused(size: int) -> None:
    """What it gives is no key, and the handshake is dead."""
    state = HandshakeState(ProtocolName.parse(f"Noise_NN_{SUITE}"), initiator=True, random_bytes=lambda _: bytes(size))
    with pytest.raises(InvalidKey):
        state.write_message()
    assert_dead(state)


@given(message=st.binary(max_size=200), name=st.sampled_from([XX, IK, NK, NNPSK0]))
def test_any_message_is_read_or_refused(message: bytes, name: str) -> None:
    """Nothing but NoiseError leaves `read_message`; a failure is final, a success is the responder's turn."""
    responder = end(name, initiator=False)
    try:
        payload = responder.read_message(message)
    except NoiseError:
        assert_dead(responder)
    else:
        assert name == XX
        assert payload == message[32:]
        assert responder.is_my_turn


def test_wipe_kills_an_unfinished_handshake() -> None:
    """Chaining key, keys and pre-shared keys are zero, and every call is refused."""
    initiator, _ = pair("Noise_XXpsk3_25519_ChaChaPoly_SHA256")
    initiator.write_message()
    initiator.wipe()
    assert_dead(initiator)


@pytest.mark.parametrize(
    ("name", "initiator", "keys"),
    [
        (XX, True, {}),
        (XX, False, {}),
        (IK, True, {"s": INITIATOR_STATIC}),
        (IK, True, {"rs": RESPONDER_STATIC.public}),
        (IK, False, {}),
        (NK, True, {}),
        (NK, True, {"rs": bytes(31)}),
        (NK, True, {"rs": bytes(33)}),
        (NNPSK0, True, {}),
        (NNPSK0, True, {"psks": (bytes(31),)}),
        (NNPSK0, True, {"psks": (bytes(33),)}),
        (NNPSK0, True, {"psks": (bytes(32), bytes(32))}),
        (f"Noise_NN_{SUITE}", True, {"psks": (bytes(32),)}),
        (f"Noise_NNpsk0+psk2_{SUITE}", True, {"psks": (bytes(32),)}),
    ],
)
def test_missing_and_malformed_keys_are_refused(name: str, initiator: bool, keys: dict) -> None:
    """At construction, before any message."""
    with pytest.raises(InvalidKey):
        HandshakeState(ProtocolName.parse(name), initiator=initiator, random_bytes=stream("x"), **keys)


def test_superfluous_keys_are_ignored() -> None:
    """A key that the pattern transmits cannot be set beforehand: it would pass for the peer's proven one."""
    state = HandshakeState(
        ProtocolName.parse(f"Noise_NN_{SUITE}"),
        initiator=True,
        s=INITIATOR_STATIC,
        rs=RESPONDER_STATIC.public,
        re=RESPONDER_STATIC.public,
        random_bytes=stream("initiator"),
    )
    assert state.rs is None
    finish(state, end(f"Noise_NN_{SUITE}", initiator=False))
    assert state.rs is None


def test_a_psk_is_copied() -> None:
    """Wiping the caller's buffer does not reach the handshake, nor the other way round."""
    psk = bytearray(b"\x70" * 32)
    initiator = HandshakeState(ProtocolName.parse(NNPSK0), initiator=True, psks=(psk,), random_bytes=stream("i"))
    psk[:] = bytes(32)
    finish(initiator, end(NNPSK0, initiator=False))
    psk[:] = b"\x71" * 32
    HandshakeState(ProtocolName.parse(NNPSK0), initiator=True, psks=(psk,), random_bytes=stream("i")).wipe()
    assert psk == b"\x71" * 32


def test_an_ephemeral_key_may_be_a_pre_message() -> None:
    """Rewritten from section 10.2's fallback: the responder's `e` is known before, and must be the right one."""
    pattern = Pattern(
        name="test",
        initiator_pre=(),
        responder_pre=(Token.E,),
        messages=((Token.E, Token.EE, Token.PSK), (Token.S, Token.ES)),
    )
    protocol = ProtocolName(
        name="test",
        pattern=pattern,
        modifiers=(),
        dh="25519",
        cipher=CIPHERS["AESGCM"],
        hash=HASHES["SHA256"],
        initial_hash=bytes(32),
        steps=steps_of(pattern),
        overheads=(48, 64),
        psk_count=1,
        needs_static=(True, False),
    )
    ephemeral = KeyPair.from_private(stream("pre-message")(32))

    def initiator(known: bytes | None) -> HandshakeState:
        return HandshakeState(protocol, initiator=True, re=known, psks=(b"p" * 32,), random_bytes=stream("i"))

    responder = HandshakeState(
        protocol, initiator=False, s=RESPONDER_STATIC, e=ephemeral, psks=(b"p" * 32,), random_bytes=stream("r")
    )
    with pytest.raises(DecryptError):
        responder.copy().read_message(initiator(INITIATOR_STATIC.public).write_message())
    with pytest.raises(InvalidKey):
        initiator(None)
    with pytest.raises(InvalidKey):
        HandshakeState(protocol, initiator=False, s=RESPONDER_STATIC, psks=(b"p" * 32,), random_bytes=stream("r"))
    state = initiator(ephemeral.public)
    finish(state, responder)
    assert state.rs == RESPONDER_STATIC.public
    assert state.handshake_hash == responder.handshake_hash
