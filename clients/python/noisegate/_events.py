"""What a watch of sessions tells: the words of WatchSessions as Python values, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from noisegate.v1 import session_crypto_service_pb2 as service

from ._model import TerminationReason


class SessionEventKind(IntEnum):
    """What happened to a session. A number of a later contract reads as UNKNOWN."""

    UNKNOWN = 0
    ESTABLISHED = 1
    """Its handshake or resume has finished."""
    ROTATION_DUE = 2
    """A soft limit is passed; once for each epoch."""
    ROTATED = 3
    """It has new keys, confirmed by the player."""
    SUSPENDED = 4
    """It has left memory and can come back."""
    RESTORED = 5
    """It has come back."""
    ENDED = 6

    @classmethod
    def _missing_(cls, value: object) -> SessionEventKind:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Watching:
    """The watch is in place: what happens from here on is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """Something has happened to a session."""

    kind: SessionEventKind
    session_id: bytes
    """24 bytes."""
    peer_id: str
    """The player, as the caller named it."""
    group: str
    """The match, room or table, as the caller named it."""
    epoch: int
    """The key epoch."""
    termination_reason: TerminationReason
    """Why it ended; NONE unless `kind` is ENDED."""
    resumable: bool
    """A ticket may bring the player back; a suspended session `restore_session` or its next call."""


@dataclass(frozen=True, slots=True)
class Lagged:
    """This watcher read too slowly."""

    missed: int
    """How many events it has missed since the last one."""


Watched = Watching | SessionEvent | Lagged
"""One thing that a watcher is told."""


def from_watch(wire: service.WatchSessionsResponse) -> Watched | None:
    """What is told; None for a thing of a later contract."""
    match wire.WhichOneof("what"):
        case "watching":
            return Watching()
        case "lagged":
            return Lagged(wire.lagged.missed)
        case "event":
            event = wire.event
            return SessionEvent(
                kind=SessionEventKind(event.kind),
                session_id=event.session_id,
                peer_id=event.peer_id,
                group=event.group,
                epoch=event.epoch,
                termination_reason=TerminationReason(event.termination_reason),
                resumable=event.resumable,
            )
        case _:
            return None
