"""What nobody calls for: rows beside sessions whose time is over, and the end of the process."""

from __future__ import annotations

from noisegate_server.engine.parts import Parts
from noisegate_server.session.state import TerminationReason


def forget(parts: Parts, now: float, wall: float, budget: int) -> int:
    """Forget rows that are over, no more than `budget` of each table; how many of the one that had most of them."""
    return max(
        parts.answers.forget_expired(now, budget),
        parts.spent.forget(wall, budget),
        parts.revocations.forget(wall, budget),
        parts.received.forget_expired(now, budget),
    )


def end_all(parts: Parts, now: float) -> int:
    """End and wipe every session; how many there were."""
    parts.answers.clear()
    parts.received.clear()
    return parts.store.end_all(now, TerminationReason.SHUTDOWN)
