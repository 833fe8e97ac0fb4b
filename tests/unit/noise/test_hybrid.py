"""The modifier hfs: where its tokens go, what its messages weigh, and what becomes of a KEM that does not fit."""

from __future__ import annotations

import pytest

from noisegate_server.noise import (
    PATTERNS,
    DecryptError,
    HandshakeState,
    InvalidKey,
    InvalidPattern,
    InvalidProtocolName,
    MessageTooLong,
    MessageTooShort,
    NoiseError,
    ProtocolName,
)
from noisegate_server.noise.patterns import HYBRID_PATTERNS, apply_modifier, validate
from noisegate_server.noise.primitives import KEMLEN, BytesLike, KemKeyPair, encapsulate
from tests.support.noise_pair import assert_dead, end, finish, pair, stream
from tests.unit.noise.test_patterns import pattern

NAME = "Noise_{}_25519+MLKEM1024_ChaChaPoly_SHA256"

# As the specification's rule places them; sizes with empty payloads.
WRITTEN_OUT = {
    "XXhfs": (("e e1", "e ee ekem1 s es", "s se"), (1600, 1680, 64)),
    "XXhfs+psk3": (("e e1", "e ee ekem1 s es", "s se psk"), (1632, 1680, 64)),
    "IKhfs": (("e es e1 s ss", "e ee ekem1 se"), (1680, 1632)),
    "IKhfs+psk1": (("e es e1 s ss psk", "e ee ekem1 se"), (1680, 1632)),
    "IKhfs+psk2": (("e es e1 s ss", "e ee ekem1 se psk"), (1680, 1632)),
    "NKhfs": (("e es e1", "e ee ekem1"), (1632, 1632)),
    "NKhfs+psk0": (("psk e es e1", "e ee ekem1"), (1632, 1632)),
    "NKhfs+psk2": (("e es e1", "e ee ekem1 psk"), (1632, 1632)),
    "NNhfs": (("e e1", "e ee ekem1"), (1600, 1632)),
    "NNhfs+psk0": (("psk e e1", "e ee ekem1"), (1632, 1632)),
}
NAMES = [NAME.format(handshake) for handshake in WRITTEN_OUT]


@pytest.mark.parametrize("handshake", WRITTEN_OUT)
def test_tokens_and_sizes_are_the_specifications(handshake: str) -> None:
    """Token by token, valid by the rules of 7.3 and 9.3; what is sent has the sizes that are expected of it."""
    messages, sizes = WRITTEN_OUT[handshake]
    protocol = ProtocolName.parse(NAME.format(handshake))
    assert tuple(" ".join(token.value for token in message) for message in protocol.pattern.messages) == messages
    assert protocol.dh == "25519+MLKEM1024"
    validate(protocol.pattern)
    assert protocol.overheads == sizes
    initiator, responder = pair(protocol.name)
    for index, size in enumerate(sizes):
        writer, reader = (initiator, responder) if index % 2 == 0 else (responder, initiator)
        message = writer.write_message()
        assert len(message) == size
        assert reader.read_message(message) == b""
    assert initiator.handshake_hash == responder.handshake_hash


@pytest.mark.parametrize("name", PATTERNS)
def test_only_four_patterns_take_the_modifier_and_only_once(name: str) -> None:
    """One-way patterns have nobody to encapsulate; where the specification contradicts itself there is no name."""
    if name in HYBRID_PATTERNS:
        hybrid = apply_modifier(PATTERNS[name], "hfs")
        assert hybrid.hybrid
        assert not PATTERNS[name].hybrid
        with pytest.raises(InvalidProtocolName):
            apply_modifier(hybrid, "hfs")
    else:
        with pytest.raises(InvalidProtocolName):
            apply_modifier(PATTERNS[name], "hfs")


@pytest.mark.parametrize("name", sorted(HYBRID_PATTERNS))
def test_modifiers_commute(name: str) -> None:
    """psk tokens stand at the ends of messages and hfs tokens inside: the order of application does not matter."""
    for place in range(len(PATTERNS[name].messages) + 1):
        psk_first = apply_modifier(apply_modifier(PATTERNS[name], f"psk{place}"), "hfs")
        hfs_first = apply_modifier(apply_modifier(PATTERNS[name], "hfs"), f"psk{place}")
        assert psk_first == hfs_first
        validate(hfs_first)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (("e e1 e1", "e ee"), "sent twice"),
        (("e", "e ee ekem1"), "has not been sent"),
        (("e e1 ekem1", "e ee"), "has not been sent"),
        (("e e1", "e ee ekem1 ekem1"), "sent twice"),
        (("e e1", "e ekem1 ee"), "has not been sent"),
        (("psk e1 e", "e ee ekem1"), "under a psk"),
    ],
)
def test_illegal_patterns_with_a_kem_are_refused(messages: tuple[str, ...], reason: str) -> None:
    """A KEM key counts as a public key and is sealed like one; a ciphertext needs the other side's, and the ee."""
    with pytest.raises(InvalidPattern, match=reason):
        validate(pattern("", "", messages))


@pytest.mark.parametrize("name", NAMES)
def test_any_changed_byte_ends_the_handshake(name: str) -> None:
    """In clear or sealed, key, ciphertext or tag: each byte of each message matters, at the latest one message on."""
    initiator, responder = pair(name)
    for index in range(len(initiator.protocol.pattern.messages)):
        writer, reader = (initiator, responder) if index % 2 == 0 else (responder, initiator)
        message = writer.write_message(b"payload")
        for position in range(len(message)):
            forged = bytearray(message)
            forged[position] ^= 0x10
            victim = reader.copy()
            with pytest.raises(NoiseError):
                read_and_answer(victim, forged, writer.copy())
        assert reader.read_message(message) == b"payload"


def read_and_answer(victim: HandshakeState, forged: bytearray, writer: HandshakeState) -> None:
    """What is all in clear is read, message 1 of XX and of NN without a psk: then the hashes differ in the answer."""
    victim.read_message(forged)
    writer.read_message(victim.write_message())


def test_a_forged_ciphertext_gives_another_secret_and_no_error_of_its_own() -> None:
    """Implicit rejection: a responder that sends any bytes as its ciphertext is found out by the next tag."""
    for name in NAMES:

        def forging(public: BytesLike) -> tuple[bytes, bytes]:
            secret, ciphertext = encapsulate(public)
            return secret, bytes([ciphertext[0] ^ 1]) + ciphertext[1:]

        initiator, responder = end(name, initiator=True), end(name, initiator=False, encapsulate=forging)
        responder.read_message(initiator.write_message())
        with pytest.raises(DecryptError):
            initiator.read_message(responder.write_message())
        assert_dead(initiator)


def test_the_kems_secret_is_in_the_keys() -> None:
    """With all other keys equal, another encapsulation gives other transport keys and another hash."""
    found = set()
    for _ in range(2):
        initiator, responder = pair(NAME.format("IKhfs"))
        ours, theirs = finish(initiator, responder)
        assert [state.k for state in ours] == [state.k for state in theirs]
        found.add((initiator.handshake_hash, bytes(ours[0].k or b""), bytes(ours[1].k or b"")))
    assert len(found) == 2


def test_keys_depend_on_the_secret_and_not_on_the_ciphertext_alone() -> None:
    """Sealed first, mixed in afterwards: a responder with another secret and the same ciphertext does not agree."""

    def another(public: BytesLike) -> tuple[bytes, bytes]:
        return bytes(32), encapsulate(public)[1]

    name = NAME.format("NKhfs")
    initiator, responder = end(name, initiator=True), end(name, initiator=False, encapsulate=another)
    responder.read_message(initiator.write_message())
    with pytest.raises(DecryptError):
        initiator.read_message(responder.write_message())


@pytest.mark.parametrize("handshake", ["XXhfs", "NKhfs", "IKhfs", "NNhfs+psk0"])
def test_an_unusable_kem_key_kills_the_responder(handshake: str) -> None:
    """A coefficient of q or more (FIPS 203, section 7.2) is InvalidKey where the ciphertext would be made."""
    initiator, responder = pair(NAME.format(handshake))
    responder.read_message(initiator.write_message())
    responder._re1 = b"\xff" * KEMLEN
    with pytest.raises(InvalidKey):
        responder.write_message()
    assert_dead(responder)


def test_a_kem_key_in_clear_may_be_anything_until_it_is_used() -> None:
    """XX's message 1 has no tag: 1,568 bytes that are no key are read, and end the handshake in message 2."""
    _, responder = pair(NAME.format("XXhfs"))
    assert responder.read_message(stream("e")(32) + b"\xff" * KEMLEN + b"payload") == b"payload"
    with pytest.raises(InvalidKey):
        responder.write_message()
    assert_dead(responder)


def test_the_other_kems_name_is_hashed() -> None:
    """An end without hfs reads XX's message 1, as it is all in clear, and goes no further."""
    initiator = end(NAME.format("XXhfs"), initiator=True)
    classical = end("Noise_XX_25519_ChaChaPoly_SHA256", initiator=False)
    assert len(classical.read_message(initiator.write_message())) == KEMLEN
    with pytest.raises(MessageTooShort):
        initiator.read_message(classical.write_message())


@pytest.mark.parametrize(("handshake", "sizes"), [(name, sizes) for name, (_, sizes) in WRITTEN_OUT.items()])
def test_limits_of_message_1(handshake: str, sizes: tuple[int, ...]) -> None:
    """One byte less than its keys is too short, 65,535 in all is legal, one more is not."""
    name = NAME.format(handshake)
    with pytest.raises(MessageTooLong):
        end(name, initiator=True).write_message(bytes(65_535 - sizes[0] + 1))
    message = end(name, initiator=True).write_message(bytes(65_535 - sizes[0]))
    assert len(message) == 65_535
    assert len(end(name, initiator=False).read_message(message)) == 65_535 - sizes[0]
    with pytest.raises(MessageTooLong):
        end(name, initiator=False).read_message(message + b"x")
    with pytest.raises(MessageTooShort):
        end(name, initiator=False).read_message(message[: sizes[0] - 1])


def test_a_spoofed_answer_is_read_on_a_copy() -> None:
    """Keys of the KEM included: the genuine answer still opens after a forged one, and the copy goes on alone."""
    initiator, responder = pair(NAME.format("XXhfs"))
    responder.read_message(initiator.write_message())
    answer = responder.copy().write_message()
    with pytest.raises(DecryptError):
        initiator.copy().read_message(answer[:-1] + bytes([answer[-1] ^ 1]))
    after = initiator.copy()
    after.read_message(answer)
    assert after.is_my_turn


@pytest.mark.parametrize("length", [0, 32, 1567, 1569])
def test_kem_keys_of_another_length_are_refused(length: int) -> None:
    """Public keys and ciphertexts have 1,568 bytes, seeds 64."""
    with pytest.raises(InvalidKey) as caught:
        encapsulate(bytes(length))
    assert caught.value.__suppress_context__
    with pytest.raises(InvalidKey) as caught:
        KemKeyPair.from_seed(bytes(64)).decapsulate(bytes(length))
    assert caught.value.__suppress_context__
    with pytest.raises(InvalidKey) as caught:
        KemKeyPair.from_seed(bytes(length))
    assert caught.value.__suppress_context__


def test_a_kem_key_pair_is_made_from_the_bytes_that_it_is_given() -> None:
    """Generation takes 64 bytes, d and z, from its argument; what it holds is not shown."""
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    generated = KemKeyPair.generate(random_bytes)
    assert asked == [64]
    assert generated.public == KemKeyPair.from_seed(bytearray(range(64))).public
    assert "private" not in repr(generated).lower()
    secret, ciphertext = encapsulate(memoryview(generated.public))
    assert generated.decapsulate(ciphertext) == secret
    assert len(secret) == 32


def test_split_drops_the_kem_key() -> None:
    """As every secret of the handshake."""
    initiator, responder = pair(NAME.format("XXhfs"))
    finish(initiator, responder)
    assert initiator._e1 is None
    assert initiator._e is None
