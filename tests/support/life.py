"""A DATAGRAM session's life between two services over a bad network, with everything that must hold checked on the way.

    life = Life(Variant(ratchet=True))
    steps.send(life, side=0, size=40); steps.wait(life, seconds=31.0); ...      # tests.support.steps
    life.finish()                       # the network is good again: both directions flow

AssertionError tells what has broken; a nonce that is used twice raises NonceRepeated (tests.support.recording).
"""

from __future__ import annotations

import itertools
import os
from typing import Final

from noisegate_server.engine.outcomes import Decrypted
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    RekeyRequired,
    ReplayDetected,
)
from noisegate_server.session.state import TRANSITIONS, SessionState
from tests.support.engines import Engine, Engines, establish
from tests.support.fingerprint import fingerprint
from tests.support.oracle import GRACE_S, Oracle, Sight, read_header
from tests.support.owners import Ids, LastingVault, Owner, Packet, Side, Variant

REFUSALS = (DecryptFailed, ReplayDetected, CounterTooOld)
"""What a packet may be answered with besides being opened."""
TELL_S: Final = 0.2
"""Least time between two answers to what does not open (docs/protocol.md, section 5)."""
IDLE_S: Final = 600.0
EARLY: Final = 64
"""Bytes of early data that a ticket allows."""

MOVES: Final = {(before, after) for (before, _), after in TRANSITIONS.items()}
"""What the one table allows."""


class Life:
    """Both sides of one session, the network between them, and what has happened."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.engines = Engines()
        self.clock = self.engines.clock
        self.numbers = itertools.count()
        self.sides = (Side(), Side())
        """The Noise initiator first."""
        self.requests: list[ResumeRequested] = []
        """Every RESUME packet."""
        self.redeemed: dict[tuple[bytes, int], float] = {}
        """By which instance which of them was taken, and when first."""
        self.early: set[bytes] = set()
        """Early data that was delivered."""
        self.has_returned = False
        """A record was restored: what was sent to the owner before is lost."""
        self.is_forked = False
        """A record was restored though its session went on, or twice, or an old one: what no store that works does."""
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
            max_early=EARLY,
        )
        first, second = (
            self.engines.make(
                policy=Policy(limits=each, max_early=EARLY, idle_timeout=2 * IDLE_S), vault=LastingVault(os.urandom(4))
            )
            for each in variant.limits
        )
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
            ids=Ids(engine.session(session_id).connection_ids()[0]),
        )
        self.sides[side].owners.append(owner)
        for epoch in owner.epochs:
            # What has opened before anybody looked.
            for counter in range(epoch.window.highest + 1):
                phase = counter >> 8 if self.variant.ratchet else 0
                owner.oracle.has_opened(Sight(h=epoch.h, phase=phase, counter=counter), self.clock.now)
        self.check(owner)
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
        [epoch] = [each for each in owner.epochs if each.number % 256 == header.epoch]
        phase = header.counter >> 8 if self.variant.ratchet else header.phase
        sight = Sight(h=epoch.h, phase=phase, counter=header.counter)
        return Packet(
            wire=wire,
            plaintext=plaintext,
            sight=sight,
            salted=header.salted,
            connection_id=header.connection_id,
        )

    def take(self, owner: Owner, packet: Packet, *, traced: bool = True) -> None:
        """One genuine packet arrives at one owner: it opens where it must, once, or is refused without a trace.

        Looking for traces costs more than all else: a long burst of which nothing opens does it now and then.
        """
        session = owner.session
        if session is None:
            return
        now = self.clock.now
        side = self.sides[owner.side]
        held = owner.held(now)
        expected = packet.sight is not None and owner.oracle.must_open(held, packet.sight, now)
        traced = traced and not expected
        before = fingerprint(session) if traced else ""
        count = sum(epoch.opened for epoch in owner.epochs)
        try:
            # At the side that has chosen it, what comes under an id that is valid finds the session.
            by_id = not session.follows_connection_id and owner.ids.must_find(packet.connection_id, now)
            opened = owner.engine.decrypt(b"" if by_id else owner.session_id, packet.wire)
        except REFUSALS:
            assert not expected, "a record that came in time, under keys that are held, was lost"
            assert not traced or fingerprint(session) == before, "a refused packet has left a trace"
            return
        if not expected and self.has_answered_unopened(owner, packet, opened, count):
            return
        if packet.salted and packet.sight_h not in held:
            # The peer was restored: its epoch takes the place of every other.
            assert owner.held(now) == {packet.sight_h}, "an older epoch lives beside a salted one"
            owner.former, owner.current = b"", packet.sight_h
        else:
            assert expected, "a record has opened that nobody had to open"
        assert packet.sight is not None
        assert packet.wire not in side.opened, "a record was opened twice"
        side.opened.add(packet.wire)
        side.unheard = 0
        side.replayable.append(packet)
        owner.oracle.has_opened(packet.sight, now)
        owner.ids.use(packet.connection_id, now)
        assert opened.plaintext == packet.plaintext, "not what was sent"
        self.emit(owner, opened.to_peer)
        self.check(owner)

    def has_answered_unopened(self, owner: Owner, packet: Packet, answer: Decrypted, count: int) -> bool:
        """Whether an answer was made to what has not opened: only while the peer knows nothing of our salted epoch.

        `count`: of records that the living epochs had opened before.
        """
        if answer.plaintext is not None or packet.sight_h in owner.held(self.clock.now):
            return False
        records = owner.records
        assert records is not None
        assert records.current.send_tail, "a packet has opened that must not"
        now = self.clock.now
        if records.current.h == owner.current:
            assert sum(epoch.opened for epoch in owner.epochs) == count
            assert now >= owner.told_at + TELL_S, "told too often"
            owner.told_at = now
        else:
            # Both sides were restored: what came is dropped, and answered with an epoch of our own.
            assert packet.salted
            owner.former = owner.current = b""
        self.emit(owner, answer.to_peer)
        self.check(owner)
        return True

    def refuse(self, owner: Owner, wire: bytes, what: str) -> None:
        """A packet that nobody of the peer's has made must be refused without a trace."""
        session = owner.session
        assert session is not None
        before, count = fingerprint(session), sum(epoch.opened for epoch in owner.epochs)
        try:
            answer = owner.engine.decrypt(owner.session_id, wire)
        except DecryptFailed:
            assert fingerprint(session) == before, f"a {what} packet has left a trace"
        else:
            nothing = Packet(wire=wire, plaintext=None, sight=None)
            assert self.has_answered_unopened(owner, nothing, answer, count), f"a {what} packet has opened"

    def is_past_a_hard_limit(self, owner: Owner) -> bool:
        """Whether this end may refuse data."""
        records = owner.records
        assert records is not None
        epoch, limits = records.current, records.limits
        return (
            self.clock.now >= epoch.began_at + limits.hard_age
            or records.sealed >= limits.data_messages
            or records.sealed_bytes >= limits.hard_bytes
        )

    # ---- what must hold ----------------------------------------------------------------------------------------------

    def check(self, owner: Owner) -> None:
        """After each step: three epochs at most, in order, old keys alive in their grace, one state table obeyed."""
        session, records, now = owner.session, owner.records, self.clock.now
        if session is None or records is None:
            return
        assert session.expires_at <= min(now + IDLE_S, session.lifetime_end)
        owner.ends_at = session.expires_at
        owner.known.update([*(epoch.h for epoch in owner.epochs), *(root.h for root in records.held)])
        if session.state is not owner.state:
            assert (owner.state, session.state) in MOVES, f"{owner.state.name} to {session.state.name}"
            owner.state = session.state
        owner.ids.give(records.connection_id)
        numbers = [epoch.number for epoch in owner.epochs]
        assert numbers == sorted(set(numbers)), "epochs out of order"
        assert len({number % 256 for number in numbers}) == len(numbers)
        if records.current.h != owner.current:
            owner.former, owner.former_until = owner.current, now + GRACE_S
            owner.current = records.current.h
        assert not owner.former or now >= owner.former_until or owner.former in owner.held(now), "old keys died early"

    def finish(self) -> None:
        """The channel is good again: within minutes both directions flow and no rotation hangs.

        Where a side has ended, by its idle time, both begin anew. Where the session was forked, the pair of owners goes
        on that shares an epoch; where the peer has believed an owner of which the rightful one knows nothing, the
        session is lost, and both begin anew too.
        """
        self.clear()
        self.choose()
        if not self.heal():
            assert self.is_forked, "a rotation hangs, or the two sides seal under different keys"
            assert self.is_lost(), "a forked session hangs though nobody has believed a zombie"
            self.begin_anew(is_lost=True)
            assert self.heal(), "a new session hangs"
        for owner in self.both():
            assert self.speak(owner, b"healed"), "data is refused though the network is good"
        assert sum(packet.plaintext == b"healed" for side in self.sides for packet in side.inbox) == 2
        self.drain(strict=True)

    def choose(self) -> None:
        """Of several owners of a side one goes on: of a pair that shares an epoch, otherwise the rightful ones."""
        first, second = self.sides
        pairs = [(one, other) for one in reversed(first.owners) for other in reversed(second.owners)]
        now = self.clock.now
        sharing = (pair for pair in pairs if pair[0].held(now) & pair[1].held(now))
        for side, owner in zip(self.sides, next(sharing, pairs[0]), strict=True):
            side.owners[:] = [owner]

    def heal(self) -> bool:
        """Let both sides talk; whether they end up under the same keys, with nothing under way."""
        for number in range(30):
            self.clock.step(5.5)
            if any(self.owner(number) is None for number in (0, 1)):
                self.begin_anew()
            for owner in self.both():
                self.speak(owner, b"any call")
            self.drain(strict=not self.has_returned)
            if number >= 12 and self.is_quiet():
                return True
        return False

    def is_lost(self) -> bool:
        """Whether one side knows of an epoch that the other one has shown to have, and whose owner has it no more."""
        first, second = self.both()
        return bool(first.established() - second.known or second.established() - first.known)

    def shut_down(self) -> None:
        """Every session ends, and nothing is left of any, however the clock was set before."""
        self.clock.wall += 30 * 86_400
        self.engines.assert_nothing_is_left()

    def begin_anew(self, *, is_lost: bool = False) -> None:
        """What a game does when its session is gone."""
        self.clear()
        for side in self.sides:
            for owner in side.owners:
                assert is_lost or owner.session or self.clock.now >= owner.ends_at, "ended without a cause"
            side.owners.clear()
        self.begin()

    def both(self) -> tuple[Owner, Owner]:
        first, second = (self.owner(number) for number in (0, 1))
        assert first is not None, "the initiator's session has ended"
        assert second is not None, "the responder's session has ended"
        return first, second

    def is_quiet(self) -> bool:
        """Whether both seal under the same keys, and nothing is under way."""
        first, second = self.both()
        at_rest = all(owner.held_session.state is SessionState.ESTABLISHED for owner in (first, second))
        return at_rest and first.epochs[-1].h == second.epochs[-1].h

    def speak(self, owner: Owner, plaintext: bytes) -> bool:
        """Data, or where a hard limit forbids it the rotation that lifts it. Whether it was data."""
        try:
            sealed = owner.engine.encrypt(owner.session_id, plaintext)
        except RekeyRequired:
            self.emit(owner, owner.engine.rotate(owner.session_id, RotateCommand(kind=RENEGOTIATE)).to_peer)
            return False
        self.emit(owner, (sealed.ciphertext, *sealed.to_peer), plaintext)
        return True

    def drain(self, *, strict: bool) -> None:
        """Deliver what is on its way, in order, until nothing is; where it is `strict`, all of it opens."""
        for _ in range(50):
            if not any(side.inbox for side in self.sides):
                return
            for owner in self.both():
                inbox = self.sides[owner.side].inbox
                for _ in range(len(inbox)):
                    packet = inbox.popleft()
                    self.take(owner, packet, traced=strict)
                    assert not strict or packet.wire in self.sides[owner.side].opened, "lost on a good network"
        raise AssertionError("the two sides never stop talking")
