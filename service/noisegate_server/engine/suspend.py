"""SuspendSession, and what the service suspends by itself: sessions leave memory as sealed blobs.

A session is fenced first: its record takes its place in the store, so that no call finds the old keys any more. Then
its blob is made durable, and only then are the keys wiped and the call answered. Where that fails, it goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from noisegate_server.engine.events import EventKind
from noisegate_server.engine.opening import identity_of
from noisegate_server.engine.parts import Parts
from noisegate_server.noise.primitives import sha256, wipe
from noisegate_server.session.blob import seal_blob
from noisegate_server.session.constants import BLOB_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import InvalidField, NotEstablished, Overloaded, PolicyRejected
from noisegate_server.session.frozen import freeze
from noisegate_server.session.grace import kept_until
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, SessionInput, TerminationReason, transition
from noisegate_server.store.suspended import SuspendedSession
from noisegate_server.store.vault import KeptSession, VaultFailed

_FINGERPRINT = 16
"""Bytes of an identity key's hash that stand in a blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """What SuspendSession gave."""

    blob: bytes = field(default=b"", repr=False)
    """Sealed; empty where the service keeps it."""
    expires_in: float
    """Seconds."""


def issuer_of(parts: Parts, tenant: str) -> bytes:
    """Who can thaw a blob: the vault that knows which ones were used, and the identity that the player knows."""
    try:
        identity = sha256(identity_of(parts, tenant).public)[:_FINGERPRINT]
    except PolicyRejected:
        identity = b""
    return parts.vault.issuer + identity


async def suspend(
    parts: Parts, tenant: str, session_id: bytes, *, return_blob: bool, now: float, wall: float
) -> Suspended:
    """Take a session out of memory. With `return_blob` (DATAGRAM) the caller gets all that is left of it.

    One that its caller has suspended already is answered likewise. Overloaded where the blob cannot be made durable:
    then the session goes on.
    """
    record = parts.store.find_suspended(tenant, session_id, now)
    if record is not None and not record.by_service and not record.moving and not return_blob:
        return Suspended(expires_in=record.expires_at - now)
    session = parts.store.get(tenant, session_id, now)
    if session.records is None:
        raise NotEstablished(session.state.name)
    if return_blob and session.mode is RecordMode.NOISE:
        raise InvalidField("return_blob", "not in NOISE mode, whose blobs hold the keys of records")
    expires_in = session.lifetime_end - now
    if not return_blob:
        await put_away(parts, [session], by_service=False, now=now, wall=wall)
        return Suspended(expires_in=expires_in)
    kept = _sealed(parts, session, by_service=False, now=now, wall=wall)
    parts.store.drop_suspended(_fence(parts, session, kept, now=now))
    _gone(parts, session, by_service=False)
    return Suspended(blob=kept.blob, expires_in=expires_in)


async def put_away(parts: Parts, sessions: Sequence[Session], *, by_service: bool, now: float, wall: float) -> None:
    """Suspend established sessions, all by one operation of the vault. Overloaded where it fails: all go on.

    Must not be cancelled: nobody would wipe those that have left, nor put back those that could not.
    """
    # All are sealed before any is moved: one that has no room in a blob leaves the others where they are.
    kept = [_sealed(parts, session, by_service=by_service, now=now, wall=wall) for session in sessions]
    records = [_fence(parts, *pair, now=now) for pair in zip(sessions, kept, strict=True)]
    try:
        await parts.vault.keep(kept)
    except VaultFailed as failure:
        for session, record in zip(sessions, records, strict=True):
            _put_back(parts, session, record, now, certain=failure.certain)
        raise Overloaded("what is suspended must be durable, and cannot be written at present") from None
    finally:
        for record in records:
            record.moving = False
    for session in sessions:
        _gone(parts, session, by_service=by_service)


def _over_at(session: Session, *, by_service: bool) -> float:
    """When it can come back no more: who suspends one himself means to; the service's own end when they would have."""
    return session.expires_at if by_service else session.lifetime_end


def _sealed(parts: Parts, session: Session, *, by_service: bool, now: float, wall: float) -> KeptSession:
    """The session as the vault keeps it; nothing has changed. ValueError where it has no room in a blob."""
    expires_wall = wall + _over_at(session, by_service=by_service) - now
    frozen = freeze(
        session,
        blob_id=parts.random_bytes(BLOB_ID),
        issuer=issuer_of(parts, session.tenant),
        now=now,
        wall=wall,
        expires_wall=expires_wall,
    )
    try:
        blob = seal_blob(parts.blob_keys, session.tenant, frozen, parts.random_bytes)
    finally:
        wipe(frozen)
    return KeptSession(
        session_id=session.session_id,
        tenant=session.tenant,
        peer_id=session.peer_id,
        group=session.group,
        mode=session.mode,
        remote_static=session.remote_static,
        connection_ids=session.connection_ids(),
        by_service=by_service,
        resumable=session.ticket_given,
        suspended_wall=wall,
        expires_wall=expires_wall,
        blob=blob,
    )


def _fence(parts: Parts, session: Session, kept: KeptSession, *, now: float) -> SuspendedSession:
    """The session's record, which is in the store in its place, and moving."""
    record = SuspendedSession(
        session_id=kept.session_id,
        tenant=kept.tenant,
        peer_id=kept.peer_id,
        group=kept.group,
        mode=kept.mode,
        remote_static=kept.remote_static,
        bound=kept.connection_ids,
        by_service=kept.by_service,
        resumable=kept.resumable,
        suspended_at=now,
        expires_at=_over_at(session, by_service=kept.by_service),
        moving=True,
    )
    parts.store.suspend(session, record)
    return record


def _gone(parts: Parts, session: Session, *, by_service: bool) -> None:
    """The session has left memory. What the service suspends goes on with the next call, a repeated one too."""
    if not by_service:
        parts.events.forget(session.tenant, session.session_id)
    parts.events.happened(EventKind.SUSPENDED, session)
    session.state = transition(session.state, SessionInput.SUSPEND)
    session.wipe()


def _put_back(parts: Parts, session: Session, record: SuspendedSession, now: float, *, certain: bool) -> None:
    if parts.store.find_suspended(session.tenant, session.session_id, now) is not record:
        # It has ended meanwhile.
        parts.counts.left(session)
        session.wipe()
        return
    parts.store.restore(record, session, now)
    if isinstance(session.records, DatagramRecords):
        parts.store.tend(session, kept_until(session.records), now)
    if session.mode is RecordMode.NOISE and not certain:
        # Should its blob turn up at a start after all, the same keys would seal twice.
        parts.store.end(session, TerminationReason.LOST, now, resumable=session.ticket_given)
