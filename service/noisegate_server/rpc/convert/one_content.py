"""The requests of Encrypt, Decrypt and Broadcast, read by hand: their fields are the same four.

Protobuf's runtime frees what it has parsed in blocks of its own, and at every 10,000th of them has glibc give memory
back to the system, which stops the process for 5 to 10 ms.

Only the form that every protobuf library writes is read here: each field once, in their order. Whatever is different is
left to protobuf, whose reading counts; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

__all__ = ["OneContent", "reader"]

# Tags of the three requests (session_crypto_service.proto): field number << 3 | 2 (length).
_SESSION_ID: Final = 0x0A
_REQUEST_ID: Final = 0x12
_CONTENT: Final = 0x1A
_ASSOCIATED_DATA: Final = 0x22
_CONTINUES: Final = 0x80
"""The bit of a varint's byte that another one follows (Protocol Buffers, "Encoding")."""


class OneContent:
    """A request's fields. Filled in by its readers, without a call in between."""

    __slots__ = ("associated_data", "content", "request_id", "session_id", "size", "ticket")

    session_id: bytes
    """Broadcast: those of all sessions, one behind the other."""
    content: bytes
    """The plaintext or the ciphertext."""
    associated_data: bytes
    request_id: str
    ticket: bool
    """Decrypt's own field; a request that has it is left to protobuf."""
    size: int
    """Bytes of the request."""

    def ByteSize(self) -> int:  # noqa: N802  # as protobuf's messages have it
        """Bytes of the request."""
        return self.size


def reader(message: Any, session_id: str, content: str) -> Callable[[bytes], OneContent]:
    """Reads a request of the class `message`, whose fields 1 and 3 have these names. The reader raises DecodeError."""

    def by_protobuf(body: bytes) -> OneContent:
        request, found = message.FromString(body), OneContent()
        found.session_id, found.content = getattr(request, session_id), getattr(request, content)
        found.associated_data, found.request_id = request.associated_data, request.request_id
        found.ticket = getattr(request, "ticket", False)
        found.size = len(body)
        return found

    return partial(_read, by_protobuf)


def _read(otherwise: Callable[[bytes], OneContent], body: bytes) -> OneContent:
    found = OneContent()
    found.session_id = found.content = found.associated_data = b""
    found.request_id, found.ticket = "", False
    at = before = 0
    found.size = whole = len(body)
    try:
        while at < whole:
            tag, size = body[at], body[at + 1]
            at += 2
            if size >= _CONTINUES:
                # A varint of up to three bytes: seven bits in each, the lowest first.
                second, at = body[at], at + 1
                size += (second - 1) << 7
                if second >= _CONTINUES:
                    third, at = body[at], at + 1
                    size += (third - 1) << 14
                    if third >= _CONTINUES:
                        return otherwise(body)
            end = at + size
            if tag <= before or end > whole:
                return otherwise(body)
            if tag == _CONTENT:
                found.content = body[at:end]
            elif tag == _SESSION_ID:
                found.session_id = body[at:end]
            elif tag == _REQUEST_ID:
                found.request_id = body[at:end].decode()
            elif tag == _ASSOCIATED_DATA:
                found.associated_data = body[at:end]
            else:
                return otherwise(body)
            before, at = tag, end
    except (IndexError, UnicodeDecodeError):
        return otherwise(body)
    return found
