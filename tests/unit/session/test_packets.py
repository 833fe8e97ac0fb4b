"""Every packet's bytes as docs/protocol.md section 2 lays them out, written here by hand, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from noisegate_server.session import packets
from noisegate_server.session.constants import DATAGRAM_OVERHEAD, RECORD_HEADER, SALTED_HEADER
from noisegate_server.session.packets import (
    Fragment,
    HandshakeStep,
    HandshakeStep1,
    Kind,
    MalformedPacket,
    PacketType,
    ResumeStep1,
    ResumeStep2,
    RetryChoice,
    RetryPuzzle,
    peek,
    retry_echo,
)

CID = b"\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7"
NONE = bytes(8)
HELLO = bytes.fromhex("01 10 0000000000000001 01 0101 00")
ECHO = b"ECHOECHO"

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
HANDSHAKE: Codec = (packets.encode_handshake, packets.decode_handshake)
RESUME: Codec = (packets.encode_resume, packets.decode_resume)
RETRY: Codec = (packets.encode_retry, packets.decode_retry)
FRAGMENT: Codec = (packets.encode_fragment, packets.decode_fragment)

# name -> codec, value, bytes, the least length whose prefix is a packet again (what follows is a message's tail).
PACKETS: dict[str, tuple[Codec, Any, bytes, int]] = {
    "handshake 1 of a player": (
        HANDSHAKE,
        HandshakeStep1(hello=HELLO, message=b"message1"),
        b"\x09" + NONE + b"\x01" + b"\0\x0e" + HELLO + b"\0" + b"message1",
        28,
    ),
    "handshake 1 with a puzzle and a connection id": (
        HANDSHAKE,
        HandshakeStep1(hello=HELLO, message=b"message1", puzzle=b"solved", connection_id=CID),
        b"\x09" + CID + b"\x01" + b"\0\x0e" + HELLO + b"\x06solved" + b"message1",
        34,
    ),
    "handshake 2": (
        HANDSHAKE,
        HandshakeStep(connection_id=CID, step=2, message=b"message2"),
        b"\x09" + CID + b"\x02" + b"message2",
        11,
    ),
    "handshake 3": (
        HANDSHAKE,
        HandshakeStep(connection_id=CID, step=3, message=b"message3"),
        b"\x09" + CID + b"\x03" + b"message3",
        11,
    ),
    "resume 1": (
        RESUME,
        ResumeStep1(hello=HELLO, ticket=b"ticket", message=b"message1"),
        b"\x0c" + NONE + b"\x01" + b"\0\x0e" + HELLO + b"\0\x06ticket" + b"\0" + b"\0\x08message1",
        45,
    ),
    "resume 1 with everything": (
        RESUME,
        ResumeStep1(
            hello=HELLO, ticket=b"t" * 258, message=b"m" * 259, puzzle=b"solved", fallback=b"full", connection_id=CID
        ),
        b"".join(
            (
                b"\x0c",
                CID,
                b"\x01",
                b"\0\x0e",
                HELLO,
                b"\x01\x02",
                b"t" * 258,
                b"\x06solved",
                b"\x01\x03",
                b"m" * 259,
                b"full",
            )
        ),
        554,
    ),
    "resume 2": (
        RESUME,
        ResumeStep2(connection_id=CID, message=b"message2"),
        b"\x0c" + CID + b"\x02" + b"message2",
        11,
    ),
    "retry with a choice": (
        RETRY,
        RetryChoice(echo=ECHO, choice=3, flags=0x18),
        b"\x0e" + NONE + ECHO + b"\x01" + b"\x03\x18",
        20,
    ),
    "retry with a puzzle": (
        RETRY,
        RetryPuzzle(echo=ECHO, challenge=b"challenge"),
        b"\x0e" + NONE + ECHO + b"\x02" + b"challenge",
        19,
    ),
    "fragment": (
        FRAGMENT,
        Fragment(connection_id=CID, message_id=0x0102, index=1, count=3, part=b"part"),
        b"\x0d" + CID + b"\x01\x02" + b"\x01" + b"\x03" + b"part",
        14,
    ),
}
each_packet = pytest.mark.parametrize(("codec", "value", "data", "least"), PACKETS.values(), ids=PACKETS)


@each_packet
def test_a_packet_has_the_bytes_of_the_protocol(codec: Codec, value: Any, data: bytes, least: int) -> None:
    """Encoding gives exactly these bytes, and decoding them the value."""
    encode, decode = codec
    assert encode(value) == data
    assert decode(data) == value


@each_packet
def test_a_cut_packet_is_refused(codec: Codec, value: Any, data: bytes, least: int) -> None:
    """Cut anywhere before its last field, a packet is malformed; cut in that field it is another, shorter one."""
    encode, decode = codec
    for cut in range(least):
        with pytest.raises(MalformedPacket):
            decode(data[:cut])
    for cut in range(least, len(data)):
        assert encode(decode(data[:cut])) == data[:cut]


@each_packet
def test_a_packet_of_another_type_is_refused(codec: Codec, value: Any, data: bytes, least: int) -> None:
    """No codec reads another type's packet, nor a first byte without our bit."""
    _, decode = codec
    for first in range(256):
        if first != data[0]:
            with pytest.raises(MalformedPacket):
                decode(bytes((first,)) + data[1:])


@pytest.mark.parametrize("codec", [HANDSHAKE, RESUME])
@pytest.mark.parametrize("step", [0, 4, 5, 255])
def test_a_step_that_does_not_exist_is_refused(codec: Codec, step: int) -> None:
    """Handshakes have three steps at most."""
    first = b"\x09" if codec is HANDSHAKE else b"\x0c"
    with pytest.raises(MalformedPacket):
        codec[1](first + CID + bytes((step,)) + bytes(60))


def test_a_resume_has_no_third_step() -> None:
    """NNpsk0 has two messages."""
    with pytest.raises(MalformedPacket):
        packets.decode_resume(b"\x0c" + CID + b"\x03" + bytes(60))


MALFORMED = {
    "handshake: a hello of 13 bytes": (HANDSHAKE, b"\x09" + NONE + b"\x01\0\x0d" + bytes(13) + b"\0m"),
    "handshake: a hello of 45 bytes": (HANDSHAKE, b"\x09" + NONE + b"\x01\0\x2d" + bytes(45) + b"\0m"),
    "handshake: a hello longer than the packet": (HANDSHAKE, b"\x09" + NONE + b"\x01\0\x2c" + bytes(20)),
    "handshake: a puzzle longer than the packet": (HANDSHAKE, b"\x09" + NONE + b"\x01\0\x0e" + HELLO + b"\x05abcd"),
    "handshake: no message after the puzzle": (HANDSHAKE, b"\x09" + NONE + b"\x01\0\x0e" + HELLO + b"\x04abcd"),
    "handshake: a message over Noise's limit": (HANDSHAKE, b"\x09" + CID + b"\x02" + bytes(65_536)),
    "resume: an empty ticket": (RESUME, b"\x0c" + NONE + b"\x01\0\x0e" + HELLO + b"\0\0" + b"\0" + b"\0\x01m"),
    "resume: a ticket of 1,025 bytes": (
        RESUME,
        b"\x0c" + NONE + b"\x01\0\x0e" + HELLO + b"\x04\x01" + bytes(1_025) + b"\0" + b"\0\x01m",
    ),
    "resume: an empty message": (RESUME, b"\x0c" + NONE + b"\x01\0\x0e" + HELLO + b"\0\x01t" + b"\0" + b"\0\0"),
    "resume: a message longer than the packet": (
        RESUME,
        b"\x0c" + NONE + b"\x01\0\x0e" + HELLO + b"\0\x01t" + b"\0" + b"\0\x03me",
    ),
    "resume: a fallback over Noise's limit": (
        RESUME,
        b"\x0c" + NONE + b"\x01\0\x0e" + HELLO + b"\0\x01t" + b"\0" + b"\0\x01m" + bytes(65_536),
    ),
    "retry: a connection id": (RETRY, b"\x0e" + CID + ECHO + b"\x01\x03\x18"),
    "retry: reason 0": (RETRY, b"\x0e" + NONE + ECHO + b"\0\x03\x18"),
    "retry: reason 3": (RETRY, b"\x0e" + NONE + ECHO + b"\x03\x03\x18"),
    "retry: a byte after the flags": (RETRY, b"\x0e" + NONE + ECHO + b"\x01\x03\x18\0"),
    "retry: no flags": (RETRY, b"\x0e" + NONE + ECHO + b"\x01\x03"),
    "retry: no challenge": (RETRY, b"\x0e" + NONE + ECHO + b"\x02"),
    "retry: a challenge of 256 bytes": (RETRY, b"\x0e" + NONE + ECHO + b"\x02" + bytes(256)),
    "fragment: no part": (FRAGMENT, b"\x0d" + CID + b"\0\0\0\x01"),
    "fragment: none of none": (FRAGMENT, b"\x0d" + CID + b"\0\0\0\0p"),
    "fragment: an index that is the count": (FRAGMENT, b"\x0d" + CID + b"\0\0\x03\x03p"),
    "fragment: a part over any packet": (FRAGMENT, b"\x0d" + CID + b"\0\0\0\x01" + bytes(65_536)),
}


@pytest.mark.parametrize(("codec", "data"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_packet_is_refused(codec: Codec, data: bytes) -> None:
    """Lengths, reasons and numbers outside their bounds raise one exception."""
    with pytest.raises(MalformedPacket):
        codec[1](data)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("handshake 1 of a player", {"connection_id": CID[1:]}),
        ("handshake 1 of a player", {"connection_id": CID + b"\0"}),
        ("handshake 1 of a player", {"hello": bytes(13)}),
        ("handshake 1 of a player", {"hello": bytes(45)}),
        ("handshake 1 of a player", {"puzzle": bytes(256)}),
        ("handshake 1 of a player", {"message": b""}),
        ("handshake 1 of a player", {"message": bytes(65_536)}),
        ("handshake 2", {"step": 1}),
        ("handshake 2", {"step": 4}),
        ("handshake 2", {"connection_id": b""}),
        ("resume 1", {"ticket": b""}),
        ("resume 1", {"ticket": bytes(1_025)}),
        ("resume 1", {"message": b""}),
        ("resume 1", {"fallback": bytes(65_536)}),
        ("resume 1", {"connection_id": CID * 2}),
        ("resume 2", {"message": b""}),
        ("retry with a choice", {"echo": ECHO[1:]}),
        ("retry with a choice", {"choice": 256}),
        ("retry with a choice", {"flags": -1}),
        ("retry with a puzzle", {"challenge": b""}),
        ("retry with a puzzle", {"challenge": bytes(256)}),
        ("fragment", {"connection_id": CID[1:]}),
        ("fragment", {"message_id": 65_536}),
        ("fragment", {"index": 3}),
        ("fragment", {"index": -1}),
        ("fragment", {"count": 256}),
        ("fragment", {"part": b""}),
    ],
)
def test_a_value_that_has_no_bytes_is_refused(name: str, changes: dict[str, Any]) -> None:
    """What would be cut, wrapped or misread on the wire cannot be encoded."""
    (encode, _), value, _, _ = PACKETS[name]
    with pytest.raises(MalformedPacket):
        encode(replace(value, **changes))


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (0x09, PacketType.HANDSHAKE),
        (0x0A, PacketType.RECORD),
        (0x0B, PacketType.SALTED),
        (0x0C, PacketType.RESUME),
        (0x0D, PacketType.FRAGMENT),
        (0x0E, PacketType.RETRY),
    ],
)
def test_peek_reads_type_and_connection_id(first: int, kind: PacketType) -> None:
    """Nine bytes are enough, whatever follows."""
    assert peek(bytes((first,)) + CID) == (kind, CID)
    assert peek(bytes((first,)) + CID + b"rest") == (kind, CID)


@pytest.mark.parametrize("first", [*range(0x09), *range(0x0F, 0x100)])
def test_peek_knows_no_other_first_byte(first: int) -> None:
    """STUN, TURN, DTLS, RTP, QUIC and everything else is not ours."""
    assert peek(bytes((first,)) + CID + b"rest") is None


@pytest.mark.parametrize("length", range(9))
def test_peek_reads_nothing_into_less_than_nine_bytes(length: int) -> None:
    """Without a whole connection id there is no packet."""
    assert peek((b"\x0a" + CID)[:length]) is None


def test_record_headers_have_the_layout_of_the_protocol() -> None:
    """type, connection id, epoch, phase, counter; SALTED adds base epoch and salt."""
    salt = b"S" * 16
    record = packets.RECORD_HEADER.pack(packets.FIRST_BYTES[PacketType.RECORD], CID, 1, 2, 0x03040506)
    salted = packets.SALTED_HEADER.pack(packets.FIRST_BYTES[PacketType.SALTED], CID, 1, 2, 0x03040506, 7, salt)
    assert record == b"\x0a" + CID + bytes.fromhex("01 02 03040506")
    assert salted == b"\x0b" + CID + bytes.fromhex("01 02 03040506 07") + salt
    assert (len(record), len(salted)) == (RECORD_HEADER, SALTED_HEADER) == (15, 32)
    assert DATAGRAM_OVERHEAD == 32


def test_kinds_leave_the_rotation_bit_free() -> None:
    """Every kind fits the low seven bits and none is zero, which is padding."""
    assert [int(kind) for kind in Kind] == [1, 2, 3, 4, 5, 6, 7]
    assert packets.WANTS_ROTATION == 0x80


def test_an_echo_is_the_start_of_the_packets_hash() -> None:
    """Eight bytes of SHA-256 of the whole refused packet."""
    assert retry_echo(b"refused") == hashlib.sha256(b"refused").digest()[:8]


@pytest.mark.parametrize("time_ms", [0, 1_795_000_000_000, 2**64 - 1])
def test_a_clock_challenge_is_no_work_and_the_time(time_ms: int) -> None:
    """One zero byte, then 64 bits of milliseconds, and the same time back."""
    challenge = b"\0" + time_ms.to_bytes(8, "big")
    assert packets.clock_challenge(time_ms) == challenge
    assert packets.challenge_time(challenge) == time_ms


@pytest.mark.parametrize("challenge", [b"", b"\0", bytes(8), bytes(10), b"\x01" + bytes(8), b"\xff" + bytes(20)])
def test_a_challenge_of_another_shape_has_no_time(challenge: bytes) -> None:
    """Version 1 has no puzzles: work, or another length, is refused."""
    with pytest.raises(MalformedPacket):
        packets.challenge_time(challenge)


@pytest.mark.parametrize("time_ms", [-1, 2**64])
def test_a_time_outside_64_bits_is_no_challenge(time_ms: int) -> None:
    """It has no place in one."""
    with pytest.raises(MalformedPacket):
        packets.clock_challenge(time_ms)
