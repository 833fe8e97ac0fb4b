"""What is left in memory of a suspended session: enough to find it by, and no secret."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from noisegate_server.session.errors import NotEstablished
from noisegate_server.session.state import SessionState, TerminationReason

__all__ = ["NO_HANDLE", "Dormant", "SuspendedSession"]

NO_HANDLE: Final = -1
"""That of a session which no store has yet, or whose place a record of it has taken."""


class Dormant(Exception):
    """The session is suspended, and the call can go on once it is back. For who answers the call, not its caller."""

    def __init__(self, session_id: bytes) -> None:
        super().__init__("the session is suspended")
        self.session_id = session_id


@dataclass(slots=True, kw_only=True)
class SuspendedSession:
    """Stands in a store in the place of a session, under its handle, ids and names; counts towards the same caps."""

    session_id: bytes
    tenant: str
    peer_id: str
    group: str
    mode: int
    """A `RecordMode`."""
    remote_static: bytes
    """The peer's static key, 32 bytes or empty."""
    bound: tuple[bytes, ...]
    """DATAGRAM: the connection ids under which the peer's packets may come."""
    by_service: bool
    """The service suspended it: the first call for it brings it back."""
    resumable: bool
    """The peer has a ticket of it, which may help where the blob does not."""
    suspended_at: float
    """Monotonic seconds."""
    expires_at: float
    """When it can come back no more: monotonic seconds."""
    moving: bool = False
    """On its way out of memory or back: nobody else may move it now."""
    handle: int = NO_HANDLE
    expiry_second: int = 0
    idle_second: int = 0
    tend_at: float = math.inf
    tend_second: int = 0

    state = SessionState.SUSPENDED
    is_half_open = False
    records = None

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id that is bound to the session."""
        return self.bound

    def expiry_cause(self, _now: float) -> TerminationReason:
        """Why it is over, given that `expires_at` has passed."""
        return TerminationReason.IDLE if self.by_service else TerminationReason.LIFETIME

    def forget(self, _now: float) -> float:
        """There is nothing to forget."""
        return math.inf

    def wipe(self) -> None:
        """There is nothing secret in it."""

    def refusal(self) -> Dormant | NotEstablished:
        """What a call for it is told: to wait and try again, or that its caller has suspended it."""
        return Dormant(self.session_id) if self.by_service or self.moving else NotEstablished(self.state.name)
