"""The other end of a session computed by hand with hashlib, hmac and bare AEADs, to check every byte of a player."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from noise.connection import Keypair, NoiseConnection


def responder(name: str, static: bytes | None, prologue: bytes, psk: bytes | None = None) -> NoiseConnection:
    """A bare Noise responder of the public library."""
    connection = NoiseConnection.from_name(name.encode())
    connection.set_as_responder()
    if static is not None:
        connection.set_keypair_from_private_bytes(Keypair.STATIC, static)
    if psk is not None:
        connection.set_psks(psks=[psk])
    connection.set_prologue(prologue)
    connection.start_handshake()
    return connection


def expand(key: bytes, label: bytes) -> bytes:
    """RFC 5869: the first block T(1) = HMAC(PRK, info, 0x01)."""
    return hmac.digest(key, label + b"\x01", hashlib.sha256)


class HandKeys:
    """Section 3's keys of one epoch from k1, k2 and h."""

    def __init__(self, prk: bytes, h: bytes) -> None:
        self.h = h
        self.i2r, self.r2i, self.root = (expand(prk, b"ng1 " + name) for name in (b"i2r", b"r2i", b"root"))
        self.mask, self.export = expand(prk, b"ng1 mask"), expand(prk, b"ng1 export")

    @classmethod
    def of(cls, finished: NoiseConnection) -> HandKeys:
        """The keys of a responder's finished handshake: it decrypts with k1 and encrypts with k2."""
        noise, h = finished.noise_protocol, finished.get_handshake_hash()
        k1, k2 = noise.cipher_state_decrypt.k, noise.cipher_state_encrypt.k
        return cls(hmac.digest(h, k1 + k2, hashlib.sha256), h)


def phase_key(chain: bytes, phase: int = 0) -> bytes:
    """P(p+1) = Expand(P(p), "ng1 next"); the AEAD key is Expand(P(p), "ng1 key")."""
    for _ in range(phase):
        chain = expand(chain, b"ng1 next")
    return expand(chain, b"ng1 key")


def nonce(suite: int, counter: int) -> bytes:
    """Noise section 12: little-endian for ChaChaPoly (1), big-endian for AESGCM (2)."""
    return bytes(4) + counter.to_bytes(8, "little" if suite == 1 else "big")


def aead(suite: int, key: bytes) -> ChaCha20Poly1305 | AESGCM:
    """The suite's AEAD."""
    return ChaCha20Poly1305(key) if suite == 1 else AESGCM(key)


def header(cid: bytes, epoch: int, phase: int, counter: int) -> bytes:
    """The 15 bytes of a RECORD's header before masking."""
    return b"\x0a" + cid + bytes([epoch, phase]) + counter.to_bytes(4, "big")


def mask(key: bytes, packet: bytes, size: int) -> bytes:
    """The packet with epoch, phase and counter XORed; its own inverse."""
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor().update(packet[size : size + 16])  # noqa: S305
    return packet[:9] + bytes(x ^ y for x, y in zip(packet[9:15], block[:6], strict=True)) + packet[15:]
