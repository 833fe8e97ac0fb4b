"""Packets that are larger than the path's MTU: cut into FRAGMENTs and put together again (docs/protocol.md, section 2).

    type(1)=0x0d  connection id(8)  message id(2)  index(1)  count(1)  part

No key is needed, and nothing here is authenticated: what was put together proves itself when the service opens it. So
whatever a stranger sends costs bounded memory for a bounded time, and at most the set that he hits. Standard library
only, no I/O, no clock.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from .packet import MAX_PACKET_BYTES, PacketType, peek

SourceT = TypeVar("SourceT", bound=Hashable)
"""Whatever the transport names a sender by."""

DEFAULT_MTU: Final = 1_200
"""Bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14)."""
MAX_PARTS: Final = 255
_HEADER: Final = struct.Struct(">B8sHBB")
_FIRST_BYTE: Final = 0x0D
_WHOLE: Final = frozenset({PacketType.HANDSHAKE, PacketType.RECORD, PacketType.SALTED, PacketType.RESUME})
"""What may be cut: a RETRY is small, and a FRAGMENT is no packet to be cut again."""
_SET_BYTES: Final = 512
"""What a set costs beside its parts, rounded up."""
_PART_BYTES: Final = 128
"""What a part costs beside its bytes, rounded up."""


class BadFragment(ValueError):
    """A fragment that is none, or that no set can take."""


def may_be_cut(packet: bytes) -> bool:
    """Whether the packet is of a type that FRAGMENTs carry."""
    peeked = peek(packet)
    return peeked is not None and peeked.type in _WHOLE


def split(packet: bytes, message_id: int, *, mtu: int = DEFAULT_MTU) -> tuple[bytes, ...]:
    """The datagrams of at most `mtu` bytes that carry `packet`: itself where it fits, otherwise FRAGMENTs.

    `message_id`: 0 to 65,535, another one for each packet and each repeat, so that the parts of two sets are never
    mixed. ValueError where the packet is of no type that may be cut, is over 65,535 bytes, or needs over 255 parts.
    """
    if len(packet) <= mtu:
        return (packet,)
    room = mtu - _HEADER.size
    if room < 1 or len(packet) > MAX_PACKET_BYTES or not may_be_cut(packet):
        raise ValueError("not a packet that can be cut to this size")
    count = -(-len(packet) // room)
    if count > MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS} parts")
    connection_id = packet[1:9]
    return tuple(
        _HEADER.pack(_FIRST_BYTE, connection_id, message_id, index, count) + packet[index * room : (index + 1) * room]
        for index in range(count)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassemblyLimits:
    """What parts may cost while the rest of their sets is on its way. Bytes count bookkeeping too."""

    total_bytes: int = 4 * 1024 * 1024
    """Of all sets. Beyond it the oldest go: a set is safe while less than this came after its first part."""
    sets_per_source: int = 8
    """Of one source. Beyond it that source's oldest go."""
    bytes_per_source: int = 160 * 1024
    """Likewise; room for two of the largest packets."""
    seconds: float = 2.0
    """From a set's first part to its last."""


DEFAULT_LIMITS: Final = ReassemblyLimits()

_Key = tuple[SourceT, bytes, int, int]
"""Source, connection id, message id and count: parts that differ in one of them are of different sets."""


@dataclass(slots=True, kw_only=True)
class _Set:
    expires_at: float
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    cost: int = _SET_BYTES


@dataclass(slots=True)
class _Share:
    """What one source has here, oldest first."""

    keys: OrderedDict[tuple[bytes, int, int], None] = field(default_factory=OrderedDict)
    cost: int = 0


class Reassembler(Generic[SourceT]):
    """Puts parts together. `now` is seconds of a monotonic clock."""

    def __init__(self, limits: ReassemblyLimits = DEFAULT_LIMITS) -> None:
        self._limits: Final = limits
        # In the order of their first parts, which is that of their expiry: a part does not make its set younger.
        self._sets: Final[OrderedDict[_Key[SourceT], _Set]] = OrderedDict()
        self._shares: Final[dict[SourceT, _Share]] = {}
        self._cost = 0

    def __len__(self) -> int:
        """How many sets are waiting for parts."""
        return len(self._sets)

    @property
    def held_bytes(self) -> int:
        """What they cost."""
        return self._cost

    def add(self, fragment: bytes, source: SourceT, now: float) -> bytes | None:
        """The whole packet where this was the last part that was missing, otherwise None.

        A part that has come before changes nothing. BadFragment where it is malformed, and where what it completes is
        no packet that may be cut, or has another connection id; that set is gone then.
        """
        self.expire(now)
        connection_id, message_id, index, count, part = _decode(fragment)
        key = (source, connection_id, message_id, count)
        known = self._sets.get(key)
        if known is None:
            known = self._begin(key, now)
        elif index in known.parts:
            return None
        self._keep(key, known, index, part)
        if known.size > MAX_PACKET_BYTES:
            self._drop(key)
            raise BadFragment("the parts are more than a packet")
        if len(known.parts) == count:
            self._drop(key)
            whole = b"".join(known.parts[number] for number in range(count))
            if not may_be_cut(whole) or whole[1:9] != connection_id:
                raise BadFragment("the parts are no packet of this connection")
            return whole
        self._make_room(source)
        return None

    def expire(self, now: float) -> None:
        """Drop the sets that took too long."""
        while self._sets:
            key, oldest = next(iter(self._sets.items()))
            if oldest.expires_at > now:
                return
            self._drop(key)

    def _begin(self, key: _Key[SourceT], now: float) -> _Set:
        begun = self._sets[key] = _Set(expires_at=now + self._limits.seconds)
        share = self._shares.setdefault(key[0], _Share())
        share.keys[key[1:]] = None
        share.cost += begun.cost
        self._cost += begun.cost
        return begun

    def _keep(self, key: _Key[SourceT], known: _Set, index: int, part: bytes) -> None:
        cost = len(part) + _PART_BYTES
        known.parts[index] = part
        known.size += len(part)
        known.cost += cost
        self._shares[key[0]].cost += cost
        self._cost += cost

    def _make_room(self, source: SourceT) -> None:
        limits = self._limits
        share = self._shares[source]
        while share.keys and (len(share.keys) > limits.sets_per_source or share.cost > limits.bytes_per_source):
            self._drop((source, *next(iter(share.keys))))
        while self._cost > limits.total_bytes:
            self._drop(next(iter(self._sets)))

    def _drop(self, key: _Key[SourceT]) -> None:
        dropped = self._sets.pop(key)
        share = self._shares[key[0]]
        del share.keys[key[1:]]
        share.cost -= dropped.cost
        self._cost -= dropped.cost
        if not share.keys:
            del self._shares[key[0]]


def _decode(fragment: bytes) -> tuple[bytes, int, int, int, bytes]:
    """(connection id, message id, index, count, part)."""
    if len(fragment) <= _HEADER.size:
        raise BadFragment("too short")
    first, connection_id, message_id, index, count = _HEADER.unpack_from(fragment)
    if first != _FIRST_BYTE or index >= count:
        raise BadFragment("header")
    return connection_id, message_id, index, count, fragment[_HEADER.size :]
