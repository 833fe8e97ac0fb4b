"""What the service suspends by itself while it runs: idle sessions, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from noisegate_server.engine.parts import Parts
from noisegate_server.session.session import Session
from noisegate_server.store.suspended import NO_HANDLE

__all__ = ["leaving"]

_SLICE: Final = 128
"""Sessions that are sealed at once and share a commit: some 20 ms, after which calls have their turn."""
_LOOKS: Final = 128
"""Sessions that are looked at for it: some 2 ms."""


def leaving(parts: Parts, shards: Iterable[int], *, used_before: float) -> Iterator[list[Session]]:
    """The established sessions of some shards that were last used at `used_before` (monotonic seconds) or before.

    In slices, empty ones too: whoever takes one suspends it, and lets others run, before it takes the next.
    """
    group: list[Session] = []
    looked_at = 0
    for shard in shards:
        for session in parts.store.shard(shard, used_before):
            looked_at += 1
            # Asked now, because while the slice before was written it may have ended, or be on its way out already.
            if session is not None and _can_leave(session, used_before):
                group.append(session)
            if len(group) == _SLICE or looked_at == _LOOKS:
                yield group
                group, looked_at = [], 0
    if group:
        yield group


def _can_leave(session: Session, used_before: float) -> bool:
    return session.handle != NO_HANDLE and session.records is not None and session.last_used <= used_before
