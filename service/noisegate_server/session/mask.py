"""The header mask of DATAGRAM records (docs/protocol.md, section 3). No security boundary: its sample is public."""

from __future__ import annotations

from noisegate_server.noise.primitives import header_mask


def masked(header: bytes, mask_key: bytearray, body: bytes) -> bytes:
    """`header` (15 bytes) with epoch, phase and counter hidden, or shown again: it is its own inverse.

    The mask depends on the first 16 bytes of `body`, the AEAD's output, alone: both sides have it.
    """
    mask = header_mask(mask_key, body[:16])
    hidden = int.from_bytes(header[9:], "big") ^ int.from_bytes(mask, "big")
    return header[:9] + hidden.to_bytes(6, "big")
