"""RestoreSession, and the first call for what the service has suspended: a session comes back, once.

Its blob is deleted, or its id marked as used, durably before anything of it is sealed. Whoever comes while another
brings the session back waits for that one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from noisegate_server.engine.events import EventKind
from noisegate_server.engine.outcomes import SessionView
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import limits_of
from noisegate_server.engine.sessions import view
from noisegate_server.engine.suspend import issuer_of
from noisegate_server.noise.primitives import wipe
from noisegate_server.session.blob import label_of, open_blob
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import BlobRejected, Overloaded, SessionClosed
from noisegate_server.session.fields import BlobRefused
from noisegate_server.session.frozen import thaw
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.store.base import ConnectionIdTaken, DuplicateSession
from noisegate_server.store.suspended import Dormant, SuspendedSession
from noisegate_server.store.vault import KeptSession, VaultFailed

_TURNS: Final = 64
"""How often a call waits for another one that moves its session, before it is told to try later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What RestoreSession gave."""

    to_peer: tuple[bytes, ...]
    session: SessionView


async def restore(parts: Parts, tenant: str, session_id: bytes, now: float, wall: float) -> Restored:
    """Bring a session back that the service keeps; one that is not suspended is answered as it is.

    SessionClosed (LOST) where its blob cannot be used any more; Overloaded where the vault cannot give it at present.
    """
    session, is_back = await present(parts, tenant, session_id, now, wall)
    return Restored(to_peer=tell(parts, session, now) if is_back else (), session=view(session, now))


async def present(parts: Parts, tenant: str, session_id: bytes, now: float, wall: float) -> tuple[Session, bool]:
    """The session, in memory, and whether this call has brought it back. Errors: as `restore`."""
    for _ in range(_TURNS):
        record = parts.store.find_suspended(tenant, session_id, now)
        if record is None:
            return parts.store.get(tenant, session_id, now), False
        if not record.moving:
            return await bring_back(parts, record, now, wall), True
        await settled(parts)
    raise Overloaded("the session is on its way in or out of memory")


async def restore_blob(parts: Parts, tenant: str, blob: bytes, now: float, wall: float) -> Restored:
    """Bring a session back whose blob its caller has.

    BlobRejected for whatever is wrong with the blob, and the second time; SessionQuota and Overloaded leave it usable.
    """
    session, blob_id, expires_wall = _opened(parts, tenant, blob, now, wall)
    record = _record_of(session, now)
    try:
        parts.store.add_suspended(record, now)
    except (DuplicateSession, ConnectionIdTaken):
        session.wipe()
        raise BlobRejected from None
    except BaseException:
        session.wipe()
        raise
    fresh = False
    try:
        fresh = await parts.vault.spend(blob_id, expires_wall)
    except VaultFailed:
        raise Overloaded("what is used must be written down, and cannot be at present") from None
    finally:
        if not fresh:
            parts.store.drop_suspended(record)
            session.wipe()
    if not fresh:
        raise BlobRejected
    if parts.store.find_suspended(tenant, session.session_id, now) is not record:
        # Revoked while the vault worked.
        session.wipe()
        raise BlobRejected
    _commit(parts, record, session, now)
    return Restored(to_peer=tell(parts, session, now), session=view(session, now))


async def wake(parts: Parts, tenant: str, dormant: Dormant, now: float, wall: float) -> None:
    """Bring back what the service suspended, for a call that then runs again; wait where another one moves it."""
    record = parts.store.find_suspended(tenant, dormant.session_id, now)
    if record is None:
        return
    if record.moving:
        await settled(parts)
    elif record.by_service:
        session = await bring_back(parts, record, now, wall)
        # To wake it is no use of it, since anybody's packet under its connection id does: else who knows the id could
        # keep it from ever ending, and have it come back until its epochs are used up.
        session.last_used = min(session.last_used, record.suspended_at)
        session.expires_at = min(session.expires_at, record.expires_at)
        # The call that has come is the first to tell the player. Should that be lost, this question is asked again.
        tell(parts, session, now)


async def settled(parts: Parts) -> None:
    """Wait until the vault has done all that it was asked for before. Overloaded where it does nothing any more."""
    try:
        await parts.vault.settle()
    except VaultFailed:
        raise Overloaded("suspended sessions cannot be reached at present") from None


async def bring_back(parts: Parts, record: SuspendedSession, now: float, wall: float) -> Session:
    """The session of a record that does not move: its blob is gone from the vault, and it is in the store again."""
    record.moving = True
    try:
        blob = await parts.vault.take(record.session_id)
    except VaultFailed:
        raise Overloaded("suspended sessions cannot be reached at present") from None
    finally:
        record.moving = False
    if parts.store.find_suspended(record.tenant, record.session_id, now) is not record:
        # Closed, revoked or over meanwhile: says so.
        return parts.store.get(record.tenant, record.session_id, now)
    try:
        if blob is None:
            raise BlobRejected
        session, _, _ = _opened(parts, record.tenant, blob, now, wall)
    except BlobRejected:
        parts.store.end(record, TerminationReason.LOST, now, resumable=record.resumable)
        raise SessionClosed(TerminationReason.LOST.name, resumable=record.resumable) from None
    _commit(parts, record, session, now)
    return session


async def recall_suspended(parts: Parts, now: float, wall: float) -> None:
    """Take over the suspended sessions that the vault knows from earlier processes. VaultFailed."""
    for kept in await parts.vault.kept():
        if kept.expires_wall > wall:
            # One whose place is taken is found by nobody, and ends in its time.
            with suppress(DuplicateSession, ConnectionIdTaken):
                parts.store.add_suspended(_record_of_kept(kept, now, wall), now, checked=False)


def _opened(parts: Parts, tenant: str, blob: bytes, now: float, wall: float) -> tuple[Session, bytes, float]:
    """The session in a blob, the blob's id and end; checked against all that may have changed since. BlobRejected."""
    try:
        frozen = open_blob(parts.blob_keys, tenant, blob, wall)
    except BlobRefused:
        raise BlobRejected from None
    try:
        label = label_of(frozen)
        if label.issuer != issuer_of(parts, tenant) or parts.revocations.refuses(
            tenant, label.peer_id, label.remote_static, label.frozen_wall
        ):
            raise BlobRejected
        session = thaw(
            frozen,
            tenant=tenant,
            aeads=parts.aeads,
            limits_of=partial(limits_of, parts.policy),
            random_bytes=parts.random_bytes,
            now=now,
            wall=wall,
        )
    except BlobRefused:
        raise BlobRejected from None
    finally:
        wipe(frozen)
    if session.suite not in parts.policy.suites:
        session.wipe()
        raise BlobRejected
    return session, label.blob_id, label.expires_wall


def _commit(parts: Parts, record: SuspendedSession, session: Session, now: float) -> None:
    try:
        parts.store.restore(record, session, now)
    except BaseException:
        session.wipe()
        raise
    parts.events.happened(EventKind.RESTORED, session)


def tell(parts: Parts, session: Session, now: float) -> tuple[bytes, ...]:
    """DATAGRAM: the keep-alive that tells the player of the new keys."""
    records = session.records
    return (records.ask(now, parts.aeads, parts.random_bytes),) if isinstance(records, DatagramRecords) else ()


def _record_of(session: Session, now: float) -> SuspendedSession:
    """What stands in the store until the session itself may: nobody else can bring it back."""
    return SuspendedSession(
        session_id=session.session_id,
        tenant=session.tenant,
        peer_id=session.peer_id,
        group=session.group,
        mode=session.mode,
        remote_static=session.remote_static,
        bound=session.connection_ids(),
        by_service=False,
        resumable=session.ticket_given,
        suspended_at=now,
        expires_at=session.expires_at,
        moving=True,
    )


def _record_of_kept(kept: KeptSession, now: float, wall: float) -> SuspendedSession:
    return SuspendedSession(
        session_id=kept.session_id,
        tenant=kept.tenant,
        peer_id=kept.peer_id,
        group=kept.group,
        mode=RecordMode(kept.mode),
        remote_static=kept.remote_static,
        bound=kept.connection_ids,
        by_service=kept.by_service,
        resumable=kept.resumable,
        suspended_at=now - max(wall - kept.suspended_wall, 0.0),
        expires_at=now + kept.expires_wall - wall,
    )
