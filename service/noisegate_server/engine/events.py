"""What happens to sessions, told to whoever watches them.

Telling is synchronous and at once: a watcher's `tell` takes the event and returns, and what it does with one that it
has no room for is its own business. Where nobody watches a tenant, nothing is built.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from noisegate_server.engine.counts import Counts, Subject
from noisegate_server.session.constants import REPEAT_ANSWER_S
from noisegate_server.session.errors import Overloaded, SessionQuota
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import TerminationReason

__all__ = ["EventKind", "Events", "Observe", "SessionEvent", "Subject", "Tell", "Watch"]

WATCHERS_PER_TENANT: Final = 64
WATCHERS: Final = 1_024
"""Of all tenants together."""


class EventKind(IntEnum):
    """What happened; numbers are the contract's."""

    ESTABLISHED = 1
    ROTATION_DUE = 2
    ROTATED = 3
    SUSPENDED = 4
    RESTORED = 5
    ENDED = 6


class SessionEvent(NamedTuple):
    """One thing that happened to one session."""

    kind: EventKind
    session_id: bytes
    """24 bytes."""
    peer_id: str
    group: str
    epoch: int
    reason: int = 0
    """A TerminationReason; 0 unless `kind` is ENDED."""
    resumable: bool = False


Tell = Callable[[SessionEvent], None]


class Forget(Protocol):
    """Hears of a session that leaves memory for good, or until its caller wants it back."""

    def __call__(self, tenant: str, session_id: bytes, *, shared: bool = True) -> None:
        """Not `shared`: it was in no batch that opened anything."""


def _nothing_is_kept(tenant: str, session_id: bytes, *, shared: bool = True) -> None:
    """Nobody has anything of a session beside the engine."""


Observe = Callable[[EventKind, Subject, str], None]
"""(what happened, to which session, why it ended; empty where it did not)."""


class Watch:
    """One watcher: of which sessions, and how to tell it. Hashed by identity."""

    __slots__ = ("group", "peer_id", "tell", "tenant")

    def __init__(self, tenant: str, peer_id: str, group: str, tell: Tell) -> None:
        self.tenant: Final = tenant
        self.peer_id: Final = peer_id
        """Of this player alone; empty for any."""
        self.group: Final = group
        """Likewise."""
        self.tell: Final = tell


_COUNT: Final = {
    EventKind.ESTABLISHED: Counts.established,
    EventKind.ROTATED: Counts.rotated,
    EventKind.SUSPENDED: Counts.went,
    EventKind.RESTORED: Counts.came_back,
}
"""What `happened` counts; a rotation that is due, and an end, have their own ways here."""


class Events:
    """Who watches which tenant's sessions. Of one event loop."""

    __slots__ = ("_count", "_counts", "_watches", "forget", "observe")

    def __init__(self, counts: Counts) -> None:
        self._counts: Final = counts
        self.forget: Forget = _nothing_is_kept
        """Drops answers of a session that are kept, which none is for longer than REPEAT_ANSWER_S."""
        self.observe: Observe | None = None
        """Told of every event but ROTATION_DUE, of every tenant. Must not raise."""
        self._watches: Final[dict[str, dict[Watch, None]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many watch."""
        return self._count

    def join(self, watch: Watch) -> None:
        """Tell `watch` of what happens from here on. SessionQuota at the tenant's cap, Overloaded at the process's."""
        ours = self._watches.get(watch.tenant, {})
        if len(ours) >= WATCHERS_PER_TENANT:
            raise SessionQuota("tenant", f"at most {WATCHERS_PER_TENANT} watchers")
        if self._count >= WATCHERS:
            raise Overloaded("the process has no room for another watcher")
        self._watches.setdefault(watch.tenant, ours)[watch] = None
        self._count += 1

    def leave(self, watch: Watch) -> None:
        """Tell it no more; one that has left is left alone."""
        ours = self._watches.get(watch.tenant)
        if ours is None or watch not in ours:
            return
        del ours[watch]
        self._count -= 1
        if not ours:
            del self._watches[watch.tenant]

    def happened(self, kind: EventKind, session: Session) -> None:
        """Something other than its end has happened to a session: what a use case calls."""
        _COUNT[kind](self._counts, session)
        if self.observe is not None:
            self.observe(kind, session, "")
        if session.tenant in self._watches:
            self.publish(session.tenant, _event(kind, session)._replace(resumable=kind is EventKind.SUSPENDED))

    def due(self, session: Session) -> None:
        """A session's rotation is due; told once for each epoch, however often this is called."""
        if session.tenant in self._watches and session.records is not None:
            event = _event(EventKind.ROTATION_DUE, session)
            if session.due_told != event.epoch:
                session.due_told = event.epoch
                self.publish(session.tenant, event)

    def ended(self, session: Subject, reason: TerminationReason, *, resumable: bool) -> None:
        """An established session ends; it is not wiped yet. The store calls this, whatever ended it."""
        self._counts.end(session, reason)
        if not _was_idle(session, reason):
            self.forget(session.tenant, session.session_id)
        if self.observe is not None:
            self.observe(EventKind.ENDED, session, reason.name)
        if session.tenant in self._watches:
            event = _event(EventKind.ENDED, session)
            self.publish(session.tenant, event._replace(reason=reason, resumable=resumable))

    def given_up(self, session: Subject, reason: TerminationReason, *, resumable: bool) -> None:
        """A handshake ends before it has finished. The store calls this, whatever ended it."""
        self._counts.given_up(session, reason, resumable=resumable)
        self.forget(session.tenant, session.session_id, shared=False)

    def publish(self, tenant: str, event: SessionEvent) -> None:
        """Tell an event to every watcher of the tenant that it is for."""
        for watch in tuple(self._watches.get(tenant, ())):
            if watch.peer_id in ("", event.peer_id) and watch.group in ("", event.group):
                watch.tell(event)


def _was_idle(session: Subject, reason: TerminationReason) -> bool:
    """Whether whatever was answered for it is forgotten already. Those that end by the thousand are."""
    if isinstance(session, Session):
        return reason is TerminationReason.IDLE and session.idle_timeout >= REPEAT_ANSWER_S
    return isinstance(session, Glance)


def _event(kind: EventKind, session: Subject) -> SessionEvent:
    if isinstance(session, Glance):
        epoch = session.epoch
    else:
        epoch = session.records.epoch if session.records is not None else 0
    return SessionEvent(kind, session.session_id, session.peer_id, session.group, epoch)
