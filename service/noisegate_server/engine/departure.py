"""At a stop: every established session leaves the process as a sealed blob, idle ones straight from their records.

Nobody calls any more, so a session is out of the store and wiped before its blob is durable. Should the vault fail, it
has ended, as all that is left at a stop does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.suspend import issuer_of
from noisegate_server.noise.primitives import wipe
from noisegate_server.session.blob import seal_blob
from noisegate_server.session.constants import BLOB_ID
from noisegate_server.session.frozen import freeze
from noisegate_server.session.frozen_record import freeze_record
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.store.suspended import NO_HANDLE
from noisegate_server.store.vault import KeptSession

__all__ = ["departures"]

_TENANTS: Final = 1_024
"""Whose identities are remembered on the way."""

Clock = Callable[[], float]
IssuerOf = Callable[[str], bytes]


def departures(parts: Parts, clock: Clock, wall: Clock) -> Iterator[KeptSession]:
    """Each established session, when it comes up: sealed, out of the store and wiped."""
    issuer = lru_cache(maxsize=_TENANTS)(lambda tenant: issuer_of(parts, tenant))
    for number in range(parts.store.shards):
        # Packed ones first: to look for the others would unpack them.
        yield from _packed(parts, number, issuer, clock, wall)
        yield from _awake(parts, number, issuer, clock, wall)


def _packed(parts: Parts, number: int, issuer: IssuerOf, clock: Clock, wall: Clock) -> Iterator[KeptSession]:
    for handle, shared, record in parts.store.packed_records(number):
        now, today = clock(), wall()
        blob_id = parts.random_bytes(BLOB_ID)
        with suppress(ValueError):
            # One that has no room in a blob must not keep the others here.
            frozen, glance = freeze_record(
                shared, record, handle, blob_id=blob_id, issuer=issuer(shared.tenant), now=now, wall=today
            )
            kept = _kept(parts, frozen, glance, shared.mode, now, today)
            parts.store.leave(glance)
            if glance.expires_at > now:
                parts.counts.went(glance)
                yield kept


def _awake(parts: Parts, number: int, issuer: IssuerOf, clock: Clock, wall: Clock) -> Iterator[KeptSession]:
    for session in parts.store.shard(number):
        now, today = clock(), wall()
        if session is None or session.handle == NO_HANDLE or session.records is None or session.expires_at <= now:
            continue
        with suppress(ValueError):
            # Likewise.
            frozen = freeze(
                session,
                blob_id=parts.random_bytes(BLOB_ID),
                issuer=issuer(session.tenant),
                now=now,
                wall=today,
                expires_wall=today + session.expires_at - now,
            )
            kept = _kept(parts, frozen, session, session.mode, now, today)
            parts.store.leave(session)
            parts.counts.went(session)
            session.wipe()
            yield kept


def _kept(
    parts: Parts, frozen: bytearray, of: Session | Glance, mode: RecordMode, now: float, wall: float
) -> KeptSession:
    """The session as the vault keeps it; wipes `frozen`."""
    try:
        blob = seal_blob(parts.blob_keys, of.tenant, frozen, parts.random_bytes)
    finally:
        wipe(frozen)
    return KeptSession(
        session_id=of.session_id,
        tenant=of.tenant,
        peer_id=of.peer_id,
        group=of.group,
        mode=mode,
        remote_static=of.remote_static,
        connection_ids=of.connection_ids(),
        by_service=True,
        resumable=of.ticket_given,
        suspended_wall=wall,
        expires_wall=wall + of.expires_at - now,
        blob=blob,
    )
