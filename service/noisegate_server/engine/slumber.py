"""What the service suspends by itself while it runs: idle sessions, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.suspend import put_away
from noisegate_server.session.session import Session
from noisegate_server.store.suspended import NO_HANDLE

_SLICE: Final = 128
"""Sessions that are sealed at once and share a commit: some 20 ms, after which calls have their turn."""


async def suspend_idle(parts: Parts, shards: Iterable[int], now: float, wall: float, *, unused_for: float) -> None:
    """Suspend the established sessions of some shards that were not used for so many seconds.

    Overloaded where the vault fails: those that have not left go on.
    """
    for group in leaving(parts, shards, used_before=now - unused_for):
        await put_away(parts, group, by_service=True, now=now, wall=wall)


def leaving(parts: Parts, shards: Iterable[int], *, used_before: float) -> Iterator[list[Session]]:
    """The established sessions of some shards that were last used at `used_before` (monotonic seconds) or before.

    In slices: whoever takes one suspends it before it takes the next.
    """
    group: list[Session] = []
    for shard in shards:
        for session in parts.store.shard(shard, used_before):
            # Asked now, because while the slice before was written it may have ended, or be on its way out already.
            if session.handle != NO_HANDLE and session.records is not None and session.last_used <= used_before:
                group.append(session)
            if len(group) == _SLICE:
                yield group
                group = []
    if group:
        yield group
