from __future__ import annotations

import hashlib
import hmac
import random

import pytest

from examples.dice.datagram_player import (
    DatagramPlayer,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Settings,
    nearest,
    padded,
)
from tests.unit.dice.by_hand import HandKeys, aead, expand, header, mask, nonce, phase_key, responder
from tests.unit.dice.pair import IK, INITIATOR_STATIC, RESPONDER_STATIC, Clock, established_pair, public_key

CID = bytes.fromhex("c1c2c3c4c5c6c7c8")
CIPHER_NAMES = {1: "ChaChaPoly", 2: "AESGCM"}


def new_player(suite: int, flags: int) -> DatagramPlayer:
    """An IK initiator with an offer of XX and IK that chooses IK."""
    settings = Settings(
        offer=(Protocol(1, suite), Protocol(2, suite)),
        choice=1,
        flags=flags,
        static=INITIATOR_STATIC,
        remote=public_key(RESPONDER_STATIC),
        prologue=b"lobby",
    )
    return DatagramPlayer(settings, random_bytes=random.Random(3).randbytes, wall=Clock().wall)


def expected_hello(suite: int, flags: int) -> bytes:
    """Version, flags, 1,800,000,000,000 ms, two protocols, index 1: 16 bytes."""
    return bytes([1, flags]) + (1_800_000_000_000).to_bytes(8, "big") + bytes([2, 1, suite, 2, suite, 1])


def established_by_hand(suite: int = 1, flags: int = 16) -> tuple[DatagramPlayer, HandKeys]:
    """A player whose IK handshake was answered by a bare Noise responder."""
    player = new_player(suite, flags)
    (packet,) = player.start(0.0)
    name = f"Noise_IK_25519_{CIPHER_NAMES[suite]}_SHA256"
    service = responder(name, RESPONDER_STATIC, b"ng1 hello" + expected_hello(suite, flags) + b"lobby")
    service.read_message(packet[10 + 2 + 16 + 1 :])
    player.receive(b"\x09" + CID + b"\x02" + bytes(service.write_message()), 0.0)
    assert player.established
    return player, HandKeys.of(service)


def by_hand(
    keys: HandKeys, plaintext: bytes, *, suite: int = 1, epoch: int = 0, phase: int = 0, counter: int = 0
) -> bytes:
    """A RECORD from the responder; `plaintext` ends with the kind."""
    head = header(CID, epoch, phase, counter)
    return head + aead(suite, phase_key(keys.r2i, phase)).encrypt(nonce(suite, counter), plaintext, head)


def opened(keys: HandKeys, packet: bytes, *, suite: int = 1, epoch: int = 0, phase: int = 0, counter: int = 0) -> bytes:
    """The AEAD plaintext of the initiator's RECORD, whose header must be exactly this one."""
    assert packet[:15] == header(CID, epoch, phase, counter)
    return aead(suite, phase_key(keys.i2r, phase)).decrypt(nonce(suite, counter), packet[15:], packet[:15])


def test_handshake_step_1_has_the_layout_of_section_2() -> None:
    """Type, zero connection id, step, hello with its length, no puzzle, then the bare Noise message."""
    (packet,) = new_player(1, 16).start(0.0)
    hello = expected_hello(1, 16)
    assert packet[:29] == b"\x09" + bytes(8) + b"\x01" + b"\x00\x10" + hello + b"\x00"
    assert len(packet) == 29 + 32 + 48 + 16


def test_handshake_step_3_goes_to_the_responders_connection_id() -> None:
    """XX: step 3 is type, the cid of step 2, 3, and the third Noise message."""
    settings = Settings(offer=(Protocol(1, 1),), flags=16, static=INITIATOR_STATIC)
    player = DatagramPlayer(settings, random_bytes=random.Random(3).randbytes, wall=Clock().wall)
    (packet,) = player.start(0.0)
    service = responder("Noise_XX_25519_ChaChaPoly_SHA256", RESPONDER_STATIC, b"ng1 hello" + packet[12:26])
    service.read_message(packet[27:])
    result = player.receive(b"\x09" + CID + b"\x02" + bytes(service.write_message()), 0.0)
    assert result.to_send[0][:10] == b"\x09" + CID + b"\x03"
    service.read_message(result.to_send[0][10:])
    assert player.handshake_hash == service.get_handshake_hash()


@pytest.mark.parametrize("suite", [1, 2])
def test_a_record_is_what_hmac_and_the_aead_give(suite: int) -> None:
    """Key schedule, header, nonce, associated data and kind of both directions, computed by hand."""
    player, keys = established_by_hand(suite)
    assert player.session is not None
    assert player.session.lasting.export == keys.export
    packet = player.send(b"roll")
    assert len(packet) == 4 + 32
    assert opened(keys, packet, suite=suite) == b"roll\x01"
    assert opened(keys, player.send(b""), suite=suite, counter=1) == b"\x01"
    assert player.receive(by_hand(keys, b"six\x01", suite=suite), 0.0).plaintexts == [b"six"]
    assert player.receive(by_hand(keys, b"pad\x01" + bytes(9), suite=suite, counter=1), 0.0).plaintexts == [b"pad"]


def test_rekey_moves_the_phase_and_not_the_counter() -> None:
    """Phase p's key comes from p steps of the chain; an epoch has the phases 0 to 63."""
    player, keys = established_by_hand()
    player.send(b"")
    player.rekey()
    assert opened(keys, player.send(b"a"), phase=1, counter=1) == b"a\x01"
    with pytest.raises(PacketRefusedError):
        player.receive(by_hand(keys, b"x\x01", phase=64), 0.0)
    assert player.receive(by_hand(keys, b"x\x01", phase=63), 0.0).plaintexts == [b"x"]
    for _ in range(62):
        assert player.rekey() == []
    (rotate_1,) = player.rekey()
    assert opened(keys, rotate_1, phase=63, counter=2)[-1:] == b"\x02"


def test_passed_phases_open_for_thirty_seconds() -> None:
    """A late record of an earlier phase opens within the grace, and not after it."""
    player, keys = established_by_hand()
    player.receive(by_hand(keys, b"new\x01", phase=2, counter=9), 10.0)
    assert player.receive(by_hand(keys, b"late\x01", phase=1, counter=8), 39.0).plaintexts == [b"late"]
    with pytest.raises(PacketRefusedError):
        player.receive(by_hand(keys, b"later\x01", phase=1, counter=7), 41.0)


def test_associated_data_is_bound_to_data_alone() -> None:
    """Kind 1 has header and caller's data as AD, every other kind the header alone."""
    player, keys = established_by_hand()
    packet = player.send(b"roll", b"seat 3")
    opener = aead(1, phase_key(keys.i2r))
    assert opener.decrypt(nonce(1, 0), packet[15:], packet[:15] + b"seat 3") == b"roll\x01"
    with pytest.raises(PacketRefusedError):
        player.receive(by_hand(keys, b"six\x01"), 0.0, b"seat 3")
    token = bytes(8)
    result = player.receive(by_hand(keys, b"\x01" + token + b"\x05"), 0.0, b"seat 3")
    assert opened(keys, result.to_send[0], counter=1) == b"\x02" + token + b"\x05"


def test_padding_and_mask_hide_length_and_header() -> None:
    """Size classes include the kind; the mask is AES-256-ECB of the first 16 bytes of the AEAD output."""
    player, keys = established_by_hand(flags=16 | 2 | 4)
    packet = player.send(bytes(40))
    assert len(packet) == 15 + 64 + 16
    assert packet[9:15] != bytes(6)
    assert opened(keys, mask(keys.mask, packet, 15)) == (bytes(40) + b"\x01").ljust(64, b"\0")
    answer = mask(keys.mask, by_hand(keys, b"six\x01"), 15)
    assert player.receive(answer, 0.0).plaintexts == [b"six"]


@pytest.mark.parametrize(
    ("length", "size"), [(1, 32), (32, 32), (33, 64), (1024, 1024), (1025, 1280), (1280, 1280), (1281, 1536)]
)
def test_size_classes(length: int, size: int) -> None:
    """Section 3: 32 to 1,024 by doubling, then multiples of 256."""
    assert padded(length) == size


@pytest.mark.parametrize(
    ("low", "bits", "highest", "value"),
    [(1, 8, 0, 1), (255, 8, 0, 255), (0, 8, 255, 256), (250, 8, 260, 250), (5, 32, 2**32 - 1, 2**32 + 5)],
)
def test_truncated_values_are_the_nearest(low: int, bits: int, highest: int, value: int) -> None:
    """The full value is the one nearest to the highest that was authenticated."""
    assert nearest(low, bits, highest) == value


def ratchet_key(chain: bytes, counter: int) -> bytes:
    """p = counter >> 8 steps of the outer chain, then i = counter & 255 steps of the inner one."""
    for _ in range(counter >> 8):
        chain = expand(chain, b"ng1 next")
    chain = expand(chain, b"ng1 chain")
    for _ in range(counter & 255):
        chain = expand(chain, b"ng1 next")
    return expand(chain, b"ng1 key")


def ratcheted(keys: HandKeys, plaintext: bytes, counter: int, phase: int | None = None) -> bytes:
    """A RECORD of the responder with the ratchet on."""
    head = header(CID, 0, (counter >> 8) & 255 if phase is None else phase, counter)
    return head + aead(1, ratchet_key(keys.r2i, counter)).encrypt(nonce(1, counter), plaintext, head)


def test_the_ratchet_gives_every_message_its_own_key() -> None:
    """Two levels: 256 messages a phase; late ones open within window and grace, far ones within 64 phases."""
    player, keys = established_by_hand(flags=17)
    for counter in range(258):
        packet = player.send(b"a")
        assert packet[:15] == header(CID, 0, counter >> 8, counter)
        assert aead(1, ratchet_key(keys.i2r, counter)).decrypt(nonce(1, counter), packet[15:], packet[:15]) == b"a\x01"
    player.rekey()
    assert player.receive(ratcheted(keys, b"b\x01", 700), 0.0).plaintexts == [b"b"]
    for late in (0, 255, 256, 699):
        assert player.receive(ratcheted(keys, b"late\x01", late), 29.0).plaintexts == [b"late"]
    assert player.receive(ratcheted(keys, b"far\x01", 66 * 256), 29.0).plaintexts == [b"far"]
    refused = [
        (700, None, 29.0),
        (698, None, 29.0),
        (66 * 256 - 1, None, 60.0),
        (131 * 256, None, 29.0),
        (66 * 256 + 1, 1, 29.0),
    ]
    for counter, phase, now in refused:
        with pytest.raises(PacketRefusedError):
            player.receive(ratcheted(keys, b"x\x01", counter, phase), now)
    assert player.receive(ratcheted(keys, b"next\x01", 66 * 256 + 1), 60.0).plaintexts == [b"next"]


def test_rotation_runs_ikpsk1_inside_records() -> None:
    """psk from the root, prologue from h and the new epoch's number; the responder's half by a bare library."""
    player, keys = established_by_hand()
    (packet,) = player.renegotiate(0.0)
    content = opened(keys, packet)
    assert content[-1:] == b"\x02"
    prologue = b"ng1 renegotiate" + keys.h + b"\x00\x00\x00\x01"
    psk = expand(keys.root, b"ng1 renegotiate")
    service = responder("Noise_IKpsk1_25519_ChaChaPoly_SHA256", RESPONDER_STATIC, prologue, psk)
    service.read_message(content[:-1])
    rotate_2 = bytes(service.write_message())
    result = player.receive(by_hand(keys, rotate_2 + b"\x03"), 0.0)
    fresh = HandKeys.of(service)
    asked = opened(fresh, result.to_send[0], epoch=1)
    assert (asked[:1], len(asked), asked[-1:]) == (b"\x01", 10, b"\x05")
    player.receive(by_hand(fresh, b"\x02" + asked[1:9] + b"\x05", epoch=1), 0.0)
    assert player.tick(6.0) == []
    assert opened(fresh, player.send(b"roll"), epoch=1, counter=1) == b"roll\x01"


def test_a_responder_that_wants_a_rotation_gets_one_in_ten_seconds() -> None:
    """Bit 0x80 of any kind makes the initiator start."""
    player, keys = established_by_hand()
    result = player.receive(by_hand(keys, b"six\x81"), 0.0)
    assert result.plaintexts == [b"six"]
    assert opened(keys, result.to_send[0])[-1:] == b"\x02"
    assert player.receive(by_hand(keys, b"\x85", counter=1), 1.0).to_send == []


def test_ticket_and_resume_have_the_layout_of_section_6() -> None:
    """The ticket's four fields, the RESUME packet, NNpsk0 with its prologue, and the new session."""
    player, keys = established_by_hand(suite=2, flags=24)
    content = (3600).to_bytes(4, "big") + (5).to_bytes(4, "big") + b"p" * 32 + b"opaque"
    player.receive(by_hand(keys, content + b"\x04", suite=2), 0.0)
    assert player.ticket is not None
    assert (player.ticket.lifetime_s, player.ticket.psk, player.ticket.ticket) == (3600, b"p" * 32, b"opaque")
    with pytest.raises(NotPossibleError):
        player.resume(0.0, early_data=b"longer")
    (packet,) = player.resume(0.0, early_data=b"early")
    hello = packet[12:26]
    # The clock stands still, so the second hello of this player is a millisecond later than the first.
    assert hello == bytes([1, 24]) + (1_800_000_000_001).to_bytes(8, "big") + bytes([1, 9, 2, 0])
    head = b"\x0c" + bytes(8) + b"\x01" + b"\x00\x0e" + hello + b"\x00\x06opaque" + b"\x00" + b"\x00\x35"
    assert packet[: len(head)] == head
    assert len(packet) == len(head) + 32 + 5 + 16
    prologue = b"ng1 resume" + hello + b"\x00\x06opaque" + b"lobby"
    service = responder("Noise_NNpsk0_25519_AESGCM_SHA256", None, prologue, b"p" * 32)
    assert bytes(service.read_message(packet[len(head) :])) == b"early"
    result = player.receive(b"\x0c" + CID + b"\x02" + bytes(service.write_message(b"\x01welcome")), 0.0)
    assert (result.early, result.payloads) == (True, [b"welcome"])
    assert opened(HandKeys.of(service), player.send(b"back"), suite=2) == b"back\x01"


def test_retry_choose_is_followed_once() -> None:
    """RETRY: type, zeros, echo of the refused packet, 1, choice, flags; the first attempt stays alive."""
    player = new_player(1, 16)
    (packet,) = player.start(0.0)
    echo = hashlib.sha256(packet).digest()[:8]
    for wrong in (bytes(8) + b"\x01\x00\x10", echo + b"\x01\x02\x10", echo + b"\x01\x01\x10", echo + b"\x02\x00\x10"):
        with pytest.raises(PacketRefusedError):
            player.receive(b"\x0e" + bytes(8) + wrong, 0.0)
    retry = b"\x0e" + bytes(8) + echo + b"\x01\x00\x10"
    (second,) = player.receive(retry, 0.0).to_send
    assert second[12:14] + second[22:28] == bytes([1, 16]) + bytes([2, 1, 1, 2, 1, 0])
    assert len(second) == 29 + 32  # message 1 of XX
    assert player.receive(retry, 0.0).to_send == [second]
    with pytest.raises(PacketRefusedError):
        player.receive(b"\x0e" + bytes(8) + hashlib.sha256(second).digest()[:8] + b"\x01\x01\x10", 0.0)
    service = responder(
        "Noise_IK_25519_ChaChaPoly_SHA256", RESPONDER_STATIC, b"ng1 hello" + expected_hello(1, 16) + b"lobby"
    )
    service.read_message(packet[29:])
    player.receive(b"\x09" + CID + b"\x02" + bytes(service.write_message()), 0.0)
    assert player.handshake_hash == service.get_handshake_hash()


def salted_by_hand(keys: HandKeys, number: int, base: int, salt: bytes) -> HandKeys:
    """Section 5's keys of a salted epoch."""
    tail = salt + number.to_bytes(4, "big")
    prk = hmac.digest(tail, expand(keys.root, b"ng1 salted"), hashlib.sha256)
    assert base < number
    return HandKeys(prk, hashlib.sha256(b"ng1 salted" + keys.h + tail).digest())


def salted_packet(keys: HandKeys, plaintext: bytes, number: int, base: int, salt: bytes, counter: int = 0) -> bytes:
    """A SALTED packet of the responder."""
    head = b"\x0b" + header(CID, number, 0, counter)[1:] + bytes([base]) + salt
    return head + aead(1, phase_key(keys.r2i)).encrypt(nonce(1, counter), plaintext, head)


def test_a_peers_restore_is_followed_and_its_old_owner_is_not_believed() -> None:
    """A SALTED record moves the player to its epoch; older epochs are refused; a fresh secret is due at once."""
    player, keys = established_by_hand()
    salt = bytes(range(16))
    fresh = salted_by_hand(keys, 3, 0, salt)
    result = player.receive(salted_packet(fresh, b"\x01" + bytes(8) + b"\x05", 3, 0, salt), 0.0)
    assert opened(fresh, result.to_send[0], epoch=3) == b"\x02" + bytes(8) + b"\x05"
    with pytest.raises(PacketRefusedError):
        player.receive(by_hand(keys, b"zombie\x01", counter=5), 0.0)
    again = player.receive(salted_packet(fresh, b"six\x01", 3, 0, salt, counter=1), 0.0)
    assert again.plaintexts == [b"six"]
    assert player.receive(by_hand(fresh, b"plain\x01", epoch=3, counter=2), 0.0).plaintexts == [b"plain"]
    (rotate_1,) = player.tick(0.1)
    assert opened(fresh, rotate_1, epoch=3, counter=1)[-1:] == b"\x02"


def test_a_second_restore_on_the_same_base_is_followed_until_a_plain_record() -> None:
    """The base's root is kept while the peer may be restored from it once more."""
    player, keys = established_by_hand()
    salts = [bytes([number]) * 16 for number in range(4)]
    for number in (1, 2):
        fresh = salted_by_hand(keys, number, 0, salts[number])
        packet = salted_packet(fresh, b"six\x01", number, 0, salts[number])
        assert player.receive(packet, 0.0).plaintexts == [b"six"]
        assert player.epoch == number
    stale = salted_packet(salted_by_hand(keys, 1, 0, salts[3]), b"x\x01", 1, 0, salts[3])
    with pytest.raises(PacketRefusedError):
        player.receive(stale, 0.0)
    newest = salted_by_hand(keys, 2, 0, salts[2])
    player.receive(by_hand(newest, b"plain\x01", epoch=2, counter=1), 0.0)
    third = salted_packet(salted_by_hand(keys, 3, 0, salts[3]), b"x\x01", 3, 0, salts[3])
    with pytest.raises(PacketRefusedError):
        player.receive(third, 0.0)


def test_a_restore_overtakes_a_rotation_that_is_not_confirmed() -> None:
    """As responder: `next` gives way to a salted epoch of the same number, with the old epoch as its base."""
    pair = established_pair(IK)
    assert pair.initiator.session is not None
    pair.responder.receive(pair.initiator.renegotiate(10.0)[0], 10.0)  # rotate-2 is lost with its owner's memory
    old, salt = pair.initiator.session.current, bytes(range(16))
    tail = salt + (1).to_bytes(4, "big")
    prk = hmac.digest(tail, expand(old.root, b"ng1 salted"), hashlib.sha256)
    fresh = HandKeys(prk, hashlib.sha256(b"ng1 salted" + old.h + tail).digest())
    head = b"\x0b" + header(pair.initiator.connection_id, 1, 0, 0)[1:] + bytes([0]) + salt
    packet = head + aead(1, phase_key(fresh.i2r)).encrypt(nonce(1, 0), b"roll\x01", head)
    result = pair.responder.receive(packet, 10.0)
    assert result.plaintexts == [b"roll"]
    answer = result.to_send[0]
    assert answer[:11] == b"\x0a" + pair.initiator.connection_id + b"\x01\x00"
    opener = aead(1, phase_key(fresh.r2i))
    assert opener.decrypt(nonce(1, 0), answer[15:], answer[:15]) == b"\x85"
