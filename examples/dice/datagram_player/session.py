"""An established session: its epochs, control records, rotation and salted epochs (docs/protocol.md, 3 to 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from examples.dice.datagram_player.connection import ConnectionId
from examples.dice.datagram_player.epoch import LARGEST_SALTED, Epoch, Root, Terms, padded
from examples.dice.datagram_player.handshake import IKPSK1, NKPSK0, NoiseHandshake, Split
from examples.dice.datagram_player.keys import expand, exporter, extract
from examples.dice.datagram_player.limits import FAILURES_END, Limits, Use
from examples.dice.datagram_player.tickets import Identity, Ticket
from examples.dice.datagram_player.wire import (
    CLOSE,
    CONNECTION_ID,
    DATA,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_TICKETS,
    GRACE_S,
    HEADER_BYTES,
    KEEP_ALIVE,
    RECORD,
    ROTATE_1,
    ROTATE_2,
    SALTED,
    TICKET,
    WANTS_ROTATION,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Received,
    Timer,
)

BEGIN_GAP_S, WANT_GAP_S, SILENT_S, ANSWER_GAP_S = 5.0, 10.0, 1.0, 0.2
READ_GAP_S: Final = 1.0
"""A rotate-1 so soon after another one that was read is dropped: an answer costs key agreements."""
HALF_OPEN_S: Final = 10.0
"""A responder gives an unfinished handshake up after so long."""
SALT_BYTES: Final = 16
MOST, MOST_SALTED = 65_476, 65_459
"""Content and kind of the largest packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """What stays through all epochs: terms, static keys, and the first epoch's h, export and mask key."""

    terms: Terms
    identity: Identity
    h: bytes
    export: bytes = field(repr=False)
    mask: bytes = field(repr=False)

    @classmethod
    def of(cls, split: Split, terms: Terms, identity: Identity) -> Lasting:
        """Of a finished handshake or resume."""
        prk = extract(split.h, split.k1 + split.k2)
        export, mask = expand(prk, b"ng1 export"), expand(prk, b"ng1 mask")
        return cls(terms=terms, identity=identity, h=split.h, export=export, mask=mask)


class Session:
    """Opens and seals records and does what control records ask. Packets that it returns are for the peer."""

    def __init__(
        self, lasting: Lasting, current: Epoch, connection: ConnectionId, random_bytes: Callable[[int], bytes],
        now: float, *, limits: Limits, issued: dict[bytes, Ticket], max_early: int = 0,
    ) -> None:  # fmt: skip
        self.lasting, self.current, self.connection = lasting, current, connection
        self.initiator, self.identity = lasting.terms.initiator, lasting.identity
        self.next: Epoch | None = None
        self.previous: Epoch | None = None
        self.stored: tuple[Root, ...] = ()
        """Roots that were read back from storage; none once an epoch of our own is confirmed."""
        self.newest_confirmed = current.number
        self.pads = bool(lasting.terms.flags & FLAG_PAD)
        self.proven = self.closed = self.wants_rotation = False
        self.ticket: Ticket | None = None
        self.step_3: bytes | None = None
        self.now = self._last_sent = now
        self._random_bytes, self._limits, self._issued, self._max_early = random_bytes, limits, issued, max_early
        self._use = Use(now)
        self._repeat, self._ask, self._rotating = Timer(now), Timer(now), Timer(now)
        self._previous_until, self._rotated_at, self._wanted_at = math.inf, -math.inf, -math.inf
        self._answered_at, self._read_at = -math.inf, -math.inf
        self._rotation: tuple[NoiseHandshake, bytes] | None = None
        self._answered: tuple[bytes, bytes] | None = None  # rotate-1 and the rotate-2 that made `next`

    @classmethod
    def begin(
        cls, split: Split, terms: Terms, identity: Identity, connection: ConnectionId,
        random_bytes: Callable[[int], bytes], now: float, *, limits: Limits, issued: dict[bytes, Ticket],
        max_early: int,
    ) -> Session:  # fmt: skip
        """The session of a finished handshake, which confirms epoch 0."""
        current = Epoch.after(split, 0, terms, now)
        current.confirmed = True
        lasting = Lasting.of(split, terms, identity)
        return cls(
            lasting, current, connection, random_bytes, now, limits=limits, issued=issued, max_early=max_early
        )  # fmt: skip

    def restored(self, bases: tuple[Root, ...], newest_confirmed: int, ticket: Ticket | None) -> list[bytes]:
        """Goes on in the salted epoch in `current`; the record that tells the peer of it."""
        self.stored, self.newest_confirmed, self.ticket, self.proven = bases, newest_confirmed, ticket, True
        return self._question()

    @property
    def due(self) -> bool:
        """Whether a soft limit is passed, or a salted epoch waits for a fresh secret."""
        return self._use.soft(self._limits, self.now) or bool(self.current.salt) or self.wants_rotation

    def hopeless(self, now: float) -> bool:
        """Whether step 3 was not answered for so long that the responder has given the handshake up."""
        return self.step_3 is not None and self.initiator and not self.proven and now - self.current.born > HALF_OPEN_S

    def exporter(self, label: bytes, context: bytes, length: int) -> bytes:
        """A secret for something beside the session, which the peer can derive too."""
        return exporter(self.lasting.export, label, context, length)

    # --- records

    def _mask(self, header: bytes, sealed: bytes) -> bytes:
        if not self.lasting.terms.flags & FLAG_MASK:
            return header
        # One block as a pseudo-random function of the sample, as in QUIC's header protection: ECB is right here.
        stream = Cipher(algorithms.AES256(self.lasting.mask), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305
        return header[:9] + bytes(a ^ b for a, b in zip(header[9:15], stream, strict=False)) + header[15:]

    def seal(self, kind: int, content: bytes = b"", associated_data: bytes = b"") -> list[bytes]:
        """A record of the current epoch; none at the hard limit of messages, where nothing may be sealed."""
        if self._use.messages >= self._limits.hard_messages:
            return []
        if not self.initiator and self.due:
            kind |= WANTS_ROTATION
        plaintext = content + bytes([kind])
        if self.pads:
            most = MOST if self.current.told is None else MOST_SALTED
            plaintext = plaintext.ljust(padded(len(plaintext), most), b"\0")
        self._last_sent = self.now
        self._use.messages += 1
        header, sealed = self.current.seal(self.connection.value, plaintext, associated_data)
        return [self._mask(header, sealed) + sealed]

    def send(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A data record; NotPossibleError past the hard limits, which only a rotation lifts."""
        if self.closed or self._use.hard(self._limits, self.now):
            raise NotPossibleError("the session is closed or needs a rotation")
        self._use.data_bytes += len(plaintext)
        return self.seal(DATA, plaintext, associated_data)[0]

    def _question(self) -> list[bytes]:
        return self.seal(KEEP_ALIVE, b"\x01" + self._random_bytes(8))

    def receive(self, packet: bytes, associated_data: bytes, now: float) -> Received:
        """Opens a RECORD or SALTED packet and does what a control record asks."""
        self.now, size = now, HEADER_BYTES[packet[0]]
        if self.closed or len(packet) < size + 17:
            raise PacketRefusedError("record")
        try:
            self.connection.check(packet[1:9], now)
            sealed = packet[size:]
            header = self._mask(packet[:size], sealed)
            epoch = self._salted(header) if packet[0] == SALTED else self._held(header[9])
            kind, content, counter = epoch.open(header, sealed, associated_data, now)
        except PacketRefusedError:
            return self._refused()
        self.connection.opened(packet[1:9], now)
        if epoch.base is not None and epoch.base.foreign and not epoch.ours:
            return Received(to_send=self._over(epoch))
        return self._opened(epoch, kind, content, counter, plain=packet[0] == RECORD)

    def _refused(self) -> Received:
        """Counts it. While our salted epoch is unconfirmed, the peer may not know of it: it is told again."""
        self._use.failures += 1
        if self._use.failures >= FAILURES_END:
            self._end()
        elif self.current.told is not None and self.now - self._answered_at >= ANSWER_GAP_S:
            self._answered_at = self.now
            return Received(to_send=self._question())
        raise PacketRefusedError("record")

    def _opened(self, epoch: Epoch, kind: int, content: bytes, counter: int, *, plain: bool) -> Received:
        result, first = Received(), not epoch.confirmed
        self._confirm(epoch)
        if plain:
            epoch.base = None  # the peer needs it no more to come back
        wanted, kind = kind & WANTS_ROTATION, kind & 0x7F
        if kind == DATA:
            result.plaintexts.append(content)
        result.to_send.extend(self._control(kind, content, epoch, counter))
        if first and (not self.initiator or epoch.salt) and not epoch.ours and not result.to_send:
            result.to_send.extend(self.seal(KEEP_ALIVE))
        if not self.proven and not self.initiator and self.lasting.terms.flags & FLAG_TICKETS:
            result.to_send.extend(self.issue())
        self.proven = True
        gap = self.now - max(self._wanted_at, self._rotated_at)
        if wanted and self.initiator and epoch is self.current and gap >= WANT_GAP_S:
            rotate_1 = self.renegotiate()
            self._wanted_at = self.now if rotate_1 else self._wanted_at
            result.to_send.extend(rotate_1)
        return result

    def _held(self, low: int) -> Epoch:
        if self.now > self._previous_until:
            self.previous = None
        for epoch in (self.current, self.previous, self.next):
            if epoch is not None and epoch.number & 255 == low:
                return epoch
        raise PacketRefusedError("record")

    def _confirm(self, epoch: Epoch) -> None:
        """Moves on after a record of the epoch has opened: the only place where an epoch is promoted or confirmed."""
        if epoch.confirmed:
            return
        epoch.confirmed, self.newest_confirmed, self.stored = True, epoch.number, ()
        if epoch.salt:  # what the restore overtook gives way, and a zombie of it is not believed
            self.previous, self.next, self._rotation, self._answered = None, None, None, None
            self._rotated_at, self._wanted_at = -math.inf, -math.inf
            if epoch is not self.current:
                self.current, self._use = epoch, Use(self.now)
            return
        if epoch is self.next:
            self.previous, self.next, self._answered = self.current, None, None
            self.current, self._use = epoch, Use(self.now)
        self._previous_until, self._rotated_at, self.wants_rotation = self.now + GRACE_S, self.now, False
        if self.previous is not None:
            self.previous.root = b""

    # --- salted epochs

    @property
    def highest(self) -> int:
        """The highest number that we know of any epoch, one that a rotation under way would make included."""
        begun = self.current.number + (self._rotation is not None)
        return max(begun, *(root.number for root in self.roots()))

    def roots(self) -> list[Root]:
        """What a salted epoch may be built over, ours or the peer's."""
        held = [epoch.kept for epoch in (self.current, self.next, self.previous) if epoch is not None and epoch.root]
        return [*held, *([self.current.base] if self.current.base is not None else []), *self.stored]

    def _salted(self, header: bytes) -> Epoch:
        salt, mine = header[16:32], self.current
        for epoch in (mine, self.previous):
            if epoch is not None and epoch.salt == salt and not epoch.ours and epoch.number & 255 == header[9]:
                return self._held(header[9])
        number = self.newest_confirmed + 1 + (header[9] - self.newest_confirmed - 1) % 256
        if mine.told is not None and (number, salt) <= (mine.number, mine.salt):
            raise PacketRefusedError("record")
        bases = [root for root in self.roots() if root.number < number and root.number & 255 == header[15]]
        if not bases or number > LARGEST_SALTED:
            raise PacketRefusedError("record")
        base = max(bases, key=lambda root: root.number)
        return Epoch.over(base, number, salt, self.lasting.terms, self.now)

    def _over(self, theirs: Epoch) -> list[bytes]:
        """Both sides were restored: nothing of ours is in the peer's epoch yet, so one with our salt goes over it."""
        salt, base = self._random_bytes(SALT_BYTES), replace(theirs.kept, foreign=True)
        self.newest_confirmed = theirs.number
        self.current = Epoch.over(base, theirs.number + 1, salt, self.lasting.terms, self.now)
        self.current.ours, self._use, self._ask = True, Use(self.now), Timer(self.now)
        return self._question()

    # --- control records

    def _control(self, kind: int, content: bytes, epoch: Epoch, counter: int) -> list[bytes]:
        if kind == KEEP_ALIVE and len(content) == 9 and content[0] == 1:
            return self.seal(KEEP_ALIVE, b"\x02" + content[1:])
        if kind == ROTATE_1 and not self.initiator and epoch is self.current:
            return self._rotate_1(content)
        if kind == ROTATE_2 and epoch is self.current:
            return self._rotate_2(content)
        if kind == TICKET and Ticket.is_one(content):
            self.ticket = Ticket.decode(content, self.lasting.terms, self.identity, self.now)
        elif kind == CONNECTION_ID and len(content) == 8:
            self.connection.follow(content, epoch.number, counter)
        elif kind == CLOSE:
            self._end()
        return []

    def issue(self) -> list[bytes]:
        """The record with a ticket of ours; it is opaque because it is random and means something here alone."""
        content = Ticket.content(self._random_bytes(32), self._random_bytes(32), self._max_early)
        ticket = Ticket.decode(content, self.lasting.terms, self.identity, self.now)
        self._issued[ticket.ticket] = ticket
        return self.seal(TICKET, content)

    def close(self) -> list[bytes]:
        """The record that ends the session."""
        packets = self.seal(CLOSE)
        self._end()
        return packets

    def _end(self) -> None:
        """Lets go of every key; a language that can wipes them."""
        self.closed, self.previous, self.next, self.stored = True, None, None, ()
        self._rotation, self._answered = None, None
        self.current.forget()
        self.lasting = replace(self.lasting, export=b"", mask=b"")

    def change_connection_id(self) -> list[bytes]:
        """The record that gives a new connection id; only the side that chose the id does this."""
        if not self.connection.chosen:
            raise NotPossibleError("the other side chose the connection id")
        return self.seal(CONNECTION_ID, self.connection.give(self._random_bytes(8), self.now))

    # --- rotation

    def rekey(self) -> list[bytes]:
        """Moves our direction to its next phase; past the last one a rotation is due instead."""
        return [] if self.current.sender.rekey() else self.renegotiate()

    def _rotation_handshake(self) -> NoiseHandshake:
        base, who, suite = self.current, self.identity, self.lasting.terms.suite
        prologue = b"ng1 renegotiate" + base.h + (base.number + 1).to_bytes(4, "big")
        return NoiseHandshake(
            Protocol(NKPSK0 if who.anonymous else IKPSK1, suite), prologue, self._random_bytes,
            initiator=self.initiator, static=who.static, remote=who.remote, psk=expand(base.root, b"ng1 renegotiate"),
        )  # fmt: skip

    def _epoch_after(self, split: Split | None) -> Epoch:
        if split is None:
            raise NotPossibleError("the rotation's handshake is not finished")
        return Epoch.after(split, self.current.number + 1, self.lasting.terms, self.now)

    def renegotiate(self) -> list[bytes]:
        """As initiator rotate-1, unless a rotation is under way; as responder the wish for it.

        Nothing where we have become the initiator by a resume and the peer has no static key: resume again instead.
        """
        if not self.initiator:
            self.wants_rotation = True
            return self.seal(KEEP_ALIVE)
        if self._rotation is not None or not self.current.confirmed or self.identity.remote is None:
            return []
        noise = self._rotation_handshake()
        self._rotation, self._rotating = (noise, noise.write()), Timer(self.now)
        return self.seal(ROTATE_1, self._rotation[1])

    def _rotate_1(self, message: bytes) -> list[bytes]:
        if self._answered is not None and self._answered[0] == message:
            return self.seal(ROTATE_2, self._answered[1])
        if self.now - self._rotated_at < BEGIN_GAP_S or self.now - self._read_at < READ_GAP_S:
            return []
        noise = self._rotation_handshake()
        try:
            noise.read(message)
            reply = noise.write()
        except PacketRefusedError:
            return []  # the record itself was genuine and stays opened
        if not self.identity.anonymous and noise.remote != self.identity.remote:
            return []
        self._answered, self._read_at = (message, reply), self.now
        self.next = self._epoch_after(noise.split)
        return self.seal(ROTATE_2, reply)

    def _rotate_2(self, message: bytes) -> list[bytes]:
        if self._rotation is None:
            return []
        try:
            self._rotation[0].read(message)
        except PacketRefusedError:
            return []
        self.previous, self.current = self.current, self._epoch_after(self._rotation[0].split)
        self._rotation, self._previous_until = None, math.inf
        self._use, self._ask = Use(self.now), Timer(self.now)
        return self._question()

    # --- time

    def tick(self, now: float) -> list[bytes]:
        """What is due at `now`: repeats, questions until an epoch is confirmed, rotations that a limit asks for."""
        self.now = now
        if self.closed:
            return []
        due: list[bytes] = []
        if self.initiator and self.step_3 is not None and not self.proven and self._repeat.due(now):
            due.append(self.step_3)
        if not self.current.confirmed and self._ask.due(now):
            due += self._question()
        if given := self.connection.due(now):
            due += self.seal(CONNECTION_ID, given)
        if self._rotation is not None:
            if self._rotating.due(now):
                due += self.seal(ROTATE_1, self._rotation[1])
        elif self.initiator and self.due and now - self._rotated_at >= BEGIN_GAP_S:
            due += self.renegotiate()
        elif not self.initiator and self.due and now - self._last_sent >= SILENT_S:
            due += self.seal(KEEP_ALIVE)
        return due
