"""How long keys may be used before they must change: what ciphers allow, and what policies choose below that."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

from noisegate_server.session.constants import (
    HARD_AGE_S,
    HARD_BYTES,
    HARD_MESSAGES,
    MAX_NOISE_MESSAGE,
    MIN_HARD_MESSAGES,
    MIN_ROTATION_AGE_S,
    RATCHET_HARD_MESSAGES,
    RATCHET_SOFT_MESSAGES,
    RESERVED_COUNTERS,
    SOFT_AGE_S,
    SOFT_BYTES,
    SOFT_MESSAGES,
)
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.state import RecordMode


@dataclass(frozen=True, slots=True, kw_only=True)
class AeadLimits:
    """What one key of a cipher may be used for, whatever a policy says."""

    messages: int
    """Sealed."""
    bytes: int
    """Of plaintexts, sealed."""
    failures: int
    """Records that did not open."""


AEAD_LIMITS: Final[Mapping[str, AeadLimits]] = {
    # RFC 9001, appendix B.1, with an attacker's advantage of 2^-57: 2^28 packets of up to 2 KiB or 2^23 of up to
    # 64 KiB, so 2^39 bytes either way; 2^52 forgeries (B.1.2). Within draft-irtf-cfrg-aead-limits: 2^32.5 messages of
    # 2 KiB at 2^-50; and within Noise, section 14: 2^56 bytes.
    "AESGCM": AeadLimits(messages=2**28, bytes=2**39, failures=2**52),
    # RFC 9001, section 6.6: no confidentiality limit below the 2^62 packets that a connection can have; 2^36 forgeries
    # (B.2). draft-irtf-cfrg-aead-limits has no limit of sealed messages either. Bytes follow from messages.
    "ChaChaPoly": AeadLimits(messages=2**62, bytes=2**62 * 2**16, failures=2**36),
}
"""By the cipher's Noise name. Both are reckoned for a key; here they hold for a whole epoch and direction, with REKEYs,
which is less. The hybrid suite's cipher is ChaChaPoly."""

_PAIRS: Final = (("soft_age", "hard_age"), ("soft_messages", "hard_messages"), ("soft_bytes", "hard_bytes"))
_LEAST: Final[Mapping[str, float]] = {
    # A wish for a rotation counts once in ten seconds, so that more often would come to nothing.
    "soft_age": MIN_ROTATION_AGE_S,
    "hard_age": MIN_ROTATION_AGE_S,
    "soft_messages": 1,
    "hard_messages": MIN_HARD_MESSAGES,
    "soft_bytes": 1,
    "hard_bytes": 1,
}
_LOWER: Final = struct.Struct(">ddQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerLimits:
    """Limits that somebody lowers, a tenant or a caller; 0 for those that he leaves. Named as those of RotationLimits.

    A caller's own hard limit without the soft one takes that along, see `RotationLimits.lowered`.
    """

    soft_age: float = 0.0
    hard_age: float = 0.0
    soft_messages: int = 0
    hard_messages: int = 0
    soft_bytes: int = 0
    hard_bytes: int = 0

    def check(self, allowed: RotationLimits, path: str) -> None:
        """InvalidField, by the field's place below `path`, for a limit above `allowed` or one that cannot be meant."""
        for each in fields(self):
            name = each.name
            wanted, most, least = getattr(self, name), getattr(allowed, name), _LEAST[name]
            if not wanted:
                continue
            # Written so that NaN is refused.
            if not least <= wanted:
                raise InvalidField(f"{path}.{name}", f"at least {least:,}, or unset")
            if not wanted <= most:
                raise InvalidField(f"{path}.{name}", f"at most {most:,}, which is allowed here, or unset")
        for soft, hard in _PAIRS:
            if 0 < getattr(self, hard) <= getattr(self, soft):
                raise InvalidField(f"{path}.{soft}", f"below {hard}")

    def __bool__(self) -> bool:
        return self != NOT_LOWERED

    def encode(self) -> bytes:
        """48 bytes, or none where nothing is lowered."""
        return _LOWER.pack(*(getattr(self, each.name) for each in fields(self))) if self else b""

    @classmethod
    def decode(cls, data: bytes | memoryview) -> LowerLimits:
        """What `encode` wrote; ValueError for anything else."""
        if not len(data):
            return NOT_LOWERED
        if len(data) != _LOWER.size:
            raise ValueError("limits: 48 bytes or none")
        lower = cls(**dict(zip((each.name for each in fields(cls)), _LOWER.unpack(data), strict=True)))
        if not (math.isfinite(lower.soft_age) and math.isfinite(lower.hard_age)):
            raise ValueError("limits: ages are seconds")
        return lower


NOT_LOWERED: Final = LowerLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """Limits of one epoch, for what this side seals (docs/protocol.md, section 4).

    Past a soft one answers are marked `rotation_due`, and a DATAGRAM session begins a rotation by itself. Past a hard
    one data is refused with REKEY_REQUIRED. ValueError unless `soft_messages` comes before data is refused, so that
    there is time to rotate.
    """

    soft_age: float = SOFT_AGE_S
    """Seconds, as the next; infinity for no limit."""
    hard_age: float = HARD_AGE_S
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

    def lowered(self, lower: LowerLimits) -> RotationLimits:
        """Each limit the smaller of both. A soft one that does not come before its hard one any more is half of it."""
        if not lower:
            return self
        low = {
            each.name: min(getattr(self, each.name), getattr(lower, each.name) or math.inf) for each in fields(lower)
        }
        room = {"messages": RESERVED_COUNTERS}
        for soft, hard in _PAIRS:
            end = low[hard] - room.get(soft.removeprefix("soft_"), 0)
            if getattr(lower, hard) and low[soft] >= end:
                low[soft] = end / 2 if soft == "soft_age" else end // 2
        return replace(self, **low)

    def ratcheted(self) -> RotationLimits:
        """The limits of a DATAGRAM session with the ratchet: lower than what a receiver follows in one jump."""
        return self.lowered(LowerLimits(soft_messages=RATCHET_SOFT_MESSAGES, hard_messages=RATCHET_HARD_MESSAGES))

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


# A service has few of them and asks for each new session; all sessions of a kind then share one.
@lru_cache(maxsize=1024)
def limits_for(
    base: RotationLimits, *, mode: RecordMode, cipher: str, lower: tuple[LowerLimits, ...] = ()
) -> RotationLimits:
    """The service's limits `base`, never more than `cipher` (its Noise name) allows, lowered one after the other.

    NOISE keeps its soft limits of messages and bytes alone: a plain library cannot rotate by itself, so nothing is
    refused or too old there that nobody has asked for, but for the cipher's own limits.
    """
    aead = AEAD_LIMITS[cipher]
    if mode is RecordMode.DATAGRAM:
        limits = base.lowered(LowerLimits(hard_messages=aead.messages, hard_bytes=aead.bytes))
    else:
        # The records of a rotation, which are sealed past the hard limit, are the game's here: of any size.
        room = RESERVED_COUNTERS * (MAX_NOISE_MESSAGE + 1)
        limits = replace(
            base,
            soft_age=math.inf,
            hard_age=math.inf,
            hard_messages=aead.messages,
            hard_bytes=aead.bytes - room,
        )
    for each in lower:
        limits = limits.lowered(each)
    return limits
