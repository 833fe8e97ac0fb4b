"""Two services that are each other's player: engines under a stepped clock, and the packets between them.

    link = establish(engines)                 # or establish(engines, mode=RecordMode.NOISE, pattern=Pattern.XX)
    link.initiator.send(b"roll")              # sealed, and on its way
    link.settle()                             # all that is on its way arrives, also what that brings about
    assert link.responder.received == [b"roll"]

Entropy is the system's: the net that looks for repeated nonces spans a whole run, and a seeded key that comes back in
another test would be a false alarm. No test's outcome hangs on the values.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

from noisegate_server.engine.outcomes import Decrypted, Rotation
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.rotate import REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.noise import KeyPair
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import SessionError
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.sealing import SealingKeys
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import TicketKeys
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import Vault
from tests.support.engine import TENANT, Clock, Engine, at_once, ticket_key
from tests.support.requests import initiation, response, resumption

__all__ = [
    "ALL_OPTIONS",
    "LEARN_REMOTE",
    "TENANT",
    "WITH_PSK",
    "Clock",
    "End",
    "Engine",
    "Engines",
    "Link",
    "at_once",
    "establish",
    "outcome_of",
    "resumed",
    "ticket_key",
]

ALL_OPTIONS = Options(pad=True, mask=True, tickets=True)
LEARN_REMOTE = frozenset({Pattern.XX, Pattern.XXPSK3})
"""Patterns whose initiator is not told the responder's key."""
WITH_PSK = frozenset({Pattern.XXPSK3, Pattern.IKPSK1, Pattern.IKPSK2, Pattern.NKPSK0, Pattern.NKPSK2})


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
            assert engine.parts.counts.rotating == engine.rotating()
            engine.shut_down()
            assert engine.leftovers() == []
            assert engine.parts.counts.rotating == 0


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
    begun = first.resume(link.initiator.session_id, prologue)
    mode = RecordMode.NOISE if begun.ticket else RecordMode.DATAGRAM
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
