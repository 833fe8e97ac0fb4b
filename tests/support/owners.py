"""Who takes part in a session's life (tests.support.life): its two sides, those who have it, and what travels."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.errors import SessionClosed, SessionNotFound
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.salted import roots_of
from noisegate_server.session.session import Session
from noisegate_server.session.state import SessionState
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.vault import MemoryVault
from tests.support.engines import Engine
from tests.support.oracle import GRACE_S, Oracle, Sight

GONE = (SessionClosed, SessionNotFound)
KEPT_PACKETS: Final = 64
"""So many opened packets of a side can still be replayed."""
KEPT_RECORDS: Final = 4


class LastingVault(MemoryVault):
    """What two instances share, one after the other, as they do a file."""

    __slots__ = ()

    @property
    def survives(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a session is like."""

    pattern: Pattern = Pattern.IK
    suite: Suite = Suite.CHACHA20_POLY1305_X25519
    pad: bool = False
    mask: bool = False
    tickets: bool = True
    ratchet: bool = False
    limits: tuple[RotationLimits, RotationLimits] = (RotationLimits(), RotationLimits())


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet, and what its sender knows of it."""

    wire: bytes
    plaintext: bytes | None
    """None: nothing for the game."""
    sight: Sight | None
    """None: no record."""
    salted: bool = False
    connection_id: bytes = b""
    """Empty where it is no record."""

    @property
    def sight_h(self) -> bytes:
        """h of its epoch; empty where it is no record."""
        return b"" if self.sight is None else self.sight.h


@dataclass(slots=True)
class Ids:
    """Under which connection ids packets must find a session: docs/protocol.md, section 2."""

    last: bytes
    before: bytes = b""
    used_at: float = math.inf
    """When the last one was first used."""

    def give(self, connection_id: bytes) -> None:
        if connection_id != self.last:
            self.last, self.before, self.used_at = connection_id, self.last, math.inf

    def use(self, connection_id: bytes, now: float) -> None:
        if connection_id == self.last:
            self.used_at = min(self.used_at, now)

    def must_find(self, connection_id: bytes, now: float) -> bool:
        return connection_id == self.last or (connection_id == self.before and now < self.used_at + GRACE_S)


@dataclass(slots=True, kw_only=True, eq=False)
class Owner:
    """One instance that has one side's session. More than one has it where a blob was restored twice."""

    side: int
    engine: Engine
    session_id: bytes
    oracle: Oracle
    state: SessionState
    ids: Ids
    current: bytes = b""
    """h of the epoch under which it seals."""
    former: bytes = b""
    """h of the one before, which it must open until the grace ends; empty where nothing has to."""
    former_until: float = 0.0
    ends_at: float = math.inf
    """When its idle time or its life is over."""
    known: set[bytes] = field(default_factory=set)
    """h of every epoch that it has had."""
    told_at: float = -math.inf
    """When it last told the peer of its salted epoch because something did not open."""

    @property
    def session(self) -> Session | None:
        """None once it has ended."""
        try:
            return self.engine.session(self.session_id)
        except GONE:
            return None

    @property
    def held_session(self) -> Session:
        """The session of an owner that has one."""
        session = self.session
        assert session is not None
        return session

    @property
    def records(self) -> DatagramRecords | None:
        session = self.session
        if session is None or not isinstance(session.records, DatagramRecords):
            return None
        return session.records

    @property
    def epochs(self) -> list[Epoch]:
        """Those that live, oldest first."""
        records = self.records
        if records is None:
            return []
        return [each for each in (records.previous, records.current, records.next) if each is not None]

    def established(self) -> set[bytes]:
        """h of every epoch that the peer has shown to have, and of which this side has the root."""
        records = self.records
        if records is None:
            return set()
        return {root.h for root in roots_of(records) if root.confirmed or root.agreed}

    def held(self, now: float) -> set[bytes]:
        """h of every epoch whose records it opens."""
        return {epoch.h for epoch in self.epochs if now < epoch.expires_at}


@dataclass(slots=True)
class Side:
    """One side of the session: who has it, and what is on its way to it."""

    owners: list[Owner] = field(default_factory=list)
    """The last is the rightful one."""
    inbox: deque[Packet] = field(default_factory=deque)
    opened: set[bytes] = field(default_factory=set)
    """Every packet that any of the owners has opened."""
    replayable: deque[Packet] = field(default_factory=lambda: deque(maxlen=KEPT_PACKETS))
    unheard: int = 0
    """How often it has come back since it last opened a record."""
    frozen: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    """Records of this side's session, as they were stored."""
