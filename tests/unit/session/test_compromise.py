"""Someone seizes all that a live session holds, and has recorded every packet: this is what they can read.

The attack is real: every 32 bytes that the session holds are tried as each secret of docs/protocol.md, section 3, by a
computation of this file's own, against every recorded packet.
"""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from noisegate_server.engine.policy import Options
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from tests.support.engines import End, Engines, Link, establish
from tests.support.fingerprint import secrets_of

STEPS = 40
"""How far the attacker follows every chain: further than these sessions go."""


def expand(secret: bytes, label: bytes) -> bytes:
    """RFC 5869, one block."""
    return hmac.digest(secret, label + b"\x01", hashlib.sha256)


def reachable(seized: list[bytes]) -> set[bytes]:
    """Every AEAD key that follows from seized bytes, taken as P, as C, as a message key, as prk or as a Split's key."""
    found = set(seized)
    for secret in seized:
        for traffic in (secret, expand(secret, b"ng1 i2r"), expand(secret, b"ng1 r2i"), expand(secret, b"ng1 chain")):
            step = traffic
            for _ in range(STEPS):
                found.add(expand(step, b"ng1 key"))
                found.add(expand(expand(step, b"ng1 chain"), b"ng1 key"))
                step = expand(step, b"ng1 next")
    return found


def read(keys: set[bytes], suite: Suite, packets: list[bytes]) -> set[int]:
    """Which of the packets open under any of the keys."""
    little = suite is not Suite.AES256_GCM_X25519
    make = ChaCha20Poly1305 if little else AESGCM
    opened = set()
    for number, packet in enumerate(packets):
        nonce = bytes(4) + int.from_bytes(packet[11:15], "big").to_bytes(8, "little" if little else "big")
        for key in keys:
            try:
                make(key).decrypt(nonce, packet[15:], packet[:15])
            except InvalidTag:
                continue
            opened.add(number)
            break
    return opened


def seize(end: End) -> list[bytes]:
    """All of a session's secrets, as they lie in memory."""
    return [bytes(secret) for secret in secrets_of(end.session) if len(secret) == 32]


def record(link: Link, sender: End, count: int) -> list[bytes]:
    """Packets of one end, which the other has opened."""
    packets = [sender.seal(b"%d" % number) for number in range(count)]
    for packet in packets:
        link.peer_of(sender).open(packet)
    return packets


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("seized_end", ["sender", "receiver"])
def test_with_the_ratchet_the_past_stays_closed(engines: Engines, suite: Suite, seized_end: str) -> None:
    """Neither end's secrets open one earlier record; they do open the next ones."""
    link = establish(engines, suite=suite, options=Options(ratchet=True))
    past = record(link, link.initiator, 12)
    seized = seize(link.initiator if seized_end == "sender" else link.responder)
    future = record(link, link.initiator, 3)
    keys = reachable(seized)
    assert read(keys, suite, future) == {0, 1, 2}
    assert read(keys, suite, past) == set()


@pytest.mark.parametrize("suite", list(Suite))
def test_without_the_ratchet_the_phase_s_past_is_open(engines: Engines, suite: Suite) -> None:
    """The counter-check of the attack: with one key for a phase it reads all of that phase, and none before it."""
    link = establish(engines, suite=suite)
    before = record(link, link.initiator, 4)
    link.initiator.rekey()
    past = record(link, link.initiator, 6)
    keys = reachable(seize(link.initiator))
    assert read(keys, suite, past) == set(range(6))
    assert read(keys, suite, before) == set()


def test_a_record_that_is_awaited_is_all_that_a_receiver_gives_away(engines: Engines) -> None:
    """A skipped key opens its own record, which may still come, and no other; with the grace it is gone."""
    link = establish(engines, options=Options(ratchet=True))
    suite = Suite.CHACHA20_POLY1305_X25519
    packets = [link.initiator.seal(b"%d" % number) for number in range(8)]
    for number in (0, 1, 2, 4, 5, 6, 7):
        link.responder.open(packets[number])
    assert read(reachable(seize(link.responder)), suite, packets) == {3}
    engines.clock.step(30.0)
    link.responder.send(b"any call")
    assert read(reachable(seize(link.responder)), suite, packets) == set()


def test_a_rotation_heals(engines: Engines) -> None:
    """Someone who has seized a session with the ratchet, and then only listens, is out after RENEGOTIATE."""
    link = establish(engines, options=Options(ratchet=True))
    seized = [*seize(link.initiator), *seize(link.responder)]
    link.initiator.renegotiate()
    link.settle()
    after = record(link, link.initiator, 3)
    assert read(reachable(seized), Suite.CHACHA20_POLY1305_X25519, after) == set()


@pytest.mark.parametrize("ratchet", [True, False])
def test_noise_mode_s_past_is_closed_by_rekey_after_each_message(engines: Engines, ratchet: bool) -> None:
    """With the ratchet the key in hand opens the next message alone; without it every message since the handshake."""
    link = establish(engines, mode=RecordMode.NOISE, options=Options(ratchet=ratchet))
    past = [link.initiator.seal(b"%d" % number) for number in range(5)]
    key = bytes(link.initiator.noise.send.key)
    following = link.initiator.seal(b"next")
    opened = []
    for n, message in enumerate([*past, following]):
        try:
            ChaCha20Poly1305(key).decrypt(bytes(4) + n.to_bytes(8, "little"), message, b"")
        except InvalidTag:
            continue
        opened.append(n)
    assert opened == ([5] if ratchet else [0, 1, 2, 3, 4, 5])
