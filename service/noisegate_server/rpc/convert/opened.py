"""DecryptResponse, written by hand, as sealed.py says why. A test holds it equal to what protobuf writes."""

from __future__ import annotations

from typing import Final

from noisegate_server.engine.outcomes import Decrypted
from noisegate_server.rpc.convert.sealed import varint

__all__ = ["encode_opened_record"]

# Tags of proto/noisegate/v1/session_crypto_service.proto: field number << 3 | wire type (2: length, 0: varint).
_SESSION_ID: Final = b"\x0a"
_TO_PEER: Final = b"\x12"
_PLAINTEXT: Final = b"\x1a"
_CONTROL: Final = b"\x22"
_COUNTER: Final = b"\x28"
_EPOCH: Final = b"\x30"
_EARLY: Final = b"\x38\x01"
_NEWEST: Final = b"\x40\x01"
_ROTATION_DUE: Final = b"\x48\x01"
# Of Control.
_KIND: Final = b"\x08"
_ANSWERED: Final = b"\x12"


def encode_opened_record(opened: Decrypted) -> bytes:
    """A serialised noisegate.v1.DecryptResponse; fields at their default are left out, as proto3 does."""
    session_id, to_peer, plaintext, control, counter, epoch, early, newest, rotation_due, answered = opened
    body = _SESSION_ID + varint(len(session_id)) + session_id
    for message in to_peer:
        body += _TO_PEER + varint(len(message)) + message
    if plaintext is not None:
        # Of the two contents the one that there is stands here even where it is empty.
        body += _PLAINTEXT + varint(len(plaintext)) + plaintext
    else:
        inside = _KIND + varint(control) if control else b""
        if answered:
            inside += _ANSWERED + varint(len(answered)) + answered
        body += _CONTROL + varint(len(inside)) + inside
    if counter:
        body += _COUNTER + varint(counter)
    if epoch:
        body += _EPOCH + varint(epoch)
    if early:
        body += _EARLY
    if newest:
        body += _NEWEST
    return body + _ROTATION_DUE if rotation_due else body
