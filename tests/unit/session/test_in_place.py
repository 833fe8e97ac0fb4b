"""Sealing and opening inside the caller's buffer: the bytes of `seal` and `open`, and nothing beside them touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import (
    MAX_COUNTER,
    MAX_DATAGRAM_PLAINTEXT,
    MAX_NOISE_PLAINTEXT,
    RESERVED_COUNTERS,
)
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    MessageTooLarge,
    RekeyRequired,
    ReplayDetected,
    SessionError,
)
from noisegate_server.session.in_place import BufferTooSmall, Records, open_into, room_before, seal_into
from noisegate_server.session.limits import RotationLimits, limits_for
from noisegate_server.session.noise_records import NoiseRecords, Stream
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode
from tools.vector_records import Schedule, Wanted, records_of

pytestmark = pytest.mark.fixed_ephemeral
"""Two ends with the same keys seal the same, one in place: that is what is compared."""

NAMES = ("h", "k1", "k2", "prk", "i2r", "r2i", "root", "export", "mask")
SCHEDULE = Schedule(**{name: hashlib.sha256(name.encode()).digest() for name in NAMES})
CONNECTION = b"cccccccc"
TAIL = b"\x05" + bytes(range(16))
End = tuple[Records, AeadCache]
KINDS: dict[str, dict[str, Any]] = {
    "noise": {},
    "noise, ratchet": {"ratchet": True},
    "datagram": {},
    "datagram, mask": {"masked": True},
    "datagram, pad": {"padded": True},
    "datagram, all": {"masked": True, "padded": True, "ratchet": True},
}


def make(kind: str, cipher: str, *, sends: bool) -> End:
    """One end of a session under fixed keys."""
    if kind.startswith("datagram"):
        return records_of(
            SCHEDULE, CIPHERS[cipher], CONNECTION, Wanted("i2r", 0, Kind.DATA, b"", **KINDS[kind]), sends=sends
        )
    aeads = AeadCache()
    streams = [Stream(bytearray(key)) for key in (SCHEDULE.k1, SCHEDULE.k2)]
    send, receive = streams if sends else reversed(streams)
    records = NoiseRecords(
        cipher=CIPHERS[cipher],
        send=send,
        receive=receive,
        ratchet=bool(KINDS[kind].get("ratchet")),
        root=bytearray(32),
        h=bytes(32),
        limits=limits_for(RotationLimits(), mode=RecordMode.NOISE, cipher=cipher),
        now=0.0,
    )
    return records, aeads


def state(records: Records) -> tuple[object, ...]:
    """All that a record may move."""
    if isinstance(records, NoiseRecords):
        streams = [(stream.n, bytes(stream.key)) for stream in (records.send, records.receive)]
        return (*streams, records.sealed, records.sealed_bytes, records.opened, records.due, records.look_at)
    epoch = records.current
    return (
        epoch.sender.counter, epoch.sender.sent_bytes, epoch.opened, epoch.window.highest, epoch.window.pack(),
        records.due, records.look_at,
    )  # fmt: skip


each_end = pytest.mark.parametrize(
    ("kind", "cipher"), [(kind, cipher) for kind in KINDS for cipher in CIPHERS], ids=str
)


@each_end
@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=4),
    before=st.integers(0, 40),
    behind=st.integers(0, 600),
    associated_data=st.binary(max_size=20),
    wants=st.booleans(),
)
def test_the_bytes_are_those_of_seal_and_open(
    kind: str, cipher: str, sizes: list[int], before: int, behind: int, associated_data: bytes, wants: bool
) -> None:
    """Record by record the same packet and answer, then the same content back; what lies around stays as it was."""
    (plain, plain_aeads), (placed, placed_aeads) = (make(kind, cipher, sends=True) for _ in range(2))
    (reads, reads_aeads), (opens, opens_aeads) = (make(kind, cipher, sends=False) for _ in range(2))
    for records in (plain, placed):
        if isinstance(records, DatagramRecords):
            records.wants_rotation = 0x80 if wants else 0
    for number, size in enumerate(sizes):
        text = hashlib.shake_256(bytes((number,))).digest(size)
        sealed = plain.seal(text, associated_data, 0.0, plain_aeads)
        head = room_before(placed)
        spread = len(sealed.ciphertext) - head - size
        buffer = bytearray(b"." * (before + head)) + text + b"." * (spread + behind)
        at = seal_into(placed, buffer, before + head, size, associated_data, 0.0, placed_aeads)
        end = before + len(sealed.ciphertext)
        assert bytes(buffer) == b"." * before + sealed.ciphertext + b"." * behind
        assert at == (before, end - before, sealed.counter, sealed.epoch, sealed.rotation_due)
        assert state(placed) == state(plain)
        opened = reads.open(sealed.ciphertext, associated_data, 0.0, reads_aeads)
        found = open_into(opens, memoryview(buffer), before, at.length, associated_data, 0.0, opens_aeads)
        assert (found.start, found.length) == (before + head, size)
        assert bytes(buffer[found.start : found.start + found.length]) == text == opened.content
        assert found[2:] == (opened.kind, *opened[2:])
        assert (bytes(buffer[:before]), bytes(buffer[end:])) == (b"." * before, b"." * behind)
        assert state(opens) == state(reads)


@pytest.mark.parametrize("padded", [False, True])
def test_a_salted_record_is_sealed_with_its_longer_header(padded: bool) -> None:
    """32 bytes before the content instead of 15, and the same bytes as `seal`."""
    kind = "datagram, pad" if padded else "datagram, mask"
    (plain, plain_aeads), (placed, placed_aeads) = (make(kind, "ChaChaPoly", sends=True) for _ in range(2))
    for records in (plain, placed):
        assert isinstance(records, DatagramRecords)
        records.current.send_tail = TAIL
    packet = plain.seal(b"roll", b"", 0.0, plain_aeads).ciphertext
    assert room_before(placed) == 32
    buffer = bytearray(32) + b"roll" + bytes(100)
    at = seal_into(placed, buffer, 32, 4, b"", 0.0, placed_aeads)
    assert bytes(buffer[at.start : at.start + at.length]) == packet


@each_end
def test_a_buffer_that_is_too_small_changes_nothing(kind: str, cipher: str) -> None:
    """In front, behind, or past the end: BufferTooSmall says how much is needed; the next record is the first one."""
    records, aeads = make(kind, cipher, sends=True)
    packet = make(kind, cipher, sends=True)
    expected = packet[0].seal(b"roll", b"", 0.0, packet[1]).ciphertext
    head = room_before(records)
    before = state(records)
    cases = [(head + len(expected) - head - 1, head, 4, len(expected)), (10, 8, 4, 12)]
    if head:
        cases.append((200, head - 1, 4, head))
    for length, start, size, needed in cases:
        buffer = bytearray(b"." * length)
        with pytest.raises(BufferTooSmall) as caught:
            seal_into(records, buffer, start, size, b"", 0.0, aeads)
        given = start if needed == head and head else length
        assert (caught.value.needed, caught.value.given) == (needed, given)
        assert bytes(buffer) == b"." * length
        assert state(records) == before
    buffer = bytearray(head) + b"roll" + bytes(len(expected) - head - 4)
    at = seal_into(records, buffer, head, 4, b"", 0.0, aeads)
    assert (bytes(buffer), at.counter) == (expected, 0)


@each_end
def test_a_record_that_is_not_all_there_is_not_opened(kind: str, cipher: str) -> None:
    """BufferTooSmall, as for sealing."""
    records, aeads = make(kind, cipher, sends=False)
    with pytest.raises(BufferTooSmall) as caught:
        open_into(records, bytearray(100), 50, 51, b"", 0.0, aeads)
    assert (caught.value.needed, caught.value.given) == (101, 100)


@pytest.mark.parametrize(
    ("buffer", "start", "size", "refusal"),
    [
        (bytes(100), 32, 4, TypeError),
        (memoryview(bytes(100)), 32, 4, TypeError),
        (memoryview(bytearray(200)).cast("H"), 32, 4, TypeError),
        (memoryview(bytearray(200))[::2], 32, 4, TypeError),
        (bytearray(100), -1, 4, ValueError),
        (bytearray(100), 32, -1, ValueError),
    ],
)
def test_what_is_no_place_is_refused(buffer: Any, start: int, size: int, refusal: type[Exception]) -> None:
    """Read-only, not of bytes, with gaps; a start or a size below 0. No counter is taken."""
    records, aeads = make("datagram", "ChaChaPoly", sends=True)
    before = state(records)
    for work in (seal_into, open_into):
        with pytest.raises(refusal):
            work(records, buffer, start, size, b"", 0.0, aeads)
    assert state(records) == before


@each_end
def test_limits_are_those_of_seal(kind: str, cipher: str) -> None:
    """Too large is MessageTooLarge, used up is RekeyRequired; neither takes a counter."""
    records, aeads = make(kind, cipher, sends=True)
    most = MAX_NOISE_PLAINTEXT if isinstance(records, NoiseRecords) else MAX_DATAGRAM_PLAINTEXT
    buffer = bytearray(70_000)
    with pytest.raises(MessageTooLarge):
        seal_into(records, buffer, 64, most + 1, b"", 0.0, aeads)
    assert seal_into(records, buffer, 64, most, b"", 0.0, aeads).counter == 0
    if isinstance(records, NoiseRecords):
        records.send.n = MAX_COUNTER - RESERVED_COUNTERS
    else:
        records.current.sender.counter = records.control_limit - RESERVED_COUNTERS
        records.look_at = 0
    before = state(records)
    with pytest.raises(RekeyRequired):
        seal_into(records, buffer, 64, 4, b"", 0.0, aeads)
    assert state(records) == before


@each_end
def test_a_forged_record_leaves_no_plaintext_behind(kind: str, cipher: str) -> None:
    """A flipped bit anywhere: DecryptFailed, no state moved, and the buffer has the packet as it came, or zeros."""
    sender, sender_aeads = make(kind, cipher, sends=True)
    records, aeads = make(kind, cipher, sends=False)
    secret = b"the plaintext that must not be seen"
    packet = sender.seal(secret, b"", 0.0, sender_aeads).ciphertext
    before = state(records)
    for bit in range(0, len(packet) * 8, 3):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        buffer = bytearray(b".." + forged + b"..")
        with pytest.raises(DecryptFailed):
            open_into(records, buffer, 2, len(forged), b"", 0.0, aeads)
        head = room_before(records)
        body = bytes(buffer[2 + head : 2 + len(forged)])
        assert body in (bytes(forged[head:]), bytes(len(body)))
        assert bytes(buffer[:2] + buffer[-2:]) == b"...."
        assert state(records) == before
    buffer = bytearray(packet)
    found = open_into(records, buffer, 0, len(buffer), b"", 0.0, aeads)
    assert bytes(buffer[found.start : found.start + found.length]) == secret


@pytest.mark.parametrize(
    ("seal_with", "open_with", "kind", "opens"),
    [
        (b"table 7", b"table 7", Kind.DATA, True),
        (b"table 7", b"table 8", Kind.DATA, False),
        (b"", b"table 7", Kind.DATA, False),
        (b"", b"table 7", Kind.KEEP_ALIVE, True),
        (b"table 7", b"table 7", Kind.KEEP_ALIVE, False),
        (b"", b"", Kind.KEEP_ALIVE, True),
    ],
)
def test_associated_data_belongs_to_data_alone(seal_with: bytes, open_with: bytes, kind: Kind, opens: bool) -> None:
    """As `open`: tried with it and then without, and data without it is no data."""
    sender, sender_aeads = make("datagram", "AESGCM", sends=True)
    records, aeads = make("datagram", "AESGCM", sends=False)
    assert isinstance(sender, DatagramRecords)
    buffer = bytearray(sender.record(sender.current, kind, b"content", seal_with, sender_aeads))
    if opens:
        found = open_into(records, buffer, 0, len(buffer), open_with, 0.0, aeads)
        assert (found.kind, bytes(buffer[found.start : found.start + found.length])) == (kind, b"content")
        return
    with pytest.raises(DecryptFailed):
        open_into(records, buffer, 0, len(buffer), open_with, 0.0, aeads)
    assert not any(buffer[15:])


def test_repeats_and_late_records_are_refused_and_wiped() -> None:
    """Authentic, but not new: ReplayDetected and CounterTooOld, and the content is gone from the buffer."""
    sender, sender_aeads = make("datagram", "ChaChaPoly", sends=True)
    records, aeads = make("datagram", "ChaChaPoly", sends=False)
    packets = [sender.seal(b"%d" % number, b"", 0.0, sender_aeads).ciphertext for number in range(1_100)]

    def attempt(number: int) -> bytearray:
        buffer = bytearray(packets[number])
        open_into(records, buffer, 0, len(buffer), b"", 0.0, aeads)
        return buffer

    attempt(1)
    attempt(1_099)
    refusals: list[tuple[int, type[SessionError]]] = [(1_099, ReplayDetected), (2, CounterTooOld)]
    for number, refusal in refusals:
        buffer = bytearray(packets[number])
        with pytest.raises(refusal):
            open_into(records, buffer, 0, len(buffer), b"", 0.0, aeads)
        assert not any(buffer[15:])


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"ends in zeros" + bytes(700)])
def test_the_kind_is_found_behind_any_padding(content: bytes) -> None:
    """However many zeros a peer pads with, and whatever the content ends in; nothing but zeros has no kind."""
    sender, sender_aeads = make("datagram", "ChaChaPoly", sends=True)
    assert isinstance(sender, DatagramRecords)
    for zeros in (0, 1, 255, 256, 257, 2_000):
        records, aeads = make("datagram", "ChaChaPoly", sends=False)
        buffer = bytearray(_raw(sender, sender_aeads, content + bytes((Kind.DATA,)) + bytes(zeros)))
        found = open_into(records, buffer, 0, len(buffer), b"", 0.0, aeads)
        assert bytes(buffer[found.start : found.start + found.length]) == content
        empty = bytearray(_raw(sender, sender_aeads, bytes(zeros + 1)))
        with pytest.raises(DecryptFailed):
            open_into(records, empty, 0, len(empty), b"", 0.0, aeads)


def _raw(sender: DatagramRecords, aeads: AeadCache, inner: bytes) -> bytes:
    """A record with exactly this inside its AEAD."""
    seal: Callable[..., bytes] = sender.record
    # Content and kind are put one after the other: the last byte is the kind, whatever it is.
    return seal(sender.current, inner[-1], inner[:-1], b"", aeads)
