"""One key epoch: sealing and opening records, the replay window, and the salted epoch over it (sections 3 and 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag

from examples.dice.datagram_player.handshake import AEADS, Split, nonce_of
from examples.dice.datagram_player.keys import (
    PhaseReceiver,
    PhaseSender,
    Ratchet,
    RatchetReceiver,
    Receiver,
    Sender,
    expand,
    extract,
    nearest,
)
from examples.dice.datagram_player.window import Window
from examples.dice.datagram_player.wire import DATA, FLAG_RATCHET, RECORD, SALTED, PacketRefusedError

LARGEST_COUNTER = (1 << 64) - 2
LARGEST_SALTED = (1 << 32) - 2


def padded(length: int, most: int = 65_476) -> int:
    """The size class of content and kind together; `most`: what still fits a UDP datagram."""
    size = next((size for size in (32, 64, 128, 256, 512, 1024) if length <= size), -(-length // 256) * 256)
    return max(length, min(size, most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """What is left of an epoch to build another one over it: a rotation's PSK or a salted epoch comes from it.

    `foreign`: we have added no randomness to it since we started, so another owner of it may have sent what we would.
    """

    number: int
    h: bytes
    root: bytes = field(repr=False)
    foreign: bool = False

    def salted(self, number: int, salt: bytes) -> tuple[bytes, bytes]:
        """h and prk of the salted epoch with this number: its base is this one."""
        tail = salt + number.to_bytes(4, "big")
        h = hashlib.sha256(b"ng1 salted" + self.h + tail).digest()
        return h, extract(tail, expand(self.root, b"ng1 salted"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every epoch of a session shares: which side we are, the suite and the flags."""

    initiator: bool
    suite: int
    flags: int


class Epoch:
    """The keys, counters and replay window of one epoch.

    `base` is there while the epoch is salted and its base's root still yields it; `salt` is empty for others.
    """

    def __init__(self, number: int, h: bytes, prk: bytes, terms: Terms, now: float, *, salt: bytes = b"") -> None:
        self.number, self.h, self.born, self.salt = number, h, now, salt
        self.root = expand(prk, b"ng1 root")
        self._suite = terms.suite
        directions = expand(prk, b"ng1 i2r"), expand(prk, b"ng1 r2i")
        sends, receives = directions if terms.initiator else directions[::-1]
        ratchet = bool(terms.flags & FLAG_RATCHET)
        self.sender: Sender = Ratchet(sends) if ratchet else PhaseSender(sends)
        self._receiver: Receiver = RatchetReceiver(receives) if ratchet else PhaseReceiver(receives)
        self.confirmed, self.sent, self.window = False, 0, Window()
        self.base: Root | None = None
        self.ours = False
        """We chose the salt."""

    @classmethod
    def after(cls, split: Split, number: int, terms: Terms, now: float) -> Epoch:
        """The epoch of a finished handshake."""
        return cls(number, split.h, extract(split.h, split.k1 + split.k2), terms, now)

    @classmethod
    def over(cls, base: Root, number: int, salt: bytes, terms: Terms, now: float) -> Epoch:
        """The salted epoch over a base."""
        epoch = cls(number, *base.salted(number, salt), terms, now, salt=salt)
        epoch.base = base
        return epoch

    def forget(self) -> None:
        """Lets go of every key: nothing is sealed or opened any more."""
        self.root, self.base = b"", None
        self.sender, self._receiver = PhaseSender(b""), PhaseReceiver(b"")

    @property
    def kept(self) -> Root:
        """What may be stored of it."""
        return Root(number=self.number, h=self.h, root=self.root)

    @property
    def told(self) -> Root | None:
        """The base that our packets name: of our own salted epoch, until the peer has answered."""
        return self.base if self.ours and not self.confirmed else None

    def seal(self, connection_id: bytes, plaintext: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
        """Header and AEAD output of a RECORD, or of a SALTED while our own salted epoch is unconfirmed."""
        counter, self.sent = self.sent, self.sent + 1
        phase, key = self.sender.take()
        low = (counter & 0xFFFFFFFF).to_bytes(4, "big")
        header = connection_id + bytes([self.number & 255, phase & 255]) + low
        if self.told is None:
            header = bytes([RECORD]) + header
        else:
            header = bytes([SALTED]) + header + bytes([self.told.number & 255]) + self.salt
        nonce = nonce_of(self._suite, counter)
        return header, AEADS[self._suite](key).encrypt(nonce, plaintext, header + associated_data)

    def open(self, header: bytes, sealed: bytes, associated_data: bytes, now: float) -> tuple[int, bytes, int]:
        """Kind (with its bit 0x80), content and counter; PacketRefusedError changes nothing."""
        counter = nearest(int.from_bytes(header[11:15], "big"), 32, self.window.highest)
        if counter > LARGEST_COUNTER:
            raise PacketRefusedError("record")
        key = self._receiver.find(header[10], counter, now)
        kind, content = self._decrypt(key, counter, header, sealed, associated_data)
        if not self.window.fresh(counter):
            raise PacketRefusedError("record")
        self.window.add(counter)
        self._receiver.opened(header[10], counter, now)
        return kind, content, counter

    def _decrypt(self, key: bytes, counter: int, header: bytes, sealed: bytes, extra: bytes) -> tuple[int, bytes]:
        aead, nonce = AEADS[self._suite](key), nonce_of(self._suite, counter)
        for associated_data in dict.fromkeys((extra, b"")):
            try:
                opened = aead.decrypt(nonce, sealed, header + associated_data).rstrip(b"\0")
            except InvalidTag:
                continue
            # With associated data given, data must carry it and nothing else may.
            if opened and (not extra or (opened[-1] & 0x7F == DATA) == bool(associated_data)):
                return opened[-1], opened[:-1]
        raise PacketRefusedError("record")
