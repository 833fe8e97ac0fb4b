"""One instance of the service below the seam, under a stepped clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from noisegate_server.engine import (
    handshake,
    records,
    redeem,
    restore,
    resume,
    rotate,
    sessions,
    suspend,
    tickets,
    upkeep,
)
from noisegate_server.engine.outcomes import Decrypted, HandshakeStep, IssuedTicket, ResumeStep, Rotation, SessionView
from noisegate_server.engine.parts import Parts, make_parts
from noisegate_server.engine.policy import Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.restore import Restored
from noisegate_server.engine.rotate import RotateCommand
from noisegate_server.engine.suspend import Suspended
from noisegate_server.noise import KeyPair
from noisegate_server.session.sealed import Sealed
from noisegate_server.session.sealing import SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.state import SessionState
from noisegate_server.session.ticket import TicketKey, TicketKeys
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import Vault
from noisegate_server.trust.identity import Identities

TENANT = "dice"
T = TypeVar("T")


def ticket_key() -> TicketKey:
    """A new ticket key."""
    return TicketKey(key_id=os.urandom(8), key=os.urandom(32))


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that has to wait for nothing but its turn."""
    while True:
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        assert waits_for is None


class Clock:
    """Both clocks of a test: they stand still until a test steps them."""

    def __init__(self) -> None:
        self.now = 1_000.0
        """Monotonic seconds."""
        self.wall = 1_750_000_000.0
        """Unix seconds."""

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.wall += seconds


class Engine:
    """One instance of the service below the seam, of one tenant, at the time of its clock."""

    def __init__(
        self,
        clock: Clock,
        *,
        policy: Policy | None = None,
        limits: StoreLimits | None = None,
        identity: KeyPair | None = None,
        ticket_keys: TicketKeys | None = None,
        vault: Vault | None = None,
        blob_keys: SealingKeys | None = None,
    ) -> None:
        self.clock = clock
        self.identity = identity or KeyPair.generate(os.urandom)
        self.parts: Parts = make_parts(
            instance=os.urandom(4),
            endpoint="dice.example:7443",
            version="0",
            identities=Identities({}, default=self.identity),
            ticket_keys=ticket_keys or TicketKeys(current=ticket_key()),
            policy=policy or Policy(),
            random_bytes=os.urandom,
            started_wall=clock.wall,
            limits=limits,
            vault=vault,
            blob_keys=blob_keys,
            latch=asyncio.Event,
        )

    def initiate(self, request: handshake.Initiation, tenant: str = TENANT) -> HandshakeStep:
        return handshake.initiate(self.parts, tenant, request, self.clock.now, self.clock.wall)

    def respond(self, request: handshake.Response, tenant: str = TENANT) -> HandshakeStep:
        return handshake.respond(self.parts, tenant, request, self.clock.now, self.clock.wall)

    def proceed(self, session_id: bytes, message: bytes, payload: bytes = b"") -> HandshakeStep:
        return handshake.proceed(self.parts, TENANT, session_id, message, payload, self.clock.now, self.clock.wall)

    def encrypt(self, session_id: bytes, plaintext: bytes, associated_data: bytes = b"") -> Sealed:
        return records.encrypt(self.parts, TENANT, session_id, plaintext, associated_data, self.clock.now)

    def decrypt(
        self, session_id: bytes, packet: bytes, associated_data: bytes = b"", *, ticket: bool = False
    ) -> Decrypted:
        return records.decrypt(
            self.parts,
            TENANT,
            session_id,
            packet,
            associated_data,
            ticket=ticket,
            now=self.clock.now,
            wall=self.clock.wall,
        )

    def rotate(self, session_id: bytes, command: RotateCommand) -> Rotation:
        return rotate.rotate(self.parts, TENANT, session_id, command, self.clock.now)

    def issue(self, session_id: bytes) -> IssuedTicket:
        return tickets.issue(self.parts, TENANT, session_id, self.clock.now, self.clock.wall)

    def resume(self, session_id: bytes, prologue: bytes = b"", early_data: bytes = b"") -> ResumeStep:
        return resume.initiate(self.parts, TENANT, session_id, prologue, early_data, self.clock.now, self.clock.wall)

    def accept_resume(self, request: ResumeRequested, tenant: str = TENANT) -> ResumeStep:
        """To its end, over a vault that never waits."""
        return at_once(redeem.respond(self.parts, tenant, request, self.clock.now, self.clock.wall))

    def finish_resume(self, session_id: bytes, message: bytes) -> ResumeStep:
        return resume.proceed(self.parts, TENANT, session_id, message, self.clock.now, self.clock.wall)

    def view(self, session_id: bytes, tenant: str = TENANT) -> SessionView:
        return sessions.get(self.parts, tenant, session_id, b"", self.clock.now)

    def close(self, session_id: bytes) -> tuple[bytes, ...]:
        return at_once(sessions.close(self.parts, TENANT, session_id, self.clock.now))

    def suspend(self, session_id: bytes, *, return_blob: bool = False, tenant: str = TENANT) -> Suspended:
        """To its end, over a vault that never waits; likewise the next."""
        now, wall = self.clock.now, self.clock.wall
        return at_once(suspend.suspend(self.parts, tenant, session_id, return_blob=return_blob, now=now, wall=wall))

    def restore(self, session_id: bytes, tenant: str = TENANT) -> Restored:
        return at_once(restore.restore(self.parts, tenant, session_id, self.clock.now, self.clock.wall))

    def restore_blob(self, blob: bytes, tenant: str = TENANT) -> Restored:
        return at_once(restore.restore_blob(self.parts, tenant, blob, self.clock.now, self.clock.wall))

    def session(self, session_id: bytes) -> Session:
        """The session itself, for a test that looks inside."""
        return self.parts.store.get(TENANT, session_id, self.clock.now)

    def sweep(self, budget: int = 1_000_000) -> None:
        self.parts.store.sweep(self.clock.now, budget)
        upkeep.forget(self.parts, self.clock.now, self.clock.wall, budget)

    def rotating(self) -> int:
        """How many sessions in memory rotate, looked at one by one."""
        store = self.parts.store
        sessions = (session for shard in range(store.shards) for session in store.shard(shard))
        return sum(session is not None and session.state is SessionState.ROTATING for session in sessions)

    def leftovers(self) -> list[str]:
        """The names of all that is not empty."""
        parts = self.parts
        lengths = {
            "aeads": len(parts.aeads),
            "answers": len(parts.answers),
            "spent": len(parts.spent),
            "received": len(parts.received),
        }
        return parts.store.leftovers() + [name for name, length in lengths.items() if length]

    def shut_down(self) -> None:
        """End every session, and let all that outlives one run out."""
        upkeep.end_all(self.parts, self.clock.now)
        self.clock.step(30 * 3_600)
        self.sweep()
