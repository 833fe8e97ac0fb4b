"""The CipherState object (section 5.1)."""

from __future__ import annotations

from typing import Final

from noisegate_server.noise.errors import DecryptError, InvalidKey, MessageTooLong, NonceExhausted
from noisegate_server.noise.primitives import KEYLEN, MAX_NONCE, TAGLEN, Aead, BytesLike, Cipher, InvalidTag, wipe

MAX_MESSAGE: Final = 65535
"""Bytes of a Noise message (section 3)."""
MAX_PLAINTEXT: Final = MAX_MESSAGE - TAGLEN
"""Bytes of a plaintext that still fits into one message: 65,519."""


class CipherState:
    """A cipher key and its nonce. Not for concurrent use: a nonce is taken and moved in one step."""

    __slots__ = ("_aead", "cipher", "k", "n")

    def __init__(self, cipher: Cipher, key: BytesLike | None = None) -> None:
        self.cipher = cipher
        self.k: bytearray | None = None
        """The key, 32 bytes; None before the first one; empty once wiped."""
        self.n = 0
        """The next nonce; 2**64 - 1 when none is left."""
        # Built on first use: many a key of a handshake never seals anything, and an idle context costs 2 kB.
        self._aead: Aead | None = None
        if key is not None:
            self.initialize_key(key)

    def __repr__(self) -> str:
        return f"CipherState(cipher={self.cipher.name}, n={self.n})"

    def initialize_key(self, key: BytesLike | None) -> None:
        """InitializeKey(key): set the key, or none, and n = 0. InvalidKey if it has not 32 bytes."""
        if key is not None and len(key) != KEYLEN:
            raise InvalidKey("a cipher key has 32 bytes")
        self._aead = None
        if key is None:
            self.wipe()
            self.k = None
        elif self.k:
            self.k[:] = key
        else:
            self.k = bytearray(key)
        self.n = 0

    def has_key(self) -> bool:
        """HasKey(). True also after `wipe`, so that nothing is ever sent in clear for the lack of a key."""
        return self.k is not None

    def set_nonce(self, nonce: int) -> None:
        """SetNonce(nonce): 0 to 2**64 - 1; ValueError outside."""
        if not 0 <= nonce <= MAX_NONCE:
            raise ValueError("a nonce is an integer of 64 bits")
        self.n = nonce

    def encrypt_with_ad(self, ad: BytesLike, plaintext: BytesLike) -> bytes:
        """EncryptWithAd(ad, plaintext): the ciphertext, 16 bytes longer; without a key the plaintext itself.

        MessageTooLong above 65,519 bytes and NonceExhausted leave n alone. n moves before the ciphertext exists, so
        that no failure after that point can make a second message under the same nonce.
        """
        if self.k is None:
            return bytes(plaintext)
        if len(plaintext) > MAX_PLAINTEXT:
            raise MessageTooLong
        n = self.n
        if n == MAX_NONCE:
            raise NonceExhausted
        aead = self._aead
        if aead is None:
            aead = self._aead = self.cipher.new(self.k)
        self.n = n + 1
        return aead.encrypt(self.cipher.nonce(n), plaintext, ad)

    def decrypt_with_ad(self, ad: BytesLike, ciphertext: BytesLike) -> bytes:
        """DecryptWithAd(ad, ciphertext): the plaintext.

        n moves only after the tag was verified: DecryptError, MessageTooLong and NonceExhausted leave it alone.
        """
        if self.k is None:
            return bytes(ciphertext)
        if len(ciphertext) > MAX_MESSAGE:
            raise MessageTooLong
        n = self.n
        if n == MAX_NONCE:
            raise NonceExhausted
        aead = self._aead
        if aead is None:
            aead = self._aead = self.cipher.new(self.k)
        try:
            plaintext = aead.decrypt(self.cipher.nonce(n), ciphertext, ad)
        except InvalidTag:
            raise DecryptError from None
        self.n = n + 1
        return plaintext

    def rekey(self) -> None:
        """Rekey(): k = REKEY(k) of section 4.2; n runs on (section 11.3). InvalidKey without a key."""
        if not self.k:
            raise InvalidKey("there is no key to replace")
        aead = self._aead
        if aead is None:
            aead = self._aead = self.cipher.new(self.k)
        fresh = rekeyed(self.cipher, aead)
        self._aead = None
        self.k[:] = fresh

    def copy(self) -> CipherState:
        """An independent CipherState with the same key and nonce. Only one of the two may go on to seal."""
        other = CipherState(self.cipher)
        other.k = None if self.k is None else bytearray(self.k)
        other.n = self.n
        other._aead = self._aead
        return other

    def take_key(self) -> bytearray:
        """Hand the key over: 32 bytes that are the caller's now, to use and to wipe. This state is as after `wipe`.

        InvalidKey where there is none.
        """
        key = self.k
        if not key:
            raise InvalidKey("no key to hand over")
        self.k = bytearray()
        self.n = MAX_NONCE
        self._aead = None
        return key

    def wipe(self) -> None:
        """Overwrite the key in place and drop the context. After this the state can neither seal nor open."""
        self._aead = None
        self.n = MAX_NONCE
        if self.k is not None:
            wipe(self.k)
            self.k = bytearray()


def rekeyed(cipher: Cipher, aead: Aead) -> bytes:
    """REKEY(k) of section 4.2: the 32 bytes of the key after that of `aead`."""
    return aead.encrypt(cipher.nonce(MAX_NONCE), bytes(KEYLEN), b"")[:KEYLEN]
