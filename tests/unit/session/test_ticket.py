"""Tickets: what comes back out of one, and everything for which one is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from noisegate_server.session.hello import Flags
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Suite
from noisegate_server.session.ticket import (
    Ticket,
    TicketContent,
    TicketKey,
    TicketKeys,
    TicketUnusable,
    decode_ticket_content,
    encode_ticket_content,
    open_ticket,
    seal_ticket,
)

ISSUED = 1_800_000_000.25
DAY = 86_400
KEY = TicketKey(key_id=b"key-id-1", key=bytes(range(32)))
OTHER = TicketKey(key_id=b"key-id-2", key=bytes(range(1, 33)))
KEYS = TicketKeys(current=KEY)


def _ticket() -> Ticket:
    return Ticket(
        id=bytes(range(16)),
        psk=bytearray(b"P" * 32),
        remote_static=b"R" * 32,
        prologue_hash=b"H" * 32,
        tenant="arena",
        peer_id="player-7",
        group="match-é",
        role=Role.RESPONDER,
        suite=Suite.AES256_GCM_X25519,
        mode=RecordMode.DATAGRAM,
        flags=Flags.DATAGRAM | Flags.TICKETS,
        issuer=b"instance",
        issued_wall=ISSUED,
        absolute_end_wall=ISSUED + 7 * DAY,
        identity=b"I" * 32,
        max_early=4_096,
        idle_timeout=1_800.5,
        lifetime=7_200.0,
    )


def _counting() -> Callable[[int], bytes]:
    drawn = 0

    def random_bytes(n: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return bytes((drawn,)) * n

    return random_bytes


def _sealed(ticket: Ticket | None = None, keys: TicketKeys = KEYS) -> bytes:
    return seal_ticket(keys, ticket or _ticket(), _counting())


def test_a_ticket_comes_back_as_it_was() -> None:
    """Every field survives, with its type."""
    opened = open_ticket(KEYS, "arena", _sealed(), ISSUED)
    assert opened == _ticket()
    assert isinstance(opened.psk, bytearray)
    assert (opened.role, opened.suite, opened.mode) == (Role.RESPONDER, Suite.AES256_GCM_X25519, RecordMode.DATAGRAM)
    assert Flags.TICKETS in Flags(opened.flags)


def test_empty_fields_survive() -> None:
    """An anonymous peer without a name, group or issuer has a ticket too."""
    bare = replace(_ticket(), remote_static=b"", peer_id="", group="", issuer=b"", identity=b"")
    assert open_ticket(KEYS, "arena", _sealed(bare), ISSUED) == bare


def test_the_largest_ticket_is_within_its_bound() -> None:
    """With every field at its limit a ticket is below 1,024 bytes."""
    large = replace(_ticket(), tenant="t" * 255, peer_id="p" * 64, group="g" * 64, issuer=b"i" * 64)
    blob = _sealed(large)
    assert len(blob) <= 1_024
    assert open_ticket(KEYS, "t" * 255, blob, ISSUED) == large


def test_a_ticket_is_key_id_nonce_and_gcm_siv() -> None:
    """Another implementation of the layout opens it: AAD is key id and tenant."""
    blob = _sealed()
    assert blob[:8] == KEY.key_id
    assert blob[8:20] == b"\x01" * 12
    plaintext = AESGCMSIV(KEY.key).decrypt(blob[8:20], blob[20:], b"key-id-1arena")
    assert plaintext[0] == 2
    assert plaintext[1:17] == bytes(range(16))
    assert plaintext[17:49] == b"P" * 32


def test_sealing_draws_a_nonce_of_its_own_each_time() -> None:
    """Two tickets of one content differ."""
    random_bytes = _counting()
    assert seal_ticket(KEYS, _ticket(), random_bytes) != seal_ticket(KEYS, _ticket(), random_bytes)


def test_the_previous_key_opens_and_does_not_seal() -> None:
    """After a change of keys old tickets live on; new ones are sealed under the new key."""
    keys = TicketKeys(current=OTHER, previous=KEY)
    assert open_ticket(keys, "arena", _sealed(), ISSUED) == _ticket()
    assert _sealed(keys=keys)[:8] == OTHER.key_id


def test_a_key_that_left_the_ring_opens_nothing() -> None:
    """Two changes of keys later a ticket is unusable."""
    with pytest.raises(TicketUnusable):
        open_ticket(TicketKeys(current=OTHER), "arena", _sealed(), ISSUED)


@pytest.mark.parametrize("tenant", ["", "aren", "arenaa", "other", "Arena"])
def test_another_tenants_ticket_is_refused(tenant: str) -> None:
    """The tenant is authenticated: a ticket opens for its own alone."""
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, tenant, _sealed(), ISSUED)


@pytest.mark.parametrize("at", [0, 7, 8, 19, 20, 21, 100, -17, -16, -1])
def test_a_changed_byte_is_refused(at: int) -> None:
    """Key id, nonce, ciphertext and tag are all authenticated."""
    blob = bytearray(_sealed())
    blob[at] ^= 1
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", bytes(blob), ISSUED)


@pytest.mark.parametrize(
    "blob", [b"", bytes(7), KEY.key_id, KEY.key_id + bytes(28), KEY.key_id + bytes(1_017), bytes(400)]
)
def test_garbage_is_refused(blob: bytes) -> None:
    """What is too short, too long or nobody's is no ticket."""
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", blob, ISSUED)


@pytest.mark.parametrize("cut", [1, 16, 50, 200])
def test_a_cut_or_longer_ticket_is_refused(cut: int) -> None:
    """A ticket is whole or none."""
    blob = _sealed()
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", blob[:-cut], ISSUED)
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", blob + bytes(cut), ISSUED)


@pytest.mark.parametrize("age", [-60.0, -59.0, 0.0, DAY - 1.0, float(DAY)])
def test_a_ticket_can_be_used_for_a_day(age: float) -> None:
    """From the skew before its issue to 24 h after."""
    assert open_ticket(KEYS, "arena", _sealed(), ISSUED + age).id == _ticket().id


@pytest.mark.parametrize("age", [-1e9, -61.0, -60.25, DAY + 0.25, DAY + 1.0, 1e9, math.nan, math.inf, -math.inf])
def test_a_ticket_outside_its_day_is_refused(age: float) -> None:
    """Expired, from the future, or compared with a clock that shows nothing."""
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", _sealed(), ISSUED + age)


def test_a_ticket_ends_with_its_chain() -> None:
    """However fresh, no ticket outlives the absolute end of its chain of resumes."""
    blob = _sealed(replace(_ticket(), absolute_end_wall=ISSUED + 100))
    assert open_ticket(KEYS, "arena", blob, ISSUED + 99.75).absolute_end_wall == ISSUED + 100
    for late in (100, 101):
        with pytest.raises(TicketUnusable):
            open_ticket(KEYS, "arena", blob, ISSUED + late)


def _resealed(change: Callable[[bytearray], None]) -> bytes:
    """A ticket whose plaintext was changed by someone with the key: another release, or a defect."""
    blob = _sealed()
    plaintext = bytearray(AESGCMSIV(KEY.key).decrypt(blob[8:20], blob[20:], b"key-id-1arena"))
    change(plaintext)
    return blob[:20] + AESGCMSIV(KEY.key).encrypt(blob[8:20], bytes(plaintext), b"key-id-1arena")


def _set(at: int, value: bytes) -> Callable[[bytearray], None]:
    def change(plaintext: bytearray) -> None:
        plaintext[at : at + len(value)] = value

    return change


FOREIGN = {
    "a later version": _set(0, b"\x03"),
    "no role": _set(81, b"\0"),
    "an unknown suite": _set(82, b"\xff"),
    "an unknown mode": _set(83, b"\x03"),
    "issued at no time": _set(85, struct.pack(">d", math.nan)),
    "ending at no time": _set(93, struct.pack(">d", math.nan)),
    "idle for no time": _set(105, struct.pack(">d", math.nan)),
    "idle for less than no time": _set(105, struct.pack(">d", -1.0)),
    "living for ever": _set(113, struct.pack(">d", math.inf)),
    "another tenant inside": _set(122, b"other"),
    "bytes that are no text": _set(122, b"\xff\xff\xff\xff\xff"),
    "a text longer than the rest": _set(121, b"\xff"),
    "a last text longer than the rest": lambda plaintext: plaintext.__setitem__(-1, 1),
    "a text less": lambda plaintext: plaintext.__delitem__(slice(-1, None)),
    "a text more": lambda plaintext: plaintext.extend(b"\x01x"),
    "no texts": lambda plaintext: plaintext.__delitem__(slice(121, None)),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_an_authentic_ticket_of_another_form_is_refused(change: Callable[[bytearray], None]) -> None:
    """What another release sealed under the same key is refused, not misread."""
    with pytest.raises(TicketUnusable):
        open_ticket(KEYS, "arena", _resealed(change), ISSUED)


def test_an_authentic_ticket_left_as_it_was_opens() -> None:
    """The control of the test above: sealing again by itself breaks nothing."""
    assert open_ticket(KEYS, "arena", _resealed(lambda plaintext: None), ISSUED) == _ticket()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": bytes(15)},
        {"psk": bytearray(b"P" * 31)},
        {"psk": bytearray(32)},
        {"remote_static": bytes(31)},
        {"remote_static": bytes(33)},
        {"prologue_hash": bytes(31)},
        {"tenant": ""},
        {"tenant": "t" * 256},
        {"peer_id": "é" * 33},
        {"group": "g" * 65},
        {"issuer": bytes(65)},
        {"identity": bytes(33)},
        {"flags": 256},
        {"max_early": -1},
        {"max_early": 2**32},
        {"idle_timeout": -1.0},
        {"lifetime": math.inf},
        {"flags": -1},
        {"issued_wall": math.nan},
        {"absolute_end_wall": math.inf},
    ],
)
def test_a_field_outside_its_limits_is_not_sealed(changes: dict[str, Any]) -> None:
    """A ticket that would not come back as it was is not made."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        _sealed(replace(_ticket(), **changes))


@pytest.mark.parametrize(("key_id", "key"), [(bytes(7), bytes(32)), (bytes(9), bytes(32)), (bytes(8), bytes(16))])
def test_a_key_of_another_size_is_refused(key_id: bytes, key: bytes) -> None:
    """Ids are 8 bytes and keys 32, so that AES-256 it is."""
    with pytest.raises(ValueError, match="key_id"):
        TicketKey(key_id=key_id, key=key)


def test_no_secret_shows_in_a_repr() -> None:
    """PSKs and ticket keys are left out of every printed form."""
    content = TicketContent(lifetime_s=1, max_early=0, psk=bytearray(b"P" * 32), ticket=b"t")
    for shown in (repr(_ticket()), repr(content), repr(KEYS)):
        assert "PPPP" not in shown
        assert repr(KEY.key) not in shown
        assert "psk" not in shown


def test_wiping_leaves_zeros_in_place() -> None:
    """The PSK's own buffer is overwritten."""
    ticket, content = _ticket(), TicketContent(lifetime_s=1, max_early=0, psk=bytearray(b"P" * 32), ticket=b"t")
    buffers = [ticket.psk, content.psk]
    ticket.wipe()
    content.wipe()
    assert buffers == [bytearray(32)] * 2


def test_ticket_content_has_the_bytes_of_the_protocol() -> None:
    """lifetime_s(4) ‖ max_early(4) ‖ psk(32) ‖ ticket, both ways."""
    content = TicketContent(lifetime_s=DAY, max_early=0x0102, psk=bytearray(b"P" * 32), ticket=b"opaque")
    data = bytes.fromhex("00015180 00000102") + b"P" * 32 + b"opaque"
    assert encode_ticket_content(content) == data
    assert decode_ticket_content(data) == content


@pytest.mark.parametrize(
    "data", [b"", bytes(8) + b"P" * 31, bytes(8) + b"P" * 32, bytes(41), bytes(8) + b"P" * 32 + bytes(1_025)]
)
def test_content_without_a_ticket_or_psk_is_refused(data: bytes) -> None:
    """Too short, too long, or with a PSK of zeros."""
    with pytest.raises(TicketUnusable):
        decode_ticket_content(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"ticket": b""},
        {"ticket": bytes(1_025)},
        {"psk": bytearray(32)},
        {"psk": bytearray(b"P")},
        {"lifetime_s": 2**32},
        {"max_early": -1},
    ],
)
def test_content_outside_its_limits_is_not_made(changes: dict[str, Any]) -> None:
    """What the other side would refuse or misread cannot be encoded."""
    content = TicketContent(lifetime_s=1, max_early=0, psk=bytearray(b"P" * 32), ticket=b"t")
    with pytest.raises(ValueError, match=next(iter(changes))):
        encode_ticket_content(replace(content, **changes))
