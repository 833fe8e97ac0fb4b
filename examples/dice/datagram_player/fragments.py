"""Packets larger than the path's MTU: cut into parts, and put together again (docs/protocol.md, section 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from examples.dice.datagram_player.wire import FRAGMENT, HANDSHAKE, RECORD, RESUME, SALTED, PacketRefusedError

HEADER_BYTES: Final = 13
WHOLE: Final = frozenset({HANDSHAKE, RECORD, SALTED, RESUME})
"""What may come in parts."""
MAX_SETS, MAX_BYTES, HOLD_S = 4, 1 << 17, 5.0
"""Messages under way, bytes of all of them, and how long an incomplete one is held."""


def cut(packet: bytes, message_id: int, mtu: int) -> list[bytes]:
    """The packet's fragments under this id (16 bits), of `mtu` bytes at most."""
    step = mtu - HEADER_BYTES
    parts = [packet[at : at + step] for at in range(0, len(packet), step)]
    head = bytes([FRAGMENT]) + packet[1:9] + message_id.to_bytes(2, "big")
    return [head + bytes([index, len(parts)]) + part for index, part in enumerate(parts)]


@dataclass(slots=True)
class _Message:
    """The parts of a message that have come; `since` the first of them."""

    since: float
    parts: dict[int, bytes] = field(default_factory=dict)


class Reassembler:
    """Puts fragments together, in any order; bounded in messages, bytes and time, the oldest giving way.

    Nothing is authenticated here: what comes out is treated like any packet.
    """

    def __init__(self) -> None:
        self._messages: dict[tuple[bytes, int, int], _Message] = {}

    def add(self, fragment: bytes, now: float) -> bytes | None:
        """The whole packet, if this was the last part of it. PacketRefusedError for what is no fragment of a set."""
        if len(fragment) <= HEADER_BYTES or fragment[0] != FRAGMENT or fragment[11] >= fragment[12]:
            raise PacketRefusedError("fragment")
        index, count = fragment[11], fragment[12]
        # Parts that differ in one of these are of different sets, so that a forged count spoils no set.
        key = fragment[1:9], int.from_bytes(fragment[9:11], "big"), count
        self._forget(now)
        message = self._messages.get(key)
        if message is None:
            message = self._messages[key] = _Message(now)
        message.parts.setdefault(index, fragment[HEADER_BYTES:])
        if len(message.parts) < count:
            self._bound()
            return None
        del self._messages[key]
        packet = b"".join(part for _, part in sorted(message.parts.items()))
        if packet[0] not in WHOLE or packet[1:9] != key[0]:
            raise PacketRefusedError("fragment")
        return packet

    def _forget(self, now: float) -> None:
        self._messages = {key: one for key, one in self._messages.items() if now - one.since < HOLD_S}

    def _bound(self) -> None:
        while len(self._messages) > MAX_SETS or self._held() > MAX_BYTES:
            del self._messages[next(iter(self._messages))]

    def _held(self) -> int:
        return sum(len(part) for message in self._messages.values() for part in message.parts.values())
