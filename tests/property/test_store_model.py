"""Any sequence of calls to the store, against a model of plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from noisegate_server.session.errors import (
    NotEstablished,
    Overloaded,
    SessionClosed,
    SessionError,
    SessionNotFound,
    SessionQuota,
)
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import ConnectionIdTaken, StoreLimits
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.store.suspended import Dormant, SuspendedSession
from tests.support.fake_session import FakePacker, FakeSession, connection_id, session_id

LIMITS = StoreLimits(
    capacity=12,
    sessions_per_tenant=9,
    sessions_per_peer=3,
    half_open=5,
    half_open_per_tenant=4,
    half_open_per_peer=2,
    tombstones=1_000,
    tombstone_s=20.0,
)

tenants = st.sampled_from(["dice", "cards"])
peers = st.sampled_from(["", "ann", "bob"])
groups = st.sampled_from(["", "table 7", "table 8"])
connections = st.integers(1, 6).map(connection_id)
lifetimes = st.sampled_from([0.5, 1.0, 3.25, 10.0, 300.0, 5_000.0])
newcomers = st.builds(
    partial,
    st.just(FakeSession),
    tenant=tenants,
    peer_id=peers,
    group=groups,
    half_open=st.booleans(),
    connection_ids=st.lists(connections, max_size=2).map(tuple),
)
steps = st.sampled_from([0.0, 0.3, 1.0, 2.7, 25.0, 255.0, 256.0, 257.0, 10_000.0])

Answer = FakeSession | tuple[type[Exception], str] | None
"""What a call gave, or the type and the text of what it raised."""


def outcome(call: Callable[[], FakeSession | None]) -> Answer:
    """The answer of one call to the store."""
    try:
        return call()
    except (SessionError, ConnectionIdTaken, Dormant) as refusal:
        return type(refusal), str(refusal)


@dataclass(slots=True)
class Model:
    """What the store should know, in the plainest form."""

    live: dict[bytes, FakeSession] = field(default_factory=dict)
    half_open: set[bytes] = field(default_factory=set)
    bound: dict[tuple[str, bytes], FakeSession] = field(default_factory=dict)
    graves: dict[bytes, tuple[str, TerminationReason, float]] = field(default_factory=dict)
    unreported: set[bytes] = field(default_factory=set)
    asleep: dict[bytes, SuspendedSession] = field(default_factory=dict)
    """Records of those among `live` that are suspended."""

    def ends_at(self, session: FakeSession) -> float:
        """When its time is over."""
        record = self.asleep.get(session.session_id)
        return session.expires_at if record is None else record.expires_at

    def refusal(self, session: FakeSession) -> type[Exception] | None:
        """What `add` should raise."""
        of_tenant = [each for each in self.live.values() if each.tenant == session.tenant]
        of_peer = [each for each in of_tenant if session.peer_id and each.peer_id == session.peer_id]
        if len(of_peer) >= LIMITS.sessions_per_peer:
            return SessionQuota
        if len(self.live) >= LIMITS.capacity:
            return Overloaded
        if len(of_tenant) >= LIMITS.sessions_per_tenant:
            return SessionQuota
        if session.is_half_open:
            if sum(each.session_id in self.half_open for each in of_peer) >= LIMITS.half_open_per_peer:
                return SessionQuota
            if len(self.half_open) >= LIMITS.half_open:
                return Overloaded
            if sum(each.session_id in self.half_open for each in of_tenant) >= LIMITS.half_open_per_tenant:
                return SessionQuota
        if any((session.tenant, each) in self.bound for each in session.connection_ids()):
            return ConnectionIdTaken
        return None

    def bury(self, session: FakeSession, reason: TerminationReason, now: float) -> None:
        """What `end` should do."""
        del self.live[session.session_id]
        if self.asleep.pop(session.session_id, None) is not None:
            # Whoever suspended it would have wiped it; the store has only its record.
            session.wipe()
        self.bound = {key: owner for key, owner in self.bound.items() if owner is not session}
        if session.session_id in self.half_open:
            self.half_open.remove(session.session_id)
        else:
            self.graves[session.session_id] = (session.tenant, reason, now + LIMITS.tombstone_s)

    def answer(self, tenant: str, wanted: bytes, now: float) -> Answer:
        """What `get` should give or raise, once expired sessions are buried."""
        session = self.live.get(wanted)
        if session is not None and session.tenant == tenant:
            record = self.asleep.get(wanted)
            if record is None:
                return session
            if record.by_service:
                return Dormant, "the session is suspended"
            return NotEstablished, "the session is SUSPENDED"
        owner, reason, until = self.graves.get(wanted, ("", TerminationReason.CLOSED, 0.0))
        if owner == tenant and until > now:
            return SessionClosed, f"the session has ended: {reason.name}"
        return SessionNotFound, "no such session"


class StoreMachine(RuleBasedStateMachine):
    """Rules pick sessions by number, so that living, ended, foreign and unknown ones are all asked for."""

    @initialize(start=st.sampled_from([0.0, 0.75, 1_000_000.5]))
    def begin(self, start: float) -> None:
        self.store: ShardedStore[FakeSession] = ShardedStore(LIMITS, 4, packer=self.packer())
        self.model = Model()
        self.now = start
        self.sessions: list[FakeSession] = []

    def packer(self) -> FakePacker | None:
        """By what the store packs idle sessions."""
        return None

    def pick(self, number: int) -> FakeSession:
        return self.sessions[number % len(self.sessions)]

    def pick_awake(self, number: int) -> FakeSession | None:
        """One that is not suspended: nobody has the others."""
        session = self.pick(number)
        if session.session_id in self.model.asleep:
            return None
        if session.is_packed and session.session_id in self.model.live:
            if session.expires_at <= self.now:
                return None
            # Who uses a session has got it from the store a moment ago.
            assert self.store.get(session.tenant, session.session_id, self.now) is session
        return session

    def expire(self, session: FakeSession) -> None:
        """The model's side of a session that is found to be over."""
        if session.session_id in self.model.live and self.model.ends_at(session) <= self.now:
            found = self.model.asleep.get(session.session_id, session)
            self.model.bury(session, found.expiry_cause(self.now), self.now)
            self.model.unreported.add(session.session_id)

    @rule(newcomer=newcomers, lifetime=lifetimes)
    def add(self, newcomer: Callable[..., FakeSession], lifetime: float) -> None:
        session = newcomer(len(self.sessions) + 1, expires_at=self.now + lifetime)
        expected = self.model.refusal(session)
        answer = outcome(lambda: self.store.add(session, self.now))
        assert (answer[0] if isinstance(answer, tuple) else answer) is expected
        if expected is not None:
            return
        self.sessions.append(session)
        self.model.live[session.session_id] = session
        self.model.bound.update({(session.tenant, each): session for each in session.connection_ids()})
        if session.is_half_open:
            self.model.half_open.add(session.session_id)

    @rule(tenant=tenants, number=st.integers(0, 40))
    def get(self, tenant: str, number: int) -> None:
        wanted = session_id(number)
        session = self.model.live.get(wanted)
        if session is not None and session.tenant == tenant:
            self.expire(session)
        expected = self.model.answer(tenant, wanted, self.now)
        assert outcome(lambda: self.store.get(tenant, wanted, self.now)) == expected

    @rule(tenant=tenants, wanted=connections)
    def get_by_connection(self, tenant: str, wanted: bytes) -> None:
        session = self.model.bound.get((tenant, wanted))
        expected: Answer = (SessionNotFound, "no such session")
        if session is not None:
            self.expire(session)
            expected = self.model.answer(tenant, session.session_id, self.now)
        assert outcome(lambda: self.store.get_by_connection(tenant, wanted, self.now)) == expected

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), lifetime=lifetimes)
    def touch(self, number: int, lifetime: float) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        if session.expires_at > self.now:
            session.expires_at = max(session.expires_at, self.now + lifetime)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), lifetime=lifetimes)
    def shorten(self, number: int, lifetime: float) -> None:
        """The deadline moves back, and sweeps obey."""
        session = self.pick_awake(number)
        if session is None:
            return
        if session.expires_at > self.now:
            session.expires_at = min(session.expires_at, self.now + lifetime)
        self.store.hasten(session, self.now)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), lifetime=lifetimes)
    def finish(self, number: int, lifetime: float) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        if session.expires_at > self.now:
            session.finish(max(session.expires_at, self.now + lifetime))
            self.store.finished(session, self.now)
            self.model.half_open.discard(session.session_id)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), wanted=connections)
    def bind(self, number: int, wanted: bytes) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        owner = self.model.bound.get((session.tenant, wanted))
        is_taken = session.session_id in self.model.live and owner is not None and owner is not session
        refused = outcome(lambda: self.store.bind_connection(session, wanted)) is not None
        assert refused == is_taken
        if session.session_id in self.model.live and not is_taken:
            self.model.bound[session.tenant, wanted] = session
            session.learn(wanted)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), wanted=connections)
    def unbind(self, number: int, wanted: bytes) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        self.store.unbind_connection(session, wanted)
        if self.model.bound.get((session.tenant, wanted)) is session:
            del self.model.bound[session.tenant, wanted]
            session.drop(wanted)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), reason=st.sampled_from(TerminationReason))
    def end(self, number: int, reason: TerminationReason) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        self.store.end(session, reason, self.now)
        if session.session_id in self.model.live:
            self.model.bury(session, reason, self.now)

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), by_service=st.booleans(), lifetime=lifetimes)
    def suspend(self, number: int, by_service: bool, lifetime: float) -> None:
        session = self.pick_awake(number)
        if session is None:
            return
        is_awake = session.session_id in self.model.live and session.session_id not in self.model.asleep
        if not is_awake or session.session_id in self.model.half_open or session.expires_at <= self.now:
            return
        record = SuspendedSession(
            session_id=session.session_id,
            tenant=session.tenant,
            peer_id=session.peer_id,
            group=session.group,
            mode=2,
            remote_static=b"",
            bound=session.connection_ids(),
            by_service=by_service,
            resumable=False,
            suspended_at=self.now,
            expires_at=session.expires_at + (0.0 if by_service else lifetime),
        )
        self.store.suspend(session, record)
        self.model.asleep[session.session_id] = record

    @precondition(lambda self: self.sessions)
    @rule(number=st.integers(0), tenant=tenants, how=st.sampled_from(["look", "restore", "end", "drop"]))
    def find_suspended(self, number: int, tenant: str, how: str) -> None:
        session = self.pick(number)
        if session.session_id in self.model.asleep and session.tenant == tenant:
            self.expire(session)
        record = self.model.asleep.get(session.session_id) if session.tenant == tenant else None
        assert self.store.find_suspended(tenant, session.session_id, self.now) is record
        if record is None:
            return
        if how == "restore":
            session.expires_at = record.expires_at
            self.store.restore(record, session, self.now)
            del self.model.asleep[session.session_id]
        elif how == "end":
            self.store.end(record, TerminationReason.LOST, self.now)
            self.model.bury(session, TerminationReason.LOST, self.now)
        elif how == "drop":
            self.store.drop_suspended(record)
            self.model.bury(session, TerminationReason.LOST, self.now)
            del self.model.graves[session.session_id]

    @rule(step=steps)
    def wait(self, step: float) -> None:
        self.now += step

    @rule(budget=st.integers(0, 5))
    def sweep_a_little(self, budget: int) -> None:
        before = self.store.looked_at
        reported = [each.session_id for each in self.store.sweep(self.now, budget)]
        assert self.store.looked_at - before <= budget
        assert len(set(reported)) == len(reported) <= budget + len(self.model.unreported)
        for each in reported:
            if each not in self.model.unreported:
                self.expire(self.model.live[each])
        assert set(reported) == self.model.unreported
        self.model.unreported.clear()

    @rule()
    def sweep_everything(self) -> None:
        overdue = [each for each in self.model.live.values() if self.model.ends_at(each) <= self.now - 1]
        reported = {each.session_id for each in self.store.sweep(self.now, 10_000)}
        assert reported >= {each.session_id for each in overdue} | self.model.unreported
        for each in reported - self.model.unreported:
            self.expire(self.model.live[each])
        assert reported == self.model.unreported
        self.model.unreported.clear()

    @rule(tenant=tenants, peer_id=peers, group=groups, limit=st.integers(1, 4))
    def select(self, tenant: str, peer_id: str, group: str, limit: int) -> None:
        found: list[bytes] = []
        after: int | None = 0
        while after is not None:
            page, after = self.store.select(tenant, peer_id=peer_id, group=group, after=after, limit=limit)
            assert len(page) <= limit
            found += [each.session_id for each in page]
        assert found == [
            each.session_id
            for each in self.model.live.values()
            if each.tenant == tenant and peer_id in {"", each.peer_id} and group in {"", each.group}
        ]

    @invariant()
    def counts_agree(self) -> None:
        counts = self.store.counts()
        assert counts.sessions == sum(counts.per_shard) == len(self.model.live) - len(self.model.asleep)
        assert counts.suspended == len(self.model.asleep)
        assert counts.half_open == len(self.model.half_open)
        assert counts.expiry_entries >= len(self.model.live)

    @invariant()
    def sessions_are_wiped_once_and_only_when_they_ended(self) -> None:
        # Of a packed one the record is wiped: `leftovers` sees a slot that is not given back.
        assert all(
            each.wipes == (each.session_id not in self.model.live and not each.is_packed) for each in self.sessions
        )

    @invariant()
    def the_hint_misses_nothing(self) -> None:
        hint = self.store.next_expiry()
        for each in self.model.live.values():
            assert hint is not None
            assert hint < max(self.model.ends_at(each), self.now) + 1

    def teardown(self) -> None:
        """Once every session has ended and time has passed, nothing at all is left."""
        if not hasattr(self, "store"):
            return
        awake = len(self.model.live) - len(self.model.asleep)
        assert self.store.end_all(self.now, TerminationReason.SHUTDOWN) == awake
        self.store.sweep(self.now + 1_000.0, 100_000)
        assert self.store.leftovers() == []
        assert self.store.counts().expiry_entries == 0
        assert self.store.next_expiry() is None
        assert all(
            each.wipes == (each.session_id not in self.model.asleep and not each.is_packed) for each in self.sessions
        )


StoreMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestStoreModel = StoreMachine.TestCase
