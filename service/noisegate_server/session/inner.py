"""Inside of a RECORD packet's AEAD: kind, content, and whose associated data it opens with (protocol, section 3)."""

from __future__ import annotations

from collections.abc import Callable

from noisegate_server.noise.primitives import InvalidTag
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.packets import WANTS_ROTATION, Kind
from noisegate_server.session.padding import MalformedPadding, unpad


def open_inner(
    decrypt: Callable[[bytes, bytes, bytes], bytes],
    nonce: bytes,
    header: bytes,
    body: bytes,
    associated_data: bytes,
) -> tuple[int, bytes]:
    """Kind (with its flag) and content of an AEAD output. DecryptFailed whatever is wrong with it."""
    # Only data carries the caller's associated data: a record opens with it as data, or without it as control.
    try:
        try:
            kind, content = unpad(decrypt(nonce, body, header + associated_data))
            carried = True
        except InvalidTag:
            if not associated_data:
                raise
            kind, content = unpad(decrypt(nonce, body, header))
            carried = False
    except (InvalidTag, MalformedPadding):
        raise DecryptFailed from None
    if associated_data and carried is not (kind & ~WANTS_ROTATION == Kind.DATA):
        raise DecryptFailed
    return kind, content
