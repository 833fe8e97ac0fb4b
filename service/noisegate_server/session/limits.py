"""How long keys may be used before they must change."""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.session.constants import HARD_MESSAGES, RESERVED_COUNTERS, SOFT_MESSAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """Limits of one epoch and direction (docs/protocol.md, section 4).

    ValueError unless `soft_messages` comes before data is refused, so that there is time to rotate.
    """

    soft_messages: int = SOFT_MESSAGES
    """From here on answers are marked `rotation_due`."""
    hard_messages: int = HARD_MESSAGES
    """From here on nothing is sealed; data is refused with REKEY_REQUIRED from 1,024 messages before."""

    def __post_init__(self) -> None:
        if not 0 <= self.soft_messages < self.data_messages:
            raise ValueError(f"soft_messages: from 0 to below hard_messages - {RESERVED_COUNTERS:,}")

    @property
    def data_messages(self) -> int:
        """From here on only control records are sealed."""
        return self.hard_messages - RESERVED_COUNTERS
