"""How long keys may be used before they must change."""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.session.constants import HARD_MESSAGES, SOFT_MESSAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """Limits of one epoch and direction (docs/protocol.md, section 4)."""

    soft_messages: int = SOFT_MESSAGES
    """From here on answers are marked `rotation_due`."""
    hard_messages: int = HARD_MESSAGES
    """From here on, less the counters reserved for control records, data is refused with REKEY_REQUIRED."""
