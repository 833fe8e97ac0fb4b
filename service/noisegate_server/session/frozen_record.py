"""The record of a suspended session straight from that of an idle one, with no object in between.

A stop has to suspend all sessions there are, and most of them are idle. What `freeze_record` makes is byte for byte
what `freeze` makes of the unpacked session; a test holds it to that. The secrets go from buffer to buffer.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import pairwise
from typing import Final

from noisegate_server.session.constants import HASH, KEY
from noisegate_server.session.fields import GIVEN, HEAD, SESSION_ATTRIBUTES, Tag
from noisegate_server.session.hello import Flags
from noisegate_server.session.record_layout import HEAD as RECORD_HEAD
from noisegate_server.session.record_layout import NUMBERS, Glance, Has, Head, Numbers, Shared, Some, glance, read_some
from noisegate_server.session.roots import CONFIRMED, ROOT_HEAD
from noisegate_server.session.state import RecordMode
from noisegate_server.session.tagged import TAG_HEAD, Buffer, write_values

__all__ = ["freeze_record"]

_RATCHET: Final = int(Flags.RATCHET)

_SECONDS: Final = ("B", "H", "d")
_COUNT: Final = ("B", "H", "Q")


def _fields(*forms: tuple[str, str, str]) -> struct.Struct:
    """Tag, length and value of each, side by side."""
    return struct.Struct(">" + "".join("".join(form) for form in forms))


_TIMES: Final = _fields(*[_SECONDS] * 5)
_SECOND: Final = _fields(_SECONDS)
_REFUSED: Final = _fields(_COUNT)
_HASHED: Final = _fields(("B", "H", f"{HASH}s"))
_EPOCH: Final = _fields(("B", "H", "I"))
_COUNTED: Final = _fields(("B", "H", "I"), _COUNT, _COUNT, _COUNT)

_TAGS: Final = {name: tag for name, (tag, _) in SESSION_ATTRIBUTES.items()}
_APART: Final = (
    *("session_id", "peer_id", "group", "prologue_hash", "chain_end_wall", "remote_static", "handshake_hash"),
    "refused",
)
"""Attributes that no two sessions share, by their tags; what lies between them comes from `Shared`."""


def freeze_record(
    shared: Shared, record: memoryview, handle: int, *, blob_id: bytes, issuer: bytes, now: float, wall: float
) -> tuple[bytearray, Glance]:
    """What `freeze` makes of the session in `record`, which ends when it would have ended anyway; and what it shows.

    The caller wipes what it gets; `record` is left as it is, and must be used no more. `handle`: the store's.
    """
    head = Head._make(RECORD_HEAD.unpack_from(record))
    some = read_some(head, record)
    group_at = some.end + head.peer_id
    at = group_at + head.group
    peer_id, group = record[some.end : group_at], record[group_at:at]
    numbers = Numbers._make(NUMBERS[head.width].unpack_from(record, at))
    is_noise = shared.mode is RecordMode.NOISE
    ratchet = not is_noise and bool(shared.flags & _RATCHET)
    count = 4 + 2 * ratchet + bool(head.has & Has.MASK)
    secrets = [record[at : at + KEY] for at in range(len(record) - KEY * count, len(record), KEY)]
    between = _between(shared)
    pieces: list[Buffer] = [
        HEAD,
        _field(Tag.BLOB_ID, blob_id),
        _field(Tag.ISSUER, issuer),
        _times(head, now, wall),
        *_secret(Tag.EXPORT, secrets[0]),
        _field(_TAGS["session_id"], head.session_id),
        _field(_TAGS["peer_id"], peer_id),
        _field(_TAGS["group"], group),
        between[2],
        _HASHED.pack(_TAGS["prologue_hash"], HASH, some.prologue_hash),
        between[3],
        _SECOND.pack(_TAGS["chain_end_wall"], 8, head.chain_end_wall),
        _field(_TAGS["remote_static"], some.remote_static),
        between[5],
        _HASHED.pack(_TAGS["handshake_hash"], HASH, head.handshake_hash),
        between[6],
        _REFUSED.pack(_TAGS["refused"], 8, numbers.refused),
        between[7],
        *(
            _of_noise(head, some, numbers, secrets, now, wall)
            if is_noise
            else _of_datagrams(head, some, numbers, secrets)
        ),
    ]
    # In one buffer of the final size, as `write_values` does it.
    return bytearray().join(pieces), glance(shared, record, handle)


def _times(head: Head, now: float, wall: float) -> bytes:
    return _TIMES.pack(
        *(Tag.FROZEN_WALL, 8, wall),
        *(Tag.EXPIRES_WALL, 8, wall + head.expires_at - now),
        *(Tag.CREATED_WALL, 8, wall + head.created_at - now),
        *(Tag.LIFETIME_END_WALL, 8, wall + head.lifetime_end - now),
        *(Tag.LIFETIME_LEFT, 8, head.lifetime_end - now),
    )


def _of_noise(
    head: Head, some: Some, numbers: Numbers, secrets: list[memoryview], now: float, wall: float
) -> tuple[Buffer, ...]:
    _, root, send_key, receive_key = secrets
    return (
        *_secret(Tag.SEND_KEY, send_key),
        _REFUSED.pack(Tag.SEND_COUNTER, 8, numbers.send_counter),
        *_secret(Tag.RECEIVE_KEY, receive_key),
        _REFUSED.pack(Tag.RECEIVE_COUNTER, 8, numbers.receive_counter),
        *_secret(Tag.ROOT, root),
        _HASHED.pack(Tag.H, HASH, some.h),
        _COUNTED.pack(
            *(Tag.EPOCH, 4, numbers.epoch),
            *(Tag.SEALED, 8, numbers.sealed),
            *(Tag.SEALED_BYTES, 8, numbers.sealed_bytes),
            *(Tag.OPENED, 8, numbers.opened),
        ),
        _SECOND.pack(Tag.BEGAN_WALL, 8, wall + head.began_at - now),
    )


def _of_datagrams(head: Head, some: Some, numbers: Numbers, secrets: list[memoryview]) -> tuple[Buffer, ...]:
    # At rest a session has one epoch, confirmed, and no root but that one's.
    return (
        TAG_HEAD.pack(Tag.ROOTS, ROOT_HEAD.size + KEY),
        ROOT_HEAD.pack(numbers.epoch, CONFIRMED, some.h),
        secrets[1],
        _EPOCH.pack(Tag.HIGHEST_EPOCH, 4, numbers.epoch),
        *(_secret(Tag.MASK_KEY, secrets[-1]) if head.has & Has.MASK else ()),
        _field(Tag.CONNECTION_ID, head.connection_id),
        *(_field(Tag.FORMER_CONNECTION_ID, former) for former in some.former),
        _field(Tag.CONNECTION_ID_GIVEN, GIVEN.pack(numbers.given_epoch, numbers.given_counter)),
    )


def _field(tag: int, value: Buffer) -> bytes:
    return TAG_HEAD.pack(tag, len(value)) + value


def _secret(tag: int, value: memoryview) -> tuple[bytes, memoryview]:
    return TAG_HEAD.pack(tag, KEY), value


@lru_cache(maxsize=1_024)
def _between(shared: Shared) -> tuple[bytes, ...]:
    """The attributes in `shared` as they are written, in pieces: the n-th comes behind the n-th of `_APART`."""
    ends = [*(_TAGS[name] for name in _APART), 1 << 8]
    values = {_TAGS[name]: SESSION_ATTRIBUTES[name][1].write(getattr(shared, name)) for name in Shared._fields[1:]}
    return tuple(
        bytes(write_values({tag: value for tag, value in values.items() if begin < tag < end}))
        for begin, end in pairwise(ends)
    )
