"""The Noise Protocol Framework, revision 34, with its extension hfs, and nothing else.

Pure: without I/O, clock or randomness of its own, but for what a KEM's ciphertext takes (`primitives.encapsulate`).
"""

from __future__ import annotations

from noisegate_server.noise.cipher_state import MAX_MESSAGE, MAX_PLAINTEXT, CipherState
from noisegate_server.noise.errors import (
    DecryptError,
    InvalidKey,
    InvalidPattern,
    InvalidProtocolName,
    MessageTooLong,
    MessageTooShort,
    NoiseError,
    NonceExhausted,
    OutOfTurn,
)
from noisegate_server.noise.handshake_state import HandshakeState
from noisegate_server.noise.patterns import PATTERNS
from noisegate_server.noise.primitives import KeyPair, RandomBytes
from noisegate_server.noise.protocol_name import ProtocolName

__all__ = [
    "MAX_MESSAGE",
    "MAX_PLAINTEXT",
    "PATTERNS",
    "CipherState",
    "DecryptError",
    "HandshakeState",
    "InvalidKey",
    "InvalidPattern",
    "InvalidProtocolName",
    "KeyPair",
    "MessageTooLong",
    "MessageTooShort",
    "NoiseError",
    "NonceExhausted",
    "OutOfTurn",
    "ProtocolName",
    "RandomBytes",
]
