"""A session without cryptography, for tests of the store."""

from __future__ import annotations

import math

from noisegate_server.session.record_layout import Glance
from noisegate_server.session.state import SessionState, TerminationReason


class FakeSession:
    """What `StoredSession` asks for, and a count of the wipes."""

    def __init__(
        self,
        number: int = 1,
        *,
        tenant: str = "dice",
        peer_id: str = "",
        group: str = "",
        expires_at: float = 1_000_000.0,
        half_open: bool = False,
        connection_ids: tuple[bytes, ...] = (),
    ) -> None:
        self.session_id = session_id(number)
        self.tenant = tenant
        self.peer_id = peer_id
        self.group = group
        self.expires_at = expires_at
        self.is_half_open = half_open
        self.handle = 0
        self.wipes = 0
        self.tend_at = math.inf
        self.expiry_second = self.idle_second = self.tend_second = 0
        self.keeps: list[float] = []
        """When keys are to be wiped that outlive their use, in order."""
        self.is_packed = False
        self._connection_ids = connection_ids

    @property
    def state(self) -> SessionState:
        if self.wipes:
            return SessionState.TERMINATED
        return SessionState.HANDSHAKING if self.is_half_open else SessionState.ESTABLISHED

    def connection_ids(self) -> tuple[bytes, ...]:
        return self._connection_ids

    def learn(self, connection_id: bytes) -> None:
        """What a real session does when it draws a connection id."""
        self._connection_ids = (*self._connection_ids, connection_id)

    def drop(self, connection_id: bytes) -> None:
        """What a real session does when a connection id has served its time."""
        self._connection_ids = tuple(each for each in self._connection_ids if each != connection_id)

    def finish(self, expires_at: float) -> None:
        """The handshake has finished."""
        self.is_half_open = False
        self.expires_at = expires_at

    def expiry_cause(self, now: float) -> TerminationReason:
        assert now >= self.expires_at, "asked before the deadline"
        return TerminationReason.HANDSHAKE_TIMEOUT if self.is_half_open else TerminationReason.IDLE

    def forget(self, now: float) -> float:
        self.keeps = [until for until in self.keeps if until > now]
        return self.keeps[0] if self.keeps else math.inf

    def wipe(self) -> None:
        self.wipes += 1


class FakePacker:
    """What a store packs by: a record is the id and some ones, and the object itself waits until it comes back."""

    def __init__(self) -> None:
        self.sessions: dict[bytes, FakeSession] = {}
        """Those whose records the store has or had."""

    def idle_since(self, _session: FakeSession) -> float:
        return -math.inf

    def packable(self, session: FakeSession) -> bool:
        return not session.is_half_open

    def pack(self, session: FakeSession) -> tuple[str, bytearray]:
        assert not session.is_packed
        assert not session.wipes, "packed after its end"
        self.sessions[session.session_id] = session
        return session.tenant, bytearray(session.session_id + b"\1" * (session.session_id[-1] * 40))

    def spend(self, session: FakeSession) -> None:
        session.is_packed = True

    def unpack(self, shared: str, record: memoryview) -> FakeSession:
        session = self._session(shared, record)
        session.is_packed = False
        return session

    def owner(self, shared: str, record: memoryview) -> tuple[str, bytes]:
        return shared, bytes(record[:24])

    def expires_at(self, slot: memoryview, at: int) -> float:
        return self.sessions[bytes(slot[at : at + 24])].expires_at

    def glance(self, shared: str, record: memoryview, handle: int, reference: int) -> Glance:
        session = self._session(shared, record)
        return Glance(
            session.session_id,
            session.tenant,
            session.peer_id,
            session.group,
            session.connection_ids(),
            0,
            False,
            session.expires_at,
            0.0,
            math.inf,
            handle,
            reference,
        )

    def _session(self, shared: str, record: memoryview) -> FakeSession:
        session = self.sessions[bytes(record[:24])]
        assert session.is_packed
        assert shared == session.tenant
        assert record[24:] == b"\1" * (session.session_id[-1] * 40), "another record than was packed"
        return session


def session_id(number: int) -> bytes:
    """24 bytes."""
    return number.to_bytes(24, "big")


def connection_id(number: int) -> bytes:
    """8 bytes."""
    return number.to_bytes(8, "big")
