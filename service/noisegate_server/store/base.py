"""What a session store owes to the engine, and what a session owes to its store.

A store is synchronous and belongs to one event loop; it reads no clock (`now` is monotonic seconds and never goes
back) and draws no randomness. The engine borrows a session for one synchronous call: nobody keeps a reference to it
beyond that, and every index in a store holds integers (handles). So a store may keep idle sessions in any form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeVar

from noisegate_server.session.record_layout import Glance
from noisegate_server.session.state import SessionState, TerminationReason
from noisegate_server.store.suspended import SuspendedSession

__all__ = [
    "ConnectionIdTaken",
    "DuplicateSession",
    "Ended",
    "OnEnd",
    "Room",
    "SessionStore",
    "StoreCounts",
    "StoreLimits",
    "StoredSession",
]


class StoredSession(Protocol):
    """What a session offers to the store that keeps it.

    `session_id`, `tenant`, `peer_id` and `group` stay as they are while the session is in a store: they are index keys.
    """

    handle: int
    """The store's to set. Positive, and never given to a second session of one store."""
    expiry_second: int
    """The store's to set, as the other two seconds: in which the entry of a wheel comes up; 0 at first, for none."""
    idle_second: int
    tend_at: float
    """Set by the store alone, infinity at first: when a sweep will call `forget` (monotonic seconds)."""
    tend_second: int

    @property
    def session_id(self) -> bytes:
        """24 bytes, never used for a second session."""

    @property
    def tenant(self) -> str:
        """Who owns the session."""

    @property
    def peer_id(self) -> str:
        """The player, as the caller names it; empty for none."""

    @property
    def group(self) -> str:
        """The match or table, as the caller names it; empty for none."""

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""

    @property
    def is_half_open(self) -> bool:
        """Whether the handshake has not finished yet."""

    @property
    def expires_at(self) -> float:
        """When the session ends by itself, monotonic seconds; infinity for never.

        The session moves it forward whenever it is used, and tells nobody. Where it moves back, look-ups obey at once,
        and sweeps too if `SessionStore.hasten` has told them.
        """

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id that is bound to the session now, 8 bytes each; a few at most."""

    def expiry_cause(self, now: float) -> TerminationReason:
        """Which of the session's deadlines has passed; asked only when `expires_at <= now`."""

    def forget(self, now: float) -> float:
        """Wipe keys that have outlived their use; when there will be some again, infinity for never."""

    def wipe(self) -> None:
        """Overwrite every secret. The store calls this once, as the last thing that it does with a session."""


S = TypeVar("S", bound=StoredSession)
S_contra = TypeVar("S_contra", bound=StoredSession, contravariant=True)


class OnEnd(Protocol[S_contra]):
    """Hears of a session that ends."""

    def __call__(
        self, session: S_contra | SuspendedSession | Glance, reason: TerminationReason, *, resumable: bool
    ) -> None:
        """Before `session` is wiped, unless it is packed. Must not touch the store. `resumable`: a ticket may help."""


class ConnectionIdTaken(KeyError):
    """Another session of the tenant has this connection id: draw another one."""

    def __init__(self) -> None:
        super().__init__("the connection id is taken")


class DuplicateSession(Exception):
    """A defect of the caller of `add`: a session id is in use, or was until a moment ago."""

    def __init__(self) -> None:
        super().__init__("the session id is in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """The caps of one store. All are at least 1; ValueError names the field that is not."""

    capacity: int = 1_000_000
    """Sessions of the process, half-open and suspended ones among them, as in the caps of tenant and player."""
    sessions_per_tenant: int = 1_000_000
    """Sessions of one tenant."""
    sessions_per_peer: int = 16
    """Sessions of one player of a tenant; a session without `peer_id` is no player's."""
    half_open: int = 10_000
    """Unfinished handshakes in the process."""
    half_open_per_tenant: int = 10_000
    """Unfinished handshakes of one tenant."""
    half_open_per_peer: int = 4
    """Unfinished handshakes of one player."""
    tombstones: int = 100_000
    """Ended sessions whose owner can still learn why; the oldest makes room for the newest."""
    tombstone_s: float = 60.0
    """For how long, in seconds."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 1:
                raise ValueError(f"{field.name} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """How full a store is."""

    sessions: int
    """All of them, half-open ones too, suspended ones not."""
    packed: int
    """Those of them that are idle, and packed."""
    suspended: int
    """Those that have left memory and can come back."""
    half_open: int
    """Those whose handshake has not finished."""
    tombstones: int
    """Ended sessions whose owner can still learn why."""
    tended: int
    """Entries of sessions that have keys to wipe which outlive their use."""
    expiry_entries: int
    """Entries of the expiry queue: one a session, and those that count no more but have not come round yet."""
    per_shard: tuple[int, ...]
    """Sessions in each shard, in the shards' order."""


class Ended(NamedTuple):
    """A session that the store ended because its time was over."""

    session_id: bytes
    """24 bytes."""
    tenant: str
    """Its owner."""
    peer_id: str
    """Its player; empty for none."""
    group: str
    """Its group; empty for none."""
    reason: TerminationReason
    """Which deadline had passed."""


class Room(list[S | None]):
    """Sessions that are asked for together, and what those who ask have found out about them.

    It is there again with the next call for the same ids, and gone as soon as one of the sessions has left.
    """

    __slots__ = ("paths", "uses")

    def __init__(self, sessions: Iterable[S | None]) -> None:
        super().__init__(sessions)
        self.paths: dict[int, Any] = {}
        """The caller's: by the place of a part's first session, how that part seals."""
        self.uses = 0
        """The caller's: how many calls there were for it."""


class SessionStore(Protocol[S]):
    """Obligations of every store.

    - Ownership: a session is visible to its own tenant only. A foreign id is answered exactly as an unknown one,
      `SessionNotFound`, and changes nothing.
    - An ended session is gone: wiped once, in no index, and never handed out again. Its owner is told why
      (`SessionClosed`) for a bounded time; a handshake that never finished leaves nothing behind.
    - A session past `expires_at` counts as ended even if no sweep has come by yet.
    - A call that raises has changed nothing, but for ending a session whose time was over.
    - No call but `counts`, `end_all` and `leftovers` takes time that grows with the number of sessions.
    - Everything that a caller can make grow has a cap.
    - A suspended session keeps its place: its handle, ids and names lead to a `SuspendedSession`, which is owned,
      counted, listed and ended as a session is. Who asks for it is told by an exception: no look-up costs more.
    """

    def add(self, session: S, now: float) -> None:
        """Keep a new session, under its connection ids too; sets `session.handle`.

        When this raises, the session is still the caller's, who wipes it. Nothing is ever evicted to make room.

        Errors: SessionQuota at a cap of the player or the tenant; Overloaded at a cap of the process;
        ConnectionIdTaken; DuplicateSession (a defect).
        """

    def get(self, tenant: str, session_id: bytes, now: float) -> S:
        """The tenant's session. Errors: SessionNotFound, SessionClosed; NotEstablished, Dormant if it is suspended."""

    def get_many(self, tenant: str, session_ids: Sequence[bytes]) -> list[S | None]:
        """For each id what `get` would give, and None where it would raise or take long. Ends and wipes nothing.

        The caller has seen to it that each is of 24 bytes.

        A session past `expires_at` may be among them: whoever uses it looks. Packed sessions are None: a whole batch of
        them would hold the loop. `get` unpacks them one by one.
        """

    def get_room(self, tenant: str, packed: bytes) -> Room[S]:
        """As `get_many`, for ids that lie one behind the other, which are often the same again.

        The caller neither keeps what it gets nor changes the list.
        """

    def get_by_connection(self, tenant: str, connection_id: bytes, now: float, *, unpack: bool = True) -> S:
        """The tenant's session that has this connection id. Errors: as `get`; SessionClosed only if it ends here.

        Without `unpack` a packed one is not found.
        """

    def bind_connection(self, session: S, connection_id: bytes) -> None:
        """Let a connection id (8 bytes) find the session; the session adds it to `connection_ids()` in the same call.

        A repeat does nothing. Errors: ConnectionIdTaken. A session that has ended is left alone.
        """

    def unbind_connection(self, session: S, connection_id: bytes) -> None:
        """Forget a connection id of the session; one that is not its own is left alone."""

    def finished(self, session: S, now: float) -> None:
        """The session's handshake has finished: it no longer counts as half-open. A repeat does nothing."""

    def hasten(self, session: S, now: float) -> None:
        """The session's `expires_at` has moved back: let sweeps know. One that has ended is left alone."""

    def tend(self, session: S, moment: float, now: float) -> None:
        """The session has something to wipe at `moment`: let a sweep call its `forget` then, if no call has before."""

    def end(
        self, session: S | SuspendedSession | Glance, reason: TerminationReason, now: float, *, resumable: bool = False
    ) -> None:
        """Wipe the session and forget it, but for what its owner may be told. A suspended one's blob is not here.

        A session that has ended is left alone. `resumable` is for its owner: a ticket may help.
        """

    def suspend(self, session: S, record: SuspendedSession) -> None:
        """Put the record in the session's place. The session is the caller's now, who wipes it or puts it back."""

    def restore(self, record: SuspendedSession, session: S, now: float) -> None:
        """Put the session in the record's place, under its own connection ids."""

    def find_suspended(
        self, tenant: str, session_id: bytes, now: float, *, connection_id: bytes = b""
    ) -> SuspendedSession | None:
        """The tenant's suspended session of this id or, where it is empty, of this connection id."""

    def add_suspended(self, record: SuspendedSession, now: float, *, checked: bool = True) -> None:
        """Keep the record of a session that is not here. Errors: as `add`; without `checked`, the caps do not count."""

    def drop_suspended(self, record: SuspendedSession) -> None:
        """Forget a suspended session as if it had never been here: another place has it."""

    @property
    def shards(self) -> int:
        """Into how many parts the sessions are split."""

    def shard(self, number: int, used_before: float = math.inf) -> Iterator[S | None]:
        """The sessions of one part, suspended ones not; by any number: who counts on comes by all of them.

        They are those that are there now, each handed out when it comes up; of the idle ones only those that were last
        used at `used_before` (monotonic seconds) or before. None in the place of every other: looks count.
        """

    def packed_record(self, tenant: str, session_id: bytes) -> tuple[Any, memoryview] | None:
        """(what it shares with others, record) of the tenant's session of this id, if it is packed; None otherwise.

        A view of the store's own memory, full of secrets, good until the next call. The caller may write what a use of
        the session changes, its counters and times, in their place. A session past `expires_at` may be among them.
        """

    def packed_records(self, number: int) -> Iterator[tuple[int, Any, memoryview]]:
        """(handle, what it shares with others, record) of the packed sessions of one part, each when it comes up.

        Views of the store's own memory, full of secrets, good until the next call.
        """

    def leave(self, session: S | Glance) -> None:
        """Forget a session as if it had never been here: another process has it. Wipes a packed one's record."""

    def sweep(self, now: float, budget: int) -> list[Ended]:
        """End sessions whose time is over, and pack idle ones, for no more than `budget` entries of the queues.

        The answer also names the sessions that were found to be over by `get` since the last sweep.
        """

    @property
    def looked_at(self) -> int:
        """Entries of the queues that all sweeps have looked at."""

    @property
    def wiped(self) -> int:
        """How often sweeps have had a living session wipe keys that had outlived their use."""

    def next_expiry(self) -> float | None:
        """Before this moment a sweep has nothing to do (monotonic seconds); None while nothing waits."""

    def select(
        self, tenant: str, *, peer_id: str = "", group: str = "", after: int = 0, limit: int = 100
    ) -> tuple[list[S | SuspendedSession], int | None]:
        """A page of the tenant's sessions, of one player and of one group where named, in the order of their handles.

        `after` is the cursor of the page before, 0 for the first page; the answer's cursor is None on the last one.
        Any other number is harmless. A session that is there during the whole listing is listed once. A page may be
        shorter than `limit` (at least 1) and still have a successor; sessions past their time are listed until ended.
        """

    def survey(
        self, tenant: str, *, peer_id: str = "", group: str = "", after: int = 0, limit: int = 100
    ) -> tuple[list[S | SuspendedSession | Glance], int | None]:
        """As `select`, for who only looks: packed sessions stay packed."""

    def end_all(self, now: float, reason: TerminationReason) -> int:
        """End every session, for shutdown; how many there were. Takes time in proportion to that."""

    def counts(self) -> StoreCounts:
        """How full the store is. Takes time in proportion to the number of shards."""

    def leftovers(self) -> list[str]:
        """The names of the tables, indexes and queues that are not empty."""
