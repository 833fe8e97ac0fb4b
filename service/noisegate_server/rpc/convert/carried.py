"""The messages of Transport: envelopes around the requests and the answers of batch methods, opened by hand.

What is inside goes on as the bytes that it came as, to the unary method whose message it is; only that one parses it.
A message is a sequence of envelopes and nothing else, so that messages one behind the other are one message too
(Protocol Buffers, "Encoding"). An envelope has two fields: a varint, and a message with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Reply
from noisegate_server.rpc.convert.sealed import varint
from noisegate_server.session.errors import InvalidField

__all__ = ["DRAINING", "NOTHING", "Batch", "read", "write"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_ENVELOPE: Final = 1 << 3 | _LENGTH
"""Tag of an envelope: field number << 3 | kind; the same in requests and in answers, as are those inside."""
_CORRELATION: Final = 1 << 3 | _VARINT
_ENVELOPE_TAG, _CORRELATION_TAG = bytes((_ENVELOPE,)), bytes((_CORRELATION,))
_BATCHES: Final = frozenset(
    each.number << 3 | _LENGTH for each in pb.TransportBatch.DESCRIPTOR.oneofs_by_name["batch"].fields
)
_FIRST: Final = 8
"""The least tag of a field that may be: numbers begin with 1."""
_MAX_UINT64, _MAX_UINT32 = (1 << 64) - 1, (1 << 32) - 1
_SHIFTS, _TAG_SHIFTS = range(0, 70, 7), range(0, 35, 7)
"""Of the bytes of a varint, ten at most; a tag is a number of 32 bits, and so is a length for protobuf."""
_CONTINUES: Final = 0x80
_MAX_SHIFT: Final = 28
"""Of the last byte of a number that is read at once."""
_MAX_FIELDS: Final = 64
"""Of a message and of each envelope: twice what a message may have, with room for those of later contracts."""

NOTHING: Final = 0
"""In the place of a field's number: the envelope is empty."""

DRAINING: Final = pb.TransportResponse(draining=pb.TransportDraining()).SerializeToString()

Batch = tuple[int, int, bytes]
"""(correlation id, number of the batch's field or NOTHING, the batch's bytes)."""


def read(body: bytes) -> list[Batch]:
    """The batches of a request, in their order. Raises DecodeError, InvalidField for too many of them.

    As any reader of the format does it: of one envelope the last batch counts, one that stands there in parts is put
    together, and fields of a later contract are passed over.
    """
    usual = _usual(body)
    if usual is not None:
        return usual
    found: list[Batch] = []
    for tag, start, end in _fields(body, 0, len(body)):
        if tag == _ENVELOPE:
            if len(found) == limits.MAX_CARRIED_BATCHES:
                raise InvalidField("batches", f"at most {limits.MAX_CARRIED_BATCHES} in one message")
            found.append(_batch(body, start, end))
    return found


def write(correlation: int, batch: int, reply: Reply) -> bytes:
    """A message with a unary method's reply; `batch` is the field's number of its request and of its answer."""
    code, body = reply
    if code:
        refused = pb.TransportRefused(code=code, status=body)
        answer = pb.TransportAnswer(correlation_id=correlation, refused=refused)
        return pb.TransportResponse(answers=[answer]).SerializeToString()
    head = _CORRELATION_TAG + varint(correlation) if correlation else b""
    head += bytes((batch << 3 | _LENGTH,)) + varint(len(body))
    return b"".join((_ENVELOPE_TAG, varint(len(head) + len(body)), head, body))


def _usual(body: bytes) -> list[Batch] | None:
    """The same in half the time, of a message as every library writes it; None for any other one."""
    found: list[Batch] = []
    at, whole = 0, len(body)
    try:
        while at < whole:
            one = _usual_batch(body, at)
            if one is None or len(found) == limits.MAX_CARRIED_BATCHES:
                return None
            batch, at = one
            found.append(batch)
    except IndexError:
        return None
    return found if at == whole else None


def _usual_batch(body: bytes, at: int) -> tuple[Batch, int] | None:
    """What an envelope holds, and where it ends: one batch, one number, or both, and no other field.

    Lengths and numbers are read in the open, by the same loop as in packed.py: a call for each takes a quarter longer.
    """
    end = correlation = batch = 0
    request = b""
    while not end or at < end:
        tag, number, shift = body[at], body[at + 1], 0
        at += 2
        while number >> shift & _CONTINUES:
            if shift == _MAX_SHIFT:
                return None
            shift += 7
            number += (body[at] - 1) << shift
            at += 1
        if not end:
            if tag != _ENVELOPE or not number:
                return None
            end = at + number
        elif tag == _CORRELATION and number and not correlation:
            correlation = number
        elif tag in _BATCHES and not batch:
            batch, request = tag >> 3, body[at : at + number]
            at += number
        else:
            return None
    return ((correlation, batch, request), at) if at == end else None


def _batch(body: bytes, start: int, end: int) -> Batch:
    correlation, batch = 0, NOTHING
    parts: list[bytes] = []
    for tag, first, last in _fields(body, start, end):
        if tag == _CORRELATION:
            correlation = first
        elif tag in _BATCHES:
            if tag >> 3 != batch:
                batch, parts = tag >> 3, []
            parts.append(body[first:last])
    return correlation, batch, b"".join(parts)


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(tag, start, end) of each field's value between two places; of a varint (tag, the number itself, 0)."""
    for _ in range(_MAX_FIELDS):
        if at == end:
            return
        tag = body[at]
        at += 1
        if tag >= _CONTINUES:
            tag, at = _varint(body, at - 1, _TAG_SHIFTS)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(body, at)
            size, field = 0, (tag, value, 0)
        else:
            size = _FIXED.get(kind, -1)
            if kind == _LENGTH:
                size, at = _varint(body, at, _TAG_SHIFTS)
            field = tag, at, at + size
        at += size
        if not _FIRST <= tag <= _MAX_UINT32 or size < 0 or at > end:
            raise DecodeError
        yield field
    if at != end:
        raise DecodeError


def _varint(body: bytes, at: int, shifts: range = _SHIFTS) -> tuple[int, int]:
    """(value, where it ends)."""
    value = 0
    try:
        for shift in shifts:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80 and value <= _MAX_UINT64:  # no more follow
                return value, at
    except IndexError:
        pass
    raise DecodeError
