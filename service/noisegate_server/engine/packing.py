"""How the store packs sessions: as records (session/record.py), with the limits that the policy has on the day."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from noisegate_server.engine.policy import Policy, tenant_limits
from noisegate_server.session import record, record_layout
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.limits import LowerLimits, RotationLimits
from noisegate_server.session.packed_seal import PackedSealing, sealing_of
from noisegate_server.session.record_layout import Shared
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite

__all__ = ["SessionPacker"]

_REMEMBERED: Final = 1_024


class SessionPacker:
    """The `Packer` of sessions."""

    __slots__ = ("_aeads", "_last", "_limits_of", "_sealing_of")

    # What a record shows without being unpacked: no call in between, since sweeps ask it of every session.
    owner = staticmethod(record_layout.owner)
    expires_at = staticmethod(record_layout.expires_at)
    glance = staticmethod(record_layout.glance)

    def __init__(self, policy: Policy, aeads: AeadCache) -> None:
        self._aeads: Final = aeads
        self._limits_of: Final = _remembered(policy)
        self._sealing_of: Final = lru_cache(maxsize=_REMEMBERED)(self._work_out)
        self._last: tuple[Shared | None, PackedSealing | None] = (None, None)
        """The kind that was asked for last, found without its hash: most of a batch are of one."""

    def idle_since(self, session: Session) -> float:
        """When it was used last."""
        return session.last_used

    def packable(self, session: Session) -> bool:
        """Whether it is at rest."""
        return record.packable(session)

    def pack(self, session: Session) -> tuple[Shared, bytearray]:
        """What it shares with others, and its record."""
        return record.pack(session)

    def spend(self, session: Session) -> None:
        """Wipe the object, and drop its AEAD contexts."""
        session.wipe()

    def unpack(self, shared: Shared, packed: memoryview) -> Session:
        """The session of a record."""
        return record.unpack(shared, packed, aeads=self._aeads, limits_of=self._limits_of)

    def sealing(self, shared: Shared) -> PackedSealing | None:
        """How the sessions of a kind seal while they are packed; None where they cannot."""
        kind, sealing = self._last
        if kind is not shared:
            sealing = self._sealing_of(shared)
            self._last = (shared, sealing)
        return sealing

    def _work_out(self, shared: Shared) -> PackedSealing | None:
        return sealing_of(shared, self._limits_of(shared))


def _remembered(policy: Policy) -> Callable[[Session | Shared], RotationLimits]:
    """As `limits_of`: to work limits out takes longer than to unpack a session, and most sessions have the same."""

    @lru_cache(maxsize=_REMEMBERED)
    def work_out(tenant: str, mode: RecordMode, suite: Suite, rotation: LowerLimits) -> RotationLimits:
        return tenant_limits(policy, tenant, mode, suite).lowered(rotation)

    return lambda session: work_out(session.tenant, session.mode, session.suite, session.rotation)
