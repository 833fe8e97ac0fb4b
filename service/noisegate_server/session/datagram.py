"""Records of DATAGRAM mode: packets that may be lost, repeated and reordered (docs/protocol.md, sections 2 to 4).

Sealing consumes a counter before the ciphertext exists. Opening authenticates first and only then moves the window, the
phase and the epoch; whatever fails leaves everything as it was. At most three epochs are alive: `previous` (opens only,
until the grace ends), `current` (seals and opens) and, at a responder, `next` (opens only, until its first record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from noisegate_server.noise.primitives import Cipher, InvalidTag, wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import (
    DATAGRAM_OVERHEAD,
    GRACE_S,
    KEEP_ALIVE_TOKEN,
    MAX_COUNTER,
    MAX_DATAGRAM_PLAINTEXT,
    REMIND_FIRST_S,
    REMIND_GROWTH,
    REMIND_LAST_S,
)
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    MessageTooLarge,
    RekeyRequired,
    ReplayDetected,
)
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.mask import masked
from noisegate_server.session.packets import RECORD_HEADER, WANTS_ROTATION, Kind, PacketType
from noisegate_server.session.padding import MalformedPadding, pad, unpad
from noisegate_server.session.renegotiation import Answered, Begun
from noisegate_server.session.replay import Verdict, nearest
from noisegate_server.session.sealed import Opened, Sealed
from noisegate_server.session.state import RecordMode

RECORD: Final = 0x08 | PacketType.RECORD
HEADER: Final = RECORD_HEADER.size
_new: Final = tuple.__new__
"""Makes a named tuple without the Python call that its own constructor is."""
_KIND_BYTES: Final = tuple(bytes((kind,)) for kind in range(256))
_ASK: Final = b"\x01"
_ANSWER: Final = b"\x02"


class DatagramRecords:
    """The record layer of one DATAGRAM session."""

    __slots__ = (
        "answered",
        "begun",
        "cipher",
        "connection_id",
        "connection_id_given",
        "control_limit",
        "current",
        "data_limit",
        "due_at",
        "former_connection_ids",
        "former_until",
        "last_step",
        "limits",
        "mask_key",
        "next",
        "nonce",
        "padded",
        "previous",
        "remind_at",
        "remind_delay",
        "reminder",
        "repeat_at",
        "repeat_delay",
        "rotated_at",
        "soft_limit",
        "wants_rotation",
    )

    mode: Final = RecordMode.DATAGRAM
    overhead: Final = DATAGRAM_OVERHEAD

    def __init__(
        self,
        *,
        cipher: Cipher,
        connection_id: bytes,
        mask_key: bytearray | None,
        padded: bool,
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
        self.mask_key = mask_key
        self.padded = padded
        self.current = epoch
        self.previous: Epoch | None = None
        self.next: Epoch | None = None
        self.limits = limits
        self.data_limit = limits.data_messages
        self.control_limit = min(limits.hard_messages, MAX_COUNTER)
        self.soft_limit = limits.soft_messages
        self.begun: Begun | None = None
        """Initiator: our rotate-1 that waits for its answer."""
        self.answered: Answered | None = None
        """Responder: the last rotate-1 and our answer to it, for repeats."""
        self.rotated_at = -math.inf
        self.wants_rotation = 0
        """Responder: WANTS_ROTATION while a rotation is due; goes into every kind that we send."""
        self.reminder: tuple[Kind, bytes] | None = None
        """What is sent again until the peer reacts: our rotate-1, a question for a record of the new epoch, a nudge."""
        self.remind_at = math.inf
        self.remind_delay = REMIND_FIRST_S
        self.last_step = b""
        """Initiator: the handshake packet that finished it, repeated as it is until a record opens."""
        self.repeat_at = math.inf
        self.repeat_delay = REMIND_FIRST_S
        self.due_at = math.inf
        """When `upkeep` has something to do (monotonic seconds)."""

    @property
    def epoch(self) -> int:
        """The epoch under which we seal."""
        return self.current.number

    @property
    def sealed(self) -> int:
        """Records sealed in this epoch."""
        return self.current.send_counter

    @property
    def opened(self) -> int:
        """Records opened in this epoch."""
        return self.current.opened

    @property
    def rotating(self) -> bool:
        """A rotation has begun and is not confirmed by the peer."""
        return self.reminder is not None or self.next is not None

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id under which the peer's packets may come."""
        return (self.connection_id, *self.former_connection_ids)

    def seal(self, plaintext: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> Sealed:
        """Seal data of the game into a RECORD packet. RekeyRequired at the hard limit; MessageTooLarge."""
        epoch = self.current
        counter = epoch.send_counter
        if counter >= self.data_limit:
            raise RekeyRequired("this epoch has sealed as many records as its keys may")
        if len(plaintext) > MAX_DATAGRAM_PLAINTEXT:
            raise MessageTooLarge("plaintext", MAX_DATAGRAM_PLAINTEXT)
        packet = self.record(epoch, Kind.DATA, plaintext, associated_data, aeads)
        return _new(Sealed, (packet, counter, epoch.number, counter >= self.soft_limit, ()))

    @property
    def has_room(self) -> bool:
        """Whether the current epoch may seal one more control record."""
        return self.current.send_counter < self.control_limit

    def control(self, kind: Kind, content: bytes, aeads: AeadCache) -> bytes:
        """Seal a control record, from the reserved counters where need be. RekeyRequired when these are used up."""
        if not self.has_room:
            raise RekeyRequired("this epoch has sealed as many records as its keys may, those of rotation too")
        return self.record(self.current, kind, content, b"", aeads)

    def aside(self, kind: Kind, content: bytes, aeads: AeadCache) -> tuple[bytes, ...]:
        """A control record beside another answer; left out where no more may be sealed."""
        return (self.record(self.current, kind, content, b"", aeads),) if self.has_room else ()

    def record(self, epoch: Epoch, kind: int, content: bytes, associated_data: bytes, aeads: AeadCache) -> bytes:
        """Seal one RECORD packet. The counter is consumed before the ciphertext exists and never handed back."""
        counter = epoch.send_counter
        if counter >= MAX_COUNTER:
            raise RekeyRequired("this epoch's counters are used up")
        epoch.send_counter = counter + 1
        context = aeads.get(epoch.send_serial) or epoch.send_context(self.cipher, aeads)
        kind |= self.wants_rotation
        inner = pad(content, kind, True) if self.padded else content + _KIND_BYTES[kind]
        header = RECORD_HEADER.pack(
            RECORD, self.connection_id, epoch.number & 0xFF, epoch.send_phase & 0xFF, counter & 0xFFFFFFFF
        )
        body = context.encrypt(self.nonce(counter), inner, header + associated_data)
        if self.mask_key is not None:
            header = masked(header, self.mask_key, body)
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
        epoch = self._epoch(low_epoch, now)
        counter = nearest(low_counter, 32, epoch.window.highest)
        phase = nearest(low_phase, 8, epoch.receive_phase)
        if counter >= MAX_COUNTER:
            raise DecryptFailed
        context, secret = epoch.receive_context(phase, self.cipher, aeads, now)
        try:
            kind, content = self._decrypt(context.decrypt, counter, header, packet[HEADER:], associated_data)
            verdict = epoch.window.check(counter)
            if verdict is not Verdict.FRESH:
                raise ReplayDetected if verdict is Verdict.REPLAYED else CounterTooOld
        except BaseException:
            if secret is not None:
                wipe(secret)
            raise
        if secret is not None:
            epoch.enter_phase(phase, secret, aeads, now)
            self._reschedule()
        newest = counter > epoch.window.highest and epoch is not self.previous
        epoch.window.commit(counter)
        epoch.opened += 1
        if self.last_step:
            self.last_step, self.repeat_at = b"", math.inf
            self._reschedule()
        if self.former_connection_ids and self.former_until == math.inf and packet[1:9] == self.connection_id:
            self.former_until = now + GRACE_S
            self._reschedule()
        confirmed = not epoch.confirmed
        if confirmed:
            self._confirm(epoch, now, aeads)
        return Opened(
            kind & ~WANTS_ROTATION,
            content,
            counter,
            epoch.number,
            newest,
            bool(kind & WANTS_ROTATION) and epoch is self.current,
            confirmed,
        )

    def install(self, epoch: Epoch, aeads: AeadCache, now: float) -> None:
        """Initiator: rotate-2 has given `epoch`; seal under it from here on, open the old one until the grace ends."""
        self._retire(self.previous, aeads)
        self.current.stop_sending(aeads)
        self.previous, self.current = self.current, epoch
        self.begun = None
        self.rotated_at = now
        self._reschedule()

    def offer(self, epoch: Epoch, aeads: AeadCache) -> None:
        """Responder: hold `epoch` as `next` until a record of it opens; it replaces an older `next`."""
        self._retire(self.next, aeads)
        self.next = epoch

    def rekey(self, aeads: AeadCache) -> bool:
        """Move sending to the next phase; False when the epoch's phases are used up."""
        return self.current.rekey_send(aeads)

    def ask(self, now: float, aeads: AeadCache, random_bytes: Callable[[int], bytes]) -> bytes:
        """A keep-alive that the peer must answer; repeated by `upkeep` until the current epoch is confirmed."""
        content = _ASK + random_bytes(KEEP_ALIVE_TOKEN)
        return self.remind(Kind.KEEP_ALIVE, content, now, aeads)

    def remind(self, kind: Kind, content: bytes, now: float, aeads: AeadCache) -> bytes:
        """Send a control record now, and again in a new record whenever `upkeep` finds it due."""
        self.reminder = (kind, content)
        self.remind_delay = REMIND_FIRST_S
        self.remind_at = now + REMIND_FIRST_S
        self._reschedule()
        return self.control(kind, content, aeads)

    def repeat(self, packet: bytes, now: float) -> None:
        """Initiator: have `upkeep` repeat the last packet of the handshake, which may be lost, until a record opens."""
        self.last_step = packet
        self.repeat_at = now + REMIND_FIRST_S
        self._reschedule()

    def forget_reminder(self) -> None:
        """The peer has reacted."""
        self.reminder = None
        self.remind_at = math.inf
        self._reschedule()

    def keep_alive_answer(self, content: bytes, aeads: AeadCache) -> tuple[bytes, ...]:
        """The record that a keep-alive of the peer asks for, if it asks."""
        if len(content) != 1 + KEEP_ALIVE_TOKEN or content[:1] != _ASK:
            return ()
        return self.aside(Kind.KEEP_ALIVE, _ANSWER + content[1:], aeads)

    def upkeep(self, now: float, aeads: AeadCache) -> tuple[bytes, ...]:
        """Do what is due: wipe keys whose grace has ended, repeat what the peer has not reacted to.

        The answer has records, and a repeated packet of the handshake.
        """
        if self.previous is not None and now >= self.previous.expires_at:
            self._retire(self.previous, aeads)
            self.previous = None
        if now >= self.former_until:
            self.former_connection_ids, self.former_until = (), math.inf
        for epoch in (self.previous, self.current, self.next):
            if epoch is not None:
                epoch.forget_passed(now)
        records: tuple[bytes, ...] = ()
        if self.reminder is not None and now >= self.remind_at:
            self.remind_delay = min(self.remind_delay * REMIND_GROWTH, REMIND_LAST_S)
            self.remind_at = now + self.remind_delay
            records = self.aside(*self.reminder, aeads)
        if self.last_step and now >= self.repeat_at:
            self.repeat_delay = min(self.repeat_delay * REMIND_GROWTH, REMIND_LAST_S)
            self.repeat_at = now + self.repeat_delay
            records = (self.last_step, *records)
        self._reschedule()
        return records

    def follow_connection_id(self, connection_id: bytes, given: tuple[int, int]) -> None:
        """The side that chose the connection id has given a new one; the old stays valid for what is on its way.

        `given`: epoch and counter of the record that brought it; an earlier one that is late changes nothing any more.
        """
        self.former_connection_ids, self.former_until = (self.connection_id,), math.inf
        self.connection_id, self.connection_id_given = connection_id, given
        self._reschedule()

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret of this session's records."""
        for epoch in (self.previous, self.current, self.next):
            self._retire(epoch, aeads)
        if self.mask_key is not None:
            wipe(self.mask_key)
        if self.begun is not None:
            self.begun.wipe()
        self.begun = self.answered = self.reminder = None

    def _epoch(self, low: int, now: float) -> Epoch:
        for epoch in (self.current, self.next, self.previous):
            if epoch is not None and epoch.number & 0xFF == low and now < epoch.expires_at:
                return epoch
        raise DecryptFailed

    def _decrypt(
        self,
        decrypt: Callable[[bytes, bytes, bytes], bytes],
        counter: int,
        header: bytes,
        body: bytes,
        associated_data: bytes,
    ) -> tuple[int, bytes]:
        # Only data carries the caller's associated data: a record opens with it as data, or without it as control.
        nonce = self.nonce(counter)
        try:
            try:
                kind, content = unpad(decrypt(nonce, body, header + associated_data))
                carried = True
            except InvalidTag:
                if not associated_data:
                    raise
                kind, content = unpad(decrypt(nonce, body, header))
                carried = False
        except (InvalidTag, MalformedPadding):
            raise DecryptFailed from None
        if associated_data and carried is not (kind & ~WANTS_ROTATION == Kind.DATA):
            raise DecryptFailed
        return kind, content

    def _confirm(self, epoch: Epoch, now: float, aeads: AeadCache) -> None:
        epoch.confirmed = True
        if epoch is self.next:
            self._retire(self.previous, aeads)
            self.current.stop_sending(aeads)
            self.previous, self.current, self.next = self.current, epoch, None
            self.answered = None
            self.rotated_at = now
            self.wants_rotation = 0
        if self.previous is not None:
            self.previous.expires_at = now + GRACE_S
            wipe(self.previous.root)
        self.forget_reminder()

    def _retire(self, epoch: Epoch | None, aeads: AeadCache) -> None:
        if epoch is not None:
            epoch.wipe(aeads)

    def _reschedule(self) -> None:
        due = min(self.remind_at, self.repeat_at, self.former_until, self.current.passed_until)
        if self.previous is not None:
            due = min(due, self.previous.expires_at, self.previous.passed_until)
        if self.next is not None:
            due = min(due, self.next.passed_until)
        self.due_at = due
