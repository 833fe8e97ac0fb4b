"""Encrypt and Decrypt: the hot path. One look-up, one record, no object that is not needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from noisegate_server.engine.counts import Cause, cause_of
from noisegate_server.engine.events import EventKind
from noisegate_server.engine.opening import find, identity_of
from noisegate_server.engine.outcomes import Decrypted
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.tickets import keep, owed_ticket
from noisegate_server.session import rotation
from noisegate_server.session.connection_ids import follow_connection_id
from noisegate_server.session.constants import CONNECTION_ID, HARD_FAILURES, NO_CONNECTION_ID, SOFT_FAILURES
from noisegate_server.session.datagram import SALTED, DatagramRecords
from noisegate_server.session.errors import DecryptFailed, HandshakeFailed, NotEstablished, RekeyRequired, SessionError
from noisegate_server.session.grace import kept_until
from noisegate_server.session.keep_alive import answer_to, answered
from noisegate_server.session.limits import AEAD_LIMITS
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.packets import Kind
from noisegate_server.session.packets import peek as peek_packet
from noisegate_server.session.renegotiation import Parties
from noisegate_server.session.salted import open_salted, tell
from noisegate_server.session.sealed import Opened, Sealed
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import SUITES
from noisegate_server.store.base import ConnectionIdTaken

_DATA: Final = Kind.DATA
_UNKNOWN: Final = 6

CONTROL_KINDS: Final[dict[int, int]] = {
    Kind.ROTATE_1: 1,
    Kind.ROTATE_2: 1,
    Kind.TICKET: 2,
    Kind.KEEP_ALIVE: 3,
    Kind.CONNECTION_ID: 4,
    Kind.CLOSE: 5,
}
"""A record's kind to the number of the contract's ControlKind; what is not here is a later version's."""


def parties(parts: Parts, session: Session) -> Parties:
    """Who renegotiates in `session`."""
    return Parties(
        suite=session.suite,
        identity=identity_of(parts, session.tenant),
        remote_static=session.remote_static,
        anonymous_initiator=session.anonymous_initiator,
    )


def encrypt(
    parts: Parts, tenant: str, session_id: bytes, plaintext: bytes, associated_data: bytes, now: float
) -> Sealed:
    """Seal one plaintext of the game."""
    session = parts.store.get(tenant, session_id, now)
    records = session.records
    if records is None:
        raise NotEstablished(session.state.name)
    if now >= records.due_at:
        return _encrypt_due(parts, session, plaintext, associated_data, now)
    sealed = records.seal(plaintext, associated_data, now, parts.aeads)
    # As `touch`, without its call.
    session.last_used = now
    idle_end, lifetime_end = now + session.idle_timeout, session.lifetime_end
    session.expires_at = idle_end if idle_end < lifetime_end else lifetime_end  # noqa: FURB136  # a call costs more
    counts = parts.counts
    counts.sealed += 1
    counts.sealed_bytes += len(plaintext)
    if sealed.rotation_due:
        parts.events.due(session)
    return sealed


def decrypt(
    parts: Parts,
    tenant: str,
    session_id: bytes,
    ciphertext: bytes,
    associated_data: bytes,
    *,
    ticket: bool,
    now: float,
    wall: float,
) -> Decrypted:
    """Open one record of the player, and do what it asks for where it is nothing for the game."""
    session = parts.store.get(tenant, session_id, now) if session_id else _by_packet(parts, tenant, ciphertext, now)
    records = session.records
    if records is None:
        raise NotEstablished(session.state.name)
    to_peer: tuple[bytes, ...] = ()
    try:
        opened = records.open(ciphertext, associated_data, now, parts.aeads)
    except SessionError as refusal:
        otherwise = _otherwise(parts, session, ciphertext, associated_data, refusal, now)
        if isinstance(otherwise, Decrypted):
            return otherwise
        opened, to_peer = otherwise
    session.touch(now)
    session.early = False
    plaintext: bytes | None = opened.content
    control = 0
    answer = b""
    # A DATAGRAM record says itself what it is; only a bare Noise message needs the caller's word.
    is_ticket = ticket and session.mode is RecordMode.NOISE
    if is_ticket or opened.kind != _DATA:
        plaintext = None
        kind = Kind.TICKET if is_ticket else opened.kind
        control = CONTROL_KINDS.get(kind, _UNKNOWN)
        if kind == Kind.TICKET:
            control = control if keep(parts, session, opened.content, now, wall) else _UNKNOWN
        elif (act := _ACTS.get(kind)) is not None:
            to_peer += act(parts, session, opened, now)
            answer = answered(opened.content) if kind == Kind.KEEP_ALIVE else b""
    else:
        counts = parts.counts
        counts.opened += 1
        counts.opened_bytes += len(opened.content)
    if opened.confirmed or opened.wants_rotation or session.ticket_owed or now >= records.due_at:
        to_peer += _aside(parts, session, opened, now, wall)
    if records.due:
        parts.events.due(session)
    if records.wipe_at < session.tend_at:
        parts.store.tend(session, records.wipe_at, now)
    return Decrypted(
        session.session_id,
        to_peer,
        plaintext,
        control,
        opened.counter,
        opened.epoch,
        False,
        opened.newest,
        records.due,
        answer,
    )


def _otherwise(
    parts: Parts, session: Session, packet: bytes, associated_data: bytes, refusal: SessionError, now: float
) -> tuple[Opened, tuple[bytes, ...]] | Decrypted:
    """What was no RECORD of an epoch that lives: a SALTED, and what goes to the peer at once; or it is refused.

    While the peer knows nothing of a salted epoch of ours, it is told instead (protocol, section 5).
    """
    records = session.records
    if isinstance(records, DatagramRecords) and packet[:1] == SALTED:
        try:
            return open_salted(records, packet, associated_data, now, parts.aeads, parts.random_bytes)
        except SessionError as salted_refusal:
            refusal = salted_refusal
    session.refused += 1
    if isinstance(records, DatagramRecords) and records.ratchet:
        # What the packet has made us derive ahead is kept for a while, though nothing has opened.
        parts.store.tend(session, kept_until(records), now)
    if session.refused % SOFT_FAILURES == 0:
        _many_failures(parts, session, now)
    if isinstance(records, DatagramRecords) and isinstance(refusal, DecryptFailed):
        told = tell(records, packet, now, parts.aeads)
        if told:
            control = CONTROL_KINDS[Kind.KEEP_ALIVE]
            return Decrypted(session.session_id, told, None, control, 0, records.epoch, False, False, records.due)
    raise refusal


def _by_packet(parts: Parts, tenant: str, packet: bytes, now: float) -> Session:
    seen = peek_packet(packet)
    if seen is None:
        raise DecryptFailed
    return find(parts, tenant, b"", seen[1], now)


def _aside(parts: Parts, session: Session, opened: Opened, now: float, wall: float) -> tuple[bytes, ...]:
    """What a record brings about besides its content."""
    records = session.records
    if isinstance(records, NoiseRecords):
        records.upkeep(now)
    if not isinstance(records, DatagramRecords):
        return ()
    to_peer: tuple[bytes, ...] = ()
    if opened.confirmed:
        if session.role is Role.RESPONDER or records.current.receive_tail:
            # The initiator, or who made a salted epoch, asks until it sees a record of the new epoch.
            to_peer += records.aside(Kind.KEEP_ALIVE, b"", parts.aeads)
        parts.counts.settle(session, Cause.PEER)
        parts.events.happened(EventKind.ROTATED, session)
    if opened.wants_rotation and session.role is Role.INITIATOR:
        to_peer += rotation.grant(records, parties(parts, session), now, parts.aeads, parts.random_bytes)
        parts.counts.settle(session, Cause.PEER)
    return to_peer + owed_ticket(parts, session, wall) + see_to(parts, session, now)


def see_to(parts: Parts, session: Session, now: float) -> tuple[bytes, ...]:
    """Do what is due in a session at `now`, whatever call it was that came; the records that it brings about."""
    records = session.records
    if not isinstance(records, DatagramRecords) or now < records.due_at:
        return ()
    former = records.former_connection_ids
    to_peer = records.upkeep(now, parts.aeads)
    if not records.former_connection_ids:
        for connection_id in former:
            parts.store.unbind_connection(session, connection_id)
    if now >= records.rotate_at:
        cause = cause_of(session, records, now)
        to_peer += rotation.begin_due(
            records,
            parties(parts, session),
            now,
            parts.aeads,
            parts.random_bytes,
            initiator=session.role is Role.INITIATOR,
        )
        parts.counts.settle(session, cause)
    return to_peer


def _encrypt_due(parts: Parts, session: Session, plaintext: bytes, associated_data: bytes, now: float) -> Sealed:
    """As encrypt, where something is to be done besides. What is refused has done nothing of it."""
    records = session.records
    if records is None:
        raise NotEstablished(session.state.name)
    if isinstance(records, DatagramRecords) and now >= records.current.began_at + records.limits.hard_age:
        raise RekeyRequired("this epoch's keys are as old as they may be")
    sealed = records.seal(plaintext, associated_data, now, parts.aeads)
    session.touch(now)
    parts.counts.sealed += 1
    parts.counts.sealed_bytes += len(plaintext)
    to_peer = see_to(parts, session, now)
    if records.due:
        parts.events.due(session)
    return sealed._replace(to_peer=to_peer, rotation_due=records.due)


def _many_failures(parts: Parts, session: Session, now: float) -> None:
    """Another 2^20 records were refused: new keys, or past 2^35 none (protocol, section 4; RFC 9001, section 6.6)."""
    # The cipher's own limit is above ours, and would hold without it.
    if session.refused >= min(HARD_FAILURES, AEAD_LIMITS[SUITES[session.suite].cipher].failures):
        parts.store.end(session, TerminationReason.EXHAUSTED, now, resumable=session.ticket_given)
    elif session.records is not None:
        session.records.fall_due()
        parts.events.due(session)


Act = Callable[[Parts, Session, Opened, float], tuple[bytes, ...]]


def _rotate_1(parts: Parts, session: Session, opened: Opened, now: float) -> tuple[bytes, ...]:
    records = session.records
    if not isinstance(records, DatagramRecords) or session.role is not Role.RESPONDER:
        return ()
    try:
        replies = rotation.respond(
            records, opened.content, parties(parts, session), now, parts.aeads, parts.random_bytes
        )
    except HandshakeFailed:
        # An authentic record of the peer that fits no rotation of ours, such as a late one: dropped.
        return ()
    parts.counts.settle(session, Cause.PEER)
    return replies


def _rotate_2(parts: Parts, session: Session, opened: Opened, now: float) -> tuple[bytes, ...]:
    records = session.records
    if not isinstance(records, DatagramRecords):
        return ()
    try:
        replies = rotation.conclude(records, opened.content, now, parts.aeads, parts.random_bytes)
    except HandshakeFailed:
        return ()
    parts.counts.settle(session, Cause.PEER)
    return replies


def _keep_alive(parts: Parts, session: Session, opened: Opened, _now: float) -> tuple[bytes, ...]:
    records = session.records
    answer = answer_to(opened.content)
    return (
        records.aside(Kind.KEEP_ALIVE, answer, parts.aeads) if answer and isinstance(records, DatagramRecords) else ()
    )


def _connection_id(parts: Parts, session: Session, opened: Opened, _now: float) -> tuple[bytes, ...]:
    records = session.records
    if not isinstance(records, DatagramRecords) or not session.follows_connection_id:
        return ()
    new, given = opened.content, (opened.epoch, opened.counter)
    known = (NO_CONNECTION_ID, *records.connection_ids())
    # A record that the one which gave our id has overtaken would lead back to an id that the peer gives up.
    if len(new) != CONNECTION_ID or new in known or given < records.connection_id_given:
        return ()
    try:
        parts.store.bind_connection(session, new)
    except ConnectionIdTaken:
        return ()
    for former in records.former_connection_ids:
        parts.store.unbind_connection(session, former)
    follow_connection_id(records, new, given)
    return ()


def _close(parts: Parts, session: Session, _opened: Opened, now: float) -> tuple[bytes, ...]:
    parts.store.end(session, TerminationReason.PEER_CLOSED, now, resumable=session.ticket_given)
    return ()


_ACTS: Final[dict[int, Act]] = {
    Kind.ROTATE_1: _rotate_1,
    Kind.ROTATE_2: _rotate_2,
    Kind.KEEP_ALIVE: _keep_alive,
    Kind.CONNECTION_ID: _connection_id,
    Kind.CLOSE: _close,
}
"""What a record that is nothing for the game makes the service do."""
