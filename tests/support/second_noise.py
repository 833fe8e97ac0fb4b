"""A second implementation of the hybrid handshakes, which shares no line with the product's.

Straight from the specifications (Noise revision 34; "Noise Extension: Hybrid Forward Secrecy", revision 1), for
ChaChaPoly and SHA256 alone. ML-KEM-1024 is kyber-py's, hashes are hashlib's and hmac's; X25519 and ChaCha20-Poly1305
are cryptography's own, used directly. The patterns are written out with their modifiers, token by token, so that the
product's rule for placing tokens is checked against something that has no rule.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kyber_py.ml_kem import ML_KEM_1024

PROTOCOL = "Noise_{}_25519+MLKEM1024_ChaChaPoly_SHA256"
MESSAGES = {
    "XXhfs": ("e e1", "e ee ekem1 s es", "s se"),
    "XXhfs+psk3": ("e e1", "e ee ekem1 s es", "s se psk"),
    "IKhfs": ("e es e1 s ss", "e ee ekem1 se"),
    "IKhfs+psk1": ("e es e1 s ss psk", "e ee ekem1 se"),
    "IKhfs+psk2": ("e es e1 s ss", "e ee ekem1 se psk"),
    "NKhfs": ("e es e1", "e ee ekem1"),
    "NKhfs+psk0": ("psk e es e1", "e ee ekem1"),
    "NKhfs+psk2": ("e es e1", "e ee ekem1 psk"),
    "NNhfs+psk0": ("psk e e1", "e ee ekem1"),
}
KEM_BYTES = 1568
"""Of an ML-KEM-1024 public key and of a ciphertext."""


def knows_responder(pattern: str) -> bool:
    """True where the initiator has the responder's static key beforehand."""
    return pattern[1] == "K"


@dataclass(kw_only=True)
class SecondNoise:
    """One end. Every secret is given, none is drawn."""

    pattern: str
    initiator: bool
    prologue: bytes
    e: bytes
    """The ephemeral private key."""
    kem: bytes
    """What the KEM takes: 64 bytes d ‖ z of the initiator's key, 32 bytes m of the responder's ciphertext."""
    s: bytes = b""
    """The static private key; empty where the pattern has none."""
    rs: bytes = b""
    psk: bytes = b""
    re: bytes = b""
    re1: bytes = b""
    kem_public: bytes = b""
    kem_ciphertext: bytes = b""
    kem_secret: bytes = b""
    key: bytes | None = None
    nonce: int = 0
    at: int = 0
    sends: list[bytes] = field(default_factory=list)
    """After the last message: the transport keys, the initiator's first."""

    def __post_init__(self) -> None:
        self.h = self.ck = hashlib.sha256(PROTOCOL.format(self.pattern).encode()).digest()
        self.mix_hash(self.prologue)
        if knows_responder(self.pattern):
            self.mix_hash(self.rs if self.initiator else public_of(self.s))

    def write(self, payload: bytes) -> bytes:
        """The next message."""
        out = b""
        for token in MESSAGES[self.pattern][self.at].split():
            if token == "e":
                out += public_of(self.e)
                self.mix_e(public_of(self.e))
            elif token == "s":
                out += self.seal(public_of(self.s))
            elif token == "e1":
                self.kem_public, _ = ML_KEM_1024.key_derive(self.kem)
                out += self.seal(self.kem_public)
            elif token == "ekem1":
                self.kem_secret, self.kem_ciphertext = ML_KEM_1024._encaps_internal(self.re1, self.kem)
                out += self.seal(self.kem_ciphertext)
                self.mix_key(self.kem_secret)
            else:
                self.mix(token)
        out += self.seal(payload)
        self.step()
        return out

    def read(self, message: bytes) -> bytes:
        """The payload of the next message; InvalidTag where it does not open."""
        rest = message

        def take(size: int) -> bytes:
            nonlocal rest
            taken, rest = rest[:size], rest[size:]
            return taken

        tag = 16
        for token in MESSAGES[self.pattern][self.at].split():
            if token == "e":
                self.re = take(32)
                self.mix_e(self.re)
            elif token == "s":
                self.rs = self.open(take(32 + tag if self.key else 32))
            elif token == "e1":
                self.re1 = self.open(take(KEM_BYTES + tag if self.key else KEM_BYTES))
            elif token == "ekem1":
                self.kem_ciphertext = self.open(take(KEM_BYTES + tag))
                _, private = ML_KEM_1024.key_derive(self.kem)
                self.kem_secret = ML_KEM_1024.decaps(private, self.kem_ciphertext)
                self.mix_key(self.kem_secret)
            else:
                self.mix(token)
        payload = self.open(rest)
        self.step()
        return payload

    def step(self) -> None:
        """The message is complete; after the last one come the transport keys."""
        self.at += 1
        if self.at == len(MESSAGES[self.pattern]):
            self.sends = hkdf(self.ck, b"", 2)

    def mix(self, token: str) -> None:
        """A DH or the pre-shared key."""
        if token == "psk":
            self.ck, extra, self.key = hkdf(self.ck, self.psk, 3)
            self.nonce = 0
            self.mix_hash(extra)
            return
        ours, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        private = X25519PrivateKey.from_private_bytes(self.e if ours == "e" else self.s)
        self.mix_key(private.exchange(X25519PublicKey.from_public_bytes(self.re if theirs == "e" else self.rs)))

    def mix_e(self, public: bytes) -> None:
        """An ephemeral public key; with a psk in the pattern it is mixed into the key as well."""
        self.mix_hash(public)
        if "psk" in self.pattern:
            self.mix_key(public)

    def mix_key(self, data: bytes) -> None:
        """MixKey."""
        self.ck, self.key = hkdf(self.ck, data, 2)
        self.nonce = 0

    def mix_hash(self, data: bytes) -> None:
        """MixHash."""
        self.h = hashlib.sha256(self.h + data).digest()

    def seal(self, data: bytes) -> bytes:
        """EncryptAndHash."""
        sealed = data if self.key is None else crypt(self.key, self.nonce, data, self.h, seal=True)
        self.nonce += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, data: bytes) -> bytes:
        """DecryptAndHash."""
        opened = data if self.key is None else crypt(self.key, self.nonce, data, self.h, seal=False)
        self.nonce += 1
        self.mix_hash(data)
        return opened


def public_of(private: bytes) -> bytes:
    """The X25519 public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def crypt(key: bytes, nonce: int, data: bytes, ad: bytes, *, seal: bool) -> bytes:
    """ChaCha20-Poly1305 with Noise's nonce, either way."""
    aead = ChaCha20Poly1305(key)
    run: Callable[[bytes, bytes, bytes], bytes] = aead.encrypt if seal else aead.decrypt
    return run(bytes(4) + nonce.to_bytes(8, "little"), data, ad)


def hkdf(chaining_key: bytes, data: bytes, outputs: int) -> list[bytes]:
    """HKDF of Noise, section 4.3."""
    temp = hmac.new(chaining_key, data, hashlib.sha256).digest()
    found = [b""]
    for number in range(1, outputs + 1):
        found.append(hmac.new(temp, found[-1] + bytes([number]), hashlib.sha256).digest())
    return found[1:]
