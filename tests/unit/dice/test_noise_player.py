from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from examples.dice.noise_player import Frames, NoiseKeys, NoisePlayer, NoiseRefusedError, NoiseTicket
from tests.unit.dice.pair import INITIATOR_STATIC, RESPONDER_STATIC, public_key

NAMES = [
    f"Noise_{pattern}_25519_{cipher}_SHA256"
    for pattern in ("XX", "IK", "NK", "XXpsk3", "IKpsk2", "NKpsk0")
    for cipher in ("ChaChaPoly", "AESGCM")
]
PSK = b"k" * 32


def finish(initiator: NoisePlayer, responder: NoisePlayer) -> None:
    """Runs the handshake to its end."""
    writer, reader = initiator, responder
    while not (initiator.established and responder.established):
        reader.read_handshake(writer.write_handshake())
        writer, reader = reader, writer


def connected(name: str, prologue: bytes = b"table 7", hello: bytes = b"") -> tuple[NoisePlayer, NoisePlayer]:
    """Two players whose handshake is over."""
    remote = public_key(RESPONDER_STATIC)
    initiator = NoisePlayer(
        name,
        NoiseKeys(static=INITIATOR_STATIC, remote=remote, psk=PSK),
        initiator=True,
        prologue=prologue,
        hello=hello,
    )
    keys = NoiseKeys(static=RESPONDER_STATIC, psk=PSK)
    responder = NoisePlayer(name, keys, initiator=False, prologue=prologue, hello=hello)
    finish(initiator, responder)
    return initiator, responder


def talk(initiator: NoisePlayer, responder: NoisePlayer) -> None:
    """One message each way."""
    assert responder.open(initiator.seal(b"roll")) == b"roll"
    assert initiator.open(responder.seal(b"six", b"seat 3"), b"seat 3") == b"six"


@pytest.mark.parametrize("name", NAMES)
def test_players_talk_rekey_renegotiate_and_switch(name: str) -> None:
    """Every pattern: transport messages, a rekey of each direction, and a renegotiation inside the session."""
    initiator, responder = connected(name)
    talk(initiator, responder)
    assert initiator.handshake_hash == responder.handshake_hash
    assert initiator.export_secret == responder.export_secret
    assert initiator.rekey_send() == responder.rekey_receive() == 1
    talk(initiator, responder)
    fresh_initiator, fresh_responder = initiator.renegotiate(), responder.renegotiate()
    writer, reader = (initiator, fresh_initiator), (responder, fresh_responder)
    while not (fresh_initiator.established and fresh_responder.established):
        carried = writer[0].seal(writer[1].write_handshake())
        reader[1].read_handshake(reader[0].open(carried))
        writer, reader = reader, writer
    before = initiator.seal(b"still the old keys")
    initiator.switch_send(fresh_initiator)
    after = initiator.seal(b"the new keys")
    assert responder.open(before) == b"still the old keys"
    responder.switch_receive(fresh_responder)
    assert responder.open(after) == b"the new keys"
    responder.switch_send(fresh_responder)
    initiator.switch_receive(fresh_initiator)
    talk(initiator, responder)


def test_a_bare_library_is_the_other_end() -> None:
    """Prologue with a hello, transport messages, export secret, and the renegotiation's prologue, by hand."""
    name, hello = "Noise_IK_25519_ChaChaPoly_SHA256", bytes(14)
    keys = NoiseKeys(static=INITIATOR_STATIC, remote=public_key(RESPONDER_STATIC))
    player = NoisePlayer(name, keys, initiator=True, prologue=b"lobby", hello=hello)

    def other_end(prologue: bytes) -> NoiseConnection:
        connection = NoiseConnection.from_name(name.encode())
        connection.set_as_responder()
        connection.set_keypair_from_private_bytes(Keypair.STATIC, RESPONDER_STATIC)
        connection.set_prologue(prologue)
        connection.start_handshake()
        return connection

    service = other_end(b"ng1 hello" + hello + b"lobby")
    service.read_message(player.write_handshake(b"hi"))
    player.read_handshake(bytes(service.write_message()))
    assert service.decrypt(player.seal(b"roll")) == b"roll"
    h, noise = service.get_handshake_hash(), service.noise_protocol
    k1_k2 = noise.cipher_state_decrypt.k + noise.cipher_state_encrypt.k
    prk = hmac.digest(h, k1_k2, hashlib.sha256)
    assert player.export_secret == hmac.digest(prk, b"ng1 export\x01", hashlib.sha256)
    fresh, again = player.renegotiate(), other_end(b"ng1 renegotiate" + h)
    again.read_message(fresh.write_handshake())
    fresh.read_handshake(bytes(again.write_message()))
    player.switch_send(fresh)
    assert again.decrypt(player.seal(b"new")) == b"new"


@pytest.mark.parametrize("cipher", ["ChaChaPoly", "AESGCM"])
def test_a_ticket_resumes(cipher: str) -> None:
    """The ticket's fields, and NNpsk0 bound to label, empty hello, ticket and the game's prologue."""
    content = (3600).to_bytes(4, "big") + (16).to_bytes(4, "big") + b"p" * 32 + b"opaque"
    ticket = NoiseTicket.parse(content)
    assert (ticket.lifetime_s, ticket.max_early, ticket.psk, ticket.ticket) == (3600, 16, b"p" * 32, b"opaque")
    player = NoisePlayer.resume(ticket, cipher=cipher, prologue=b"lobby")
    service = NoiseConnection.from_name(f"Noise_NNpsk0_25519_{cipher}_SHA256".encode())
    service.set_as_responder()
    service.set_psks(psks=[b"p" * 32])
    service.set_prologue(b"ng1 resume" + b"\x00\x06opaque" + b"lobby")
    service.start_handshake()
    assert bytes(service.read_message(player.write_handshake(b"early"))) == b"early"
    assert player.read_handshake(bytes(service.write_message(b"\x01welcome"))) == b"welcome"
    assert player.early_taken
    assert service.decrypt(player.seal(b"back")) == b"back"
    with pytest.raises(NoiseRefusedError):
        NoiseTicket.parse(content[:40])


def test_a_forged_message_changes_no_counter() -> None:
    """The genuine message opens after a forged one; a repeat and a foreign associated data do not."""
    initiator, responder = connected(NAMES[0])
    message = initiator.seal(b"roll", b"seat 3")
    for forged, data in ((message[:-1] + bytes([message[-1] ^ 1]), b"seat 3"), (message, b"seat 4"), (b"", b"")):
        with pytest.raises(NoiseRefusedError):
            responder.open(forged, data)
    assert responder.open(message, b"seat 3") == b"roll"
    with pytest.raises(NoiseRefusedError):
        responder.open(message, b"seat 3")


def test_a_forged_handshake_message_ends_the_handshake() -> None:
    """NOISE mode: one failure, as the Noise specification says."""
    keys = NoiseKeys(static=INITIATOR_STATIC)
    initiator = NoisePlayer(NAMES[0], keys, initiator=True)
    responder = NoisePlayer(NAMES[0], NoiseKeys(static=RESPONDER_STATIC), initiator=False)
    responder.read_handshake(initiator.write_handshake())
    answer = responder.write_handshake()
    for message in (answer[:-1] + bytes([answer[-1] ^ 1]), answer):
        with pytest.raises(NoiseRefusedError):
            initiator.read_handshake(message)


def test_a_renegotiation_keeps_the_peers_static_key() -> None:
    """Keys of a handshake with somebody else, or of an unfinished one, are not switched to."""
    initiator, _ = connected(NAMES[0])
    stranger_keys = NoiseKeys(static=bytes(range(64, 96)))
    fresh, stranger = (
        initiator.renegotiate(),
        NoisePlayer(NAMES[0], stranger_keys, initiator=False, prologue=b"ng1 renegotiate" + initiator.handshake_hash),
    )
    with pytest.raises(NoiseRefusedError):
        initiator.switch_send(fresh)
    finish(fresh, stranger)
    with pytest.raises(NoiseRefusedError):
        initiator.switch_send(fresh)


def test_a_plaintext_has_its_limit() -> None:
    """65,519 bytes and the tag are a Noise message; one more is refused before a counter moves."""
    initiator, responder = connected(NAMES[0])
    with pytest.raises(ValueError, match="longer"):
        initiator.seal(bytes(65_520))
    assert len(responder.open(initiator.seal(bytes(65_519)))) == 65_519


@given(messages=st.lists(st.binary(max_size=300), max_size=6), cut=st.integers(1, 50))
def test_frames_survive_any_cut_of_the_stream(messages: list[bytes], cut: int) -> None:
    """Two bytes of big-endian length before each message, however the stream is cut."""
    stream = b"".join(map(Frames.frame, messages))
    assert stream == b"".join(bytes(divmod(len(message), 256)) + message for message in messages)
    frames = Frames()
    read = [message for at in range(0, len(stream), cut) for message in frames.feed(stream[at : at + cut])]
    assert read == messages
