"""Live handshakes with Go's `flynn/noise`, an engine of other authors: with ours, and through the SDKs the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from noisegate_server.noise import DecryptError, HandshakeState
from tests.conformance.suite.cases import load
from tests.conformance.suite.languages import LANGUAGES, Language
from tests.conformance.suite.table import run as run_suite
from tests.conformance.suite.table import shown
from tests.support.go_program import NotAvailable, go_build
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, end
from tests.support.noise_peer import NoisePeer, PeerPlayer, Refused, open_flynn, running
from tests.support.vectors import not_available

MODULE = Path(__file__).parent / "flynn"
PROLOGUE = b"flynn live"
PSK = bytes([0x70]) * 32
"""The pre-shared key of `tests.support.noise_pair`."""
TRANSPORT_SIZES = (0, 1, 65_519)
PATTERNS = ("XX", "IK", "NK", "XXpsk3", "IKpsk1", "IKpsk2", "NKpsk0", "NKpsk2")
HASHES = ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def flynn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoisePeer]:
    """The program, built and running."""
    try:
        program = go_build(MODULE, tmp_path_factory.mktemp("flynn") / "peer")
    except NotAvailable as reason:
        not_available(str(reason))
    with running(program, NoisePeer) as peer:
        yield peer


def begin(flynn: NoisePeer, name: str, *, initiator: bool) -> HandshakeState:
    """Our end of a handshake, and flynn's at the other side."""
    ours = end(name, initiator=initiator, prologue=PROLOGUE, seed=os.urandom(16).hex())
    remote = RESPONDER_STATIC.public if ours.protocol.pattern.responder_pre and not initiator else b""
    anonymous = not initiator and name.split("_")[1].startswith("N")
    static = RESPONDER_STATIC if initiator else INITIATOR_STATIC
    open_flynn(
        flynn,
        name,
        initiator=not initiator,
        prologue=PROLOGUE,
        static=b"" if anonymous else static.private_bytes(),
        remote=remote,
        psk=PSK,
    )
    return ours


def test_handshakes_agree_in_both_roles(flynn: NoisePeer) -> None:
    """Every pattern, cipher and hash: payloads, the handshake hash, and transport messages both ways."""
    for pattern, cipher, hash_, initiator in product(PATTERNS, ("ChaChaPoly", "AESGCM"), HASHES, (True, False)):
        name = f"Noise_{pattern}_25519_{cipher}_{hash_}"
        ours = begin(flynn, name, initiator=initiator)
        for index in range(len(ours.protocol.pattern.messages)):
            payload = b"payload" * index
            if ours.is_my_turn:
                assert flynn.ask("read", ours.write_message(payload)) == payload, (name, index)
            else:
                assert ours.read_message(flynn.ask("write", payload)) == payload, (name, index)
        assert flynn.ask("hash") == ours.handshake_hash, name
        flynn.ask("split")
        first, second = ours.split()
        send, receive = (first, second) if initiator else (second, first)
        for size in TRANSPORT_SIZES:
            plaintext = bytes([size % 251]) * size
            assert flynn.ask("unseal", send.encrypt_with_ad(b"", plaintext)) == plaintext, (name, size)
            assert receive.decrypt_with_ad(b"", flynn.ask("seal", plaintext)) == plaintext, (name, size)


def test_each_refuses_a_tampered_message_of_the_other(flynn: NoisePeer) -> None:
    """One bit of message 2 turned."""
    name = "Noise_XX_25519_ChaChaPoly_SHA256"
    ours = begin(flynn, name, initiator=True)
    flynn.ask("read", ours.write_message())
    message = bytearray(flynn.ask("write"))
    message[40] ^= 1
    with pytest.raises(DecryptError):
        ours.read_message(message)
    ours = begin(flynn, name, initiator=False)
    ours.read_message(flynn.ask("write"))
    message = bytearray(ours.write_message())
    message[40] ^= 1
    with pytest.raises(Refused, match="authentication"):
        flynn.ask("read", bytes(message))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_flynn_plays_against_the_service_through_an_sdk(flynn: NoisePeer, language: Language) -> None:
    """XX, IK, NK, both roles, both ciphers: the handshake, two records each way, and what the service says of it."""
    cases = [case for case in load() if case.topic == "handshake" and "the service is" in case.name]
    cases = [case for case in cases if case.name.startswith("NOISE")]
    assert len(cases) == 12
    (row,) = rows = run_suite([language], cases, noise_player=lambda setup, key: PeerPlayer(flynn, setup, key))
    if row.skipped:
        not_available(row.skipped)
    assert row.failures == {}, shown(rows, cases)
