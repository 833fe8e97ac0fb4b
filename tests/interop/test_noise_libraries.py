"""Live handshakes with engines of other authors: with ours, and through the SDKs the service.

Go's `flynn/noise`, and noise-c in WebAssembly, which has neither PSKs as Noise names them today nor Rekey.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from noisegate_server.noise import DecryptError, HandshakeState
from tests.conformance.suite.cases import load
from tests.conformance.suite.languages import LANGUAGES, Language
from tests.conformance.suite.table import run as run_suite
from tests.conformance.suite.table import shown
from tests.support.go_program import NotAvailable, go_build
from tests.support.node_program import install_noise_c
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, end
from tests.support.noise_peer import NoisePeer, PeerPlayer, Refused, agree, open_end, running
from tests.support.vectors import not_available

HERE: Final = Path(__file__).parent
PROLOGUE = b"another library, live"
PSK = bytes([0x70]) * 32
"""The pre-shared key of `tests.support.noise_pair`."""
HASHES = ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """One library: the program that drives it, and what it can do and through which languages' SDKs it plays."""

    name: str
    build: Callable[[Path], Sequence[str]]
    patterns: Sequence[str]
    languages: frozenset[str]
    refusal: str
    """How it says that a message was forged."""


FLYNN: Final = Library(
    name="flynn",
    build=lambda scratch: [str(go_build(HERE / "flynn", scratch / "flynn"))],
    patterns=("XX", "IK", "NK", "XXpsk3", "IKpsk1", "IKpsk2", "NKpsk0", "NKpsk2"),
    languages=frozenset(language.name for language in LANGUAGES),
    refusal="authentication",
)
NOISE_C: Final = Library(
    name="noise-c.wasm",
    build=lambda _: [install_noise_c(), str(HERE / "noise_c" / "main.mjs")],
    patterns=("XX", "IK", "NK"),
    languages=frozenset({"TypeScript"}),
    refusal="MAC_FAILURE",
)

LIBRARIES: Final = (FLYNN, NOISE_C)
PLAYS: Final = [
    pytest.param(library, language, id=f"{library.name}-{language.name}")
    for library, language in product(LIBRARIES, LANGUAGES)
    if language.name in library.languages
]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    """One of them."""
    chosen: Library = request.param
    return chosen


@pytest.fixture(scope="module")
def peer(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoisePeer]:
    """Its program, built and running."""
    try:
        command = library.build(tmp_path_factory.mktemp("library"))
    except NotAvailable as reason:
        not_available(str(reason))
    with running(command, NoisePeer) as program:
        yield program


def begin(peer: NoisePeer, name: str, *, initiator: bool) -> HandshakeState:
    """Our end of a handshake, and the library's at the other side."""
    ours = end(name, initiator=initiator, prologue=PROLOGUE, seed=os.urandom(16).hex())
    remote = RESPONDER_STATIC.public if ours.protocol.pattern.responder_pre and not initiator else b""
    anonymous = not initiator and name.split("_")[1].startswith("N")
    static = RESPONDER_STATIC if initiator else INITIATOR_STATIC
    open_end(
        peer,
        name,
        initiator=not initiator,
        prologue=PROLOGUE,
        static=b"" if anonymous else static.private_bytes(),
        remote=remote,
        psk=PSK,
    )
    return ours


def test_handshakes_agree_in_both_roles(library: Library, peer: NoisePeer) -> None:
    """Every pattern, cipher and hash: payloads, the handshake hash, and transport messages both ways."""
    for pattern, cipher, hash_, initiator in product(library.patterns, ("ChaChaPoly", "AESGCM"), HASHES, (True, False)):
        name = f"Noise_{pattern}_25519_{cipher}_{hash_}"
        agree(peer, begin(peer, name, initiator=initiator), name)


def test_each_refuses_a_tampered_message_of_the_other(library: Library, peer: NoisePeer) -> None:
    """One bit of message 2 turned."""
    name = "Noise_XX_25519_ChaChaPoly_SHA256"
    ours = begin(peer, name, initiator=True)
    peer.ask("read", ours.write_message())
    message = bytearray(peer.ask("write"))
    message[40] ^= 1
    with pytest.raises(DecryptError):
        ours.read_message(message)
    ours = begin(peer, name, initiator=False)
    ours.read_message(peer.ask("write"))
    message = bytearray(ours.write_message())
    message[40] ^= 1
    with pytest.raises(Refused, match=library.refusal):
        peer.ask("read", bytes(message))


@pytest.mark.parametrize(("library", "language"), PLAYS, indirect=["library"])
def test_it_plays_against_the_service_through_an_sdk(peer: NoisePeer, language: Language) -> None:
    """XX, IK, NK, both roles, both ciphers: the handshake, two records each way, and what the service says of it."""
    cases = [case for case in load() if case.topic == "handshake" and "the service is" in case.name]
    cases = [case for case in cases if case.name.startswith("NOISE")]
    assert len(cases) == 12
    (row,) = rows = run_suite([language], cases, noise_player=lambda setup, key: PeerPlayer(peer, setup, key))
    if row.skipped:
        not_available(row.skipped)
    assert row.failures == {}, shown(rows, cases)
