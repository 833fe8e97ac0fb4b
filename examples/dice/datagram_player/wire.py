"""What travels: the numbers of the protocol, hellos, RETRY packets and fields with a length (docs/protocol.md, 2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HANDSHAKE, RECORD, SALTED, RESUME, FRAGMENT, RETRY = 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E
DATA, ROTATE_1, ROTATE_2, TICKET, KEEP_ALIVE, CONNECTION_ID, CLOSE = 1, 2, 3, 4, 5, 6, 7
WANTS_ROTATION: Final = 0x80
FLAG_RATCHET, FLAG_MASK, FLAG_PAD, FLAG_TICKETS, FLAG_DATAGRAM = 1, 2, 4, 8, 16
SUPPORTED_FLAGS: Final = FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS | FLAG_DATAGRAM
HEADER_BYTES: Final = {RECORD: 15, SALTED: 32}
NO_CONNECTION: Final = bytes(8)
CHOOSE, CLOCK = 1, 2
"""The reasons of a RETRY."""
GRACE_S: Final = 30.0
"""Keys and connection ids that were passed, and answers to be given again, live for so long at most."""
REPEAT_DELAYS: Final = (1.0, 1.5, 2.25, 3.375, 5.0)


class PacketRefusedError(ValueError):
    """The packet is not for us, is forged or is a repeat: nothing has changed."""


class NotPossibleError(RuntimeError):
    """The session is in no state for what was asked."""


class Protocol(NamedTuple):
    """A Noise protocol by the numbers that travel in a hello."""

    pattern: int
    suite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a packet gave: the game's plaintexts, packets for the peer, payloads of handshake messages.

    `early`: whether early data went through; of a resume alone. It may be a replay until a first record has opened.
    """

    plaintexts: list[bytes] = field(default_factory=list)
    to_send: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    early: bool | None = None


class Timer:
    """Repeats after each of the delays in turn, then after the last one for ever."""

    def __init__(self, now: float, delays: tuple[float, ...] = REPEAT_DELAYS) -> None:
        self._delays, self._at = delays, now + delays[0]

    def due(self, now: float) -> bool:
        """Whether it is time; if so, the next delay begins."""
        if now < self._at:
            return False
        self._delays = self._delays[1:] or self._delays
        self._at = now + self._delays[0]
        return True


class Hello(NamedTuple):
    """What an initiator offers, and which of it message 1 uses; a prologue binds its bytes."""

    flags: int
    timestamp_ms: int
    offer: tuple[Protocol, ...]
    choice: int

    @property
    def chosen(self) -> Protocol:
        """The protocol of message 1."""
        return self.offer[self.choice]

    def encode(self) -> bytes:
        """12 + 2n bytes."""
        head = bytes([1, self.flags]) + self.timestamp_ms.to_bytes(8, "big") + bytes([len(self.offer)])
        return head + b"".join(map(bytes, self.offer)) + bytes([self.choice])

    @classmethod
    def decode(cls, data: bytes) -> Hello:
        """The hello in these bytes; PacketRefusedError for another version or length, or no DATAGRAM flag."""
        if len(data) < 14 or data[0] != 1 or not 1 <= data[10] <= 16 or len(data) != 12 + 2 * data[10]:
            raise PacketRefusedError("hello")
        if data[-1] >= data[10] or not data[1] & FLAG_DATAGRAM:
            raise PacketRefusedError("hello")
        offer = tuple(Protocol(*data[at : at + 2]) for at in range(11, len(data) - 1, 2))
        return cls(data[1], int.from_bytes(data[2:10], "big"), offer, data[-1])


class Retry(NamedTuple):
    """A responder's wish for another hello: `choice` and `flags`, or its own clock in milliseconds since 1970."""

    echo: bytes
    choice: int = 0
    flags: int = 0
    clock_ms: int | None = None

    @staticmethod
    def echo_of(packet: bytes) -> bytes:
        """What names the packet that was refused: 8 bytes."""
        return hashlib.sha256(packet).digest()[:8]

    def encode(self) -> bytes:
        """20 bytes, or 27 with a clock, which is a puzzle with no work in it."""
        head = bytes([RETRY]) + NO_CONNECTION + self.echo
        if self.clock_ms is None:
            return head + bytes([CHOOSE, self.choice, self.flags])
        return head + bytes([CLOCK, 0]) + self.clock_ms.to_bytes(8, "big")

    @classmethod
    def decode(cls, packet: bytes) -> Retry:
        """The RETRY in this packet; PacketRefusedError for another layout, and for a puzzle that asks for work."""
        if len(packet) < 18 or packet[0] != RETRY or packet[1:9] != NO_CONNECTION:
            raise PacketRefusedError("retry")
        echo, reason, rest = packet[9:17], packet[17], packet[18:]
        if reason == CHOOSE and len(rest) == 2:
            return cls(echo, choice=rest[0], flags=rest[1])
        if reason == CLOCK and len(rest) == 9 and rest[0] == 0:
            return cls(echo, clock_ms=int.from_bytes(rest[1:], "big"))
        raise PacketRefusedError("retry")


def field_at(packet: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """A field with its length before it, and where the next one begins."""
    start = at + length_bytes
    end = start + int.from_bytes(packet[at:start], "big")
    if start > len(packet) or end > len(packet):
        raise PacketRefusedError("length")
    return packet[start:end], end


def with_length(value: bytes, length_bytes: int) -> bytes:
    """A field with its length before it."""
    return len(value).to_bytes(length_bytes, "big") + value
