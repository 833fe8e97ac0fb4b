"""Numbers, layouts and values of the player's protocol (docs/protocol.md, section 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

HANDSHAKE, RECORD, SALTED, RESUME, RETRY = 0x09, 0x0A, 0x0B, 0x0C, 0x0E
DATA, ROTATE_1, ROTATE_2, TICKET, KEEP_ALIVE, CONNECTION_ID, CLOSE = 1, 2, 3, 4, 5, 6, 7
WANTS_ROTATION: Final = 0x80
FLAG_RATCHET, FLAG_MASK, FLAG_PAD, FLAG_TICKETS, FLAG_DATAGRAM = 1, 2, 4, 8, 16
SUPPORTED_FLAGS: Final = FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS | FLAG_DATAGRAM
PATTERNS: Final = {
    1: "XX", 2: "IK", 3: "NK", 4: "XXpsk3", 5: "IKpsk1", 6: "IKpsk2", 7: "NKpsk0", 8: "NKpsk2", 9: "NNpsk0",
}  # fmt: skip
IKPSK1, NKPSK0, NNPSK0 = 5, 7, 9
CIPHERS: Final = {1: "ChaChaPoly", 2: "AESGCM"}
HEADER_BYTES: Final = {RECORD: 15, SALTED: 32}
NO_CONNECTION: Final = bytes(8)
REPEAT_DELAYS: Final = (1.0, 1.5, 2.25, 3.375, 5.0)
RESUME_DELAYS: Final = (2.0, 8.0, math.inf)
ATTEMPT_S, ANSWERED_S, GRACE_S, BEGIN_GAP_S, WANT_GAP_S, SILENT_S = 9.0, 10.0, 30.0, 5.0, 10.0, 1.0
SOFT_AGE_S, HARD_AGE_S = 120.0, 180.0
# Soft and hard limits of an epoch; past the hard one 1,024 counters are left for control records.
MESSAGES, RATCHET_MESSAGES = (1 << 20, 1 << 23), (8_192, 15_360)
WINDOW, PHASES, FAILURES, SKEW_MS, TICKET_S = 1024, 64, 16, 120_000, 86_400


class PacketRefusedError(ValueError):
    """The packet is not for us, is forged or is a repeat: nothing has changed."""


class NotPossibleError(RuntimeError):
    """The session is in no state for what was asked."""


class Protocol(NamedTuple):
    """A Noise protocol by the numbers that travel in a hello."""

    pattern: int
    suite: int


class Split(NamedTuple):
    """What a finished Noise handshake leaves: k1 encrypts from its initiator, h is the handshake hash."""

    k1: bytes
    k2: bytes
    h: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The static keys of both ends of a session; `anonymous` says that its initiator has none."""

    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What resumes a session (section 6): 32 bytes of psk, the opaque ticket, and the session's own choices."""

    lifetime_s: int
    max_early: int
    psk: bytes = field(repr=False)
    ticket: bytes
    suite: int
    flags: int
    identity: Identity
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a packet gave: the game's plaintexts, packets for the peer, payloads of handshake messages."""

    plaintexts: list[bytes] = field(default_factory=list)
    to_send: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


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

    def encode(self) -> bytes:
        """12 + 2n bytes."""
        head = bytes([1, self.flags]) + self.timestamp_ms.to_bytes(8, "big") + bytes([len(self.offer)])
        return head + b"".join(map(bytes, self.offer)) + bytes([self.choice])

    @classmethod
    def decode(cls, data: bytes) -> Hello:
        """The hello in these bytes; PacketRefusedError for another version or length, or no DATAGRAM flag."""
        if len(data) < 14 or data[0] != 1 or len(data) != 12 + 2 * data[10] or data[-1] >= data[10]:
            raise PacketRefusedError("hello")
        offer = tuple(Protocol(*data[at : at + 2]) for at in range(11, len(data) - 1, 2))
        if not data[1] & FLAG_DATAGRAM:
            raise PacketRefusedError("hello")
        return cls(data[1], int.from_bytes(data[2:10], "big"), offer, data[-1])


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
