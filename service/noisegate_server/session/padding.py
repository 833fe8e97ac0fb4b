"""The plaintext of a record: content, kind, zero bytes (docs/protocol.md, section 3).

As in TLS 1.3 (RFC 8446, section 5.4): the kind is never zero, so the last byte that is not zero is the kind, whatever
the content ends in.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from noisegate_server.session.constants import MAX_INNER, PAD_CLASSES, PAD_STEP

_MAX_KIND: Final = 0xFF


class MalformedPadding(ValueError):
    """An opened record without a kind: nothing but zero bytes, or nothing at all."""

    def __init__(self) -> None:
        super().__init__("no kind")


def padded_length(n: int, limit: int = MAX_INNER) -> int:
    """To how many bytes `n` bytes of content and kind (1 to `limit`) are padded; never over `limit`.

    `limit` is what still fits the packet: without it the last class would make a datagram that nobody can send.
    """
    if not 1 <= n <= limit:
        raise ValueError(f"content and kind: 1 to {limit} bytes")
    if n <= PAD_CLASSES[-1]:
        return min(PAD_CLASSES[bisect_left(PAD_CLASSES, n)], limit)
    return min(-(-n // PAD_STEP) * PAD_STEP, limit)


def pad(content: bytes, kind: int, pad: bool = True, limit: int = MAX_INNER) -> bytes:
    """What the AEAD seals: content ‖ kind, with zero bytes up to the size class where `pad` is set.

    `kind` is 1 to 255, its bit 0x80 included. ValueError: another kind; with `pad`, more than `limit` bytes.
    """
    if not 1 <= kind <= _MAX_KIND:
        raise ValueError("kind: 1 to 255")
    inner = content + bytes((kind,))
    return inner.ljust(padded_length(len(inner), limit), b"\0") if pad else inner


def unpad(plaintext: bytes) -> tuple[int, bytes]:
    """(kind, content) of an opened record, padded or not. MalformedPadding where there is no kind."""
    inner = plaintext.rstrip(b"\0")
    if not inner:
        raise MalformedPadding
    return inner[-1], inner[:-1]
