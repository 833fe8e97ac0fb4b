"""What the service suspends by itself: idle sessions, and at a stop all of them. A shard at a time."""

from __future__ import annotations

from typing import Final

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.suspend import put_away
from noisegate_server.session.session import Session

_SLICE: Final = 128
"""Sessions that are sealed at once: a few milliseconds, after which calls have their turn."""


async def suspend_shard(parts: Parts, shard: int, now: float, wall: float, *, unused_for: float = 0.0) -> int:
    """Suspend the established sessions of one shard that were not used for so many seconds; how many.

    Overloaded where the vault fails: those that have not left go on.
    """
    due = [session for session in parts.store.shard(shard) if _may_leave(session, now - unused_for)]
    for start in range(0, len(due), _SLICE):
        # Some may have ended, or left, while the slice before was written.
        still = [session for session in due[start : start + _SLICE] if _may_leave(session, now - unused_for)]
        if still:
            await put_away(parts, still, by_service=True, now=now, wall=wall)
    return len(due)


def _may_leave(session: Session, used_before: float) -> bool:
    return session.records is not None and session.last_used <= used_before
