"""The in-memory store: sharded tables, indexes of handles, a timer wheel and tombstones behind one interface."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic

from noisegate_server.session.errors import NotEstablished, Overloaded, SessionClosed, SessionNotFound, SessionQuota
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import DuplicateSession, Ended, OnEnd, Room, S, StoreCounts, StoredSession, StoreLimits
from noisegate_server.store.compact import buckets_for
from noisegate_server.store.deadlines import Deadlines
from noisegate_server.store.half_open import HalfOpenLedger
from noisegate_server.store.indexes import Indexes
from noisegate_server.store.packed import Packer
from noisegate_server.store.packing import PackingTable
from noisegate_server.store.suspended import NO_HANDLE, Dormant, SuspendedSession
from noisegate_server.store.table import SessionTable
from noisegate_server.store.tending import Tending
from noisegate_server.store.tombstones import Tombstones

__all__ = ["ShardedStore"]


def _never(_session: StoredSession | Glance) -> bool:
    return False


def _unheard(session: StoredSession | SuspendedSession | Glance, reason: TerminationReason, *, resumable: bool) -> None:
    """Nobody wants to know."""


class ShardedStore(Generic[S]):
    """A `SessionStore` in the memory of one event loop."""

    __slots__ = (
        "_asleep", "_by_last_byte", "_deadlines", "_half_open", "_indexes", "_limits", "_looked_at", "_on_end",
        "_on_given_up", "_queues", "_resumable", "_table", "_tending", "_tombstones", "_unreported",
    )  # fmt: skip

    def __init__(
        self,
        limits: StoreLimits,
        shards: int = 256,
        *,
        resumable: Callable[[S | Glance], bool] = _never,
        on_end: OnEnd[S] = _unheard,
        on_given_up: OnEnd[S] = _unheard,
        packer: Packer[S] | None = None,
    ) -> None:
        """`shards`: a power of two up to 256; `resumable` says of a session that is over whether a ticket may help.

        `on_end` hears of every session that ends, whatever ended it, `on_given_up` of handshakes that never finished;
        the session is in no index any more and not yet wiped. With a `packer` sweeps pack idle ones. Errors: ValueError
        """
        self._limits = limits
        self._table: PackingTable[S] = PackingTable(shards, packer, limits.capacity)
        # The look-up of every record goes through this one, without a call in between.
        self._by_last_byte = self._table.by_last_byte
        # Suspended sessions: the same handles, so that all indexes stay as they are when one leaves or comes back.
        self._asleep: SessionTable[SuspendedSession] = SessionTable(shards)
        self._indexes = Indexes(shards, buckets_for(limits.capacity, shards))
        self._half_open = HalfOpenLedger(limits)
        self._deadlines: Deadlines[S] = Deadlines(self._table, self._asleep, limits.capacity)
        self._tending: Tending[S] = Tending()
        self._tombstones = Tombstones(limits, shards)
        self._unreported: list[Ended] = []
        self._resumable = resumable
        self._on_end = on_end
        self._on_given_up = on_given_up
        self._looked_at = 0
        self._queues: deque[Callable[[float, int], int]] = deque(
            (
                partial(self._deadlines.sweep, over=self._expire),
                # Behind ends, so that these come first in three sweeps of four where the others are empty, as is usual.
                self._table.pack_idle,
                partial(self._tending.sweep, find=self._table.awake),
                self._tombstones.expire,
            )
        )
        """What a sweep looks through: given the time and a budget, how much of the budget that took."""

    def add(self, session: S, now: float) -> None:
        """Keep a new session; see `SessionStore.add`."""
        self._require_new(session)
        self._check_room(session)
        self._indexes.require_free(session)
        self._table.insert(session)
        self._indexes.add(session)
        self._deadlines.arm(session, now)
        if session.is_half_open:
            self._half_open.add(session.handle, session.tenant, session.peer_id)

    def get(self, tenant: str, session_id: bytes, now: float) -> S:
        """The tenant's session; see `SessionStore.get`."""
        try:
            session = self._by_last_byte[session_id[-1]][session_id]
        except (KeyError, IndexError):
            # No such id, or one of no bytes.
            found = self._unpacked(tenant, session_id)
            if found is None:
                raise self._refusal(tenant, session_id, now) from None
            session = found
        if session.tenant == tenant and session.expires_at > now:
            return session
        raise self._refusal_of(session, tenant, now)

    def get_many(self, tenant: str, session_ids: Sequence[bytes]) -> list[S | None]:
        """The tenant's sessions, in the order of their ids; see `SessionStore.get_many`."""
        return self._table.find_many(tenant, session_ids)

    def get_room(self, tenant: str, packed: bytes) -> Room[S]:
        """As `get_many`, for ids one behind the other; see `SessionStore.get_room`."""
        return self._table.find_room(tenant, packed)

    def get_by_connection(self, tenant: str, connection_id: bytes, now: float, *, unpack: bool = True) -> S:
        """The tenant's session that has this connection id; see `SessionStore.get_by_connection`."""
        handle = self._indexes.connections.find(tenant, connection_id)
        session = self._table.find(handle) if unpack else self._table.awake(handle)
        if session is None:
            asleep = self._asleep.find(handle)
            raise SessionNotFound if asleep is None else self._refusal(tenant, asleep.session_id, now)
        if session.tenant == tenant and session.expires_at > now:
            return session
        raise self._refusal_of(session, tenant, now)

    def bind_connection(self, session: S, connection_id: bytes) -> None:
        """Let a connection id find the session; see `SessionStore.bind_connection`."""
        if self._table.awake(session.handle) is session:
            self._indexes.connections.bind(session.tenant, connection_id, session.handle)

    def unbind_connection(self, session: S, connection_id: bytes) -> None:
        """Forget a connection id of the session."""
        self._indexes.connections.unbind(session.tenant, connection_id, session.handle)

    def finished(self, session: S, now: float) -> None:
        """The session's handshake has finished.

        Its later deadline needs no new entry: the old one comes up, finds it and moves.
        """
        self._half_open.remove(session.handle, session.tenant, session.peer_id)

    def hasten(self, session: S, now: float) -> None:
        """The session's deadline has moved back; see `SessionStore.hasten`."""
        if self._table.awake(session.handle) is session:
            self._deadlines.arm(session, now)

    def tend(self, session: S, moment: float, now: float) -> None:
        """The session has something to wipe at `moment`; see `SessionStore.tend`."""
        if self._table.awake(session.handle) is session:
            self._tending.arm(session, moment, now)

    def end(
        self, session: S | SuspendedSession | Glance, reason: TerminationReason, now: float, *, resumable: bool = False
    ) -> None:
        """Wipe the session and forget it; see `SessionStore.end`."""
        if not (self._asleep.remove(session) if isinstance(session, SuspendedSession) else self._table.remove(session)):
            return
        self._indexes.remove(session)
        if self._half_open.remove(session.handle, session.tenant, session.peer_id):
            self._on_given_up(session, reason, resumable=False)
        else:
            self._tombstones.add(session.session_id, session.tenant, reason, now, resumable=resumable)
            self._on_end(session, reason, resumable=resumable)
        session.wipe()

    def suspend(self, session: S, record: SuspendedSession) -> None:
        """Put the record in the session's place; see `SessionStore.suspend`."""
        record.handle, record.expiry_second = session.handle, session.expiry_second
        self._table.remove(session)
        self._asleep.place(record)
        session.handle = NO_HANDLE

    def restore(self, record: SuspendedSession, session: S, now: float) -> None:
        """Put the session in the record's place; see `SessionStore.restore`."""
        if not self._asleep.remove(record):
            raise DuplicateSession
        session.handle, session.expiry_second = record.handle, record.expiry_second
        self._deadlines.arm(session, now)
        self._tending.begin_anew(session)
        self._table.place(session)
        tenant, handle = session.tenant, session.handle
        for connection_id in record.connection_ids():
            self._indexes.connections.unbind(tenant, connection_id, handle)
        for connection_id in session.connection_ids():
            self._indexes.connections.bind(tenant, connection_id, handle)

    def find_suspended(
        self, tenant: str, session_id: bytes, now: float, *, connection_id: bytes = b""
    ) -> SuspendedSession | None:
        """The tenant's suspended session; see `SessionStore.find_suspended`."""
        if session_id:
            record = self._asleep.by_last_byte[session_id[-1]].get(session_id)
        else:
            record = self._asleep.find(self._indexes.connections.find(tenant, connection_id))
        if record is None or record.tenant != tenant:
            return None
        return self._unless_over(record, now)

    def add_suspended(self, record: SuspendedSession, now: float, *, checked: bool = True) -> None:
        """Keep the record of a session that is not here; see `SessionStore.add_suspended`."""
        self._require_new(record)
        if checked:
            self._check_room(record)
        self._indexes.require_free(record)
        record.handle = self._table.new_handle(record.session_id)
        self._asleep.place(record)
        self._indexes.add(record)
        self._deadlines.arm(record, now)

    def drop_suspended(self, record: SuspendedSession) -> None:
        """Forget a suspended session as if it had never been here."""
        if self._asleep.remove(record):
            self._indexes.remove(record)

    @property
    def shards(self) -> int:
        """Into how many parts the sessions are split."""
        return self._table.mask + 1

    def shard(self, number: int, used_before: float = math.inf) -> Iterator[S | None]:
        """The sessions of one shard; see `SessionStore.shard`."""
        return self._table.shard(number, used_before)

    def packed_record(self, tenant: str, session_id: bytes) -> tuple[Any, memoryview] | None:
        """The record of the tenant's packed session of this id; see `SessionStore.packed_record`."""
        return self._table.packed_record(tenant, session_id)

    def packed_records(self, number: int) -> Iterator[tuple[int, Any, memoryview]]:
        """The packed sessions of one shard; see `SessionStore.packed_records`."""
        return self._table.packed_records(number)

    def leave(self, session: S | Glance) -> None:
        """Forget a session that has left the process; see `SessionStore.leave`."""
        if self._table.remove(session):
            self._indexes.remove(session)

    def sweep(self, now: float, budget: int) -> list[Ended]:
        """End sessions whose time is over; see `SessionStore.sweep`."""
        left = budget
        # Each has its turn to be the first: of one in which more comes up than a sweep may do, no other waits for ever.
        self._queues.rotate(-1)
        for look_through in self._queues:
            left -= look_through(now, left)
            if not left:
                break
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
        queues = (self._deadlines.next_due, self._tending.next_due, self._tombstones.next_expiry, self._table.next_idle)
        return min((moment for next_of in queues if (moment := next_of()) is not None), default=None)

    def select(
        self, tenant: str, *, peer_id: str = "", group: str = "", after: int = 0, limit: int = 100
    ) -> tuple[list[S | SuspendedSession], int | None]:
        """A page of the tenant's sessions; see `SessionStore.select`. Errors: ValueError for a limit below 1."""
        page, cursor = self._page(self._table.find, tenant, peer_id, group, after, limit)
        return [session for session in page if not isinstance(session, Glance)], cursor

    def survey(
        self, tenant: str, *, peer_id: str = "", group: str = "", after: int = 0, limit: int = 100
    ) -> tuple[list[S | SuspendedSession | Glance], int | None]:
        """The same, packed or not; see `SessionStore.survey`. Errors: likewise."""
        return self._page(self._table.look, tenant, peer_id, group, after, limit)

    def _page(
        self, find: Callable[[int], S | Glance | None], tenant: str, peer_id: str, group: str, after: int, limit: int
    ) -> tuple[list[S | SuspendedSession | Glance], int | None]:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        handles = self._indexes.page(tenant, peer_id, group, after, limit + 1)
        page = handles[:limit]
        found = [each for handle in page if (each := find(handle) or self._asleep.find(handle)) is not None]
        # By its hash a key may have led to a stranger; and of a player not all sessions are of the group.
        found = [each for each in found if each.tenant == tenant and peer_id in {"", each.peer_id}]
        return [each for each in found if group in {"", each.group}], page[-1] if len(handles) > limit else None

    def end_all(self, now: float, reason: TerminationReason) -> int:
        """End every session, for shutdown; how many there were."""
        count = len(self._table)
        for session in self._table.everything():
            self.end(session, reason, now)
        for record in self._asleep.drain():
            self.drop_suspended(record)
        return count

    def counts(self) -> StoreCounts:
        """How full the store is."""
        return StoreCounts(
            sessions=len(self._table),
            packed=self._table.packed,
            suspended=len(self._asleep),
            half_open=len(self._half_open),
            tombstones=len(self._tombstones),
            tended=len(self._tending),
            expiry_entries=len(self._deadlines),
            per_shard=self._table.per_shard(),
        )

    def leftovers(self) -> list[str]:
        """The names of the tables, indexes and queues that are not empty."""
        filled = {
            "sessions": not self._table.is_empty(),
            "suspended": not self._asleep.is_empty(),
            **self._indexes.filled(),
            "half_open": not self._half_open.is_empty(),
            "expiry": len(self._deadlines) > 0,
            "tended": len(self._tending) > 0,
            "tombstones": not self._tombstones.is_empty(),
            "unreported": bool(self._unreported),
        }
        return [name for name in filled if filled[name]]

    def _require_new(self, session: S | SuspendedSession) -> None:
        if any(session.session_id in each for each in (self._table, self._asleep, self._tombstones)):
            raise DuplicateSession

    def _check_room(self, session: S | SuspendedSession) -> None:
        limits, tenant, peer_id = self._limits, session.tenant, session.peer_id
        if peer_id and self._indexes.peers.count((tenant, peer_id)) >= limits.sessions_per_peer:
            raise SessionQuota(f"peer:{peer_id}", f"at most {limits.sessions_per_peer} sessions")
        if len(self._table) + len(self._asleep) >= limits.capacity or self._deadlines.is_full:
            raise Overloaded("the process has no room for another session")
        if self._indexes.tenants.count((tenant, "")) >= limits.sessions_per_tenant:
            raise SessionQuota("tenant", f"at most {limits.sessions_per_tenant} sessions")
        if session.is_half_open:
            self._half_open.check_room(tenant, peer_id)

    def _expire(self, session: S | SuspendedSession | Glance, now: float) -> None:
        """End a session whose time is over."""
        reason = session.expiry_cause(now)
        self._unreported.append(Ended(session.session_id, session.tenant, session.peer_id, session.group, reason))
        resumable = session.resumable if isinstance(session, SuspendedSession) else self._resumable(session)
        self.end(session, reason, now, resumable=resumable)

    def _unless_over(self, record: SuspendedSession, now: float) -> SuspendedSession | None:
        """The record, or None where its time is over, which ends it; one that is on its way is let go there first."""
        if record.expires_at > now or record.moving:
            return record
        self._expire(record, now)
        return None

    def _refusal_of(
        self, session: S, tenant: str, now: float
    ) -> SessionNotFound | SessionClosed | NotEstablished | Dormant:
        """Why a session that is here is not handed out. A foreign caller neither ends it nor sees it."""
        session_id = session.session_id
        if session.tenant == tenant:
            self._expire(session, now)
        return self._refusal(tenant, session_id, now)

    def _unpacked(self, tenant: str, session_id: bytes) -> S | None:
        """The tenant's session that was packed, as an object from here on."""
        glance = self._table.glance(session_id)
        return self._table.find(glance.handle) if glance is not None and glance.tenant == tenant else None

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
