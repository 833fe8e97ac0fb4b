"""Live handshakes with the package `noiseprotocol`, an engine of other authors, in both roles."""

from __future__ import annotations

from itertools import product
from typing import Any

from noisegate_server.noise import MAX_PLAINTEXT, HandshakeState
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, end
from tests.support.vectors import peer_library

# The product's own patterns with every psk place, two with several, and the other interactive fundamental patterns.
PATTERNS = (
    *("XX", "XXpsk0", "XXpsk1", "XXpsk2", "XXpsk3", "XXpsk0+psk3"),
    *("IK", "IKpsk0", "IKpsk1", "IKpsk2", "IKpsk1+psk2"),
    *("NK", "NKpsk0", "NKpsk1", "NKpsk2", "NKpsk0+psk2"),
    *("NN", "NNpsk0", "NX", "XN", "XK", "KN", "KK", "KX", "IN", "IX"),
)
CIPHERS = ("ChaChaPoly", "AESGCM")
HASHES = ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")
HANDSHAKES = 416  # 26 patterns, 2 ciphers, 4 hashes, 2 roles
TRANSPORT_SIZES = (0, 1, MAX_PLAINTEXT)
PROLOGUE = b"noiseprotocol live"


def test_handshakes_and_transport_messages_agree_in_both_roles() -> None:
    """Payloads, handshake hashes, transport messages of 0, 1 and 65,519 bytes and rekeyed keys are the same."""
    handshakes = 0
    for pattern, cipher, hash_, initiator in product(PATTERNS, CIPHERS, HASHES, (True, False)):
        name = f"Noise_{pattern}_25519_{cipher}_{hash_}"
        ours = end(name, initiator=initiator, prologue=PROLOGUE)
        theirs = new_peer(ours)
        run_handshake(ours, theirs)
        assert theirs.get_handshake_hash() == ours.handshake_hash, (name, initiator)
        run_transport(ours, theirs)
        handshakes += 1
    assert handshakes == HANDSHAKES


def new_peer(ours: HandshakeState) -> Any:
    """The other package's end for our end, with the keys of `tests.support.noise_pair`."""
    connection = peer_library("noise.connection")
    protocol = ours.protocol
    theirs = connection.NoiseConnection.from_name(protocol.name.encode())
    theirs.set_prologue(PROLOGUE)
    if protocol.pattern.psk_count:
        theirs.set_psks(psks=[bytes([0x70 + index]) * 32 for index in range(protocol.pattern.psk_count)])
    if ours.initiator:
        theirs.set_as_responder()
        own, other = RESPONDER_STATIC, INITIATOR_STATIC
    else:
        theirs.set_as_initiator()
        own, other = INITIATOR_STATIC, RESPONDER_STATIC
    required = theirs.noise_protocol.pattern.get_required_keypairs(not ours.initiator)
    if "s" in required:
        theirs.set_keypair_from_private_bytes(connection.Keypair.STATIC, own.private_bytes())
    if "rs" in required:
        theirs.set_keypair_from_public_bytes(connection.Keypair.REMOTE_STATIC, other.public)
    theirs.start_handshake()
    return theirs


def run_handshake(ours: HandshakeState, theirs: Any) -> None:
    """All messages, each with a payload of another length."""
    name = ours.protocol.name
    for index in range(len(ours.protocol.pattern.messages)):
        payload = b"payload" * index
        if ours.is_my_turn:
            assert bytes(theirs.read_message(ours.write_message(payload))) == payload, (name, index)
        else:
            assert ours.read_message(bytes(theirs.write_message(payload))) == payload, (name, index)
    assert ours.is_finished
    assert theirs.handshake_finished


def run_transport(ours: HandshakeState, theirs: Any) -> None:
    """Messages both ways under the first keys and, with the nonces running on, under rekeyed ones."""
    first, second = ours.split()
    send, receive = (first, second) if ours.initiator else (second, first)
    name = ours.protocol.name
    for round_ in range(2):
        for size in TRANSPORT_SIZES:
            plaintext = bytes([size % 251]) * size
            assert theirs.decrypt(send.encrypt_with_ad(b"", plaintext)) == plaintext, (name, round_, size)
            assert receive.decrypt_with_ad(b"", theirs.encrypt(plaintext)) == plaintext, (name, round_, size)
        assert send.n == receive.n == len(TRANSPORT_SIZES) * (round_ + 1)
        send.rekey()
        receive.rekey()
        theirs.rekey_inbound_cipher()
        theirs.rekey_outbound_cipher()
        assert send.k == theirs.noise_protocol.cipher_state_decrypt.k, name
        assert receive.k == theirs.noise_protocol.cipher_state_encrypt.k, name
