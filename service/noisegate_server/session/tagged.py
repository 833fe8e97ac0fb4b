"""Values behind tags: tag(1) ‖ length(2) ‖ value, by ascending tag, so that a field can be added without a new layout.

One buffer is made, of its final size: a value that is secret lies in it and nowhere else.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from noisegate_server.session.constants import KEY

Buffer = bytes | bytearray | memoryview

TAG_HEAD: Final = struct.Struct(">BH")
"""Before every value: its tag and its length."""
_DOUBLE: Final = struct.Struct(">d")


class MalformedValues(ValueError):
    """Bytes that `write_values` has not written, or a value that has no place in its field."""


class Codec(NamedTuple):
    """How one kind of value is written and read. Both raise ValueError for a value outside its limits."""

    write: Callable[[Any], Buffer]
    read: Callable[[memoryview], Any]


def write_values(values: Mapping[int, Buffer], head: bytes = b"") -> bytearray:
    """`head`, then every value behind its tag (1 to 255)."""
    pieces: list[Buffer] = [head]
    for tag, value in sorted(values.items()):
        pieces += (TAG_HEAD.pack(tag, len(value)), value)
    # Joined by bytearray, which makes one buffer of the final size.
    return bytearray().join(pieces)


def read_values(data: Buffer) -> dict[int, memoryview]:
    """The values of `data` by their tags, which lie in `data` itself. MalformedValues."""
    view = memoryview(data)
    values: dict[int, memoryview] = {}
    at = last = 0
    while at < len(view):
        if len(view) - at < TAG_HEAD.size:
            raise MalformedValues("head")
        tag, length = TAG_HEAD.unpack_from(view, at)
        at += TAG_HEAD.size
        if tag <= last or len(view) - at < length:
            raise MalformedValues("tag or length")
        values[tag] = view[at : at + length]
        at += length
        last = tag
    return values


def raw(*lengths: int) -> Codec:
    """Bytes of one of these lengths."""

    def checked(value: Buffer) -> bytes:
        if len(value) not in lengths:
            raise MalformedValues("length")
        return bytes(value)

    return Codec(checked, checked)


def raw_up_to(most: int) -> Codec:
    """Up to `most` bytes."""

    def checked(value: Buffer) -> bytes:
        if len(value) > most:
            raise MalformedValues("length")
        return bytes(value)

    return Codec(checked, checked)


def number(size: int) -> Codec:
    """An unsigned integer of `size` bytes."""

    def read(value: memoryview) -> int:
        if len(value) != size:
            raise MalformedValues("length")
        return int.from_bytes(value, "big")

    def write(value: int) -> bytes:
        try:
            return value.to_bytes(size, "big")
        except OverflowError:
            raise MalformedValues("number") from None

    return Codec(write, read)


def member(kind: type[IntEnum]) -> Codec:
    """A member of an enumeration, as one byte."""
    byte = number(1)
    return Codec(byte.write, lambda value: kind(byte.read(value)))


def _checked_secret(value: Buffer) -> Buffer:
    if len(value) != KEY:
        raise MalformedValues("length")
    return value


def _text(most: int) -> Codec:
    held = raw_up_to(most)
    return Codec(lambda value: held.write(value.encode()), lambda value: str(value, "utf-8"))


def _read_flag(value: memoryview) -> bool:
    if len(value) != 1 or value[0] > 1:
        raise MalformedValues("flag")
    return value[0] == 1


def _write_seconds(value: float) -> bytes:
    if not math.isfinite(value):
        raise MalformedValues("seconds")
    return _DOUBLE.pack(value)


def _read_seconds(value: memoryview) -> float:
    if len(value) != _DOUBLE.size:
        raise MalformedValues("length")
    seconds: float = _DOUBLE.unpack(value)[0]
    if not math.isfinite(seconds):
        raise MalformedValues("seconds")
    return seconds


NAME: Final = _text(64)
"""A peer id or a group: at most 64 bytes of UTF-8."""
SECRET: Final = Codec(_checked_secret, lambda value: bytearray(_checked_secret(value)))
"""32 bytes, written and read from buffer to buffer, without a copy that nobody can wipe."""
FLAG: Final = Codec(lambda value: bytes((bool(value),)), _read_flag)
SECONDS: Final = Codec(_write_seconds, _read_seconds)
"""A finite number of seconds, or a time."""
