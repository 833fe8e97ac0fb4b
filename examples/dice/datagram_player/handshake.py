"""Noise handshakes (revision 34, sections 5 and 9) of the patterns that the protocol has, hybrid ones included.

The tokens `e1` and `ekem1` are those of "Noise Extension: Hybrid Forward Secrecy", revision 1, with ML-KEM-1024.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from examples.dice.datagram_player.wire import PacketRefusedError, Protocol

PATTERNS: Final = {
    1: "XX", 2: "IK", 3: "NK", 4: "XXpsk3", 5: "IKpsk1", 6: "IKpsk2", 7: "NKpsk0", 8: "NKpsk2", 9: "NNpsk0",
}  # fmt: skip
IKPSK1, NKPSK0, NNPSK0 = 5, 7, 9
MESSAGES: Final = {
    "XX": ("e", "e ee s es", "s se"),
    "IK": ("e es s ss", "e ee se"),
    "NK": ("e es", "e ee"),
    "NN": ("e", "e ee"),
}
CIPHERS: Final = {1: "ChaChaPoly", 2: "AESGCM", 3: "ChaChaPoly"}
AEADS: Final[dict[int, type[ChaCha20Poly1305] | type[AESGCM]]] = {
    1: ChaCha20Poly1305, 2: AESGCM, 3: ChaCha20Poly1305,
}  # fmt: skip
HYBRID: Final = 3
KEM_BYTES: Final = 1568
"""Of an ML-KEM-1024 public key, and of a ciphertext."""
MAX_MESSAGE: Final = 65_535


class Split(NamedTuple):
    """What a finished Noise handshake leaves: k1 encrypts from its initiator, h is the handshake hash."""

    k1: bytes
    k2: bytes
    h: bytes


def noise_name(protocol: Protocol) -> str:
    """The canonical Noise name; `hfs` stands before other modifiers."""
    pattern, suite = PATTERNS[protocol.pattern], protocol.suite
    if suite != HYBRID:
        return f"Noise_{pattern}_25519_{CIPHERS[suite]}_SHA256"
    base, psk = pattern[:2], pattern[2:]
    return f"Noise_{base}hfs{'+' if psk else ''}{psk}_25519+MLKEM1024_{CIPHERS[suite]}_SHA256"


def message_tokens(protocol: Protocol) -> tuple[tuple[str, ...], ...]:
    """The tokens of each message: the pattern's own, then those of its modifiers."""
    pattern = PATTERNS[protocol.pattern]
    messages = [message.split() for message in MESSAGES[pattern[:2]]]
    if protocol.suite == HYBRID:
        first, second = messages[:2]
        first.insert(first.index("es") + 1 if "es" in first else 1, "e1")
        second.insert(second.index("ee") + 1, "ekem1")
    if pattern[2:]:
        place = int(pattern[-1])
        messages[max(place - 1, 0)].insert(0 if place == 0 else len(messages[place - 1]), "psk")
    return tuple(map(tuple, messages))


def nonce_of(suite: int, counter: int) -> bytes:
    """Noise, section 12: 12 bytes, the counter little-endian for ChaChaPoly and big-endian for AESGCM."""
    return bytes(4) + counter.to_bytes(8, "big" if CIPHERS[suite] == "AESGCM" else "little")


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """A new secret and its ciphertext for an ML-KEM-1024 key; the library draws the randomness for it itself."""
    return MLKEM1024PublicKey.from_public_bytes(public).encapsulate()


class NoiseHandshake:
    """HandshakeState and SymmetricState in one. It reads on a copy, so that a forged message does not kill it."""

    def __init__(
        self, protocol: Protocol, prologue: bytes, random_bytes: Callable[[int], bytes], *, initiator: bool,
        static: bytes | None = None, remote: bytes | None = None, psk: bytes | None = None,
    ) -> None:  # fmt: skip
        self.protocol, self.initiator = protocol, initiator
        self.remote: bytes | None = None
        """The peer's static public key, as far as it is known."""
        self._pattern, self._left = PATTERNS[protocol.pattern], message_tokens(protocol)
        self._random_bytes, self._psk = random_bytes, psk or b""
        self._static = X25519PrivateKey.from_private_bytes(static) if static else None
        self._ephemeral: X25519PrivateKey | None = None
        self._remote_ephemeral: X25519PublicKey | None = None
        self._kem: MLKEM1024PrivateKey | None = None
        self._remote_kem = b""
        self._key, self._counter = b"", 0
        name = noise_name(protocol).encode()
        self._h = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.sha256(name).digest()
        self._ck = self._h
        self._mix_hash(prologue)
        if self._pattern[1] == "K":  # the responder's static key is known beforehand: a pre-message
            self.remote = remote if initiator else None
            self._mix_hash((self.remote if initiator else self._public()) or b"")

    @property
    def split(self) -> Split | None:
        """The keys, once the handshake is finished."""
        if self._left:
            return None
        k1, k2 = self._hkdf(b"", 2)
        return Split(k1, k2, self._h)

    def write(self, payload: bytes = b"") -> bytes:
        """The next message; PacketRefusedError if the peer's key is one with which no secret can be agreed."""
        after = copy.copy(self)
        message = b"".join(after._write(sign) for sign in self._left[0]) + after._seal(payload)
        after._left = self._left[1:]
        self.__dict__ = after.__dict__
        return message

    def read(self, message: bytes) -> bytes:
        """The payload of the peer's message; PacketRefusedError leaves the handshake as it was."""
        after, rest = copy.copy(self), message
        if not self._left or len(message) > MAX_MESSAGE:
            raise PacketRefusedError("handshake message")
        try:
            for sign in self._left[0]:
                rest = after._read(sign, rest)
            payload = after._open(rest)
        except (InvalidTag, ValueError) as error:
            raise PacketRefusedError("handshake message") from error
        after._left = self._left[1:]
        self.__dict__ = after.__dict__
        return payload

    # --- tokens

    def _write(self, sign: str) -> bytes:
        if sign == "e":
            self._ephemeral = X25519PrivateKey.from_private_bytes(self._random_bytes(32))
            public = self._ephemeral.public_key().public_bytes_raw()
            self._mix_ephemeral(public)
            return public
        if sign == "s":
            return self._seal(self._public())
        if sign == "e1":
            self._kem = MLKEM1024PrivateKey.from_seed_bytes(self._random_bytes(64))
            return self._seal(self._kem.public_key().public_bytes_raw())
        if sign == "ekem1":
            secret, ciphertext = encapsulate(self._remote_kem)
            sealed = self._seal(ciphertext)
            self._mix_key(secret)
            return sealed
        self._mix(sign)
        return b""

    def _read(self, sign: str, message: bytes) -> bytes:
        """The rest of the message."""
        if sign == "e":
            public, rest = message[:32], message[32:]
            self._remote_ephemeral = X25519PublicKey.from_public_bytes(public)
            self._mix_ephemeral(public)
            return rest
        if sign in ("s", "e1", "ekem1"):
            size = (32 if sign == "s" else KEM_BYTES) + (16 if self._key else 0)
            opened, rest = self._open(message[:size]), message[size:]
            if sign == "s":
                self.remote = X25519PublicKey.from_public_bytes(opened).public_bytes_raw()
            elif sign == "e1":
                self._remote_kem = MLKEM1024PublicKey.from_public_bytes(opened).public_bytes_raw()
            elif self._kem is not None:
                self._mix_key(self._kem.decapsulate(opened))
            return rest
        self._mix(sign)
        return message

    def _mix(self, sign: str) -> None:
        """The tokens that put nothing on the wire: `psk`, and DH between the initiator's and the responder's keys."""
        if sign == "psk":
            self._ck, temporary, self._key = self._hkdf(self._psk, 3)
            self._mix_hash(temporary)
            self._counter = 0
            return
        mine, theirs = list(sign if self.initiator else sign[::-1])
        private = self._ephemeral if mine == "e" else self._static
        public = self._remote_ephemeral
        if theirs == "s":
            public = X25519PublicKey.from_public_bytes(self.remote) if self.remote else None
        if private is None or public is None:
            raise PacketRefusedError("handshake key")
        try:
            self._mix_key(private.exchange(public))
        except ValueError as error:  # a point of low order
            raise PacketRefusedError("handshake key") from error

    # --- SymmetricState

    def _public(self) -> bytes:
        return self._static.public_key().public_bytes_raw() if self._static is not None else b""

    def _hkdf(self, ikm: bytes, outputs: int) -> tuple[bytes, ...]:
        prk, block, blocks = hmac.digest(self._ck, ikm, "sha256"), b"", []
        for number in range(1, outputs + 1):
            block = hmac.digest(prk, block + bytes([number]), "sha256")
            blocks.append(block)
        return tuple(blocks)

    def _mix_hash(self, data: bytes) -> None:
        self._h = hashlib.sha256(self._h + data).digest()

    def _mix_key(self, ikm: bytes) -> None:
        self._ck, self._key = self._hkdf(ikm, 2)
        self._counter = 0

    def _mix_ephemeral(self, public: bytes) -> None:
        self._mix_hash(public)
        if "psk" in self._pattern:
            self._mix_key(public)

    def _seal(self, plaintext: bytes) -> bytes:
        sealed = plaintext
        if self._key:
            nonce = nonce_of(self.protocol.suite, self._counter)
            self._counter += 1
            sealed = AEADS[self.protocol.suite](self._key).encrypt(nonce, plaintext, self._h)
        self._mix_hash(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        plaintext = sealed
        if self._key:
            nonce = nonce_of(self.protocol.suite, self._counter)
            self._counter += 1
            plaintext = AEADS[self.protocol.suite](self._key).decrypt(nonce, sealed, self._h)
        self._mix_hash(sealed)
        return plaintext
