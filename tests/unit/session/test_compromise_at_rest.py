"""As test_compromise, where a session was suspended: what its blob, the key of blobs and the memory beside them open.

Blobs and tickets are opened here by a computation of this file's own, with the keys that were seized with them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, ChaCha20Poly1305

from noisegate_server.engine.outcomes import Early
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.constants import GRACE_S
from noisegate_server.session.sealing import SealingKeys
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from noisegate_server.store.vault import MemoryVault
from tests.support.attacker import Loot, read, seize
from tests.support.engine import TENANT
from tests.support.engines import End, Engines, Link, establish
from tests.support.requests import resumption
from tests.support.restored import settle
from tests.support.tickets import give_ticket

CHACHA = Suite.CHACHA20_POLY1305_X25519
SHORT = 8
"""Steps of every chain: these sessions go no further."""
ROLES = ("initiator", "responder")
BLOB, TICKET = b"\xffsuspended session\xff" + TENANT.encode(), TENANT.encode()
"""What blobs and tickets are bound to."""


def unsealed(keys: SealingKeys, sealed: bytes, bound: bytes) -> bytes:
    """key id(8) ‖ nonce(12) ‖ AES-256-GCM-SIV; AAD = key id ‖ what it is bound to."""
    return AESGCMSIV(keys.current.key).decrypt(sealed[8:20], sealed[20:], sealed[:8] + bound)


def loot_at_rest(parts: Parts) -> Loot:
    """All of one service, and the insides of every blob in its vault."""
    loot = seize(parts)
    vault = parts.vault
    assert isinstance(vault, MemoryVault)
    for kept in vault._kept.values():
        for value in values_of(unsealed(parts.blob_keys, kept.blob, BLOB)):
            loot.add(value, every_offset=True)
    return loot


def values_of(plain: bytes) -> Iterator[bytes]:
    """version(1), then tag(1) ‖ length(2) ‖ value."""
    at = 1
    while at < len(plain):
        end = at + 3 + int.from_bytes(plain[at + 1 : at + 3], "big")
        yield plain[at + 3 : end]
        at = end
    assert at == len(plain)


def record(link: Link, sender: End, count: int) -> list[bytes]:
    """Packets of one end, which the other has opened."""
    packets = [sender.seal(b"%d" % number) for number in range(count)]
    for packet in packets:
        link.peer_of(sender).open(packet)
    return packets


def at_rest(_link: Link) -> None:
    """No rotation."""


def rotate_1_is_lost(link: Link) -> None:
    """Only the initiator knows of it."""
    link.initiator.renegotiate()
    link.lose_everything()


def rotate_2_is_lost(link: Link) -> None:
    """The responder holds the new epoch as its next."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    link.lose_everything()


def the_question_is_lost(link: Link) -> None:
    """The initiator seals under the new epoch, and the responder does not know it yet."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    link.initiator.open(link.initiator.inbox.popleft())
    link.lose_everything()


def all_is_done(link: Link) -> None:
    """The new epoch is confirmed, the old one in its grace."""
    link.initiator.renegotiate()
    link.settle()


@pytest.mark.parametrize("ratchet", [True, False])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("moment", [at_rest, rotate_1_is_lost, rotate_2_is_lost, the_question_is_lost, all_is_done])
def test_a_blob_and_its_key_open_nothing_that_was_sent_before(
    engines: Engines, moment: Callable[[Link], None], role: str, ratchet: bool
) -> None:
    """Nor does all else that is left in memory; it opens what is sent after the restore, until the next rotation."""
    link = establish(engines, options=Options(ratchet=ratchet, tickets=True))
    sent = [packet for end in link.ends for packet in record(link, end, 4)]
    moment(link)
    end: End = getattr(link, role)
    sent += [each.seal(b"on its way") for each in link.ends]
    end.engine.suspend(end.session_id)
    loot = loot_at_rest(end.engine.parts)
    assert read(loot, CHACHA, sent, steps=SHORT) == set()
    end.outbox.extend(end.engine.restore(end.session_id).to_peer)
    salted = record(link, end, 2)
    assert read(loot, CHACHA, salted, steps=SHORT) == {0, 1}
    settle(link)
    after = [packet for each in link.ends for packet in record(link, each, 2)]
    assert read(loot, CHACHA, after, steps=SHORT) == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_salted_epoch_is_open_to_who_has_its_base_and_to_nobody_after_the_rotation(
    engines: Engines, role: str
) -> None:
    """The price of a salt in the place of a key agreement, until the rotation that is due at once and its grace."""
    link = establish(engines, options=Options(ratchet=True))
    end: End = getattr(link, role)
    end.engine.suspend(end.session_id)
    restored = end.engine.restore(end.session_id).to_peer
    salted = record(link, end, 3)
    assert [read(seize(each.engine.parts), CHACHA, salted) for each in link.ends] == [{0, 1, 2}] * 2
    end.outbox.extend(restored)
    settle(link)
    engines.clock.step(GRACE_S)
    for each in link.ends:
        each.seal(b"any call")
    assert [read(seize(each.engine.parts), CHACHA, salted) for each in link.ends] == [set()] * 2


@pytest.mark.parametrize("ratchet", [True, False])
@pytest.mark.parametrize("sender", ROLES)
def test_noise_mode_s_blob_opens_what_its_keys_do(engines: Engines, ratchet: bool, sender: str) -> None:
    """It must hold the CipherStates: with the ratchet they open what comes next, without it all under their keys."""
    link = establish(engines, mode=RecordMode.NOISE, options=Options(ratchet=ratchet))
    end: End = getattr(link, sender)
    packets = record(link, end, 4)
    link.responder.engine.suspend(link.responder.session_id)
    loot = loot_at_rest(link.responder.engine.parts)
    link.responder.engine.restore(link.responder.session_id)
    packets += record(link, end, 2)
    assert read(loot, CHACHA, packets, noise=True) == ({4, 5} if ratchet else set(range(6)))


@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_suspended_session_that_is_closed_leaves_nothing(engines: Engines, mode: RecordMode) -> None:
    """Its blob goes with it."""
    link = establish(engines, mode=mode)
    packets = record(link, link.initiator, 3)
    end = link.responder
    end.engine.suspend(end.session_id)
    end.engine.close(end.session_id)
    assert read(loot_at_rest(end.engine.parts), CHACHA, packets, noise=mode is RecordMode.NOISE) == set()


def first_payload(psk: bytes, prologue: bytes, message: bytes) -> bytes:
    """The payload of message 1 of Noise_NNpsk0_25519_ChaChaPoly_SHA256, from nothing but psk and wire. InvalidTag."""

    def hkdf(ck: bytes, ikm: bytes, count: int) -> list[bytes]:
        temp, out = hmac.digest(ck, ikm, hashlib.sha256), [b""]
        for number in range(1, count + 1):
            out.append(hmac.digest(temp, out[-1] + bytes([number]), hashlib.sha256))
        return out[1:]

    ck = h = hashlib.sha256(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256").digest()
    h = hashlib.sha256(h + prologue).digest()
    ck, mixed, _ = hkdf(ck, psk, 3)
    h = hashlib.sha256(h + mixed).digest()
    ephemeral, sealed = message[:32], message[32:]
    h = hashlib.sha256(h + ephemeral).digest()
    _, key = hkdf(ck, ephemeral, 2)
    return ChaCha20Poly1305(key).decrypt(bytes(12), sealed, h)


def test_the_ticket_key_opens_recorded_early_data_and_no_record_of_the_resumed_session(engines: Engines) -> None:
    """As said: early data has no forward secrecy against the ticket key; everything after message 1 has."""
    policy = Policy(max_early=64)
    responder = engines.make(policy=policy)
    link = establish(engines, mode=RecordMode.NOISE, options=Options(max_early=64), responder=responder)
    give_ticket(link)
    begun = link.initiator.engine.resume(link.initiator.session_id, b"", b"early secret")
    request = resumption(begun, RecordMode.NOISE)
    answered = responder.accept_resume(request)
    assert answered.early is Early.REJECTED
    link.initiator.engine.finish_resume(begun.session_id, answered.to_peer[0])
    sent = link.initiator.engine.encrypt(begun.session_id, b"roll").ciphertext
    assert responder.decrypt(answered.session_id, sent).plaintext == b"roll"

    loot = seize(responder.parts.ticket_keys)
    loot.add(unsealed(responder.parts.ticket_keys, begun.ticket, TICKET), every_offset=True)
    prologue = b"ng1 resume" + len(begun.ticket).to_bytes(2, "big") + begun.ticket
    found = []
    for secret in loot.secrets:
        try:
            found.append(first_payload(secret, prologue, request.message))
        except InvalidTag:
            continue
    assert found == [b"early secret"]
    assert read(loot, CHACHA, [sent], noise=True) == set()
