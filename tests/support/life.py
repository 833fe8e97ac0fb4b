"""A DATAGRAM session's life between two services over a bad network, with everything that must hold checked on the way.

    life = Life(Variant(ratchet=True))
    steps.send(life, side=0, size=40); steps.wait(life, seconds=31.0); ...      # tests.support.steps
    life.finish()                       # the network is good again: both directions flow

AssertionError tells what has broken; a nonce that is used twice raises NonceRepeated (tests.support.recording).
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    RekeyRequired,
    ReplayDetected,
    SessionClosed,
    SessionNotFound,
)
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.session import Session
from noisegate_server.session.state import TRANSITIONS, SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engine, Engines, establish
from tests.support.fingerprint import fingerprint
from tests.support.oracle import GRACE_S, Oracle, Sight, read_header

REFUSALS = (DecryptFailed, ReplayDetected, CounterTooOld)
"""What a packet may be answered with besides being opened."""
GONE = (SessionClosed, SessionNotFound)
KEPT_PACKETS: Final = 64
"""So many opened packets of a side can still be replayed."""
IDLE_S: Final = 600.0

MOVES: Final = {(before, after) for (before, _), after in TRANSITIONS.items()}
"""What the one table allows."""


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


@dataclass(slots=True, kw_only=True, eq=False)
class Owner:
    """One instance that has one side's session. More than one has it where a blob was restored twice."""

    side: int
    engine: Engine
    session_id: bytes
    oracle: Oracle
    state: SessionState
    current: bytes = b""
    """h of the epoch under which it seals."""
    former: bytes = b""
    """h of the one before, which it must open until the grace ends; empty where nothing has to."""
    former_until: float = 0.0
    used_at: float = 0.0

    @property
    def session(self) -> Session | None:
        """None once it has ended."""
        try:
            return self.engine.session(self.session_id)
        except GONE:
            return None

    @property
    def records(self) -> DatagramRecords | None:
        session = self.session
        if session is None or not isinstance(session.records, DatagramRecords):
            return None
        return session.records

    def held(self, now: float) -> set[bytes]:
        """h of every epoch whose records it opens."""
        records = self.records
        if records is None:
            return set()
        epochs = (records.previous, records.current, records.next)
        return {epoch.h for epoch in epochs if epoch is not None and now < epoch.expires_at}


@dataclass(slots=True)
class Side:
    """One side of the session: who has it, and what is on its way to it."""

    owners: list[Owner] = field(default_factory=list)
    """The last is the rightful one."""
    inbox: deque[Packet] = field(default_factory=deque)
    opened: set[bytes] = field(default_factory=set)
    """Every packet that any of the owners has opened."""
    replayable: deque[Packet] = field(default_factory=lambda: deque(maxlen=KEPT_PACKETS))


class Life:
    """Both sides of one session, the network between them, and what has happened."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.engines = Engines()
        self.clock = self.engines.clock
        self.numbers = itertools.count()
        self.sides = (Side(), Side())
        """The Noise initiator first."""
        self.begin()

    def begin(self) -> None:
        """A session by a full handshake."""
        variant = self.variant
        options = Options(
            pad=variant.pad,
            mask=variant.mask,
            tickets=variant.tickets,
            ratchet=variant.ratchet,
            idle_timeout=IDLE_S,
        )
        first, second = (self.engines.make(policy=Policy(limits=each)) for each in variant.limits)
        link = establish(
            self.engines,
            pattern=variant.pattern,
            suite=variant.suite,
            options=options,
            initiator=first,
            responder=second,
        )
        for number, end in enumerate(link.ends):
            self.take_over(number, end.engine, end.session_id)
        self.clear()

    def take_over(self, side: int, engine: Engine, session_id: bytes) -> Owner:
        """Another instance has the session of a side."""
        owner = Owner(
            side=side,
            engine=engine,
            session_id=session_id,
            oracle=Oracle(ratchet=self.variant.ratchet),
            state=SessionState.ESTABLISHED,
            used_at=self.clock.now,
        )
        self.sides[side].owners.append(owner)
        records = owner.records
        assert records is not None
        for epoch in (records.previous, records.current, records.next):
            # What has opened before anybody looked.
            if epoch is not None and epoch.window.highest >= 0:
                for counter in range(epoch.window.highest + 1):
                    phase = counter >> 8 if self.variant.ratchet else 0
                    owner.oracle.has_opened(Sight(h=epoch.h, phase=phase, counter=counter), self.clock.now)
        return owner

    def clear(self) -> None:
        """Nothing of what is on its way arrives."""
        for side in self.sides:
            side.inbox.clear()

    def owner(self, side: int, pick: int = 0) -> Owner | None:
        """The rightful owner for 0, otherwise one of all; None where it has none whose session lives."""
        living = [owner for owner in self.sides[side].owners if owner.session is not None]
        return living[-1 - pick % len(living)] if living else None

    # ---- what travels ------------------------------------------------------------------------------------------------

    def emit(self, owner: Owner, wires: tuple[bytes, ...], plaintext: bytes | None = None) -> None:
        """Packets of `owner` are on their way; `plaintext` is the first one's."""
        inbox = self.sides[1 - owner.side].inbox
        for wire in wires:
            inbox.append(self.packet(owner, wire, plaintext))
            plaintext = None

    def packet(self, owner: Owner, wire: bytes, plaintext: bytes | None) -> Packet:
        """What `owner`, who has just made it, knows of a packet."""
        records = owner.records
        assert records is not None
        mask_key = None if records.mask_key is None else bytes(records.mask_key)
        header = read_header(wire, mask_key)
        if header is None:
            return Packet(wire=wire, plaintext=None, sight=None)
        epochs = (records.current, records.next, records.previous)
        [epoch] = [each for each in epochs if each is not None and each.number % 256 == header.epoch]
        phase = header.counter >> 8 if self.variant.ratchet else header.phase
        sight = Sight(h=epoch.h, phase=phase, counter=header.counter)
        return Packet(wire=wire, plaintext=plaintext, sight=sight, salted=header.salted)

    def take(self, owner: Owner, packet: Packet, *, traced: bool = True) -> None:
        """One genuine packet arrives at one owner: it opens where it must, once, or is refused without a trace.

        Looking for traces costs more than all else: a long burst of which nothing opens does it now and then.
        """
        session = owner.session
        if session is None:
            return
        now = self.clock.now
        side = self.sides[owner.side]
        expected = packet.sight is not None and owner.oracle.must_open(owner.held(now), packet.sight, now)
        traced = traced and not expected
        before = fingerprint(session) if traced else ""
        try:
            opened = owner.engine.decrypt(owner.session_id, packet.wire)
        except REFUSALS:
            assert not expected, "a record that came in time, under keys that are held, was lost"
            assert not traced or fingerprint(session) == before, "a refused packet has left a trace"
            return
        assert expected, "a record has opened that nobody had to open"
        assert packet.sight is not None
        assert packet.wire not in side.opened, "a record was opened twice"
        side.opened.add(packet.wire)
        side.replayable.append(packet)
        owner.oracle.has_opened(packet.sight, now)
        assert opened.plaintext == packet.plaintext, "not what was sent"
        self.emit(owner, opened.to_peer)
        self.check(owner)

    def refuse(self, owner: Owner, wire: bytes, what: str) -> None:
        """A packet that nobody of the peer's has made must be refused without a trace."""
        session = owner.session
        assert session is not None
        before = fingerprint(session)
        try:
            owner.engine.decrypt(owner.session_id, wire)
        except DecryptFailed:
            assert fingerprint(session) == before, f"a {what} packet has left a trace"
        else:
            raise AssertionError(f"a {what} packet has opened")

    def is_past_a_hard_limit(self, owner: Owner) -> bool:
        """Whether this end may refuse data."""
        records = owner.records
        assert records is not None
        epoch, limits = records.current, records.limits
        return (
            self.clock.now >= epoch.began_at + limits.hard_age
            or epoch.send_counter >= limits.data_messages
            or epoch.sent_bytes >= limits.hard_bytes
        )

    # ---- what must hold ----------------------------------------------------------------------------------------------

    def check(self, owner: Owner) -> None:
        """After each step: three epochs at most, in order, old keys alive in their grace, one state table obeyed."""
        session, records, now = owner.session, owner.records, self.clock.now
        if session is None or records is None:
            return
        owner.used_at = now
        if session.state is not owner.state:
            assert (owner.state, session.state) in MOVES, f"{owner.state.name} to {session.state.name}"
            owner.state = session.state
        alive = [each for each in (records.previous, records.current, records.next) if each is not None]
        numbers = [epoch.number for epoch in alive]
        assert numbers == sorted(set(numbers)), "epochs out of order"
        assert len({number % 256 for number in numbers}) == len(numbers)
        if records.current.h != owner.current:
            owner.former, owner.former_until = owner.current, now + GRACE_S
            owner.current = records.current.h
        assert not owner.former or now >= owner.former_until or owner.former in owner.held(now), "old keys died early"

    def finish(self) -> None:
        """The channel is good again: within minutes both directions flow and no rotation hangs. Nothing is left over.

        Where a side has ended, by its idle time, both begin anew.
        """
        self.clear()
        for side in self.sides:
            del side.owners[:-1]
        for number in range(30):
            self.clock.step(5.5)
            if any(self.owner(number) is None for number in (0, 1)):
                self.begin_anew()
            for owner in self.both():
                self.speak(owner, b"any call")
            self.drain()
            if number >= 12 and self.is_quiet():
                break
        assert self.is_quiet(), "a rotation hangs"
        first, second = (owner.records for owner in self.both())
        assert first is not None
        assert second is not None
        assert first.current.h == second.current.h, "the two sides seal under different keys"
        assert first.current.number == second.current.number
        for owner in self.both():
            assert self.speak(owner, b"healed"), "data is refused though the network is good"
        assert sum(packet.plaintext == b"healed" for side in self.sides for packet in side.inbox) == 2
        self.drain()

    def shut_down(self) -> None:
        """Every session ends, and nothing is left of any."""
        self.engines.assert_nothing_is_left()

    def begin_anew(self) -> None:
        """What a game does when its session is gone."""
        self.clear()
        for side in self.sides:
            for owner in side.owners:
                assert owner.session or self.clock.now >= owner.used_at + IDLE_S, "a session has ended without a cause"
            side.owners.clear()
        self.begin()

    def both(self) -> tuple[Owner, Owner]:
        first, second = (self.owner(number) for number in (0, 1))
        assert first is not None, "the initiator's session has ended"
        assert second is not None, "the responder's session has ended"
        return first, second

    def is_quiet(self) -> bool:
        return all(
            owner.session is not None and owner.session.state is SessionState.ESTABLISHED for owner in self.both()
        )

    def speak(self, owner: Owner, plaintext: bytes) -> bool:
        """Data, or where a hard limit forbids it the rotation that lifts it. Whether it was data."""
        try:
            sealed = owner.engine.encrypt(owner.session_id, plaintext)
        except RekeyRequired:
            self.emit(owner, owner.engine.rotate(owner.session_id, RotateCommand(kind=RENEGOTIATE)).to_peer)
            return False
        self.emit(owner, (sealed.ciphertext, *sealed.to_peer), plaintext)
        return True

    def drain(self) -> None:
        """Deliver what is on its way, in order, until nothing is; all of it opens."""
        for _ in range(50):
            if not any(side.inbox for side in self.sides):
                return
            for owner in self.both():
                inbox = self.sides[owner.side].inbox
                for _ in range(len(inbox)):
                    packet = inbox.popleft()
                    self.take(owner, packet)
                    assert packet.wire in self.sides[owner.side].opened, "lost on a good network"
        raise AssertionError("the two sides never stop talking")
