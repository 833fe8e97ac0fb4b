"""Two services that are each other's player: engines under a stepped clock, and the packets between them.

    link = establish(engines)                 # or establish(engines, mode=RecordMode.NOISE, pattern=Pattern.XX)
    link.initiator.send(b"roll")              # sealed, and on its way
    link.settle()                             # all that is on its way arrives, also what that brings about
    assert link.responder.received == [b"roll"]

Entropy is the system's: the net that looks for repeated nonces spans a whole run, and a seeded key that comes back in
another test would be a false alarm. No test's outcome hangs on the values.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
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
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.restore import Restored
from noisegate_server.engine.rotate import REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.engine.suspend import Suspended
from noisegate_server.noise import KeyPair
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import SessionError
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.sealed import Sealed
from noisegate_server.session.sealing import SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import TicketKey, TicketKeys
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import Vault
from noisegate_server.trust.identity import Identities
from tests.support.requests import initiation, response, resumption

TENANT = "dice"
T = TypeVar("T")
ALL_OPTIONS = Options(pad=True, mask=True, tickets=True)
LEARN_REMOTE = frozenset({Pattern.XX, Pattern.XXPSK3})
"""Patterns whose initiator is not told the responder's key."""
WITH_PSK = frozenset({Pattern.XXPSK3, Pattern.IKPSK1, Pattern.IKPSK2, Pattern.NKPSK0, Pattern.NKPSK2})


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
        upkeep.sweep(self.parts, self.clock.now, self.clock.wall, budget)

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


class Engines:
    """Every engine of a test, on one clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.made: list[Engine] = []

    def make(
        self,
        *,
        policy: Policy | None = None,
        limits: StoreLimits | None = None,
        identity: KeyPair | None = None,
        ticket_keys: TicketKeys | None = None,
        vault: Vault | None = None,
        blob_keys: SealingKeys | None = None,
    ) -> Engine:
        """Another engine."""
        engine = Engine(
            self.clock,
            policy=policy,
            limits=limits,
            identity=identity,
            ticket_keys=ticket_keys,
            vault=vault,
            blob_keys=blob_keys,
        )
        self.made.append(engine)
        return engine

    def assert_nothing_is_left(self) -> None:
        """End all sessions of all engines; nothing may stay in any table."""
        for engine in self.made:
            engine.shut_down()
            assert engine.leftovers() == []


@dataclass(slots=True, kw_only=True)
class End:
    """One end of a session."""

    engine: Engine
    session_id: bytes
    inbox: deque[bytes] = field(default_factory=deque)
    """What is on its way to this end."""
    outbox: deque[bytes] = field(default_factory=deque)
    """The other end's inbox."""
    received: list[bytes] = field(default_factory=list)
    """Plaintexts of the game, in the order in which they were opened."""
    controls: list[int] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return self.engine.session(self.session_id)

    @property
    def datagrams(self) -> DatagramRecords:
        records = self.session.records
        assert isinstance(records, DatagramRecords)
        return records

    @property
    def noise(self) -> NoiseRecords:
        records = self.session.records
        assert isinstance(records, NoiseRecords)
        return records

    def seal(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A record of this end that goes nowhere by itself; what else has to go to the peer is on its way."""
        sealed = self.engine.encrypt(self.session_id, plaintext, associated_data)
        self.outbox.extend(sealed.to_peer)
        return sealed.ciphertext

    def send(self, plaintext: bytes) -> bytes:
        """As seal, and the record is on its way too."""
        packet = self.seal(plaintext)
        self.outbox.append(packet)
        return packet

    def open(self, packet: bytes, associated_data: bytes = b"", *, ticket: bool = False) -> Decrypted:
        """Open a packet; what that brings about is on its way to the peer."""
        opened = self.engine.decrypt(self.session_id, packet, associated_data, ticket=ticket)
        self.outbox.extend(opened.to_peer)
        if opened.plaintext is None:
            self.controls.append(opened.control)
        else:
            self.received.append(opened.plaintext)
        return opened

    def rekey(self, direction: int = 0) -> Rotation:
        return self.rotate(RotateCommand(kind=REKEY, direction=direction))

    def renegotiate(self) -> Rotation:
        return self.rotate(RotateCommand(kind=RENEGOTIATE))

    def rotate(self, command: RotateCommand) -> Rotation:
        done = self.engine.rotate(self.session_id, command)
        if self.session.mode is RecordMode.DATAGRAM:
            self.outbox.extend(done.to_peer)
        return done


@dataclass(slots=True, kw_only=True)
class Link:
    """Both ends of a session."""

    initiator: End
    responder: End

    @property
    def clock(self) -> Clock:
        return self.initiator.engine.clock

    @property
    def ends(self) -> tuple[End, End]:
        return self.initiator, self.responder

    def peer_of(self, end: End) -> End:
        return self.responder if end is self.initiator else self.initiator

    def settle(self, most: int = 200) -> None:
        """Deliver what is on its way, in order and without loss, until nothing is."""
        for _ in range(most):
            waiting = [end for end in self.ends if end.inbox]
            if not waiting:
                return
            for end in waiting:
                end.open(end.inbox.popleft())
        raise AssertionError("the two ends never stop talking")

    def lose_everything(self) -> None:
        """Nothing of what is on its way arrives."""
        for end in self.ends:
            end.inbox.clear()

    def talk(self) -> None:
        """A record each way, delivered."""
        for end in self.ends:
            end.send(b"ping")
        self.settle()

    def epochs(self) -> tuple[int, int]:
        """Under which epoch the initiator and the responder seal."""
        return self.initiator.datagrams.epoch, self.responder.datagrams.epoch


def ticket_key() -> TicketKey:
    """A new ticket key."""
    return TicketKey(key_id=os.urandom(8), key=os.urandom(32))


def establish(
    engines: Engines,
    *,
    mode: RecordMode = RecordMode.DATAGRAM,
    pattern: Pattern = Pattern.IK,
    suite: Suite = Suite.CHACHA20_POLY1305_X25519,
    options: Options | None = None,
    initiator: Engine | None = None,
    responder: Engine | None = None,
    prologue: bytes = b"",
    settle: bool = True,
) -> Link:
    """A session between two engines, new ones unless given; `settle` delivers what follows its handshake."""
    first = initiator or engines.make()
    second = responder or engines.make()
    psk = os.urandom(32) if pattern in WITH_PSK else b""
    remote = b"" if pattern in LEARN_REMOTE else second.identity.public
    begun = first.initiate(
        initiation(
            mode=mode,
            pattern=pattern,
            suite=suite,
            remote_static_key=remote,
            psk=psk,
            prologue=prologue,
            options=options,
        )
    )
    named = (pattern, suite) if mode is RecordMode.NOISE else (0, 0)
    answered = second.respond(
        response(
            begun.to_peer[0],
            mode=mode,
            pattern=named[0],
            suite=named[1],
            psk=psk,
            prologue=prologue,
            options=options,
        )
    )
    finished = first.proceed(begun.session_id, answered.to_peer[0])
    link = _link(first, begun.session_id, second, answered.session_id)
    if answered.established is None:
        confirmed = second.proceed(answered.session_id, finished.to_peer[0])
        link.initiator.inbox.extend(confirmed.to_peer)
    if settle:
        link.settle()
        if mode is RecordMode.DATAGRAM:
            link.talk()
            for end in link.ends:
                end.received.clear()
                end.controls.clear()
    return link


def resumed(link: Link, prologue: bytes = b"") -> Link:
    """The session that the initiator resumes with the ticket that it has."""
    first, second = link.initiator.engine, link.responder.engine
    mode = link.initiator.session.mode
    begun = first.resume(link.initiator.session_id, prologue)
    answered = second.accept_resume(resumption(begun, mode, prologue=prologue))
    first.finish_resume(begun.session_id, answered.to_peer[0])
    return _link(first, begun.session_id, second, answered.session_id)


def outcome_of(end: End, packet: bytes, associated_data: bytes = b"") -> type[SessionError] | bytes | None:
    """The plaintext, None for what is nothing for the game, or the class of the refusal."""
    try:
        return end.open(packet, associated_data).plaintext
    except SessionError as refusal:
        return type(refusal)


def _link(first: Engine, first_id: bytes, second: Engine, second_id: bytes) -> Link:
    to_first: deque[bytes] = deque()
    to_second: deque[bytes] = deque()
    initiator = End(engine=first, session_id=first_id, inbox=to_first, outbox=to_second)
    responder = End(engine=second, session_id=second_id, inbox=to_second, outbox=to_first)
    assert initiator.session.role is Role.INITIATOR
    return Link(initiator=initiator, responder=responder)
