"""What can go wrong in the Noise framework.

One root, one class per cause that a caller of the engine must tell apart. Nothing here carries bytes of a key, of a
message or of a payload.
"""

from __future__ import annotations


class NoiseError(Exception):
    """Root of every refusal of this package."""


class InvalidProtocolName(NoiseError):
    """A name that is not one of section 8, or names an algorithm or pattern that the engine does not have."""


class InvalidPattern(NoiseError):
    """A handshake pattern breaks a validity rule of section 7.3 or 9.3."""


class InvalidKey(NoiseError):
    """A key is missing, has the wrong length, or is a point of low order (section 12.1)."""


class DecryptError(NoiseError):
    """A ciphertext did not open. Opaque on purpose: no cause, no text of the library below."""

    def __init__(self) -> None:
        super().__init__("decryption failed")


class NonceExhausted(NoiseError):
    """The CipherState's nonce has reached the reserved 2**64 - 1 (section 5.1), or its key was wiped."""

    def __init__(self) -> None:
        super().__init__("no nonce is left under this key")


class OutOfTurn(NoiseError):
    """The HandshakeState cannot do this now: the other side's turn, not finished, already split, or failed."""


class MessageTooLong(NoiseError):
    """A message would be, or is, over the 65,535 bytes of section 3."""

    def __init__(self) -> None:
        super().__init__("a Noise message has at most 65535 bytes")


class MessageTooShort(NoiseError):
    """A handshake message is shorter than its pattern's keys and tags."""

    def __init__(self) -> None:
        super().__init__("the handshake message is cut short")
