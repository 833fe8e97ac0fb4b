"""What leaves the process under a key of the service: tickets and suspended sessions.

    sealed = key id(8) ‖ nonce(12) ‖ AES-256-GCM-SIV(plaintext); AAD = key id ‖ what the caller binds

GCM-SIV (RFC 8452), because many instances draw nonces under one key and a repeated one must cost nothing but the
equality of two plaintexts. Rules for the key: RFC 5077, sections 5.5 and 5.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from noisegate_server.session.constants import KEY, TAG

KEY_ID: Final = 8
"""Bytes of a sealing key's id."""
_NONCE: Final = 12
_HEAD: Final = KEY_ID + _NONCE
SEALING_OVERHEAD: Final = _HEAD + TAG
"""Bytes that sealing adds: 36."""


class SealRefused(ValueError):
    """Bytes that no key of the ring has sealed, or that were bound to something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """One key of a ring."""

    key_id: bytes
    """8 bytes, at random."""
    key: bytes = field(repr=False)
    """32 bytes, used for nothing else."""
    aead: AESGCMSIV = field(init=False, repr=False, compare=False)
    """The key's context: as long in use as the key, and to make one takes almost as long as to open a ticket."""

    def __post_init__(self) -> None:
        if len(self.key_id) != KEY_ID or len(self.key) != KEY:
            raise ValueError("key_id: 8 bytes, key: 32 bytes")
        object.__setattr__(self, "aead", AESGCMSIV(self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKeys:
    """The ring: `current` seals and opens, `previous` only opens."""

    current: SealingKey
    previous: SealingKey | None = None


def seal(
    keys: SealingKeys, plaintext: bytes | bytearray | memoryview, bound: bytes, random_bytes: Callable[[int], bytes]
) -> bytes:
    """`plaintext` sealed under the current key; it opens only where `bound` is the same."""
    key = keys.current
    nonce = random_bytes(_NONCE)
    return key.key_id + nonce + key.aead.encrypt(nonce, plaintext, key.key_id + bound)


def open_sealed(keys: SealingKeys, sealed: bytes, bound: bytes) -> bytearray:
    """The plaintext, which the caller wipes. SealRefused for another key, another `bound`, and everything else."""
    if len(sealed) < SEALING_OVERHEAD:
        raise SealRefused("length")
    key_id, nonce, body = sealed[:KEY_ID], sealed[KEY_ID:_HEAD], sealed[_HEAD:]
    for key in (keys.current, keys.previous):
        if key is not None and key.key_id == key_id:
            plaintext = bytearray(len(body) - TAG)
            try:
                key.aead.decrypt_into(nonce, body, key_id + bound, plaintext)
            except InvalidTag:
                raise SealRefused("tag") from None
            return plaintext
    raise SealRefused("key id")
