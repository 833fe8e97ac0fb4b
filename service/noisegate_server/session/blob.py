"""The blob of a suspended session: its record (session/frozen.py) as it leaves memory.

    blob = the record, sealed (session/sealing.py) and bound to the tenant; at most 4,096 bytes

Single use: whoever opens one has it deleted, or its id marked as used, before anything of it is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import MAX_BLOB
from noisegate_server.session.fields import BlobRefused, Tag, read_record
from noisegate_server.session.sealing import SealingKeys, SealRefused, open_sealed, seal
from noisegate_server.session.state import RecordMode
from noisegate_server.session.tagged import Buffer

_BOUND: Final = b"\xffsuspended session\xff"
"""Before the tenant in what a blob is bound to. No tenant begins so (0xff is no UTF-8), and a ticket is bound to its
tenant alone: neither opens as the other under one key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLabel:
    """What is known of a record without thawing it."""

    blob_id: bytes
    """16 bytes, at random: under it a blob in the caller's hands is marked used."""
    issuer: bytes
    """Of whom it is known which blobs were used: at most 64 bytes."""
    session_id: bytes
    """24 bytes."""
    peer_id: str
    remote_static: bytes
    """The peer's static key, 32 bytes or empty."""
    mode: RecordMode
    frozen_wall: float
    """Unix seconds, as the next."""
    expires_wall: float


def label_of(record: Buffer) -> BlobLabel:
    """What is known of a record without thawing it. BlobRefused for what `freeze` has not made."""
    try:
        values, attributes = read_record(record, secrets=False)
        return BlobLabel(
            blob_id=values[Tag.BLOB_ID],
            issuer=values[Tag.ISSUER],
            session_id=attributes["session_id"],
            peer_id=attributes["peer_id"],
            remote_static=attributes["remote_static"],
            mode=attributes["mode"],
            frozen_wall=values[Tag.FROZEN_WALL],
            expires_wall=values[Tag.EXPIRES_WALL],
        )
    except (KeyError, ValueError):
        raise BlobRefused("record") from None


def seal_blob(keys: SealingKeys, tenant: str, record: Buffer, random_bytes: Callable[[int], bytes]) -> bytes:
    """The blob of a record. ValueError where it would have over 4,096 bytes."""
    blob = seal(keys, record, _BOUND + tenant.encode(), random_bytes)
    if len(blob) > MAX_BLOB:
        raise ValueError(f"blob: at most {MAX_BLOB} bytes")
    return blob


def open_blob(keys: SealingKeys, tenant: str, blob: bytes, wall: float) -> bytearray:
    """The record in `blob`, which the caller wipes; BlobRefused for garbage, another key or tenant, and a late one."""
    if len(blob) > MAX_BLOB:
        raise BlobRefused("length")
    try:
        record = open_sealed(keys, blob, _BOUND + tenant.encode())
    except SealRefused as refusal:
        raise BlobRefused(str(refusal)) from None
    try:
        expires_wall = label_of(record).expires_wall
    except BlobRefused:
        wipe(record)
        raise
    if not wall < expires_wall:
        wipe(record)
        raise BlobRefused("time")
    return record
