"""An established session: epochs, rotation and control records (docs/protocol.md, sections 3 to 5)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from examples.dice.datagram_chains import expand, extract
from examples.dice.datagram_epoch import Epoch, padded
from examples.dice.datagram_wire import (
    BEGIN_GAP_S,
    CLOSE,
    CONNECTION_ID,
    DATA,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_RATCHET,
    FLAG_TICKETS,
    GRACE_S,
    HARD_AGE_S,
    HEADER_BYTES,
    IKPSK1,
    KEEP_ALIVE,
    MESSAGES,
    NKPSK0,
    RATCHET_MESSAGES,
    RECORD,
    ROTATE_1,
    ROTATE_2,
    SALTED,
    SILENT_S,
    SOFT_AGE_S,
    TICKET,
    TICKET_S,
    WANT_GAP_S,
    WANTS_ROTATION,
    Identity,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Received,
    Split,
    Ticket,
    Timer,
)
from examples.dice.noise_handshake import NoiseHandshake


class Session:
    """An established session: its epochs, rotation and control records (sections 3 to 5)."""

    def __init__(
        self, split: Split, random_bytes: Callable[[int], bytes], now: float, *,
        initiator: bool, suite: int, flags: int, connection_id: bytes, chose_id: bool, identity: Identity,
        issued: dict[bytes, Ticket],
    ) -> None:  # fmt: skip
        self.initiator, self.suite, self.flags, self.identity = initiator, suite, flags, identity
        self.connection_id, self.chose_id, self.h = connection_id, chose_id, split.h
        self._random_bytes, self._issued = random_bytes, issued
        self._soft, self._hard = RATCHET_MESSAGES if flags & FLAG_RATCHET else MESSAGES
        prk = extract(split.h, split.k1 + split.k2)
        self.export, self._mask_key = expand(prk, b"ng1 export"), expand(prk, b"ng1 mask")
        self.current = Epoch(0, split.h, prk, initiator=initiator, suite=suite, flags=flags, now=now)
        self.current.confirmed = True  # by the handshake
        self.next: Epoch | None = None
        self.previous: Epoch | None = None
        self.proven = self.closed = self.wants_rotation = False
        self.ticket: Ticket | None = None
        self.step_3: bytes | None = None
        self._repeat, self._ask = Timer(now), Timer(now)
        self.now = self._last_sent = now
        self._previous_until, self._rotated_at, self._wanted_at = math.inf, -math.inf, -math.inf
        self._rotation: tuple[NoiseHandshake, bytes] | None = None
        self._rotating = Timer(now)
        self._answered: tuple[bytes, bytes] | None = None  # rotate-1 and the rotate-2 that made `next`

    @property
    def due(self) -> bool:
        """Whether a soft limit is passed, or a salted epoch waits for a fresh secret."""
        epoch = self.current
        old = self.now - epoch.born >= SOFT_AGE_S or epoch.sent >= self._soft
        return old or bool(epoch.salt) or self.wants_rotation

    def _mask(self, header: bytes, sealed: bytes) -> bytes:
        if not self.flags & FLAG_MASK:
            return header
        # One block as a pseudo-random function of the sample, as in QUIC's header protection: ECB is right here.
        stream = Cipher(algorithms.AES256(self._mask_key), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305
        return header[:9] + bytes(a ^ b for a, b in zip(header[9:15], stream, strict=False)) + header[15:]

    def seal(self, kind: int, content: bytes = b"", associated_data: bytes = b"") -> bytes:
        """A RECORD packet of the current epoch."""
        if not self.initiator and self.due:
            kind |= WANTS_ROTATION
        plaintext = content + bytes([kind])
        if self.flags & FLAG_PAD:
            plaintext = plaintext.ljust(padded(len(plaintext)), b"\0")
        self._last_sent = self.now
        header, sealed = self.current.seal(self.connection_id, plaintext, associated_data)
        return self._mask(header, sealed) + sealed

    def send(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A data record; NotPossibleError past the hard limits, which only a rotation lifts."""
        epoch = self.current
        if self.closed or epoch.sent >= self._hard or self.now - epoch.born >= HARD_AGE_S:
            raise NotPossibleError("the session is closed or needs a rotation")
        return self.seal(DATA, plaintext, associated_data)

    def _question(self) -> bytes:
        return self.seal(KEEP_ALIVE, b"\x01" + self._random_bytes(8))

    def receive(self, packet: bytes, associated_data: bytes, now: float) -> Received:
        """Opens a RECORD or SALTED packet and does what a control record asks."""
        self.now, size = now, HEADER_BYTES[packet[0]]
        if self.closed or len(packet) < size + 17:
            raise PacketRefusedError("record")
        sealed = packet[size:]
        header = self._mask(packet[:size], sealed)
        epoch = self._salted(header) if packet[0] == SALTED else self._held(header[9])
        kind, content = epoch.open(header, sealed, associated_data, now)
        result, first = Received(), not epoch.confirmed
        self._confirm(epoch)
        if packet[0] == RECORD:
            epoch.base = None
        wanted, kind = kind & WANTS_ROTATION, kind & 0x7F
        if kind == DATA:
            result.plaintexts.append(content)
        result.to_send.extend(self._control(kind, content, epoch))
        if first and (not self.initiator or epoch.salt) and not result.to_send:
            result.to_send.append(self.seal(KEEP_ALIVE))
        if not self.proven and not self.initiator and self.flags & FLAG_TICKETS:
            result.to_send.append(self.issue())
        self.proven = True
        if wanted and self.initiator and epoch is self.current and now - self._wanted_at >= WANT_GAP_S:
            rotate_1 = self.renegotiate()
            self._wanted_at = now if rotate_1 else self._wanted_at
            result.to_send.extend(rotate_1)
        return result

    def _held(self, low: int) -> Epoch:
        if self.now > self._previous_until:
            self.previous = None
        for epoch in (self.current, self.previous, self.next):
            if epoch is not None and epoch.number & 255 == low:
                return epoch
        raise PacketRefusedError("record")

    def _salted(self, header: bytes) -> Epoch:
        salt, newest = header[16:32], self.current.number
        if self.current.salt == salt and self.current.number & 255 == header[9]:
            return self.current
        confirmed = newest if self.current.confirmed else newest - 1
        number = confirmed + 1 + (header[9] - confirmed - 1) % 256
        for base in (self.current, self.next, self.previous, self.current.base):
            if base is not None and base.root and base.number & 255 == header[15]:
                tail = salt + number.to_bytes(4, "big")
                h = hashlib.sha256(b"ng1 salted" + base.h + tail).digest()
                prk = extract(tail, expand(base.root, b"ng1 salted"))
                epoch = Epoch(
                    number, h, prk, initiator=self.initiator, suite=self.suite, flags=self.flags, now=self.now
                )
                epoch.salt, epoch.base = salt, base
                return epoch
        raise PacketRefusedError("record")

    def _confirm(self, epoch: Epoch) -> None:
        """Moves on after a record of the epoch has opened: the only place where an epoch is promoted or confirmed."""
        if epoch.confirmed:
            return
        epoch.confirmed = True
        if epoch.salt:  # what the peer's restore overtook gives way, and a zombie of it is not believed
            self.previous, self.next, self._rotation, self._answered = None, None, None, None
            self.current = epoch
            return
        if epoch is self.next:
            self.previous, self.current, self.next, self._answered = self.current, epoch, None, None
        self._previous_until, self._rotated_at, self.wants_rotation = self.now + GRACE_S, self.now, False
        if self.previous is not None:
            self.previous.root = b""

    def _control(self, kind: int, content: bytes, epoch: Epoch) -> list[bytes]:
        if kind == KEEP_ALIVE and len(content) == 9 and content[0] == 1:
            return [self.seal(KEEP_ALIVE, b"\x02" + content[1:])]
        if kind == ROTATE_1 and not self.initiator and epoch is self.current:
            return self._rotate_1(content)
        if kind == ROTATE_2 and epoch is self.current:
            return self._rotate_2(content)
        if kind == TICKET and len(content) > 40:
            self.ticket = self._ticket(content)
        elif kind == CONNECTION_ID and len(content) == 8 and not self.chose_id:
            self.connection_id = content
        elif kind == CLOSE:
            self.closed = True
        return []

    def _ticket(self, content: bytes) -> Ticket:
        lifetime_s, max_early = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
        return Ticket(
            lifetime_s=lifetime_s, max_early=max_early, psk=content[8:40], ticket=content[40:], suite=self.suite,
            flags=self.flags, identity=self.identity, expires_at=self.now + lifetime_s,
        )  # fmt: skip

    def issue(self) -> bytes:
        """The record with a ticket of ours; it is opaque because it is random and means something here alone."""
        psk, opaque = self._random_bytes(32), self._random_bytes(32)
        content = TICKET_S.to_bytes(4, "big") + bytes(4) + psk + opaque
        self._issued[opaque] = self._ticket(content)
        return self.seal(TICKET, content)

    def _rotation_handshake(self) -> NoiseHandshake:
        base, who = self.current, self.identity
        prologue = b"ng1 renegotiate" + base.h + (base.number + 1).to_bytes(4, "big")
        return NoiseHandshake(
            Protocol(NKPSK0 if who.anonymous else IKPSK1, self.suite), prologue, self._random_bytes,
            initiator=self.initiator, static=who.static, remote=who.remote, psk=expand(base.root, b"ng1 renegotiate"),
        )  # fmt: skip

    def _epoch_after(self, split: Split | None) -> Epoch:
        if split is None:
            raise NotPossibleError("the rotation's handshake is not finished")
        number, prk = self.current.number + 1, extract(split.h, split.k1 + split.k2)
        return Epoch(number, split.h, prk, initiator=self.initiator, suite=self.suite, flags=self.flags, now=self.now)

    def renegotiate(self) -> list[bytes]:
        """As initiator rotate-1, unless a rotation is under way; as responder the wish for it."""
        if not self.initiator:
            self.wants_rotation = True
            return [self.seal(KEEP_ALIVE)]
        if self._rotation is not None or not self.current.confirmed:
            return []
        noise = self._rotation_handshake()
        self._rotation, self._rotating = (noise, noise.write()), Timer(self.now)
        return [self.seal(ROTATE_1, self._rotation[1])]

    def _rotate_1(self, message: bytes) -> list[bytes]:
        if self._answered is not None and self._answered[0] == message:
            return [self.seal(ROTATE_2, self._answered[1])]
        if self.now - self._rotated_at < BEGIN_GAP_S:
            return []
        noise = self._rotation_handshake()
        try:
            noise.read(message)
            reply = noise.write()
        except PacketRefusedError:
            return []  # the record itself was genuine and stays opened
        if not self.identity.anonymous and noise.remote != self.identity.remote:
            return []
        self._answered = message, reply
        self.next = self._epoch_after(noise.split)
        return [self.seal(ROTATE_2, self._answered[1])]

    def _rotate_2(self, message: bytes) -> list[bytes]:
        if self._rotation is None:
            return []
        try:
            self._rotation[0].read(message)
        except PacketRefusedError:
            return []
        self.previous, self.current = self.current, self._epoch_after(self._rotation[0].split)
        self._rotation, self._previous_until, self._ask = None, math.inf, Timer(self.now)
        return [self._question()]

    def tick(self, now: float) -> list[bytes]:
        """What is due at `now`: repeats, questions until an epoch is confirmed, rotations that a limit asks for."""
        self.now = now
        if self.closed:
            return []
        due = []
        if self.initiator and self.step_3 is not None and not self.proven and self._repeat.due(now):
            due.append(self.step_3)
        if not self.current.confirmed and self._ask.due(now):
            due.append(self._question())
        if self._rotation is not None:
            if self._rotating.due(now):
                due.append(self.seal(ROTATE_1, self._rotation[1]))
        elif self.initiator and self.due and now - self._rotated_at >= BEGIN_GAP_S:
            due.extend(self.renegotiate())
        elif not self.initiator and self.due and now - self._last_sent >= SILENT_S:
            due.append(self.seal(KEEP_ALIVE))
        return due

    def close(self) -> bytes:
        """The record that ends the session."""
        packet = self.seal(CLOSE)
        self.closed = True
        return packet

    def change_connection_id(self) -> bytes:
        """The record that gives a new connection id; only the side that chose the id does this."""
        if not self.chose_id:
            raise NotPossibleError("the other side chose the connection id")
        fresh = self._random_bytes(8)
        packet = self.seal(CONNECTION_ID, fresh)
        self.connection_id = fresh
        return packet
