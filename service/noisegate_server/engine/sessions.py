"""Looking at sessions and ending them."""

from __future__ import annotations

from noisegate_server.engine.opening import find
from noisegate_server.engine.outcomes import SessionView, established
from noisegate_server.engine.packed_view import packed_view
from noisegate_server.engine.parts import Parts
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import (
    InvalidField,
    NotEstablished,
    Overloaded,
    SessionClosed,
    SessionNotFound,
)
from noisegate_server.session.packets import Kind
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import SessionState, TerminationReason
from noisegate_server.store.suspended import Dormant, SuspendedSession
from noisegate_server.store.vault import VaultFailed


def get(parts: Parts, tenant: str, session_id: bytes, connection_id: bytes, now: float) -> SessionView:
    """Describe one session; one that has ended, while its tombstone lives, by its state and reason alone."""
    try:
        return view(find(parts, tenant, session_id, connection_id, now), now)
    except (Dormant, NotEstablished) as refusal:
        record = parts.store.find_suspended(tenant, session_id, now, connection_id=connection_id)
        if record is None:
            raise SessionNotFound from refusal
        return view(record, now)
    except SessionClosed as closed:
        return SessionView(
            session_id=session_id,
            state=SessionState.TERMINATED,
            termination_reason=TerminationReason[closed.cause],
        )


def listing(
    parts: Parts, tenant: str, peer_id: str, group: str, page_size: int, page_token: str, now: float
) -> tuple[tuple[SessionView, ...], str]:
    """A page of the tenant's sessions, and the token of the next one (empty when this was the last)."""
    after = _cursor(page_token)
    sessions, cursor = parts.store.survey(tenant, peer_id=peer_id, group=group, after=after, limit=page_size)
    views = tuple(view(session, now) for session in sessions if session.expires_at > now)
    return views, "" if cursor is None else f"{cursor:x}"


def _cursor(page_token: str) -> int:
    try:
        after = int(page_token, 16) if page_token else 0
    except ValueError:
        after = -1
    # int() also takes signs, spaces and underscores, which no token of ours has.
    if after < 0 or (page_token and f"{after:x}" != page_token):
        raise InvalidField("page_token", "pass back what ListSessions gave")
    return after


async def close(parts: Parts, tenant: str, session_id: bytes, now: float) -> tuple[bytes, ...]:
    """End a session or a handshake and wipe its secrets; in DATAGRAM mode with a record that tells the player.

    Of a suspended one the blob is deleted, durably, and nothing is sent. Overloaded where the vault cannot do it.
    """
    record = parts.store.find_suspended(tenant, session_id, now)
    if record is not None:
        return await _close_suspended(parts, record, now)
    session = parts.store.get(tenant, session_id, now)
    records = session.records
    farewell: tuple[bytes, ...] = ()
    if isinstance(records, DatagramRecords):
        farewell = records.aside(Kind.CLOSE, b"", parts.aeads)
    parts.store.end(session, TerminationReason.CLOSED, now, resumable=session.ticket_given)
    return farewell


async def _close_suspended(parts: Parts, record: SuspendedSession, now: float) -> tuple[bytes, ...]:
    if record.moving:
        raise Dormant(record.session_id)
    record.moving = True
    try:
        await parts.vault.forget([record.session_id])
    except VaultFailed:
        raise Overloaded("suspended sessions cannot be reached at present") from None
    finally:
        record.moving = False
    parts.store.end(record, TerminationReason.CLOSED, now, resumable=record.resumable)
    return ()


def view(session: Session | SuspendedSession | Glance, now: float) -> SessionView:
    """A session as its owner may see it."""
    if isinstance(session, SuspendedSession):
        return SessionView(
            session_id=session.session_id,
            state=session.state,
            mode=session.mode,
            peer_id=session.peer_id,
            group=session.group,
            idle=now - session.suspended_at,
            connection_id=session.bound[0] if session.bound else b"",
            suspended_by_service=session.by_service,
        )
    if isinstance(session, Glance):
        return packed_view(session, now)
    records = session.records
    connection_ids = session.connection_ids()
    return SessionView(
        session_id=session.session_id,
        state=session.state,
        mode=session.mode,
        role=session.role,
        peer_id=session.peer_id,
        group=session.group,
        established=established(session, now),
        epoch=records.epoch if records is not None else 0,
        sealed=records.sealed if records is not None else 0,
        opened=records.opened if records is not None else 0,
        refused=session.refused,
        age=now - session.created_at,
        idle=now - session.last_used,
        connection_id=connection_ids[0] if connection_ids else b"",
        early=session.early,
        network=session.network,
    )
