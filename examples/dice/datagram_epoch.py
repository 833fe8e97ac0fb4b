"""Keys and records of one epoch (docs/protocol.md, section 3)."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from examples.dice.datagram_chains import (
    PhaseReceiver,
    PhaseSender,
    Ratchet,
    RatchetReceiver,
    Receiver,
    Sender,
    expand,
    nearest,
)
from examples.dice.datagram_wire import DATA, FLAG_RATCHET, RECORD, WINDOW, PacketRefusedError

AEADS: Final[dict[int, type[ChaCha20Poly1305] | type[AESGCM]]] = {1: ChaCha20Poly1305, 2: AESGCM}


def padded(length: int) -> int:
    """The size class of content and kind together."""
    return next((size for size in (32, 64, 128, 256, 512, 1024) if length <= size), -(-length // 256) * 256)


class Epoch:
    """The keys, counters and replay window of one epoch."""

    def __init__(
        self, number: int, h: bytes, prk: bytes, *, initiator: bool, suite: int, flags: int, now: float
    ) -> None:
        self.number, self.h, self.suite, self.born = number, h, suite, now
        self.root = expand(prk, b"ng1 root")
        directions = expand(prk, b"ng1 i2r"), expand(prk, b"ng1 r2i")
        sends, receives = directions if initiator else directions[::-1]
        ratchet = bool(flags & FLAG_RATCHET)
        self.sender: Sender = Ratchet(sends) if ratchet else PhaseSender(sends)
        self._receiver: Receiver = RatchetReceiver(receives) if ratchet else PhaseReceiver(receives)
        self.confirmed, self.sent, self._highest, self._window = False, 0, -1, 0
        self.salt = b""
        self.base: Epoch | None = None  # whose root yields this epoch, if it is salted

    def _nonce(self, counter: int) -> bytes:
        return bytes(4) + counter.to_bytes(8, "little" if self.suite == 1 else "big")

    def seal(self, connection_id: bytes, plaintext: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
        """Header and AEAD output of a RECORD."""
        counter, self.sent = self.sent, self.sent + 1
        phase, key = self.sender.take()
        low = (counter & 0xFFFFFFFF).to_bytes(4, "big")
        header = bytes([RECORD]) + connection_id + bytes([self.number & 255, phase & 255]) + low
        return header, AEADS[self.suite](key).encrypt(self._nonce(counter), plaintext, header + associated_data)

    def open(self, header: bytes, sealed: bytes, associated_data: bytes, now: float) -> tuple[int, bytes]:
        """Kind (with its bit 0x80) and content; PacketRefusedError changes nothing."""
        counter = nearest(int.from_bytes(header[11:15], "big"), 32, max(self._highest, 0))
        key = self._receiver.find(header[10], counter, now)
        kind, content = self._decrypt(key, counter, header, sealed, associated_data)
        ahead = counter - self._highest
        if ahead <= 0 and (ahead <= -WINDOW or self._window >> -ahead & 1):
            raise PacketRefusedError("record")
        if ahead > 0:
            self._window = (self._window << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
        else:
            self._window |= 1 << -ahead
        self._highest = max(self._highest, counter)
        self._receiver.opened(header[10], counter, now)
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
