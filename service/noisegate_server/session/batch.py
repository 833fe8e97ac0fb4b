"""Many records in one go: the straight way of `DatagramRecords.seal` and `open`, written out once for a whole batch.

A call for each message would cost as much as the message. So what these loops know is the common case alone: DATAGRAM
sessions without mask, padding and ratchet, with nothing due and nothing under way. They stop before whatever is another
case and have changed nothing of it; whoever calls them serves that one by `seal` or `open` and comes back. The
invariants are those of datagram.py: a counter is consumed before its ciphertext exists, all of a run's at once; state
moves only after authentication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from noisegate_server.noise.primitives import InvalidTag
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import DATAGRAM_OVERHEAD, MAX_DATAGRAM_PLAINTEXT, TAG
from noisegate_server.session.datagram import HEADER, RECORD, DatagramRecords
from noisegate_server.session.packets import RECORD_HEADER, Kind
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.replay import Verdict
from noisegate_server.session.session import Session

LARGEST: Final = MAX_DATAGRAM_PLAINTEXT
"""The longest plaintext that `seal_each` and `seal_run` take; the caller looks."""
_ADDED: Final = HEADER + TAG
_DATA: Final = int(Kind.DATA)
KIND: Final = bytes((_DATA,))
"""Follows a plaintext inside its record."""
_LOW: Final = 0xFFFF_FFFF
_HALF: Final = 1 << 31
_FRESH: Final = Verdict.FRESH


class SealedRecords:
    """Records of a batch as they come to be: one entry for each item, in every list but `pieces`."""

    __slots__ = ("counters", "epochs", "lengths", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """The records, each in one piece or two."""
        self.lengths: list[int] = []
        self.counters: list[int] = []
        self.epochs: list[int] = []


class OpenedRecords:
    """Contents of a batch's records as they come to be: one entry for each item, in every list but `pieces`."""

    __slots__ = ("counters", "epochs", "lengths", "newest", "pieces")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lengths: list[int] = []
        self.counters: list[int] = []
        self.epochs: list[int] = []
        self.newest = bytearray()


def seal_each(
    sessions: Sequence[Session | None],
    plaintexts: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: SealedRecords,
    kind: bytes = KIND,
) -> int:
    """Seal one plaintext for each session, all three as long; how many it has sealed, from the first on.

    None of the plaintexts is above LARGEST. With an empty `kind` they end in KIND already, which spares a copy of what
    many sessions get. It stops before a session that is None, or whose case it does not know.
    """
    add_piece, add_counter, add_epoch = out.pieces.append, out.counters.append, out.epochs.append
    pack, cached = RECORD_HEADER.pack, aeads.get
    before, extra = len(out.counters), len(kind) - 1
    for session, plaintext, data in zip(sessions, plaintexts, associated, strict=True):
        if session is None:
            break
        records = session.records
        if type(records) is not DatagramRecords or now >= records.due_at:
            break
        epoch = records.current
        counter = epoch.send_counter
        if (
            counter >= records.look_at
            or records.padded
            or records.mask_key
            or records.due
            or records.wants_rotation
            or epoch.send_tail
        ):
            break
        sender = epoch.sender
        context = cached(sender.serial)
        if context is None:
            if type(sender) is not PhaseSender:
                break
            # Where the key is at hand, without another call.
            key = sender.cached_key
            context = (
                aeads.build(sender.serial, records.cipher, key)
                if key
                else sender.context(counter, records.cipher, aeads)
            )
        epoch.send_counter = counter + 1
        number = epoch.number
        header = pack(RECORD, records.connection_id, number & 0xFF, sender.phase, counter & _LOW)
        add_piece(header)
        add_piece(context.encrypt(records.nonce(counter), plaintext + kind, header + data))
        epoch.sent_bytes += len(plaintext) + extra
        add_counter(counter)
        add_epoch(number)
        session.last_used = now
        idle_end, lifetime_end = now + session.idle_timeout, session.lifetime_end
        session.expires_at = idle_end if idle_end < lifetime_end else lifetime_end  # noqa: FURB136  # a call costs more
    done = len(out.counters) - before
    out.lengths += [len(plaintext) + len(kind) + _ADDED for plaintext in plaintexts[:done]]
    return done


def seal_run(
    session: Session | None,
    plaintexts: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: SealedRecords,
    kind: bytes = KIND,
) -> bool:
    """Seal many plaintexts for one session, with one reservation of counters; False, and nothing done, as above."""
    if session is None:
        return False
    records = session.records
    if type(records) is not DatagramRecords or now >= records.due_at:
        return False
    epoch = records.current
    first = epoch.send_counter
    after = first + len(plaintexts)
    if after > records.look_at or epoch.send_tail or records.padded or records.mask_key:
        return False
    if records.due or records.wants_rotation or records.ratchet:
        return False
    sender = epoch.sender
    context = aeads.get(sender.serial) or sender.context(first, records.cipher, aeads)
    epoch.send_counter = after
    encrypt, pack, nonce, add_piece = context.encrypt, RECORD_HEADER.pack, records.nonce, out.pieces.append
    low_epoch, connection_id, phase = epoch.number & 0xFF, records.connection_id, sender.phase
    for counter, plaintext, data in zip(range(first, after), plaintexts, associated, strict=True):
        header = pack(RECORD, connection_id, low_epoch, phase, counter & _LOW)
        add_piece(header)
        add_piece(encrypt(nonce(counter), plaintext + kind, header + data))
    lengths = [len(plaintext) + len(kind) + _ADDED for plaintext in plaintexts]
    epoch.sent_bytes += sum(lengths) - len(lengths) * (1 + _ADDED)
    out.lengths += lengths
    out.counters += range(first, after)
    out.epochs += [epoch.number] * len(lengths)
    session.touch(now)
    return True


def open_items(
    sessions: Sequence[Session | None],
    packets: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    aeads: AeadCache,
    out: OpenedRecords,
) -> int:
    """Open one packet for each session, all three as long; how many it has opened, from the first on.

    It stops before a session that is None, a record that does not open, and whatever is not simply data for the game:
    nothing of these has changed.
    """
    add_piece, add_counter = out.pieces.append, out.counters.append
    add_epoch, add_newest = out.epochs.append, out.newest.append
    unpack, cached = RECORD_HEADER.unpack_from, aeads.get
    before = len(out.counters)
    for session, packet, data in zip(sessions, packets, associated, strict=True):
        if session is None:
            break
        records = session.records
        if type(records) is not DatagramRecords or now >= records.due_at or len(packet) < DATAGRAM_OVERHEAD:
            break
        if records.mask_key or records.due or records.last_step or records.former_connection_ids or records.held:
            break
        first, _, low_epoch, low_phase, counter = unpack(packet)
        epoch = records.current
        receiver, window = epoch.receiver, epoch.window
        highest = window.highest
        if (
            first != RECORD
            or low_epoch != epoch.number & 0xFF
            or type(receiver) is not PhaseReceiver
            or low_phase != receiver.phase
            # Below 2^31 on both sides the counter is what the header says; see `nearest`.
            or counter >= _HALF
            or highest >= _HALF
            or (counter <= highest and window.check(counter) is not _FRESH)
            or not epoch.confirmed
            or session.ticket_owed
        ):
            break
        context = cached(receiver.serial)
        if context is None:
            context, _ = receiver.find(low_phase, counter, records.cipher, aeads, now)
        try:
            inner = context.decrypt(records.nonce(counter), packet[HEADER:], packet[:HEADER] + data)
        except InvalidTag:
            break
        if inner[-1] != _DATA:
            break
        window.commit(counter)
        epoch.opened += 1
        add_piece(inner[:-1])
        add_counter(counter)
        add_epoch(epoch.number)
        add_newest(counter > highest)
        session.early = False
        session.last_used = now
        idle_end, lifetime_end = now + session.idle_timeout, session.lifetime_end
        session.expires_at = idle_end if idle_end < lifetime_end else lifetime_end  # noqa: FURB136  # as above
    done = len(out.counters) - before
    if done:
        out.lengths += map(len, out.pieces[-done:])
    return done
