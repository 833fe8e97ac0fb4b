"""Which hello's timestamp is new: a recorded first message of IK must not open a second session.

docs/protocol.md, section 2. A timestamp counts once the static key beside it is authenticated, and must be above the
last one that was accepted from that key. Of a key that is not known here it must not lie before the floor, which begins
as the service's own start: what was sent to an earlier process cannot be told from a replay.

The table is bounded: the key that was accepted longest ago makes room, and the floor moves above its timestamp. So
forgetting never lets a replay in. Its price: once as many keys as fit were accepted within seconds, and from clocks
that are fast, an unknown player whose clock is slow is refused until it has passed them, at most the allowed skew.
"""

from __future__ import annotations

from typing import Final

MAX_KEYS: Final = 100_000
_LEAD_MS: Final = 1_000
"""Our own timestamps may run ahead of our clock by no more: a peer's skew is counted in seconds."""


class Timestamps:
    """The last timestamp of each (tenant, static key), and our own. Unix milliseconds. Not safe for threads."""

    __slots__ = ("_capacity", "_floor", "_last", "_ours")

    def __init__(self, started_wall: float, *, capacity: int = MAX_KEYS) -> None:
        """`started_wall`: when the service began (unix seconds)."""
        self._floor = int(started_wall * 1000)
        self._last: Final[dict[tuple[str, bytes], int]] = {}
        self._capacity: Final = capacity
        self._ours = 0

    def __len__(self) -> int:
        return len(self._last)

    def is_new(self, tenant: str, static: bytes, timestamp_ms: int) -> bool:
        """Whether a hello of this key may be accepted. Changes nothing."""
        last = self._last.get((tenant, static))
        return timestamp_ms >= self._floor if last is None else timestamp_ms > last

    def accept(self, tenant: str, static: bytes, timestamp_ms: int) -> None:
        """Remember a timestamp that `is_new` and whose handshake has gone through."""
        key = (tenant, static)
        self._last.pop(key, None)
        if len(self._last) >= self._capacity:
            oldest = next(iter(self._last))
            self._floor = max(self._floor, self._last.pop(oldest) + 1)
        self._last[key] = timestamp_ms

    def ours(self, wall: float) -> int:
        """The timestamp of a hello of ours: above the last one, as peers demand, even where the clock stood still.

        Where the clock was set back, or thousands begin in a second, the clock's own time is the better answer.
        """
        clock = int(wall * 1000)
        following = max(clock, self._ours + 1)
        self._ours = following if following - clock <= _LEAD_MS else clock
        return self._ours
