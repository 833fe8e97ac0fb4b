"""The in-memory store: sharded tables, indexes of handles, a timer wheel and tombstones behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic

from xxhash import xxh3_64_intdigest

from noisegate_server.session.errors import NotEstablished, Overloaded, SessionClosed, SessionNotFound, SessionQuota
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import DuplicateSession, Ended, OnEnd, S, StoreCounts, StoredSession, StoreLimits
from noisegate_server.store.expiry import ExpiryWheel
from noisegate_server.store.half_open import HalfOpenLedger
from noisegate_server.store.indexes import ConnectionIndex, PostingIndex
from noisegate_server.store.suspended import NO_HANDLE, Dormant, SuspendedSession
from noisegate_server.store.table import SessionTable
from noisegate_server.store.tending import Tending
from noisegate_server.store.tombstones import Tombstones

__all__ = ["ShardedStore"]

_EXPIRY_ENTRIES: Final = 4
"""Entries of the expiry queue for each session of the capacity. Sessions that end early leave theirs on the wheel for
up to its reach; only thousands of sessions a second, begun and ended, come near this cap."""
_EXPIRY_ENTRIES_MIN: Final = 1_000_000
"""The same cap for a small store: 8 MB."""


def _never(_session: StoredSession) -> bool:
    return False


def _unheard(session: StoredSession | SuspendedSession, reason: TerminationReason, *, resumable: bool) -> None:
    """Nobody wants to know."""


class ShardedStore(Generic[S]):
    """A `SessionStore` in the memory of one event loop."""

    __slots__ = (
        "_asleep", "_by_id", "_connections", "_expiry_cap", "_groups", "_half_open", "_limits", "_looked_at",
        "_mask", "_on_end", "_peers", "_resumable", "_table", "_tenants", "_tending", "_tombstones",
        "_unreported", "_wheel",
    )  # fmt: skip

    def __init__(
        self,
        limits: StoreLimits,
        shards: int = 256,
        *,
        resumable: Callable[[S], bool] = _never,
        on_end: OnEnd[S] = _unheard,
    ) -> None:
        """`shards` is a power of two; `resumable` says of a session whose time is over whether a ticket may help.

        `on_end` hears of every session that ends, whatever ended it, but for handshakes that never finished; the
        session is in no index any more and not yet wiped. Errors: ValueError.
        """
        self._limits = limits
        self._table: SessionTable[S] = SessionTable(shards)
        # The look-up of every record goes through these two, without a call in between.
        self._by_id = self._table.by_id
        self._mask = self._table.mask
        # Suspended sessions: the same handles, so that all indexes stay as they are when one leaves or comes back.
        self._asleep: SessionTable[SuspendedSession] = SessionTable(shards)
        self._tenants = PostingIndex(shards)
        self._peers = PostingIndex(shards)
        self._groups = PostingIndex(shards)
        self._connections = ConnectionIndex(shards)
        self._half_open = HalfOpenLedger(limits)
        self._wheel = ExpiryWheel()
        self._expiry_cap = max(_EXPIRY_ENTRIES_MIN, _EXPIRY_ENTRIES * limits.capacity)
        self._tending: Tending[S] = Tending()
        self._tombstones = Tombstones(limits, shards)
        self._unreported: list[Ended] = []
        self._resumable = resumable
        self._on_end = on_end
        self._looked_at = 0

    def add(self, session: S, now: float) -> None:
        """Keep a new session; see `SessionStore.add`."""
        self._require_new(session)
        self._check_room(session)
        self._require_free(session)
        self._table.insert(session)
        self._index(session, now)
        if session.is_half_open:
            self._half_open.add(session.handle, session.tenant, session.peer_id)

    def get(self, tenant: str, session_id: bytes, now: float) -> S:
        """The tenant's session; see `SessionStore.get`."""
        try:
            session = self._by_id[xxh3_64_intdigest(session_id) & self._mask][session_id]
        except KeyError:
            raise self._refusal(tenant, session_id, now) from None
        if session.tenant == tenant and session.expires_at > now:
            return session
        raise self._refusal_of(session, tenant, now)

    def get_many(self, tenant: str, session_ids: Sequence[bytes], now: float) -> list[S | None]:
        """The tenant's sessions, in the order of their ids; see `SessionStore.get_many`."""
        by_id, mask, digest = self._by_id, self._mask, xxh3_64_intdigest
        found: list[S | None] = []
        add = found.append
        for session_id in session_ids:
            session = by_id[digest(session_id) & mask].get(session_id)
            if session is not None and (session.tenant != tenant or session.expires_at <= now):
                session = None
            add(session)
        return found

    def get_by_connection(self, tenant: str, connection_id: bytes, now: float) -> S:
        """The tenant's session that has this connection id; see `SessionStore.get_by_connection`."""
        handle = self._connections.find(tenant, connection_id)
        session = self._table.find(handle)
        if session is None:
            asleep = self._asleep.find(handle)
            raise SessionNotFound if asleep is None else self._refusal(tenant, asleep.session_id, now)
        if session.expires_at > now:
            return session
        raise self._refusal_of(session, tenant, now)

    def bind_connection(self, session: S, connection_id: bytes) -> None:
        """Let a connection id find the session; see `SessionStore.bind_connection`."""
        if self._table.find(session.handle) is session:
            self._connections.bind(session.tenant, connection_id, session.handle)

    def unbind_connection(self, session: S, connection_id: bytes) -> None:
        """Forget a connection id of the session."""
        self._connections.unbind(session.tenant, connection_id, session.handle)

    def finished(self, session: S, now: float) -> None:
        """The session's handshake has finished.

        Its later deadline needs no new entry: the old one comes up, finds it and moves.
        """
        self._half_open.remove(session.handle, session.tenant, session.peer_id)

    def hasten(self, session: S, now: float) -> None:
        """The session's deadline has moved back; see `SessionStore.hasten`. The later entry stays."""
        if self._table.find(session.handle) is session:
            self._wheel.arm(session.handle, session.expires_at, now)

    def tend(self, session: S, moment: float, now: float) -> None:
        """The session has something to wipe at `moment`; see `SessionStore.tend`."""
        if self._table.find(session.handle) is session:
            self._tending.arm(session, moment, now)

    def end(
        self, session: S | SuspendedSession, reason: TerminationReason, now: float, *, resumable: bool = False
    ) -> None:
        """Wipe the session and forget it; see `SessionStore.end`."""
        if not (self._asleep.remove(session) if isinstance(session, SuspendedSession) else self._table.remove(session)):
            return
        self._unindex(session)
        if not self._half_open.remove(session.handle, session.tenant, session.peer_id):
            self._tombstones.add(session.session_id, session.tenant, reason, now, resumable=resumable)
            self._on_end(session, reason, resumable=resumable)
        session.wipe()

    def suspend(self, session: S, record: SuspendedSession) -> None:
        """Put the record in the session's place; see `SessionStore.suspend`."""
        record.handle = session.handle
        self._table.remove(session)
        self._asleep.place(record)
        session.handle = NO_HANDLE

    def restore(self, record: SuspendedSession, session: S) -> None:
        """Put the session in the record's place; see `SessionStore.restore`."""
        if not self._asleep.remove(record):
            raise DuplicateSession
        session.handle = record.handle
        self._tending.begin_anew(session)
        self._table.place(session)
        tenant, handle = session.tenant, session.handle
        for connection_id in record.connection_ids():
            self._connections.unbind(tenant, connection_id, handle)
        for connection_id in session.connection_ids():
            self._connections.bind(tenant, connection_id, handle)

    def find_suspended(
        self, tenant: str, session_id: bytes, now: float, *, connection_id: bytes = b""
    ) -> SuspendedSession | None:
        """The tenant's suspended session; see `SessionStore.find_suspended`."""
        if session_id:
            record = self._asleep.by_id[xxh3_64_intdigest(session_id) & self._mask].get(session_id)
        else:
            record = self._asleep.find(self._connections.find(tenant, connection_id))
        if record is None or record.tenant != tenant:
            return None
        return self._unless_over(record, now)

    def add_suspended(self, record: SuspendedSession, now: float, *, checked: bool = True) -> None:
        """Keep the record of a session that is not here; see `SessionStore.add_suspended`."""
        self._require_new(record)
        if checked:
            self._check_room(record)
        self._require_free(record)
        record.handle = self._table.new_handle(record.session_id)
        self._asleep.place(record)
        self._index(record, now)

    def drop_suspended(self, record: SuspendedSession) -> None:
        """Forget a suspended session as if it had never been here."""
        if self._asleep.remove(record):
            self._unindex(record)

    @property
    def shards(self) -> int:
        """Into how many parts the sessions are split."""
        return self._mask + 1

    def shard(self, number: int) -> list[S]:
        """The sessions of one shard; see `SessionStore.shard`."""
        return list(self._table.by_handle[number & self._mask].values())

    def sweep(self, now: float, budget: int) -> list[Ended]:
        """End sessions whose time is over; see `SessionStore.sweep`."""
        self._wheel.turn(now)
        left = budget
        while left > 0 and (handle := self._wheel.pop()):
            left -= 1
            session = self._table.find(handle)
            record = self._asleep.find(handle) if session is None else None
            if record is not None and self._unless_over(record, now) is not None:
                self._wheel.arm(handle, max(record.expires_at, now), now)
            elif session is not None and session.expires_at > now:
                self._wheel.arm(handle, session.expires_at, now)
            elif session is not None:
                self._expire(session, now)
        left -= self._tending.sweep(now, left, self._table.find)
        left -= self._tombstones.expire(now, left)
        self._looked_at += budget - left
        ended, self._unreported = self._unreported, []
        return ended

    @property
    def wiped(self) -> int:
        """How often sweeps have wiped keys of living sessions; see `SessionStore.wiped`."""
        return self._tending.wiped

    @property
    def looked_at(self) -> int:
        """Entries that all sweeps so far have looked at; never grows by more than a sweep's budget."""
        return self._looked_at

    def next_expiry(self) -> float | None:
        """Before this moment a sweep has nothing to do; None while nothing waits."""
        if self._unreported:
            return 0.0
        moments = (self._wheel.next_due(), self._tending.next_due(), self._tombstones.next_expiry())
        return min((each for each in moments if each is not None), default=None)

    def select(
        self, tenant: str, *, peer_id: str = "", group: str = "", after: int = 0, limit: int = 100
    ) -> tuple[list[S | SuspendedSession], int | None]:
        """A page of the tenant's sessions; see `SessionStore.select`. Errors: ValueError for a limit below 1."""
        if limit < 1:
            raise ValueError("limit must be at least 1")
        if peer_id:
            handles = self._peers.page((tenant, peer_id), after, limit + 1)
        elif group:
            handles = self._groups.page((tenant, group), after, limit + 1)
        else:
            handles = self._tenants.page((tenant, ""), after, limit + 1)
        page = handles[:limit]
        found = [
            session for handle in page if (session := self._table.find(handle) or self._asleep.find(handle)) is not None
        ]
        if peer_id and group:
            found = [session for session in found if session.group == group]
        return found, page[-1] if len(handles) > limit else None

    def end_all(self, now: float, reason: TerminationReason) -> int:
        """End every session, for shutdown; how many there were."""
        count = len(self._table)
        for session in self._table.drain():
            self.end(session, reason, now)
        for record in self._asleep.drain():
            self.drop_suspended(record)
        return count

    def counts(self) -> StoreCounts:
        """How full the store is."""
        return StoreCounts(
            sessions=len(self._table),
            suspended=len(self._asleep),
            half_open=len(self._half_open),
            tombstones=len(self._tombstones),
            tended=len(self._tending),
            expiry_entries=len(self._wheel),
            per_shard=self._table.per_shard(),
        )

    def leftovers(self) -> list[str]:
        """The names of the tables, indexes and queues that are not empty."""
        filled = {
            "sessions": not self._table.is_empty(),
            "suspended": not self._asleep.is_empty(),
            "tenants": not self._tenants.is_empty(),
            "peers": not self._peers.is_empty(),
            "groups": not self._groups.is_empty(),
            "connections": not self._connections.is_empty(),
            "half_open": not self._half_open.is_empty(),
            "expiry": len(self._wheel) > 0,
            "tended": len(self._tending) > 0,
            "tombstones": not self._tombstones.is_empty(),
            "unreported": bool(self._unreported),
        }
        return [name for name in filled if filled[name]]

    def _require_new(self, session: S | SuspendedSession) -> None:
        if any(session.session_id in each for each in (self._table, self._asleep, self._tombstones)):
            raise DuplicateSession

    def _require_free(self, session: S | SuspendedSession) -> None:
        for connection_id in session.connection_ids():
            self._connections.require_free(session.tenant, connection_id)

    def _check_room(self, session: S | SuspendedSession) -> None:
        limits, tenant, peer_id = self._limits, session.tenant, session.peer_id
        if peer_id and self._peers.count((tenant, peer_id)) >= limits.sessions_per_peer:
            raise SessionQuota(f"peer:{peer_id}", f"at most {limits.sessions_per_peer} sessions")
        if len(self._table) + len(self._asleep) >= limits.capacity or len(self._wheel) >= self._expiry_cap:
            raise Overloaded("the process has no room for another session")
        if self._tenants.count((tenant, "")) >= limits.sessions_per_tenant:
            raise SessionQuota("tenant", f"at most {limits.sessions_per_tenant} sessions")
        if session.is_half_open:
            self._half_open.check_room(tenant, peer_id)

    def _index(self, session: S | SuspendedSession, now: float) -> None:
        handle, tenant = session.handle, session.tenant
        for connection_id in session.connection_ids():
            self._connections.bind(tenant, connection_id, handle)
        self._tenants.add((tenant, ""), handle)
        if session.peer_id:
            self._peers.add((tenant, session.peer_id), handle)
        if session.group:
            self._groups.add((tenant, session.group), handle)
        self._wheel.arm(handle, session.expires_at, now)

    def _unindex(self, session: S | SuspendedSession) -> None:
        handle, tenant = session.handle, session.tenant
        for connection_id in session.connection_ids():
            self._connections.unbind(tenant, connection_id, handle)
        self._tenants.remove((tenant, ""), handle)
        if session.peer_id:
            self._peers.remove((tenant, session.peer_id), handle)
        if session.group:
            self._groups.remove((tenant, session.group), handle)

    def _expire(self, session: S, now: float) -> None:
        reason = session.expiry_cause(now)
        self._report(session, reason)
        self.end(session, reason, now, resumable=self._resumable(session))

    def _report(self, session: S | SuspendedSession, reason: TerminationReason) -> None:
        self._unreported.append(
            Ended(
                session_id=session.session_id,
                tenant=session.tenant,
                peer_id=session.peer_id,
                group=session.group,
                reason=reason,
            )
        )

    def _unless_over(self, record: SuspendedSession, now: float) -> SuspendedSession | None:
        """The record, or None where its time is over, which ends it; one that is on its way is let go there first."""
        if record.expires_at > now or record.moving:
            return record
        self._report(record, reason := record.expiry_cause(now))
        self.end(record, reason, now, resumable=record.resumable)
        return None

    def _refusal_of(
        self, session: S, tenant: str, now: float
    ) -> SessionNotFound | SessionClosed | NotEstablished | Dormant:
        """Why a session that is here is not handed out. A foreign caller neither ends it nor sees it."""
        session_id = session.session_id
        if session.tenant == tenant:
            self._expire(session, now)
        return self._refusal(tenant, session_id, now)

    def _refusal(
        self, tenant: str, session_id: bytes, now: float
    ) -> SessionNotFound | SessionClosed | NotEstablished | Dormant:
        asleep = self.find_suspended(tenant, session_id, now)
        if asleep is not None:
            return asleep.refusal()
        tombstone = self._tombstones.find(tenant, session_id, now)
        if tombstone is None:
            return SessionNotFound()
        return SessionClosed(tombstone.reason.name, resumable=tombstone.resumable)
