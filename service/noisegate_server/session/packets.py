"""The packets of DATAGRAM mode (docs/protocol.md, section 2): what each of their bytes means, both ways.

A codec knows lengths and numbers, no keys and no policy. RECORD and SALTED have header layouts only: their bytes are
read on the hot path, after unmasking, by whoever holds the keys. Decoders raise MalformedPacket and nothing else, and
what one returns encodes to the packet it came from.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from noisegate_server.noise.primitives import sha256
from noisegate_server.session.constants import (
    CONNECTION_ID,
    MAX_HELLO,
    MAX_NOISE_MESSAGE,
    MAX_PUZZLE,
    MAX_TICKET,
    MIN_HELLO,
    NO_CONNECTION_ID,
    RETRY_ECHO,
)

_BASE: Final = 0x08
_MAX_BYTE: Final = 0xFF
_MAX_MESSAGE_ID: Final = 0xFFFF
_FIRST_STEP: Final = 1
_SECOND_STEP: Final = 2
_THIRD_STEP: Final = 3

RECORD_HEADER: Final = struct.Struct(">B8sBBI")
"""RECORD: first byte, connection id, epoch, phase, counter; 15 bytes."""
SALTED_HEADER: Final = struct.Struct(">B8sBBIB16s")
"""SALTED: as RECORD, then base epoch and salt; 32 bytes."""
FRAGMENT_HEADER: Final = struct.Struct(">B8sHBB")
"""FRAGMENT: first byte, connection id, message id, index, count; 13 bytes."""
_STEP_HEADER: Final = struct.Struct(">B8sB")
_RETRY_HEADER: Final = struct.Struct(">B8s8sB")
_RETRY_CHOICE: Final = struct.Struct(">BB")
_CLOCK: Final = struct.Struct(">BQ")
_NO_WORK: Final = 0


class PacketType(IntEnum):
    """The low bits of a packet's first byte."""

    HANDSHAKE = 1
    RECORD = 2
    SALTED = 3
    RESUME = 4
    FRAGMENT = 5
    RETRY = 6


class Kind(IntEnum):
    """What a record's content is; kinds of a later version are ignored."""

    DATA = 1
    ROTATE_1 = 2
    ROTATE_2 = 3
    TICKET = 4
    KEEP_ALIVE = 5
    CONNECTION_ID = 6
    CLOSE = 7


WANTS_ROTATION: Final = 0x80
"""The bit of any kind that says: I want a rotation."""

FIRST_BYTES: Final[dict[PacketType, int]] = {kind: _BASE | kind for kind in PacketType}
"""Each type's first byte: 0x09 to 0x0e, free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443)."""
_TYPES: Final = {first: kind for kind, first in FIRST_BYTES.items()}


class RetryReason(IntEnum):
    """Why a first packet was refused; the numbers are those of the contract's HandshakeRetry."""

    CHOOSE = 1
    PUZZLE = 2
    """In version 1 the puzzle is none: the challenge carries the responder's clock, and there is nothing to solve."""


class MalformedPacket(ValueError):
    """Bytes that are not the packet they claim to be, or values that have no place in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeStep1:
    """The first packet of a handshake."""

    hello: bytes
    """14 to 44 bytes, as they stand in the prologue."""
    message: bytes
    """Noise message 1."""
    puzzle: bytes = b""
    """The solution of a puzzle; at most 255 bytes."""
    connection_id: bytes = NO_CONNECTION_ID
    """8 bytes; zeros where a player begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeStep:
    """A later packet of a handshake."""

    connection_id: bytes
    """8 bytes."""
    step: int
    """2 or 3."""
    message: bytes
    """The Noise message of that step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStep1:
    """The first packet of a resume."""

    hello: bytes
    """14 to 44 bytes, as they stand in the prologue."""
    ticket: bytes
    """1 to 1,024 bytes, opaque to the player."""
    message: bytes
    """Noise message 1 of the resume; its payload is early data."""
    puzzle: bytes = b""
    """The solution of a puzzle; at most 255 bytes."""
    fallback: bytes = b""
    """Noise message 1 of a full handshake, for a ticket that is refused; or nothing."""
    connection_id: bytes = NO_CONNECTION_ID
    """8 bytes; zeros where a player begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStep2:
    """The answer to a resume."""

    connection_id: bytes
    """8 bytes."""
    message: bytes
    """Noise message 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryChoice:
    """RETRY, reason 1: begin again with another protocol of the same offer."""

    reason: ClassVar[RetryReason] = RetryReason.CHOOSE
    echo: bytes
    """`retry_echo` of the refused packet."""
    choice: int
    """Index into the offer, 0 to 15."""
    flags: int
    """The flags that the responder takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPuzzle:
    """RETRY, reason 2: begin again with a solution of this puzzle, or by this clock."""

    reason: ClassVar[RetryReason] = RetryReason.PUZZLE
    echo: bytes
    """`retry_echo` of the refused packet."""
    challenge: bytes
    """1 to 255 bytes."""


Retry = RetryChoice | RetryPuzzle


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """One part of a packet that is larger than the path's MTU."""

    connection_id: bytes
    """8 bytes: that of the whole packet."""
    message_id: int
    """0 to 65,535; another one for each set."""
    index: int
    """Which part this is, from 0."""
    count: int
    """How many parts there are, 1 to 255."""
    part: bytes
    """At least one byte."""


def peek(packet: bytes) -> tuple[PacketType, bytes] | None:
    """(type, connection id) of what may be a packet of ours; None for all else. Reads nine bytes."""
    kind = _TYPES.get(packet[0]) if len(packet) > CONNECTION_ID else None
    return None if kind is None else (kind, packet[1 : 1 + CONNECTION_ID])


def is_retry(packet: bytes) -> bool:
    """Whether the packet claims to be a RETRY."""
    return packet[:1] == bytes((FIRST_BYTES[PacketType.RETRY],))


def retry_echo(packet: bytes) -> bytes:
    """What a RETRY to `packet` carries: the first 8 bytes of its SHA-256."""
    return sha256(packet)[:RETRY_ECHO]


def clock_challenge(time_ms: int) -> bytes:
    """The challenge that carries a clock (unix milliseconds) and no work; MalformedPacket for what fits no u64."""
    _require(0 <= time_ms < 1 << 64, "time")
    return _CLOCK.pack(_NO_WORK, time_ms)


def challenge_time(challenge: bytes) -> int:
    """The clock in a challenge (unix milliseconds). MalformedPacket where there is work: version 1 has none."""
    _require(len(challenge) == _CLOCK.size, "length")
    work, time_ms = _CLOCK.unpack(challenge)
    _require(work == _NO_WORK, "work")
    return int(time_ms)


def encode_handshake(packet: HandshakeStep1 | HandshakeStep) -> bytes:
    """The bytes of a HANDSHAKE packet."""
    if isinstance(packet, HandshakeStep):
        _require(packet.step in (_SECOND_STEP, _THIRD_STEP), "step")
        return _step(PacketType.HANDSHAKE, packet.connection_id, packet.step) + _message(packet.message)
    return b"".join(
        (
            _step(PacketType.HANDSHAKE, packet.connection_id, _FIRST_STEP),
            _prefixed(packet.hello, 2, MIN_HELLO, MAX_HELLO),
            _prefixed(packet.puzzle, 1, 0, MAX_PUZZLE),
            _message(packet.message),
        )
    )


def decode_handshake(packet: bytes) -> HandshakeStep1 | HandshakeStep:
    """Reads a HANDSHAKE packet of any step."""
    connection_id, step = _read_step(packet, PacketType.HANDSHAKE)
    if step != _FIRST_STEP:
        _require(step in (_SECOND_STEP, _THIRD_STEP), "step")
        return HandshakeStep(connection_id=connection_id, step=step, message=_message(packet[_STEP_HEADER.size :]))
    hello, at = _read_prefixed(packet, _STEP_HEADER.size, 2, MIN_HELLO, MAX_HELLO)
    puzzle, at = _read_prefixed(packet, at, 1, 0, MAX_PUZZLE)
    return HandshakeStep1(connection_id=connection_id, hello=hello, puzzle=puzzle, message=_message(packet[at:]))


def encode_resume(packet: ResumeStep1 | ResumeStep2) -> bytes:
    """The bytes of a RESUME packet."""
    if isinstance(packet, ResumeStep2):
        return _step(PacketType.RESUME, packet.connection_id, _SECOND_STEP) + _message(packet.message)
    _require(len(packet.fallback) <= MAX_NOISE_MESSAGE, "length")
    return b"".join(
        (
            _step(PacketType.RESUME, packet.connection_id, _FIRST_STEP),
            _prefixed(packet.hello, 2, MIN_HELLO, MAX_HELLO),
            _prefixed(packet.ticket, 2, 1, MAX_TICKET),
            _prefixed(packet.puzzle, 1, 0, MAX_PUZZLE),
            _prefixed(packet.message, 2, 1, MAX_NOISE_MESSAGE),
            packet.fallback,
        )
    )


def decode_resume(packet: bytes) -> ResumeStep1 | ResumeStep2:
    """Reads a RESUME packet of either step."""
    connection_id, step = _read_step(packet, PacketType.RESUME)
    if step == _SECOND_STEP:
        return ResumeStep2(connection_id=connection_id, message=_message(packet[_STEP_HEADER.size :]))
    _require(step == _FIRST_STEP, "step")
    hello, at = _read_prefixed(packet, _STEP_HEADER.size, 2, MIN_HELLO, MAX_HELLO)
    ticket, at = _read_prefixed(packet, at, 2, 1, MAX_TICKET)
    puzzle, at = _read_prefixed(packet, at, 1, 0, MAX_PUZZLE)
    message, at = _read_prefixed(packet, at, 2, 1, MAX_NOISE_MESSAGE)
    fallback = packet[at:]
    _require(len(fallback) <= MAX_NOISE_MESSAGE, "length")
    return ResumeStep1(
        connection_id=connection_id, hello=hello, ticket=ticket, puzzle=puzzle, message=message, fallback=fallback
    )


def encode_retry(packet: Retry) -> bytes:
    """The bytes of a RETRY packet."""
    _require(len(packet.echo) == RETRY_ECHO, "echo")
    if isinstance(packet, RetryChoice):
        _require(0 <= packet.choice <= _MAX_BYTE and 0 <= packet.flags <= _MAX_BYTE, "choice or flags")
        reason, rest = RetryReason.CHOOSE, _RETRY_CHOICE.pack(packet.choice, packet.flags)
    else:
        _require(1 <= len(packet.challenge) <= MAX_PUZZLE, "challenge")
        reason, rest = RetryReason.PUZZLE, packet.challenge
    return _RETRY_HEADER.pack(FIRST_BYTES[PacketType.RETRY], NO_CONNECTION_ID, packet.echo, reason) + rest


def decode_retry(packet: bytes) -> Retry:
    """Reads a RETRY packet; whether its echo is ours, the initiator knows."""
    _require(len(packet) > _RETRY_HEADER.size, "length")
    first, connection_id, echo, reason = _RETRY_HEADER.unpack_from(packet)
    _require(first == FIRST_BYTES[PacketType.RETRY] and connection_id == NO_CONNECTION_ID, "header")
    rest = packet[_RETRY_HEADER.size :]
    if reason == RetryReason.CHOOSE:
        _require(len(rest) == _RETRY_CHOICE.size, "length")
        choice, flags = _RETRY_CHOICE.unpack(rest)
        return RetryChoice(echo=echo, choice=choice, flags=flags)
    _require(reason == RetryReason.PUZZLE and len(rest) <= MAX_PUZZLE, "reason or length")
    return RetryPuzzle(echo=echo, challenge=rest)


def encode_fragment(packet: Fragment) -> bytes:
    """The bytes of a FRAGMENT packet."""
    _require(len(packet.connection_id) == CONNECTION_ID, "connection id")
    _require(0 <= packet.message_id <= _MAX_MESSAGE_ID, "message id")
    _require(0 <= packet.index < packet.count <= _MAX_BYTE, "index or count")
    _require(1 <= len(packet.part) <= MAX_NOISE_MESSAGE, "part")
    first = FIRST_BYTES[PacketType.FRAGMENT]
    head = FRAGMENT_HEADER.pack(first, packet.connection_id, packet.message_id, packet.index, packet.count)
    return head + packet.part


def decode_fragment(packet: bytes) -> Fragment:
    """Reads a FRAGMENT packet."""
    _require(FRAGMENT_HEADER.size < len(packet) <= FRAGMENT_HEADER.size + MAX_NOISE_MESSAGE, "length")
    first, connection_id, message_id, index, count = FRAGMENT_HEADER.unpack_from(packet)
    _require(first == FIRST_BYTES[PacketType.FRAGMENT], "type")
    _require(index < count, "index or count")
    part = packet[FRAGMENT_HEADER.size :]
    return Fragment(connection_id=connection_id, message_id=message_id, index=index, count=count, part=part)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise MalformedPacket(what)


def _message(message: bytes) -> bytes:
    _require(1 <= len(message) <= MAX_NOISE_MESSAGE, "message")
    return message


def _step(kind: PacketType, connection_id: bytes, step: int) -> bytes:
    # struct would cut or fill a connection id of another length without a word.
    _require(len(connection_id) == CONNECTION_ID, "connection id")
    return _STEP_HEADER.pack(FIRST_BYTES[kind], connection_id, step)


def _read_step(packet: bytes, kind: PacketType) -> tuple[bytes, int]:
    _require(len(packet) > _STEP_HEADER.size, "length")
    first, connection_id, step = _STEP_HEADER.unpack_from(packet)
    _require(first == FIRST_BYTES[kind], "type")
    return connection_id, step


def _prefixed(part: bytes, width: int, least: int, most: int) -> bytes:
    _require(least <= len(part) <= most, "length")
    return len(part).to_bytes(width, "big") + part


def _read_prefixed(packet: bytes, at: int, width: int, least: int, most: int) -> tuple[bytes, int]:
    start = at + width
    length = int.from_bytes(packet[at:start], "big")
    end = start + length
    # A cut length prefix reads as a smaller number, so the packet's end is compared before anything is taken.
    _require(end <= len(packet) and least <= length <= most, "length")
    return packet[start:end], end
