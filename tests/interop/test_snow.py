"""Live handshakes with Rust's `snow`, an engine of other authors, in both roles: classical, and hybrid with ML-KEM.

At the end it is the player's side of NOISE mode while the Rust SDK asks the service.

snow knows the tokens of the extension hfs, but no ML-KEM: its KEM is called Kyber1024. `tests/interop/snow` gives it
the Rust crate `ml-kem` instead, and the name that is hashed; patterns, token order and keys are snow's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from noisegate_server.noise import DecryptError, HandshakeState
from noisegate_server.session.suites import HYBRID_PATTERN_NAMES, PATTERN_NAMES
from tests.conformance.suite.cases import load
from tests.conformance.suite.languages import LANGUAGES
from tests.conformance.suite.table import run as run_suite
from tests.conformance.suite.table import shown
from tests.support.go_program import NotAvailable
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, end
from tests.support.noise_peer import NoisePeer, PeerPlayer, Refused, agree, open_end, running
from tests.support.rust_program import cargo_build
from tests.support.vectors import not_available

PROJECT = Path(__file__).parent / "snow"
PROLOGUE = b"snow live"
PSK = bytes([0x70]) * 32
"""The first pre-shared key of `tests.support.noise_pair`."""
CLASSICAL = 144  # 9 patterns, 2 ciphers, 4 hashes, 2 roles
HYBRID = 72  # 9 patterns, 4 ciphers and hashes, 2 roles

ENDS = list(product(("XXhfs", "IKhfs", "NKhfs", "NNhfs+psk0"), (True, False)))

# The first build takes the better part of a minute.
pytestmark = pytest.mark.timeout(600)


class Snow(NoisePeer):
    """The Rust program, one end at a time."""

    def open(self, name: str, *, kem: str, initiator: bool, remote: bytes = b"") -> None:
        """Begin a handshake; the keys are those of `tests.support.noise_pair`, as this side has them."""
        static = (INITIATOR_STATIC if initiator else RESPONDER_STATIC).private_bytes()
        open_end(self, name, initiator=initiator, prologue=PROLOGUE, static=static, remote=remote, psk=PSK, kem=kem)


@pytest.fixture(scope="module")
def snow() -> Iterator[Snow]:
    """The program, built and running."""
    try:
        program = cargo_build(PROJECT, "dev")
    except NotAvailable as reason:
        not_available(str(reason))
    with running(program, Snow) as peer:
        yield peer


def begin(snow: Snow, name: str, *, initiator: bool, kem: str = "mlkem", theirs: str = "") -> HandshakeState:
    """Our end of a handshake, and snow's at the other side; `theirs` is snow's name where it is another."""
    ours = end(name, initiator=initiator, prologue=PROLOGUE, seed=os.urandom(16).hex())
    remote = RESPONDER_STATIC.public if ours.protocol.pattern.responder_pre and not initiator else b""
    snow.open(theirs or name, kem=kem, initiator=not initiator, remote=remote)
    return ours


def run(snow: Snow, name: str, *, initiator: bool, kem: str = "mlkem") -> None:
    """All messages, the hash, and transport messages both ways."""
    agree(snow, begin(snow, name, initiator=initiator, kem=kem), name)


def test_classical_handshakes_agree_in_both_roles(snow: Snow) -> None:
    """144: every pattern of the product, each cipher and hash."""
    handshakes = 0
    for pattern, cipher, hash_, initiator in product(
        PATTERN_NAMES.values(), ("ChaChaPoly", "AESGCM"), ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b"), (True, False)
    ):
        run(snow, f"Noise_{pattern}_25519_{cipher}_{hash_}", initiator=initiator)
        handshakes += 1
    assert handshakes == CLASSICAL


def test_hybrid_handshakes_agree_in_both_roles(snow: Snow) -> None:
    """72: every pattern with hfs and ML-KEM-1024, our suite's cipher and hash and three other pairs."""
    handshakes = 0
    for pattern, functions, initiator in product(
        HYBRID_PATTERN_NAMES.values(),
        ("ChaChaPoly_SHA256", "AESGCM_SHA256", "ChaChaPoly_BLAKE2s", "AESGCM_SHA512"),
        (True, False),
    ):
        run(snow, f"Noise_{pattern}_25519+MLKEM1024_{functions}", initiator=initiator)
        handshakes += 1
    assert handshakes == HYBRID


@pytest.mark.parametrize("kem", ["mlkem", "kyber"])
@pytest.mark.parametrize(("pattern", "initiator"), ENDS)
def test_a_peer_under_kybers_name_is_refused(snow: Snow, pattern: str, initiator: bool, kem: str) -> None:
    """Whichever KEM it runs: the name is hashed, and the first thing that is sealed does not open.

    That is the payload or a key of message 1, but in XX, whose message 1 is all in clear, message 2.
    """
    ours, theirs = (f"Noise_{pattern}_25519+{named}_ChaChaPoly_SHA256" for named in ("MLKEM1024", "Kyber1024"))
    state = begin(snow, ours, initiator=initiator, kem=kem, theirs=theirs)
    writes = initiator
    for _ in range(1 if pattern == "XXhfs" else 0):
        if writes:
            snow.ask("read", state.write_message())
        else:
            state.read_message(snow.ask("write"))
        writes = not writes
    if writes:
        with pytest.raises(Refused, match="Decrypt"):
            snow.ask("read", state.write_message())
    else:
        message = snow.ask("write")
        with pytest.raises(DecryptError):
            state.read_message(message)


@pytest.mark.parametrize("pattern", HYBRID_PATTERN_NAMES.values())
def test_snows_own_kem_agrees_under_our_name(snow: Snow, pattern: str) -> None:
    """Its "Kyber1024" is PQClean's C code of the standard's last draft, which computes what ML-KEM-1024 does.

    So a third KEM is tried here, and it is the hashed name alone that keeps the two protocols apart. Round-3 Kyber is
    another algorithm; tests/conformance/test_hfs_vectors.py refuses it.
    """
    for initiator in (True, False):
        run(snow, f"Noise_{pattern}_25519+MLKEM1024_ChaChaPoly_SHA256", initiator=initiator, kem="kyber")


def test_snow_fails_on_a_tampered_ciphertext_as_we_do(snow: Snow) -> None:
    """Each engine refuses the other's message 2 with one bit of the KEM's ciphertext turned."""
    name = "Noise_XXhfs_25519+MLKEM1024_ChaChaPoly_SHA256"
    ours = begin(snow, name, initiator=True)
    snow.ask("read", ours.write_message())
    message = bytearray(snow.ask("write"))
    message[32 + 700] ^= 1
    with pytest.raises(DecryptError):
        ours.read_message(message)
    ours = begin(snow, name, initiator=False)
    ours.read_message(snow.ask("write"))
    message = bytearray(ours.write_message())
    message[32 + 700] ^= 1
    with pytest.raises(Refused, match="Decrypt"):
        snow.ask("read", bytes(message))


def test_snow_plays_against_the_service_through_the_rust_sdk(snow: Snow) -> None:
    """XX, IK, NK, both roles, both ciphers: the handshake, two records each way, and what the service says of it."""
    rust = [language for language in LANGUAGES if language.name == "Rust"]
    cases = [case for case in load() if case.topic == "handshake" and "the service is" in case.name]
    cases = [case for case in cases if case.name.startswith("NOISE")]
    assert len(cases) == 12
    (row,) = run_suite(rust, cases, noise_player=lambda setup, key: PeerPlayer(snow, setup, key, kem="mlkem"))
    if row.skipped:
        not_available(row.skipped)
    assert row.failures == {}, shown([row], cases)
