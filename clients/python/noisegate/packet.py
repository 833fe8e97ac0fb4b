"""The nine bytes of a player's packet that a game may read: type and connection id (docs/protocol.md, section 2).

Needs no key, no service and nothing but the standard library.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_FIRST_BYTE: Final = 0x08
_TYPE_MASK: Final = 0x07
_CONNECTION_ID: Final = slice(1, 9)
_STEP_OFFSET: Final = 9
_ECHO: Final = slice(9, 17)
_ECHO_BYTES: Final = 8
HEADER_BYTES: Final = 9
NO_CONNECTION_ID: Final = bytes(8)
MAX_PACKET_BYTES: Final = 65_535


class PacketType(IntEnum):
    """What a packet is; the low three bits of its first byte."""

    HANDSHAKE = 1
    RECORD = 2
    SALTED = 3
    RESUME = 4
    FRAGMENT = 5
    RETRY = 6


@dataclass(frozen=True, slots=True)
class Peek:
    """What a packet says of itself. Nothing of it is authenticated."""

    type: PacketType
    """What it claims to be."""
    connection_id: bytes
    """8 bytes; zeros in a player's first packet. It finds a session and proves nothing."""


def peek(packet: bytes) -> Peek | None:
    """Type and connection id of a player's packet; None for bytes that are not one of noisegate's.

    First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so one port can serve all.
    """
    if len(packet) < HEADER_BYTES or packet[0] & ~_TYPE_MASK != _FIRST_BYTE:
        return None
    try:
        return Peek(PacketType(packet[0] & _TYPE_MASK), packet[_CONNECTION_ID])
    except ValueError:
        return None


def step_of(packet: bytes) -> int:
    """The step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one."""
    return packet[_STEP_OFFSET] if len(packet) > _STEP_OFFSET else 0


def echo_of(packet: bytes) -> bytes:
    """What a RETRY to this packet carries: 8 bytes."""
    return hashlib.sha256(packet).digest()[:_ECHO_BYTES]


def echo_in(packet: bytes) -> bytes:
    """The echo that a RETRY carries: 8 bytes, or fewer where the packet is too short to have one."""
    return packet[_ECHO]
