"""RevokePeer: ends everything that a player has at this instance, and keeps it from coming back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.waiting import turn
from noisegate_server.session.errors import Overloaded, PeerRevoked
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.suspended import SuspendedSession
from noisegate_server.store.vault import Revocation, VaultFailed

_PAGE: Final = 50
"""Sessions that are looked at before others have their turn: about a millisecond, if all of them are packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What a revocation ended."""

    sessions_ended: int
    suspended_deleted: int = 0


def refuse_revoked(parts: Parts, tenant: str, static_key: bytes | None) -> None:
    """PeerRevoked where the peer's authenticated static key was revoked; None and empty are nobody's."""
    if static_key and parts.revocations.is_revoked(tenant, static_key):
        raise PeerRevoked


async def revoke(
    parts: Parts, tenant: str, *, peer_id: str = "", static_key: bytes = b"", now: float, wall: float
) -> Revoked:
    """Revoke a player of `tenant`, named by one of `peer_id` and `static_key` (32 bytes).

    From the first line on nothing of it is taken; the answer comes when its sessions have ended and the word is
    durable. Overloaded where the vault cannot keep it: then it holds until the process ends, and must be repeated.
    """
    if peer_id:
        parts.revocations.revoke_name(tenant, peer_id, wall)
    else:
        parts.revocations.revoke_key(tenant, static_key)
    ended, deleted = await _end_sessions(parts, tenant, peer_id, static_key, now)
    revocation = Revocation(tenant=tenant, peer_id=peer_id, static_key=static_key, revoked_wall=wall)
    try:
        await parts.vault.revoke(revocation)
        await parts.vault.forget(deleted)
    except VaultFailed:
        raise Overloaded("the revocation holds, and cannot be written down at present: repeat it") from None
    return Revoked(sessions_ended=ended, suspended_deleted=len(deleted))


async def recall(parts: Parts) -> None:
    """Take over the revocations that the vault knows from earlier processes. VaultFailed."""
    for revocation in await parts.vault.revoked():
        if revocation.peer_id:
            parts.revocations.revoke_name(revocation.tenant, revocation.peer_id, revocation.revoked_wall)
        else:
            parts.revocations.revoke_key(revocation.tenant, revocation.static_key)


async def _end_sessions(
    parts: Parts, tenant: str, peer_id: str, static_key: bytes, now: float
) -> tuple[int, list[bytes]]:
    """How many living sessions have ended, and the ids of suspended ones, whose blobs the vault still has."""
    ended = 0
    suspended = []
    for page in _pages(parts, tenant, peer_id):
        for session in page:
            if not peer_id and session.remote_static != static_key:
                continue
            if isinstance(session, SuspendedSession):
                suspended.append(session.session_id)
            else:
                ended += 1
            _forget_ticket(parts, session, now)
            parts.store.end(session, TerminationReason.REVOKED, now)
        await turn()
    return ended, suspended


def _pages(parts: Parts, tenant: str, peer_id: str) -> Iterator[list[Session | SuspendedSession | Glance]]:
    """The tenant's sessions, of one player where named. Keys have no index: they are looked for one session a time."""
    after: int | None = 0
    while after is not None:
        page, after = parts.store.survey(tenant, peer_id=peer_id, after=after, limit=_PAGE)
        yield page


def _forget_ticket(parts: Parts, session: Session | SuspendedSession | Glance, now: float) -> None:
    kept = parts.received.pop((session.tenant, session.session_id), now)
    if kept is not None:
        kept.wipe()
