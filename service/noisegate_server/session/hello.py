"""The hello, the choice, and the prologues that bind both (docs/protocol.md, section 2).

    version(1)=1  flags(1)  timestamp_ms(8)  n(1)  n x (pattern(1) suite(1))  choice(1)

exactly 12 + 2n bytes. Offers and flags of a later version come through decoding as the numbers that they are: a
responder passes over what it does not know, it does not refuse it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from noisegate_server.session.constants import (
    HASH,
    LABEL_HELLO,
    LABEL_RENEGOTIATE,
    LABEL_RESUME,
    MAX_EPOCH,
    MAX_HELLO,
    MAX_OFFER,
    MIN_HELLO,
    PROTOCOL_VERSION,
    RESERVED_PREFIX,
)

_HEAD: Final = struct.Struct(">BBQB")
_FIXED: Final = _HEAD.size + 1
_MAX_BYTE: Final = 0xFF
_MAX_TIMESTAMP: Final = 2**64 - 1


class MalformedHello(ValueError):
    """Bytes that are no hello of version 1, or values that cannot be written as one."""


class CallerPrologueReserved(ValueError):
    """A caller's prologue that begins like one of ours: it could pass for a hello that nobody sent."""

    def __init__(self) -> None:
        super().__init__('a prologue must not start with "ng1 "')


class Flags(IntFlag):
    """What the initiator asks for; unknown bits are kept."""

    RATCHET = 1
    MASK = 2
    PAD = 4
    TICKETS = 8
    DATAGRAM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What an initiator offers, and the part of it that its message 1 uses."""

    flags: Flags
    """What it asks for."""
    timestamp_ms: int
    """Its clock: unix time in milliseconds."""
    offer: tuple[tuple[int, int], ...]
    """1 to 16 protocols as (pattern, suite), preferred first; numbers of suites.py, or unknown ones."""
    choice: int
    """Index into `offer` of the protocol of message 1."""
    version: int = PROTOCOL_VERSION
    """Always 1."""

    @property
    def chosen(self) -> tuple[int, int]:
        """The protocol of message 1."""
        return self.offer[self.choice]


def encode_hello(hello: Hello) -> bytes:
    """The 12 + 2n bytes of `hello`; MalformedHello where a value has no place in them."""
    count = len(hello.offer)
    if hello.version != PROTOCOL_VERSION:
        raise MalformedHello("version")
    if not 1 <= count <= MAX_OFFER:
        raise MalformedHello("offer")
    if not 0 <= hello.choice < count:
        raise MalformedHello("choice")
    if not 0 <= hello.timestamp_ms <= _MAX_TIMESTAMP or not 0 <= hello.flags <= _MAX_BYTE:
        raise MalformedHello("timestamp or flags")
    if not all(0 <= number <= _MAX_BYTE for pair in hello.offer for number in pair):
        raise MalformedHello("offer")
    head = _HEAD.pack(hello.version, hello.flags, hello.timestamp_ms, count)
    return head + bytes(number for pair in hello.offer for number in pair) + bytes((hello.choice,))


def decode_hello(data: bytes) -> Hello:
    """Reads exactly one hello; MalformedHello for anything else."""
    if not MIN_HELLO <= len(data) <= MAX_HELLO:
        raise MalformedHello("length")
    version, flags, timestamp_ms, count = _HEAD.unpack_from(data)
    if version != PROTOCOL_VERSION:
        raise MalformedHello("version")
    if not 1 <= count <= MAX_OFFER or len(data) != _FIXED + 2 * count:
        raise MalformedHello("length")
    choice = data[-1]
    if choice >= count:
        raise MalformedHello("choice")
    numbers = data[_HEAD.size : -1]
    return Hello(
        flags=Flags(flags),
        timestamp_ms=timestamp_ms,
        offer=tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        choice=choice,
    )


def choose(offer: Sequence[tuple[int, int]], preference: Sequence[tuple[int, int]]) -> int | None:
    """Index in `offer` of the first of the responder's `preference` that is there; None where nothing is shared."""
    for pair in preference:
        if pair in offer:
            return offer.index(pair)
    return None


def hello_prologue(hello: bytes | None, caller: bytes) -> bytes:
    """The prologue of a handshake: with a hello, ours; without one, the caller's bytes verbatim.

    CallerPrologueReserved where the caller's bytes alone could be read as a prologue of ours.
    """
    if hello is not None:
        return LABEL_HELLO + hello + caller
    if caller.startswith(RESERVED_PREFIX):
        raise CallerPrologueReserved
    return bytes(caller)


def resume_prologue(hello: bytes | None, ticket: bytes, caller: bytes) -> bytes:
    """The prologue of a resume (section 6); NOISE mode may have no hello. ValueError: a ticket over 65,535 bytes."""
    if len(ticket) > 0xFFFF:
        raise ValueError("ticket: at most 65,535 bytes")
    return b"".join((LABEL_RESUME, hello or b"", len(ticket).to_bytes(2, "big"), ticket, caller))


def renegotiate_prologue(h: bytes, new_epoch: int | None) -> bytes:
    """The prologue of a renegotiation (section 4): h of the epoch (32 bytes), then DATAGRAM's new epoch number.

    None is NOISE mode, which numbers no epochs. ValueError: another length of h, a number that is no new epoch's.
    """
    if len(h) != HASH:
        raise ValueError("h: 32 bytes")
    if new_epoch is None:
        return LABEL_RENEGOTIATE + h
    if not 1 <= new_epoch <= MAX_EPOCH:
        raise ValueError("new_epoch: 1 to 2^32 - 1")
    return LABEL_RENEGOTIATE + h + new_epoch.to_bytes(4, "big")
