"""When an epoch should give way to the next one, and when it must (docs/protocol.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from examples.dice.datagram_player.wire import FLAG_RATCHET

RESERVED: Final = 1_024
"""Of the hard limit of messages, the last are for control records."""
FAILURES_DUE, FAILURES_END = 1 << 20, 1 << 35
"""So many records that did not open make a rotation due, and end the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Soft: rotate soon. Hard: seal no more data. Each side keeps limits of its own; lower ones are always allowed."""

    soft_age_s: float = 120.0
    hard_age_s: float = 180.0
    soft_messages: int = 1 << 20
    hard_messages: int = 1 << 23
    soft_bytes: int = 1 << 36
    hard_bytes: int = 1 << 39

    @classmethod
    def of(cls, flags: int) -> Limits:
        """The protocol's own, which are lower with the ratchet."""
        return cls(soft_messages=8_192, hard_messages=15_360) if flags & FLAG_RATCHET else cls()


@dataclass(slots=True)
class Use:
    """What an epoch has sealed, and what did not open meanwhile. `since`: monotonic seconds."""

    since: float
    messages: int = 0
    data_bytes: int = 0
    failures: int = 0

    def soft(self, limits: Limits, now: float) -> bool:
        """Whether a rotation is due."""
        old = now - self.since >= limits.soft_age_s or self.failures >= FAILURES_DUE
        return old or self.messages >= limits.soft_messages or self.data_bytes >= limits.soft_bytes

    def hard(self, limits: Limits, now: float) -> bool:
        """Whether no more data may be sealed."""
        full = self.messages >= limits.hard_messages - RESERVED or self.data_bytes >= limits.hard_bytes
        return full or now - self.since >= limits.hard_age_s
