"""What nobody calls for: sessions whose time is over, and the end of the process."""

from __future__ import annotations

from noisegate_server.engine.parts import Parts
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import Ended


def sweep(parts: Parts, now: float, wall: float, budget: int) -> tuple[list[Ended], bool]:
    """End sessions whose time is over and forget rows that are, looking at no more than `budget` of each.

    For the bench and for tests: the service's sweeper goes by the clock. Those that have ended, and whether there may
    be more rows to forget; `store.next_expiry` says it of sessions.
    """
    return parts.store.sweep(now, budget), forget(parts, now, wall, budget) >= budget


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
