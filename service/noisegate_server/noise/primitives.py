"""DH, KEM, cipher and hash functions (sections 4 and 12), over pyca and the standard library.

The only module of the engine that imports `cryptography`. Every AEAD context is made by `new_aead`, looked up at call
time: a test replaces that one name by an adapter that records the (key, nonce) pairs it seals.
"""

from __future__ import annotations

import hashlib
import hmac as _hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, Protocol, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from noisegate_server.noise.errors import InvalidKey

__all__ = [
    "CIPHERS",
    "DHLEN",
    "HASHES",
    "KEMLEN",
    "KEYLEN",
    "MAX_NONCE",
    "TAGLEN",
    "Aead",
    "BytesLike",
    "Cipher",
    "Encapsulate",
    "Hash",
    "InvalidTag",
    "KemKeyPair",
    "KeyPair",
    "PublicKey",
    "RandomBytes",
    "dh",
    "encapsulate",
    "expand",
    "extract",
    "header_mask",
    "hkdf",
    "load_public",
    "new_aead",
    "sha256",
    "wipe",
]

BytesLike = bytes | bytearray | memoryview
RandomBytes = Callable[[int], bytes]
Encapsulate = Callable[[BytesLike], tuple[bytes, bytes]]
"""From a KEM public key to (shared secret, ciphertext)."""

DHLEN: Final = 32
"""Bytes of an X25519 public key and of a shared secret (section 12.1)."""
KEMLEN: Final = 1568
"""Bytes of an ML-KEM-1024 public key, and of a ciphertext as well (FIPS 203, table 3)."""
KEM_SEEDLEN: Final = 64
"""Bytes of the seed of an ML-KEM key pair: d, then z (FIPS 203, section 7.1)."""
KEYLEN: Final = 32
"""Bytes of a cipher key and of a PSK."""
TAGLEN: Final = 16
"""Bytes of an authentication tag."""
MAX_NONCE: Final = 2**64 - 1
"""Reserved: used by `REKEY` alone, never for a message (section 5.1)."""


# `from_private_bytes` and `from_public_bytes` look up their backend in every call, some 0.7 to 1 microseconds. So a
# handshake's keys are loaded as the DER of RFC 8410: what is here stands before the 32 bytes of the key, which end it.
_PRIVATE_KEY_INFO: Final = bytes.fromhex("302e020100300506032b656e04220420")
"""Of a OneAsymmetricKey (section 7)."""
_PUBLIC_KEY_INFO: Final = bytes.fromhex("302a300506032b656e032100")
"""Of a SubjectPublicKeyInfo (section 4)."""
_load_private: Final = cast("Callable[[bytes, None], X25519PrivateKey]", load_der_private_key)
_load_public: Final = cast("Callable[[bytes], X25519PublicKey]", load_der_public_key)


@dataclass(frozen=True, slots=True, eq=False)
class KeyPair:
    """An X25519 key pair (section 4.1). Keeps the loaded private key: loading one costs as much as an exchange."""

    _private: X25519PrivateKey = field(repr=False)
    public: bytes
    """The 32 bytes of the public key."""

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> KeyPair:
        """GENERATE_KEYPAIR() of section 4.1, from 32 bytes of `random_bytes`."""
        private = random_bytes(DHLEN)
        try:
            key = _load_private(_PRIVATE_KEY_INFO + private, None)
        except ValueError:
            raise InvalidKey("an X25519 private key has 32 bytes") from None
        return cls(key, key.public_key().public_bytes_raw())

    @classmethod
    def from_private(cls, private: BytesLike) -> KeyPair:
        """Load a private key of 32 bytes; InvalidKey for another length."""
        try:
            # Not as DER: the caller's buffer may be one that is wiped, and a copy of it could not be.
            key = X25519PrivateKey.from_private_bytes(private)
        except ValueError:
            raise InvalidKey("an X25519 private key has 32 bytes") from None
        return cls(key, key.public_key().public_bytes_raw())

    def private_bytes(self) -> bytes:
        """The 32 bytes of the private key; the caller owns that copy."""
        return self._private.private_bytes_raw()


PublicKey = X25519PublicKey
"""A peer's X25519 public key, loaded: loading takes a twentieth of an exchange, and a handshake uses a key twice."""


def load_public(public: BytesLike) -> PublicKey:
    """Load a peer's public key of 32 bytes; InvalidKey for another length."""
    try:
        return _load_public(_PUBLIC_KEY_INFO + public)
    except ValueError:
        raise InvalidKey("an X25519 public key has 32 bytes") from None


def dh(pair: KeyPair, peer: PublicKey) -> bytes:
    """DH(key_pair, public_key) of section 4.1: 32 bytes. InvalidKey for a point of low order.

    Section 12.1 allows an error for the all-zero output; it is one behaviour everywhere, so that peers cannot tell
    instances apart.
    """
    try:
        return pair._private.exchange(peer)
    except ValueError:
        raise InvalidKey("not a usable X25519 public key") from None


@dataclass(frozen=True, slots=True, eq=False)
class KemKeyPair:
    """An ML-KEM-1024 key pair (FIPS 203): the `e1` of a hybrid handshake."""

    _private: MLKEM1024PrivateKey = field(repr=False)
    public: bytes
    """The 1,568 bytes of the public (encapsulation) key."""

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> KemKeyPair:
        """ML-KEM.KeyGen of FIPS 203, section 7.1, from 64 bytes of `random_bytes`."""
        return cls.from_seed(random_bytes(KEM_SEEDLEN))

    @classmethod
    def from_seed(cls, seed: BytesLike) -> KemKeyPair:
        """Load a private key of 64 bytes, d then z; InvalidKey for another length."""
        try:
            key = MLKEM1024PrivateKey.from_seed_bytes(seed)
        except ValueError:
            raise InvalidKey("an ML-KEM-1024 seed has 64 bytes") from None
        return cls(key, key.public_key().public_bytes_raw())

    def decapsulate(self, ciphertext: BytesLike) -> bytes:
        """ML-KEM.Decaps: the shared secret, 32 bytes. InvalidKey for a wrong length.

        A forged ciphertext gives another secret and no error (implicit rejection): what is opened next tells.
        """
        try:
            return self._private.decapsulate(ciphertext)
        except ValueError:
            raise InvalidKey("an ML-KEM-1024 ciphertext has 1568 bytes") from None


def encapsulate(public: BytesLike) -> tuple[bytes, bytes]:
    """ML-KEM.Encaps: (shared secret, 32 bytes; ciphertext, 1,568 bytes).

    InvalidKey for a wrong length and for a coefficient that is not below q (FIPS 203, section 7.2). pyca has no form
    that takes the randomness, so OpenSSL draws it: the one place of the engine whose output the caller does not decide.
    """
    try:
        return MLKEM1024PublicKey.from_public_bytes(bytes(public)).encapsulate()
    except ValueError:
        raise InvalidKey("not a usable ML-KEM-1024 public key") from None


class Aead(Protocol):
    """One AEAD under one key. A bad tag raises `InvalidTag`."""

    def encrypt(self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, /) -> bytes:
        """Seal: ciphertext and 16 bytes of tag."""
        ...

    def decrypt(self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, /) -> bytes:
        """Open, or raise InvalidTag."""
        ...

    def encrypt_into(
        self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, buf: bytearray | memoryview, /
    ) -> int:
        """Seal into `buf`, 16 bytes longer than `data` and, where they overlap, beginning with it; bytes written."""
        ...

    def decrypt_into(
        self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, buf: bytearray | memoryview, /
    ) -> int:
        """Open into `buf`, likewise; after InvalidTag it holds what was not authenticated."""
        ...


_AEADS: Final[dict[str, Callable[[BytesLike], Aead]]] = {"ChaChaPoly": ChaCha20Poly1305, "AESGCM": AESGCM}


def new_aead(cipher_name: str, key: BytesLike) -> Aead:
    """Make the AEAD context of a 32-byte key; InvalidKey for another length. The seam of the nonce-reuse tests."""
    if len(key) != KEYLEN:
        # AESGCM would take 16 and 24 bytes as well.
        raise InvalidKey("a cipher key has 32 bytes")
    return _AEADS[cipher_name](key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cipher:
    """A cipher function of section 4.2."""

    name: str
    """As in the protocol name."""
    nonce: Callable[[int], bytes]
    """Encode a counter, 0 to 2**64 - 1, as the 12 bytes of sections 12.3 and 12.4."""
    nonces: Callable[[Sequence[int]], Sequence[bytes]]
    """The same for many, in half the time of as many calls."""

    def new(self, key: BytesLike) -> Aead:
        """Make the AEAD context of a 32-byte key; see `new_aead`."""
        return new_aead(self.name, key)


@lru_cache(maxsize=256)
def _nonce_layouts(order: str, count: int) -> tuple[struct.Struct, struct.Struct]:
    """So many nonces one behind the other: made of their counters, and each whole."""
    return struct.Struct(order + "4xQ" * count), struct.Struct("12s" * count)


def _nonces(order: str, counters: Sequence[int]) -> Sequence[bytes]:
    of_counters, whole = _nonce_layouts(order, len(counters))
    return whole.unpack(of_counters.pack(*counters))


CIPHERS: Final[dict[str, Cipher]] = {
    name: Cipher(name=name, nonce=struct.Struct(order + "4xQ").pack, nonces=partial(_nonces, order))
    for name, order in {"ChaChaPoly": "<", "AESGCM": ">"}.items()
}


def sha256(data: BytesLike) -> bytes:
    """SHA-256: 32 bytes."""
    return hashlib.sha256(data).digest()


def _hmac_sha256(key: BytesLike, data: BytesLike) -> bytes:
    return _hmac.digest(key, data, "sha256")


def _hmac_sha512(key: BytesLike, data: BytesLike) -> bytes:
    return _hmac.digest(key, data, "sha512")


# For BLAKE2 `hmac.digest` takes OpenSSL's slow path, twice the time of `hmac.new` over hashlib's own.
def _hmac_blake2s(key: BytesLike, data: BytesLike) -> bytes:
    return _hmac.new(bytes(key), data, hashlib.blake2s).digest()


def _hmac_blake2b(key: BytesLike, data: BytesLike) -> bytes:
    return _hmac.new(bytes(key), data, hashlib.blake2b).digest()


class _Hashing(Protocol):
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """A hash function of section 4.3."""

    name: str
    """As in the protocol name."""
    hashlen: int
    """Bytes of output: 32 or 64."""
    blocklen: int
    """Bytes of a block: 64 or 128 (sections 12.5 to 12.8)."""
    new: Callable[[BytesLike], _Hashing]
    """HASH(data), of which `digest` gives the bytes."""
    hmac: Callable[[BytesLike, BytesLike], bytes]
    """HMAC-HASH(key, data) of RFC 2104, for keys of any length."""

    def hash(self, data: BytesLike) -> bytes:
        """HASH(data): HASHLEN bytes."""
        return self.new(data).digest()


HASHES: Final[dict[str, Hash]] = {
    "SHA256": Hash(name="SHA256", hashlen=32, blocklen=64, new=hashlib.sha256, hmac=_hmac_sha256),
    "SHA512": Hash(name="SHA512", hashlen=64, blocklen=128, new=hashlib.sha512, hmac=_hmac_sha512),
    "BLAKE2s": Hash(name="BLAKE2s", hashlen=32, blocklen=64, new=hashlib.blake2s, hmac=_hmac_blake2s),
    "BLAKE2b": Hash(name="BLAKE2b", hashlen=64, blocklen=128, new=hashlib.blake2b, hmac=_hmac_blake2b),
}


# RFC 2104: the bytes of the key, padded to a block, XORed with 0x36 and 0x5c.
_IPAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OPAD: Final = bytes(byte ^ 0x5C for byte in range(256))


def hkdf(
    hash_: Hash, chaining_key: bytes | bytearray, input_key_material: BytesLike, num_outputs: int
) -> tuple[bytes, ...]:
    """HKDF(chaining_key, input_key_material, num_outputs) of section 4.3: the first 1 to 3 outputs, of HASHLEN bytes.

    The chaining key has at most BLOCKLEN bytes. HMAC is written out here, as temp_key's pads serve two or three times:
    an IK responder runs this five times, and calls of `hmac.digest` take half as long again.
    """
    new = hash_.new
    blocklen = hash_.blocklen
    key = chaining_key.ljust(blocklen, b"\0")
    temp_key = new(key.translate(_OPAD) + new(key.translate(_IPAD) + input_key_material).digest()).digest()
    temp_key = temp_key.ljust(blocklen, b"\0")
    inner, outer = temp_key.translate(_IPAD), temp_key.translate(_OPAD)
    output1 = new(outer + new(inner + b"\x01").digest()).digest()
    if num_outputs == 1:
        return (output1,)
    output2 = new(outer + new(inner + output1 + b"\x02").digest()).digest()
    if num_outputs == 2:
        return output1, output2
    return output1, output2, new(outer + new(inner + output2 + b"\x03").digest()).digest()


_SHA256: Final = SHA256()


def extract(salt: BytesLike, ikm: BytesLike) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869, section 2.2): the 32-byte pseudorandom key."""
    return _hmac.digest(salt, ikm, "sha256")


def expand(prk: BytesLike, info: bytes, length: int = 32) -> bytearray:
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3): `length` bytes, 1 to 8,160; ValueError for another length.

    Written into the caller's buffer by the library: no immutable copy stays behind that nobody could wipe.
    """
    output = bytearray(length)
    HKDFExpand(_SHA256, length, info).derive_into(prk, output)
    return output


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros in place. Copies that a library below has made are beyond its reach."""
    # Of `bytes` CPython would make a bytearray first.
    buffer[:] = bytearray(len(buffer))


def header_mask(key: BytesLike, sample: BytesLike) -> bytes:
    """The 6 bytes that hide a DATAGRAM header: AES-256-ECB of 16 bytes of ciphertext (docs/protocol.md, section 3).

    One block under a key of its own, as QUIC does it (RFC 9001, section 5.4.3): a permutation, no mode of encryption.
    """
    encryptor = BlockCipher(AES256(key), ECB()).encryptor()  # noqa: S305 - a single block, see above
    return encryptor.update(sample)[:6]
