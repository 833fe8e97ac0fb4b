"""How long keys may be used before they must change."""

from __future__ import annotations

from dataclasses import dataclass, replace

from noisegate_server.session.constants import (
    HARD_AGE_S,
    HARD_BYTES,
    HARD_MESSAGES,
    RATCHET_HARD_MESSAGES,
    RATCHET_SOFT_MESSAGES,
    RESERVED_COUNTERS,
    SOFT_AGE_S,
    SOFT_BYTES,
    SOFT_MESSAGES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """Limits of one epoch, for what this side seals (docs/protocol.md, section 4).

    Past a soft one answers are marked `rotation_due`, and a DATAGRAM session begins a rotation by itself. Past a hard
    one a DATAGRAM session refuses data with REKEY_REQUIRED; NOISE has the soft limits of messages and bytes alone.
    ValueError unless `soft_messages` comes before data is refused, so that there is time to rotate.
    """

    soft_age: float = SOFT_AGE_S
    """Seconds, DATAGRAM alone."""
    hard_age: float = HARD_AGE_S
    """Seconds, DATAGRAM alone."""
    soft_messages: int = SOFT_MESSAGES
    hard_messages: int = HARD_MESSAGES
    """Data is refused from RESERVED_COUNTERS below it, the rest is for control records; from here on nothing is sealed.
    """
    soft_bytes: int = SOFT_BYTES
    """Bytes of plaintexts, as the next."""
    hard_bytes: int = HARD_BYTES

    def __post_init__(self) -> None:
        if not 0 <= self.soft_messages < self.data_messages:
            raise ValueError(f"soft_messages: from 0 to below hard_messages - {RESERVED_COUNTERS:,}")

    @property
    def data_messages(self) -> int:
        """From here on only control records are sealed."""
        return self.hard_messages - RESERVED_COUNTERS

    def ratcheted(self) -> RotationLimits:
        """The limits of a DATAGRAM session with the ratchet: lower than what a receiver follows in one jump."""
        return replace(
            self,
            soft_messages=min(self.soft_messages, RATCHET_SOFT_MESSAGES),
            hard_messages=min(self.hard_messages, RATCHET_HARD_MESSAGES),
        )

    def is_soft_passed(self, sealed: int, sealed_bytes: int) -> bool:
        """Whether a rotation is due after so many messages and bytes."""
        return sealed >= self.soft_messages or sealed_bytes >= self.soft_bytes

    def is_hard_passed(self, sealed: int, sealed_bytes: int) -> bool:
        """Whether no more data may be sealed."""
        return sealed >= self.data_messages or sealed_bytes >= self.hard_bytes

    def next_look(self, sealed: int, sealed_bytes: int, largest: int, *, due: bool) -> int:
        """The number of sealed messages before which none of the two can come to be passed (soft ones unless `due`).

        Every message has at most `largest` bytes. Until then all limits cost the hot path one comparison.
        """
        look_at = self._earliest(self.data_messages, self.hard_bytes, sealed, sealed_bytes, largest)
        if due:
            return look_at
        return min(look_at, self._earliest(self.soft_messages, self.soft_bytes, sealed, sealed_bytes, largest))

    @staticmethod
    def _earliest(messages: int, limit: int, sealed: int, sealed_bytes: int, largest: int) -> int:
        return min(messages, sealed + max(-(-(limit - sealed_bytes) // largest), 0))
