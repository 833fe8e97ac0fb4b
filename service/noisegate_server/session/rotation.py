"""Rotation of a DATAGRAM session, carried inside it (docs/protocol.md, section 4).

Only the session's Noise initiator starts, so both sides can never start at once; a responder that wants a rotation says
so in the kind of what it sends. Every function returns the records that must go to the peer.

    initiator   start ──rotate-1──>            <──rotate-2── conclude: seal under the new epoch, ask until confirmed
    responder   wish ··0x80··>   <──rotate-1── respond: hold it as next ──rotate-2──>   first record: it is current
"""

from __future__ import annotations

import math
from collections.abc import Callable

from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import REMIND_LAST_S, ROTATE_AGAIN_S, ROTATION_QUIET_S, ROTATION_WISH_S
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch, begin_epoch, retire
from noisegate_server.session.packets import WANTS_ROTATION, Kind
from noisegate_server.session.renegotiation import Agreed, Parties, answer, begin, finish

RandomBytes = Callable[[int], bytes]


def start(
    records: DatagramRecords, parties: Parties, now: float, aeads: AeadCache, random_bytes: RandomBytes
) -> tuple[bytes, ...]:
    """Initiator: send rotate-1, or again the one that is under way. Nothing while the last rotation is unconfirmed.

    Nor where this epoch may seal no more; so with all functions here.
    """
    if not records.has_room:
        return ()
    if records.begun is not None:
        return (records.remind(Kind.ROTATE_1, records.begun.message, now, aeads),)
    current = records.current
    if not current.confirmed:
        return ()
    records.rotate_at = math.inf
    records.begun = begin(
        h=current.h, root=current.root, number=current.number, parties=parties, random_bytes=random_bytes
    )
    return (records.remind(Kind.ROTATE_1, records.begun.message, now, aeads),)


def wish(records: DatagramRecords, now: float, aeads: AeadCache) -> tuple[bytes, ...]:
    """Responder: ask the initiator for a rotation, now and until it has begun."""
    if records.next is not None or not records.current.confirmed or not records.has_room:
        # A salted epoch asks already, and a rotation follows it by itself.
        return ()
    records.rotate_at = math.inf
    records.wants_rotation = WANTS_ROTATION
    return (records.remind(Kind.KEEP_ALIVE, b"", now, aeads),)


def begin_due(
    records: DatagramRecords,
    parties: Parties,
    now: float,
    aeads: AeadCache,
    random_bytes: RandomBytes,
    *,
    initiator: bool,
) -> tuple[bytes, ...]:
    """A soft limit is passed: begin a rotation as initiator, as responder want one; later where one is under way."""
    records.due = True
    if not records.has_room or (initiator and not parties.remote_static):
        # Nothing may be sealed any more; or a resumed session whose peer was anonymous, which nobody can renegotiate
        # and which lives until its hard limit.
        _postpone(records, math.inf)
    elif initiator and records.begun is None and records.current.confirmed:
        return start(records, parties, now, aeads, random_bytes)
    elif not initiator and records.next is None and records.current.confirmed:
        # Everything that is sent says so from here on; after a second of silence a keep-alive does.
        records.wants_rotation = WANTS_ROTATION
        records.reminder.nudge(records.sealed, now)
        _postpone(records, math.inf)
    else:
        _postpone(records, now + REMIND_LAST_S)
    return ()


def grant(
    records: DatagramRecords, parties: Parties, now: float, aeads: AeadCache, random_bytes: RandomBytes
) -> tuple[bytes, ...]:
    """Initiator: the responder asks for a rotation; counts once in 10 s, and not while one is under way."""
    if records.begun is not None or now < records.rotated_at + ROTATION_WISH_S:
        return ()
    return start(records, parties, now, aeads, random_bytes)


def respond(
    records: DatagramRecords, message: bytes, parties: Parties, now: float, aeads: AeadCache, random_bytes: RandomBytes
) -> tuple[bytes, ...]:
    """Responder: answer rotate-1. A repeat gets the same answer; of others one a second is read, whatever comes of it.

    HandshakeFailed leaves the epochs as they were.
    """
    if not records.has_room:
        return ()
    if records.answered is not None and records.answered.asked == message:
        return (records.control(Kind.ROTATE_2, records.answered.answer, aeads),)
    if now < max(records.rotated_at + ROTATION_QUIET_S, records.answers_from):
        return ()
    records.answers_from = now + ROTATE_AGAIN_S
    current = records.current
    answered, agreed = answer(
        message, h=current.h, root=current.root, number=current.number, parties=parties, random_bytes=random_bytes
    )
    records.answered = answered
    offer(records, _epoch(records, agreed, now), aeads)
    records.forget_reminder()
    return (records.control(Kind.ROTATE_2, answered.answer, aeads),)


def rekey(records: DatagramRecords, aeads: AeadCache) -> bool:
    """Seal under the next phase's key, without a round trip. False, and nothing done, when the phases are used up."""
    records.leave_fast_path()
    return records.current.sender.rekey(aeads)


def offer(records: DatagramRecords, epoch: Epoch, aeads: AeadCache) -> None:
    """Responder: hold `epoch` as `next` until a record of it opens; it replaces an older `next`."""
    retire(records.next, aeads)
    records.next = epoch


def conclude(
    records: DatagramRecords, message: bytes, now: float, aeads: AeadCache, random_bytes: RandomBytes
) -> tuple[bytes, ...]:
    """Initiator: read rotate-2, seal under the new epoch from here on and ask for a record of it."""
    if records.begun is None:
        return ()
    agreed = finish(records.begun, message)
    # Made before anything is wiped: whatever fails here leaves a session that goes on under its old keys.
    epoch = _epoch(records, agreed, now)
    retire(records.previous, aeads)
    records.current.stop_sending(aeads)
    records.previous, records.current = records.current, epoch
    records.begun = None
    records.rotated_at = now
    records.count_anew()
    return (records.ask(now, aeads, random_bytes),)


def _postpone(records: DatagramRecords, until: float) -> None:
    records.rotate_at = until
    records.reschedule()


def _epoch(records: DatagramRecords, agreed: Agreed, now: float) -> Epoch:
    return begin_epoch(
        agreed.secrets,
        number=agreed.number,
        h=agreed.h,
        initiator=records.initiator,
        ratchet=records.ratchet,
        now=now,
        confirmed=False,
    )
