"""Two ends of a DATAGRAM session over a channel that loses, repeats, reorders and garbles, with rotations from both."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.constants import GRACE_S, RESERVED_COUNTERS
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    RekeyRequired,
    ReplayDetected,
    SessionError,
)
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.state import SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import End, Engines, Link, establish
from tests.support.fingerprint import fingerprint

REFUSALS = (DecryptFailed, ReplayDetected, CounterTooOld)
"""What a packet may be answered with besides being opened."""

sides = st.sampled_from([0, 1])
places = st.integers(0, 1_000)
waits = st.sampled_from([0.1, 1.0, 2.5, 5.5, 10.5, GRACE_S + 0.5])
limits = st.sampled_from(
    [
        RotationLimits(),
        RotationLimits(soft_age=10.0, hard_age=20.0),
        RotationLimits(soft_messages=5, hard_messages=RESERVED_COUNTERS + 40),
        RotationLimits(soft_bytes=500, hard_bytes=5_000),
    ]
)


class TwoEnds(RuleBasedStateMachine):
    """What each end has sent is known here; the channel is a list of packets for each direction."""

    def __init__(self) -> None:
        super().__init__()
        self.engines = Engines()
        self.link: Link | None = None
        self.numbers = itertools.count()
        self.sent: tuple[set[bytes], set[bytes]] = (set(), set())
        self.opened: tuple[set[bytes], set[bytes]] = (set(), set())

    @initialize(
        pattern=st.sampled_from([Pattern.XX, Pattern.IK, Pattern.NK]),
        suite=st.sampled_from(list(Suite)),
        pad=st.booleans(),
        mask=st.booleans(),
        tickets=st.booleans(),
        ratchet=st.booleans(),
        limits=st.tuples(limits, limits),
    )
    def establish(
        self,
        pattern: Pattern,
        suite: Suite,
        pad: bool,
        mask: bool,
        tickets: bool,
        ratchet: bool,
        limits: tuple[RotationLimits, RotationLimits],
    ) -> None:
        options = Options(pad=pad, mask=mask, tickets=tickets, ratchet=ratchet, idle_timeout=80_000.0)
        first, second = (self.engines.make(policy=Policy(limits=each)) for each in limits)
        self.link = establish(
            self.engines, pattern=pattern, suite=suite, options=options, initiator=first, responder=second
        )

    def end(self, side: int) -> End:
        assert self.link is not None
        return self.link.ends[side]

    def take(self, side: int, packet: bytes) -> None:
        """One packet arrives at one end: it opens, once, or is refused without a trace."""
        end = self.end(side)
        before = fingerprint(end.session)
        try:
            opened = end.open(packet)
        except REFUSALS:
            assert fingerprint(end.session) == before, "a refused packet has left a trace"
            return
        assert packet not in self.opened[side], "a record was opened twice"
        self.opened[side].add(packet)
        if opened.plaintext is not None:
            assert opened.plaintext in self.sent[1 - side], "a plaintext that nobody has sent"

    @rule(side=sides, size=st.sampled_from([0, 1, 40, 300]))
    def send(self, side: int, size: int) -> None:
        plaintext = b"%d:" % next(self.numbers) + bytes(size)
        self.sent[side].add(plaintext)
        before = fingerprint(self.end(side).session)
        try:
            self.end(side).send(plaintext)
        except RekeyRequired:
            assert fingerprint(self.end(side).session) == before, "a refused plaintext has left a trace"
            assert self.is_past_a_hard_limit(side)

    def is_past_a_hard_limit(self, side: int) -> bool:
        """Whether this end may refuse data."""
        records = self.end(side).datagrams
        epoch, limits = records.current, records.limits
        return (
            self.engines.clock.now >= epoch.began_at + limits.hard_age
            or epoch.send_counter >= limits.hard_messages - RESERVED_COUNTERS
            or epoch.sent_bytes >= limits.hard_bytes
        )

    @rule(side=sides, size=st.sampled_from([30, 260, 600]))
    def send_many(self, side: int, size: int) -> None:
        """So many that phases of the ratchet, and limits, are passed."""
        for _ in range(size):
            self.send(side, 0)
            if self.is_past_a_hard_limit(side):
                return

    @rule(side=sides, place=places)
    @precondition(lambda self: any(end.inbox for end in self.link.ends))
    def deliver(self, side: int, place: int) -> None:
        inbox = self.end(side).inbox
        if inbox:
            inbox.rotate(-(place % len(inbox)))
            packet = inbox.popleft()
            self.take(side, packet)

    @rule(side=sides)
    def deliver_in_order(self, side: int) -> None:
        for _ in range(len(self.end(side).inbox)):
            self.take(side, self.end(side).inbox.popleft())

    @rule(side=sides, place=places)
    def duplicate(self, side: int, place: int) -> None:
        inbox = self.end(side).inbox
        if inbox:
            inbox.append(inbox[place % len(inbox)])

    @rule(side=sides, place=places)
    def lose(self, side: int, place: int) -> None:
        inbox = self.end(side).inbox
        if inbox:
            del inbox[place % len(inbox)]

    @rule(side=sides, place=places, bit=st.integers(0, 100_000))
    def garble(self, side: int, place: int, bit: int) -> None:
        inbox = self.end(side).inbox
        if not inbox:
            return
        forged = bytearray(inbox[place % len(inbox)])
        forged[bit // 8 % len(forged)] ^= 1 << bit % 8
        before = fingerprint(self.end(side).session)
        try:
            self.end(side).open(bytes(forged))
        except DecryptFailed:
            assert fingerprint(self.end(side).session) == before, "a forged packet has left a trace"
        else:
            raise AssertionError("a forged packet has opened")

    @rule(side=sides)
    def reflect(self, side: int) -> None:
        """A packet goes back to the end that has sent it."""
        if self.end(side).outbox:
            before = fingerprint(self.end(side).session)
            try:
                self.end(side).open(self.end(side).outbox[0])
            except DecryptFailed:
                assert fingerprint(self.end(side).session) == before
            else:
                raise AssertionError("a reflected packet has opened")

    @rule(side=sides, times=st.sampled_from([1, 1, 1, 5, 70]))
    def rekey(self, side: int, times: int) -> None:
        for _ in range(times):
            phase = self.end(side).datagrams.current.sender.phase
            done = self.end(side).rekey()
            if self.end(side).datagrams.ratchet:
                # Every message has a key of its own: nothing is left to do.
                continue
            if phase == 63:
                # No phase is left: a new key agreement is under way instead.
                assert done.state is SessionState.ROTATING
                return
            assert self.end(side).datagrams.current.sender.phase == phase + 1

    @rule(side=sides)
    def renegotiate(self, side: int) -> None:
        self.end(side).renegotiate()

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        self.engines.clock.step(seconds)

    @rule(hours=st.sampled_from([-25, -1, 1, 25]))
    def wall_clock_steps(self, hours: int) -> None:
        """Somebody sets the clock of the machine: keys live by the monotonic one."""
        self.engines.clock.wall += hours * 3_600

    @invariant()
    def at_most_three_epochs(self) -> None:
        if self.link is None:
            return
        for end in self.link.ends:
            records = end.datagrams
            alive = [each for each in (records.previous, records.current, records.next) if each is not None]
            assert len(alive) <= 3
            assert len({epoch.number & 0xFF for epoch in alive}) == len(alive)
            assert [epoch.number for epoch in alive] == sorted(epoch.number for epoch in alive)

    @invariant()
    def each_plaintext_once(self) -> None:
        if self.link is not None:
            for end in self.link.ends:
                assert len(set(end.received)) == len(end.received)

    def teardown(self) -> None:
        if self.link is not None:
            self.heal(self.link)
        self.engines.assert_nothing_is_left()

    def heal(self, link: Link) -> None:
        """The channel is good again: within minutes both directions flow and no rotation hangs."""
        link.lose_everything()
        for number in range(30):
            link.clock.step(5.5)
            for end in link.ends:
                try:
                    end.seal(b"any call")
                except RekeyRequired:
                    end.renegotiate()
            self.drain(link)
            if number >= 12 and [end.session.state for end in link.ends] == [SessionState.ESTABLISHED] * 2:
                break
        assert [end.session.state for end in link.ends] == [SessionState.ESTABLISHED] * 2
        assert link.epochs()[0] == link.epochs()[1]
        for end in link.ends:
            end.send(b"healed")
        self.drain(link)
        assert [end.received[-1] for end in link.ends] == [b"healed"] * 2

    def drain(self, link: Link) -> None:
        for _ in range(50):
            waiting = [end for end in link.ends if end.inbox]
            if not waiting:
                return
            for end in waiting:
                try:
                    end.open(end.inbox.popleft())
                except SessionError as refusal:
                    raise AssertionError("a record that was neither lost nor late does not open") from refusal
        raise AssertionError("the two ends never stop talking")


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
