"""The messages of Transport: an envelope around the request or the answer of a batch method, opened by hand.

What is inside goes on as the bytes that it came as, to the unary method whose message it is; only that one parses it.
The envelope has two fields (Protocol Buffers, "Encoding"): a varint, and a message with its length.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Reply

__all__ = ["DRAINING", "NOTHING", "read", "write"]

_CORRELATION: Final = 1
_REFUSED: Final = pb.TransportResponse.REFUSED_FIELD_NUMBER
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_UINT64: Final = (1 << 64) - 1
_VARINT_BYTES: Final = 10
_BATCHES: Final = frozenset(each.number for each in pb.TransportRequest.DESCRIPTOR.oneofs_by_name["batch"].fields)
_FIRST_NUMBER: Final = 8
"""The least tag of a field that may be: numbers begin with 1."""
_MAX_FIELDS: Final = 16
"""An envelope of as many is left to protobuf: by hand it would cost more for each, and most as one batch in parts."""

NOTHING: Final = 0
"""In the place of a field's number: the envelope is empty."""

DRAINING: Final = pb.TransportResponse(draining=pb.TransportDraining()).SerializeToString()


def read(body: bytes) -> tuple[int, int, bytes]:
    """(correlation id, number of the batch's field or NOTHING, the batch's bytes). Raises DecodeError.

    As any reader of the format does it: the last batch counts, one that stands there in parts is put together, and
    fields of a later contract are passed over.
    """
    correlation, batch, inside = 0, NOTHING, b""
    at, end = 0, len(body)
    for _ in range(_MAX_FIELDS):
        if at >= end:
            return correlation, batch, inside
        tag, at = _varint(body, at)
        number, kind = tag >> 3, tag & 7
        if tag < _FIRST_NUMBER:
            raise DecodeError
        if kind == _VARINT:
            value, at = _varint(body, at)
            if number == _CORRELATION:
                correlation = value
            continue
        size = _FIXED.get(kind, -1)
        if kind == _LENGTH:
            size, at = _varint(body, at)
        if not 0 <= size <= end - at:
            raise DecodeError
        if kind == _LENGTH and number in _BATCHES:
            part = body[at : at + size]
            batch, inside = number, inside + part if batch == number else part
        at += size
    return _by_protobuf(body)


def _by_protobuf(body: bytes) -> tuple[int, int, bytes]:
    request = pb.TransportRequest.FromString(body)
    name = request.WhichOneof("batch")
    if name is None:
        return request.correlation_id, NOTHING, b""
    batch = getattr(request, name)
    return request.correlation_id, request.DESCRIPTOR.fields_by_name[name].number, batch.SerializeToString()


def write(correlation: int, batch: int, reply: Reply) -> bytes:
    """The envelope around a unary method's reply; `batch` is the field's number of its request and of its answer."""
    code, body = reply
    if code:
        refused = pb.TransportRefused(code=code, status=body)
        return pb.TransportResponse(correlation_id=correlation, refused=refused).SerializeToString()
    head = bytes((_CORRELATION << 3 | _VARINT,)) + _to_varint(correlation) if correlation else b""
    return b"%b%c%b%b" % (head, batch << 3 | _LENGTH, _to_varint(len(body)), body)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in body[at : at + _VARINT_BYTES]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # the bit that says: more follows
            if value > _MAX_UINT64:
                break
            return value, at
        shift += 7
    raise DecodeError


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # what one byte holds
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
