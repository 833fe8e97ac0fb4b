"""The request of a batch, read by hand: protobuf would copy all of its contents twice before the first item is cut out.

Only the form that every protobuf library writes is read here: each field once, numbers packed. Whatever is different is
left to protobuf, whose reading counts; a test holds both equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

__all__ = ["Packed", "reader"]

# Tags of EncryptBatchRequest and DecryptBatchRequest (session_crypto_service.proto): field number << 3 | 2 (length).
_SESSION_IDS: Final = 0x0A
_REQUEST_ID: Final = 0x12
_COUNTS: Final = 0x1A
_LENGTHS: Final = 0x22
_CONTENTS: Final = 0x2A
_DATA_LENGTHS: Final = 0x32
_DATA: Final = 0x3A
_CONTINUES: Final = 0x80
_MAX_SHIFT: Final = 28
"""Of the last byte of a length that is read here."""
_LAYOUTS: Final = 256


def _numbers(packed: bytes) -> tuple[int, ...]:
    return _layout(len(packed) // 4).unpack(packed)


@lru_cache(maxsize=_LAYOUTS)
def _layout(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")


_FIELDS: Final[Mapping[int, tuple[str, Callable[[bytes], Any]]]] = {
    _SESSION_IDS: ("session_ids", bytes),
    _REQUEST_ID: ("request_id", bytes.decode),
    _COUNTS: ("counts", _numbers),
    _LENGTHS: ("lengths", _numbers),
    _DATA_LENGTHS: ("associated_data_lengths", _numbers),
    _DATA: ("associated_data", bytes),
}
"""Tag to name of each field but the contents, and how its bytes are read."""


class Packed:
    """A batch's fields; `contents` lie in `body` from `start` to `end`."""

    __slots__ = (
        "associated_data", "associated_data_lengths", "body", "counts", "end", "lengths", "request_id", "session_ids",
        "start",
    )  # fmt: skip

    def __init__(self, body: bytes, start: int, end: int) -> None:
        self.session_ids = self.associated_data = b""
        self.request_id = ""
        self.counts: Sequence[int] = ()
        self.lengths: Sequence[int] = ()
        self.associated_data_lengths: Sequence[int] = ()
        self.body = body
        self.start = start
        self.end = end

    def ByteSize(self) -> int:  # noqa: N802  # as protobuf's messages have it
        """Bytes of the request, more or less."""
        return len(self.body)


def reader(message: Any, contents: str) -> Callable[[bytes], Packed]:
    """Reads a request of the class `message`, whose field 5 has this name. The reader raises DecodeError."""

    def read(body: bytes) -> Packed:
        found = _by_hand(body)
        if found is not None:
            return found
        request = message.FromString(body)
        inside = getattr(request, contents)
        packed = Packed(inside, 0, len(inside))
        for name, _ in _FIELDS.values():
            value = getattr(request, name)
            setattr(packed, name, value if isinstance(value, bytes | str) else tuple(value))
        return packed

    return read


def _by_hand(body: bytes) -> Packed | None:
    """The request; None for anything that is not of the usual form."""
    packed, at, whole = Packed(body, 0, 0), 0, len(body)
    seen: set[int] = set()
    try:
        while at < whole:
            tag, size, shift = body[at], body[at + 1], 0
            at += 2
            while size >> shift & _CONTINUES:
                if shift == _MAX_SHIFT:
                    return None
                shift += 7
                size += (body[at] - 1) << shift
                at += 1
            start, at = at, at + size
            if tag in seen or at > whole:
                return None
            seen.add(tag)
            if tag == _CONTENTS:
                packed.start, packed.end = start, at
            else:
                name, read = _FIELDS[tag]
                setattr(packed, name, read(body[start:at]))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        return None
    return packed
