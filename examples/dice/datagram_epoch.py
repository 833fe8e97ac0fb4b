"""Keys and records of one epoch (docs/protocol.md, section 3)."""

from __future__ import annotations

import math
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from examples.dice.datagram_wire import DATA, GRACE_S, PHASES, RECORD, WINDOW, PacketRefusedError

AEADS: Final[dict[int, type[ChaCha20Poly1305] | type[AESGCM]]] = {1: ChaCha20Poly1305, 2: AESGCM}


def expand(prk: bytes, label: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256, 32 bytes."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=label).derive(prk)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract of RFC 5869 with SHA-256."""
    return HKDF.extract(SHA256(), salt, ikm)


def nearest(low: int, bits: int, highest: int) -> int:
    """The value with these low bits that is nearest to `highest`, and not negative."""
    span = 1 << bits
    value = highest - (span >> 1) + ((low - highest + (span >> 1)) % span)
    return value if value >= 0 else value + span


def padded(length: int) -> int:
    """The size class of content and kind together."""
    return next((size for size in (32, 64, 128, 256, 512, 1024) if length <= size), -(-length // 256) * 256)


class Epoch:
    """The keys, counters, phases and replay window of one epoch (section 3)."""

    def __init__(self, number: int, h: bytes, prk: bytes, *, initiator: bool, suite: int, now: float) -> None:
        self.number, self.h, self.suite, self.born = number, h, suite, now
        self.root = expand(prk, b"ng1 root")
        chains = expand(prk, b"ng1 i2r"), expand(prk, b"ng1 r2i")
        self._send_chain, self._receive_chain = chains if initiator else chains[::-1]
        self.confirmed, self.sent, self.send_phase = False, 0, 0
        self.salt = b""
        self.base: Epoch | None = None  # whose root yields this epoch, if it is salted
        self._receive_phase, self._highest, self._window = 0, -1, 0
        self._passed: dict[int, tuple[bytes, float]] = {}

    def _nonce(self, counter: int) -> bytes:
        return bytes(4) + counter.to_bytes(8, "little" if self.suite == 1 else "big")

    def rekey(self) -> None:
        """Moves our side to the next phase; an epoch has 64 of them."""
        if self.send_phase + 1 < PHASES:
            self._send_chain, self.send_phase = expand(self._send_chain, b"ng1 next"), self.send_phase + 1

    def seal(self, connection_id: bytes, plaintext: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
        """Header and AEAD output of a RECORD."""
        counter, self.sent = self.sent, self.sent + 1
        low = (counter & 0xFFFFFFFF).to_bytes(4, "big")
        header = bytes([RECORD]) + connection_id + bytes([self.number & 255, self.send_phase & 255]) + low
        aead = AEADS[self.suite](expand(self._send_chain, b"ng1 key"))
        return header, aead.encrypt(self._nonce(counter), plaintext, header + associated_data)

    def _receive_chains(self, phase: int) -> dict[int, bytes]:
        """The chain values from the newest phase that opened up to this one: at most 64 steps for a forged packet."""
        if phase > self._receive_phase + PHASES:
            raise PacketRefusedError("record")
        chains = {self._receive_phase: self._receive_chain}
        for p in range(self._receive_phase, phase):
            chains[p + 1] = expand(chains[p], b"ng1 next")
        return chains

    def open(self, header: bytes, sealed: bytes, associated_data: bytes, now: float) -> tuple[int, bytes]:
        """Kind (with its bit 0x80) and content; PacketRefusedError changes nothing."""
        phase = nearest(header[10], 8, self._receive_phase)
        counter = nearest(int.from_bytes(header[11:15], "big"), 32, max(self._highest, 0))
        chains = self._receive_chains(phase)
        if phase in chains:
            key, until = expand(chains[phase], b"ng1 key"), now
        else:
            key, until = self._passed.get(phase, (b"", -math.inf))
        if now > until:
            raise PacketRefusedError("record")
        kind, content = self._decrypt(key, counter, header, sealed, associated_data)
        ahead = counter - self._highest
        if ahead <= 0 and (ahead <= -WINDOW or self._window >> -ahead & 1):
            raise PacketRefusedError("record")
        if ahead > 0:
            self._window = (self._window << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
        else:
            self._window |= 1 << -ahead
        self._highest = max(self._highest, counter)
        self._passed = {p: old for p, old in self._passed.items() if now <= old[1]}
        if phase > self._receive_phase:
            for p in range(self._receive_phase, phase):
                self._passed[p] = expand(chains[p], b"ng1 key"), now + GRACE_S
            self._receive_phase, self._receive_chain = phase, chains[phase]
        return kind, content

    def _decrypt(self, key: bytes, counter: int, header: bytes, sealed: bytes, extra: bytes) -> tuple[int, bytes]:
        aead, nonce = AEADS[self.suite](key), self._nonce(counter)
        for associated_data in dict.fromkeys((extra, b"")):
            try:
                opened = aead.decrypt(nonce, sealed, header + associated_data).rstrip(b"\0")
            except InvalidTag:
                continue
            # With associated data given, data must carry it and nothing else may.
            if opened and (not extra or (opened[-1] & 0x7F == DATA) == bool(associated_data)):
                return opened[-1], opened[:-1]
        raise PacketRefusedError("record")
