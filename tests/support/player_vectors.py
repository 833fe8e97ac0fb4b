"""Values of docs/vectors as the dice example's player takes them."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


def raw(text: str) -> bytes:
    """The bytes of a value."""
    return bytes.fromhex(text)


def drawn(*values: bytes) -> Callable[[int], bytes]:
    """Randomness that gives each of these once, to whoever asks for as many bytes."""
    left = list(values)
    return lambda size: left.pop(next(index for index, value in enumerate(left) if len(value) == size))


def public(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes; nothing of nothing."""
    key = X25519PrivateKey.from_private_bytes(private) if private else None
    return key.public_key().public_bytes_raw() if key else b""
