"""Vectors of fragments: what packets are cut into, sets that come in disorder, and what makes no packet."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from noisegate.fragments import split
from tools.vector_tables import Fixed

Case = dict[str, Any]

CUTS: Final = (
    ("HANDSHAKE", 0x09, 1_707, 1_200, 0x0102, (0, 1)),
    ("HANDSHAKE, in disorder", 0x09, 1_740, 1_200, 0xFFFF, (1, 0)),
    ("RECORD, with repeats", 0x0A, 1_727, 700, 0, (2, 0, 2, 0, 1)),
    ("SALTED", 0x0B, 1_201, 1_200, 1, (0, 1)),
    ("RESUME, in parts that are all full", 0x0C, 3_561, 1_200, 2, (2, 1, 0)),
)
"""What it is, its first byte and size, the MTU, the message id, and in which order its parts come."""


def _packet(first: int, connection_id: bytes, size: int, label: str) -> bytes:
    """A packet whose bytes after the first nine are SHAKE-256 of its label: what they mean does not matter here."""
    return bytes((first,)) + connection_id + hashlib.shake_256(label.encode()).digest(size - 9)


def sets(fixed: Fixed) -> list[Case]:
    """Packets, their fragments, and the order in which they arrive; the last one completes the packet."""
    cases = []
    for name, first, size, mtu, message_id, order in CUTS:
        connection_id = bytes(8) if name == "HANDSHAKE" else fixed("fragment connection id", 8)
        packet = _packet(first, connection_id, size, name)
        fragments = split(packet, message_id, mtu=mtu)
        cases.append(
            {
                "what": name, "packet": packet.hex(), "mtu": mtu, "message_id": message_id,
                "fragments": [fragment.hex() for fragment in fragments], "arrive": list(order),
            }
        )  # fmt: skip
    return cases


def refused(fixed: Fixed) -> list[Case]:
    """Fragments of one source that make no packet: each sequence by itself, at a receiver that has seen nothing."""
    connection_id, other = fixed("fragment connection id", 8), fixed("another connection id", 8)

    def fragment(message_id: int, index: int, count: int, part: bytes, cid: bytes = connection_id) -> bytes:
        return b"\x0d" + cid + message_id.to_bytes(2, "big") + bytes((index, count)) + part

    head, tail = b"\x0a" + connection_id + b"first part", b"second part"
    sequences = {
        "no part": [fragment(1, 0, 1, b"")],
        "index is count": [fragment(1, 2, 2, tail)],
        "count is zero": [fragment(1, 0, 0, head)],
        "cut within its header": [fragment(1, 0, 1, head)[:12]],
        "one part is missing": [fragment(1, 0, 3, head), fragment(1, 2, 3, tail)],
        "two message ids": [fragment(1, 0, 2, head), fragment(2, 1, 2, tail)],
        "two counts": [fragment(1, 0, 2, head), fragment(1, 1, 3, tail)],
        "two connection ids": [fragment(1, 0, 2, head), fragment(1, 1, 2, tail, other)],
        "another connection's packet": [fragment(1, 0, 2, b"\x0a" + other), fragment(1, 1, 2, tail)],
        "a fragment in fragments": [fragment(1, 0, 1, fragment(2, 0, 1, head))],
        "a RETRY in fragments": [fragment(1, 0, 1, b"\x0e" + connection_id + bytes(11))],
        "no packet of the protocol": [fragment(1, 0, 1, b"\x16" + connection_id + tail)],
        "fewer bytes than a connection id": [fragment(1, 0, 1, b"\x0a" + connection_id[:7])],
    }
    return [{"why": why, "fragments": [fragment.hex() for fragment in sequence]} for why, sequence in sequences.items()]
