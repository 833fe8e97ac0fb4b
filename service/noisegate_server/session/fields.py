"""What the record of a suspended session has, and in which form: version(1) ‖ values behind tags (session/tagged.py).

Who adds a field adds a row to `SESSION_ATTRIBUTES` (an attribute of Session) or a tag to `Tag`, under a number that was
never used. A record without it leaves the attribute as `Session` makes it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Final

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import (
    BLOB_ID,
    CONNECTION_ID,
    HASH,
    KEY,
    SESSION_ID,
)
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.network import Network
from noisegate_server.session.roots import read_roots, wipe_roots, write_roots
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.tagged import (
    FLAG,
    NAME,
    SECONDS,
    SECRET,
    Buffer,
    Codec,
    member,
    number,
    raw,
    raw_up_to,
    read_values,
)

VERSION: Final = 1
HEAD: Final = bytes((VERSION,))
GIVEN: Final = struct.Struct(">QQ")
"""Epoch and counter of the record that gave the connection id, each plus one: 0 where none did."""
MAX_LAST_STEP: Final = 1_024
"""Bytes of a handshake packet that is kept for repeating; a longer one (a long payload) is not."""


class BlobRefused(ValueError):
    """A blob, or a record, that cannot be used. What is wrong goes to nobody but the metrics."""


class Tag(IntEnum):
    """The values that are no attribute of Session."""

    BLOB_ID = 1
    ISSUER = 2
    FROZEN_WALL = 3
    EXPIRES_WALL = 4
    CREATED_WALL = 5
    LIFETIME_END_WALL = 6
    LIFETIME_LEFT = 7
    EXPORT = 8
    # 16 to 95: attributes of Session, below.
    # NOISE
    SEND_KEY = 96
    SEND_COUNTER = 97
    RECEIVE_KEY = 98
    RECEIVE_COUNTER = 99
    ROOT = 100
    H = 101
    EPOCH = 102
    SEALED = 103
    SEALED_BYTES = 104
    OPENED = 105
    NEW_SEND_KEY = 106
    NEW_RECEIVE_KEY = 107
    NEW_ROOT = 108
    NEW_H = 109
    BEGAN_WALL = 110
    # DATAGRAM
    ROOTS = 128
    HIGHEST_EPOCH = 129
    MASK_KEY = 130
    CONNECTION_ID = 131
    FORMER_CONNECTION_ID = 132
    CONNECTION_ID_GIVEN = 133
    LAST_STEP = 134


_COUNT: Final = number(8)

VALUES: Final[dict[Tag, Codec]] = {
    Tag.BLOB_ID: raw(BLOB_ID),
    Tag.ISSUER: raw_up_to(64),
    Tag.FROZEN_WALL: SECONDS,
    Tag.EXPIRES_WALL: SECONDS,
    Tag.CREATED_WALL: SECONDS,
    Tag.LIFETIME_END_WALL: SECONDS,
    Tag.LIFETIME_LEFT: SECONDS,
    Tag.EXPORT: SECRET,
    Tag.SEND_KEY: SECRET,
    Tag.SEND_COUNTER: _COUNT,
    Tag.RECEIVE_KEY: SECRET,
    Tag.RECEIVE_COUNTER: _COUNT,
    Tag.ROOT: SECRET,
    Tag.H: raw(HASH),
    Tag.EPOCH: number(4),
    Tag.SEALED: _COUNT,
    Tag.SEALED_BYTES: _COUNT,
    Tag.OPENED: _COUNT,
    Tag.NEW_SEND_KEY: SECRET,
    Tag.NEW_RECEIVE_KEY: SECRET,
    Tag.NEW_ROOT: SECRET,
    Tag.NEW_H: raw(HASH),
    Tag.BEGAN_WALL: SECONDS,
    Tag.ROOTS: Codec(write_roots, read_roots),
    Tag.HIGHEST_EPOCH: number(4),
    Tag.MASK_KEY: SECRET,
    Tag.CONNECTION_ID: raw(CONNECTION_ID),
    Tag.FORMER_CONNECTION_ID: raw(CONNECTION_ID),
    Tag.CONNECTION_ID_GIVEN: raw(GIVEN.size),
    Tag.LAST_STEP: raw_up_to(MAX_LAST_STEP),
}

_SECRETS: Final = frozenset({Tag.ROOTS, *(tag for tag, codec in VALUES.items() if codec is SECRET)})

SESSION_ATTRIBUTES: Final[dict[str, tuple[int, Codec]]] = {
    "session_id": (16, raw(SESSION_ID)),
    "peer_id": (17, NAME),
    "group": (18, NAME),
    "mode": (19, member(RecordMode)),
    "role": (20, member(Role)),
    "pattern": (21, member(Pattern)),
    "suite": (22, member(Suite)),
    "flags": (23, number(1)),
    "prologue_hash": (24, raw(HASH)),
    "idle_timeout": (25, SECONDS),
    "lifetime": (26, SECONDS),
    "chain_end_wall": (27, SECONDS),
    "remote_static": (28, raw(0, KEY)),
    "anonymous_initiator": (29, FLAG),
    "handshake_hash": (30, raw(HASH)),
    "ticket_owed": (31, FLAG),
    "ticket_given": (32, FLAG),
    "follows_connection_id": (33, FLAG),
    "refused": (34, _COUNT),
    "max_early": (35, number(4)),
    "early": (36, FLAG),
    "rotation": (37, Codec(LowerLimits.encode, LowerLimits.decode)),
    "network": (40, member(Network)),
    "own_idle_timeout": (41, FLAG),
}
"""Attribute of Session to its tag and form."""


def read_record(record: Buffer, *, secrets: bool) -> tuple[dict[Tag, Any], dict[str, Any]]:
    """The values of a record, and the attributes of Session. ValueError for a tag or a value that no field has.

    Without `secrets` those are left where they are: each that is read is one copy more to wipe.
    """
    view = memoryview(record)
    if view[:1] != HEAD:
        raise ValueError("version")
    behind = read_values(view[1:])
    attributes = {
        name: codec.read(behind.pop(tag)) for name, (tag, codec) in SESSION_ATTRIBUTES.items() if tag in behind
    }
    values: dict[Tag, Any] = {}
    try:
        for tag, value in behind.items():
            if secrets or tag not in _SECRETS:
                values[Tag(tag)] = VALUES[Tag(tag)].read(value)
    except ValueError:
        wipe_values(values)
        raise
    return values, attributes


def wipe_values(values: dict[Tag, Any]) -> None:
    """Wipe the secrets among them."""
    for value in values.values():
        if isinstance(value, bytearray):
            wipe(value)
    wipe_roots(values.get(Tag.ROOTS, []))
