"""Records of DATAGRAM mode: packets that may be lost, repeated and reordered (docs/protocol.md, sections 2 to 4).

Sealing consumes a counter before the ciphertext exists. Opening authenticates first and only then moves the window, the
phase and the epoch; whatever fails leaves everything as it was. At most three epochs are alive: `previous` (opens only,
until the grace ends), `current` (seals and opens) and, at a responder, `next` (opens only, until its first record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noisegate_server.noise.primitives import Aead, Cipher, wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.backoff import Backoff
from noisegate_server.session.constants import (
    DATAGRAM_OVERHEAD,
    GRACE_S,
    MAX_COUNTER,
    MAX_DATAGRAM_PLAINTEXT,
    MAX_INNER,
    MAX_SALTED_INNER,
    SALTED_OVERHEAD,
)
from noisegate_server.session.epoch import Epoch, retire
from noisegate_server.session.errors import CounterTooOld, DecryptFailed, MessageTooLarge, RekeyRequired, ReplayDetected
from noisegate_server.session.grace import forget, kept_until
from noisegate_server.session.inner import open_inner
from noisegate_server.session.keep_alive import question
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.mask import masked
from noisegate_server.session.packets import RECORD_HEADER, WANTS_ROTATION, Kind, PacketType
from noisegate_server.session.padding import pad
from noisegate_server.session.reminder import Reminder
from noisegate_server.session.renegotiation import Answered, Begun
from noisegate_server.session.replay import Verdict, nearest
from noisegate_server.session.roots import Root, wipe_roots
from noisegate_server.session.sealed import Opened, Sealed
from noisegate_server.session.state import RecordMode
from noisegate_server.session.use import Use

if TYPE_CHECKING:
    from noisegate_server.session.fast_path import OpenPath, SealPath

RECORD: Final = 0x08 | PacketType.RECORD
SALTED: Final = bytes((0x08 | PacketType.SALTED,))
HEADER: Final = RECORD_HEADER.size
_new: Final = tuple.__new__
"""Makes a named tuple without the Python call that its own constructor is."""
_KIND_BYTES: Final = tuple(bytes((kind,)) for kind in range(256))


class DatagramRecords(Use):
    """The record layer of one DATAGRAM session."""

    __slots__ = (
        "answered", "answers_from", "begun", "cipher", "connection_id", "connection_id_given", "control_limit",
        "current", "due", "due_at", "former_connection_ids", "former_until", "given_timer", "held", "initiator",
        "last_step", "limits", "look_at", "mask_key", "next", "nonce", "open_path", "padded", "previous", "ratchet",
        "reminder", "repeat_timer", "rotate_at", "rotated_at", "seal_path", "told_at", "wants_rotation", "wipe_at",
    )  # fmt: skip

    mode: Final = RecordMode.DATAGRAM
    seal_path: SealPath | None
    """What a batch needs to know of all this, once it was worked out; see session/fast_path.py."""
    open_path: OpenPath | None

    def __init__(
        self,
        *,
        cipher: Cipher,
        connection_id: bytes,
        mask_key: bytearray | None,
        padded: bool,
        ratchet: bool,
        initiator: bool,
        epoch: Epoch,
        limits: RotationLimits,
    ) -> None:
        self.cipher = cipher
        self.nonce: Callable[[int], bytes] = cipher.nonce
        self.connection_id = connection_id
        self.connection_id_given = (-1, -1)
        """Epoch and counter of the peer's record that gave our connection id."""
        self.former_connection_ids: tuple[bytes, ...] = ()
        self.former_until = math.inf
        """When the former id ends: 30 s after a record under the new one has opened (monotonic seconds)."""
        self.given_timer: Backoff | None = None
        """While the peer has not used the id that we gave it: when it is given again."""
        self.mask_key = mask_key
        self.padded = padded
        self.ratchet = ratchet
        """Whether every message has a key of its own; the epochs to come are made so as well."""
        self.initiator = initiator
        """Whether this side is the session's Noise initiator."""
        self.current = epoch
        self.previous: Epoch | None = None
        self.next: Epoch | None = None
        self.held: list[Root] = []
        """Roots of epochs before a salted one, oldest first, until a plain RECORD of it opens."""
        self.limits = limits.ratcheted() if ratchet else limits
        self.control_limit = min(self.limits.hard_messages, MAX_COUNTER)
        self.due = False
        """A soft limit of the current epoch is passed."""
        self.look_at = 0
        """The counter from which on `seal` has to look at the limits."""
        self.rotate_at = math.inf
        """When the policy begins a rotation, or asks for one (monotonic seconds)."""
        self.begun: Begun | None = None
        """Initiator: our rotate-1 that waits for its answer."""
        self.answered: Answered | None = None
        """Responder: the last rotate-1 and our answer to it, for repeats."""
        self.answers_from = -math.inf
        """Responder: when another rotate-1 may be read, since each costs a key agreement (monotonic seconds)."""
        self.rotated_at = -math.inf
        self.told_at = -math.inf
        """When the peer, which seals under other keys, was last told of our salted epoch (monotonic seconds)."""
        self.wants_rotation = 0
        """Responder: WANTS_ROTATION while it wants a rotation; goes into every kind that we send."""
        self.reminder = Reminder()
        self.last_step = b""
        """Initiator: the handshake packet that finished it, repeated as it is until a record opens."""
        self.repeat_timer = Backoff()
        self.due_at = math.inf
        """When `upkeep` has something to do, or the epoch is too old for data (monotonic seconds)."""
        self.seal_path = self.open_path = None
        self.wipe_at = math.inf
        """When keys that outlive their use are to be wiped, as far as records that opened have made them (likewise)."""
        self.count_anew()

    @property
    def epoch(self) -> int:
        """The epoch under which we seal."""
        return self.current.number

    @property
    def overhead(self) -> int:
        """Bytes that the next record is longer than its content, padding not counted."""
        return SALTED_OVERHEAD if self.current.send_tail else DATAGRAM_OVERHEAD

    @property
    def rotating(self) -> bool:
        """A rotation has begun and is not confirmed by the peer."""
        return self.reminder.record is not None or self.next is not None

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id under which the peer's packets may come."""
        return (self.connection_id, *self.former_connection_ids)

    def seal(self, plaintext: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> Sealed:
        """Seal data of the game into a RECORD packet. RekeyRequired at the hard limit; MessageTooLarge."""
        size = len(plaintext)
        if size > MAX_DATAGRAM_PLAINTEXT:
            raise MessageTooLarge("plaintext", MAX_DATAGRAM_PLAINTEXT)
        epoch = self.current
        sender = epoch.sender
        counter = sender.counter
        if counter >= self.look_at:
            self.look(epoch)
        packet = self.record(epoch, Kind.DATA, plaintext, associated_data, aeads)
        sender.sent_bytes += size
        return _new(Sealed, (packet, counter, epoch.number, self.due, ()))

    def fall_due(self) -> None:
        """A soft limit is passed: `upkeep` shall see to it at once."""
        self.due = True
        self.rotate_at = self.due_at = -math.inf
        self.leave_fast_path()

    def leave_fast_path(self) -> None:
        """Something has changed that the fast path takes for granted; see session/fast_path.py."""
        for path in (self.seal_path, self.open_path):
            if path is not None:
                path.leave()
        self.seal_path = self.open_path = None

    @property
    def has_room(self) -> bool:
        """Whether the current epoch may seal one more control record."""
        return self.sealed < self.control_limit

    def control(self, kind: Kind, content: bytes, aeads: AeadCache) -> bytes:
        """Seal a control record, from the reserved counters where need be. RekeyRequired when these are used up."""
        if not self.has_room:
            raise RekeyRequired("this epoch has sealed as many records as its keys may, those of rotation too")
        packet = self.record(self.current, kind, content, b"", aeads)
        if not self.due and self.limits.is_soft_passed(self.sealed, self.sealed_bytes):
            self.fall_due()
        return packet

    def aside(self, kind: Kind, content: bytes, aeads: AeadCache) -> tuple[bytes, ...]:
        """A control record beside another answer; left out where no more may be sealed."""
        return (self.control(kind, content, aeads),) if self.has_room else ()

    def record(self, epoch: Epoch, kind: int, content: bytes, associated_data: bytes, aeads: AeadCache) -> bytes:
        """Seal one RECORD packet, or SALTED one. The counter is consumed before the ciphertext exists, for good."""
        tail = epoch.send_tail
        if tail and len(content) >= MAX_SALTED_INNER:
            raise MessageTooLarge("plaintext", MAX_SALTED_INNER - 1)
        sender = epoch.sender
        counter = sender.counter
        if counter >= MAX_COUNTER:
            raise RekeyRequired("this epoch's counters are used up")
        sender.counter = counter + 1
        context = sender.aead or sender.context(counter, self.cipher, aeads)
        kind |= self.wants_rotation
        if self.padded:
            inner = pad(content, kind, True, MAX_SALTED_INNER if tail else MAX_INNER)
        else:
            inner = content + _KIND_BYTES[kind]
        header = RECORD_HEADER.pack(
            RECORD, self.connection_id, epoch.number & 0xFF, sender.phase & 0xFF, counter & 0xFFFFFFFF
        )
        if tail:
            header = SALTED + header[1:] + tail
        body = context.encrypt(self.nonce(counter), inner, header + associated_data)
        if self.mask_key is not None:
            header = masked(header[:HEADER], self.mask_key, body) + tail
        return header + body

    def open(self, packet: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> Opened:
        """Open a RECORD packet of the peer.

        DecryptFailed whatever was wrong with it; ReplayDetected and CounterTooOld only once it was authenticated.
        Nothing has changed after any of them.
        """
        if len(packet) < DATAGRAM_OVERHEAD or packet[0] != RECORD:
            raise DecryptFailed
        header = packet[:HEADER]
        if self.mask_key is not None:
            header = masked(header, self.mask_key, packet[HEADER:])
        _, _, low_epoch, low_phase, low_counter = RECORD_HEADER.unpack(header)
        epoch = self.current
        if epoch.number & 0xFF != low_epoch:
            epoch = self.other_epoch(low_epoch, now)
        return self.open_in(epoch, header, low_phase, low_counter, packet[HEADER:], associated_data, now, aeads)

    def open_in(
        self,
        epoch: Epoch,
        header: bytes,
        low_phase: int,
        low_counter: int,
        body: bytes,
        associated_data: bytes,
        now: float,
        aeads: AeadCache,
        place: Callable[[Aead, bytes, bytes, bytes], tuple[int, bytes]] | None = None,
    ) -> Opened:
        """Open a record of a living epoch; `header` is unmasked. `place` opens the body where it lies (in_place.py)."""
        counter = nearest(low_counter, 32, epoch.window.highest)
        if counter >= MAX_COUNTER:
            raise DecryptFailed
        receiver = epoch.receiver
        context, moves = receiver.find(low_phase, counter, self.cipher, aeads, now)
        if place is None:
            kind, content = open_inner(context.decrypt, self.nonce(counter), header, body, associated_data)
        else:
            kind, content = place(context, self.nonce(counter), header, associated_data)
        verdict = epoch.window.check(counter)
        if verdict is not Verdict.FRESH:
            raise ReplayDetected if verdict is Verdict.REPLAYED else CounterTooOld
        if moves and receiver.commit(low_phase, counter, aeads, now):
            self.reschedule()
        newest = counter > epoch.window.highest and epoch is not self.previous
        epoch.window.commit(counter)
        epoch.opened += 1
        if self.last_step:
            self.last_step = b""
            self.repeat_timer.stop()
            self.reschedule()
        if self.former_connection_ids and self.former_until == math.inf and header[1:9] == self.connection_id:
            self.former_until, self.given_timer = now + GRACE_S, None
            self.reschedule()
        confirmed = not epoch.confirmed
        if confirmed:
            self._confirm(epoch, now, aeads)
        if self.held and len(header) == HEADER and epoch is self.current:
            # A plain RECORD of the newest epoch: the peer will never again go back to one before it.
            self.held = wipe_roots(self.held)
        return Opened(
            kind & ~WANTS_ROTATION,
            content,
            counter,
            epoch.number,
            newest,
            bool(kind & WANTS_ROTATION) and epoch is self.current,
            confirmed,
        )

    def ask(self, now: float, aeads: AeadCache, random_bytes: Callable[[int], bytes]) -> bytes:
        """A keep-alive that the peer must answer; repeated by `upkeep` until the current epoch is confirmed."""
        return self.remind(Kind.KEEP_ALIVE, question(random_bytes), now, aeads)

    def remind(self, kind: Kind, content: bytes, now: float, aeads: AeadCache) -> bytes:
        """Send a control record now, and again in a new record whenever `upkeep` finds it due."""
        self.reminder.start(kind, content, now)
        self.reschedule()
        return self.control(kind, content, aeads)

    def repeat(self, packet: bytes, now: float) -> None:
        """Initiator: have `upkeep` repeat the last packet of the handshake, which may be lost, until a record opens."""
        self.last_step = packet
        self.repeat_timer.start(now)
        self.reschedule()

    def forget_reminder(self) -> None:
        """The peer has reacted."""
        self.reminder.stop()
        self.reschedule()

    def upkeep(self, now: float, aeads: AeadCache) -> tuple[bytes, ...]:
        """Do what is due: wipe keys whose grace has ended, repeat what the peer has not reacted to.

        The answer has records, and a repeated packet of the handshake.
        """
        forget(self, now, aeads)
        if now >= self.former_until:
            self.former_connection_ids, self.former_until = (), math.inf
        records: tuple[bytes, ...] = ()
        if (said := self.reminder.due(self.sealed, now)) is not None:
            records = self.aside(*said, aeads)
        if self.repeat_timer.due(now):
            records = (self.last_step, *records)
        if self.given_timer is not None and self.given_timer.due(now):
            records += self.aside(Kind.CONNECTION_ID, self.connection_id, aeads)
        self.reschedule()
        return records

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret of this session's records."""
        self.leave_fast_path()
        for epoch in (self.previous, self.current, self.next):
            retire(epoch, aeads)
        wipe_roots(self.held)
        if self.mask_key is not None:
            wipe(self.mask_key)
        if self.begun is not None:
            self.begun.wipe()
        self.begun = self.answered = self.reminder.record = None

    def other_epoch(self, low: int, now: float) -> Epoch:
        """The living epoch beside the current one whose number ends in this byte; DecryptFailed where there is none."""
        for epoch in (self.next, self.previous):
            if epoch is not None and epoch.number & 0xFF == low and now < epoch.expires_at:
                return epoch
        raise DecryptFailed

    def look(self, epoch: Epoch) -> None:
        """Compare the epoch's use with the limits; RekeyRequired at the hard one."""
        counter, sent = epoch.sender.counter, self.sealed_bytes
        if self.limits.is_hard_passed(counter, sent):
            raise RekeyRequired("this epoch's keys have sealed as much as they may")
        if not self.due and self.limits.is_soft_passed(counter, sent):
            self.fall_due()
        self.look_at = self.limits.next_look(counter, sent, MAX_DATAGRAM_PLAINTEXT, due=self.due)

    def count_anew(self) -> None:
        """The current epoch is a new one: so are its limits."""
        self.due = False
        self.rotate_at = self.current.began_at + self.limits.soft_age
        self.look_at = 0
        self.reschedule()

    def _confirm(self, epoch: Epoch, now: float, aeads: AeadCache) -> None:
        epoch.confirmed = True
        if epoch is self.next:
            retire(self.previous, aeads)
            self.current.stop_sending(aeads)
            self.previous, self.current, self.next = self.current, epoch, None
            self.answered = None
            self.rotated_at, self.answers_from = now, -math.inf
            self.wants_rotation = 0
            self.count_anew()
        if self.previous is not None:
            self.previous.expires_at = now + GRACE_S
            wipe(self.previous.root)
        if epoch.send_tail or epoch.receive_tail:
            # The base's root, which may have been stored, yields this whole epoch: new keys at once.
            epoch.send_tail = b""
            self.fall_due()
        self.forget_reminder()

    def reschedule(self) -> None:
        """Something that `upkeep` sees to has changed its time, or what seals and opens is another."""
        self.leave_fast_path()
        due = min(self.reminder.timer.at, self.repeat_timer.at, self.rotate_at, self.former_until)
        if self.given_timer is not None:
            due = min(due, self.given_timer.at)
        self.wipe_at = kept_until(self)
        self.due_at = min(due, self.current.began_at + self.limits.hard_age, self.wipe_at)
