"""The timer wheel, and the sweep that turns it."""

from __future__ import annotations

import math

import pytest

from noisegate_server.session.errors import SessionNotFound
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.expiry import REACH_S, ExpiryWheel
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.store.suspended import SuspendedSession
from tests.support.fake_session import FakePacker, FakeSession, session_id

NOW = 7_000.5


def make_store() -> ShardedStore[FakeSession]:
    """An empty store with room for all."""
    return ShardedStore(StoreLimits())


def popped(wheel: ExpiryWheel, now: float) -> list[int]:
    """All that is due."""
    wheel.turn(now)
    return sorted(wheel.take(1_000))


@pytest.mark.parametrize("deadline", [NOW, NOW - 100, 7_001.0, 7_001.5, 7_002.0])
def test_an_entry_comes_up_within_a_second_of_its_deadline_and_not_before(deadline: float) -> None:
    """Also when the deadline has passed already."""
    wheel = ExpiryWheel()
    wheel.arm(9, deadline, NOW)
    due = max(deadline, NOW)
    assert popped(wheel, math.nextafter(due, -math.inf)) == []
    assert popped(wheel, due + 1.0) == [9]
    assert len(wheel) == 0


@pytest.mark.parametrize("deadline", [NOW + REACH_S + 1, NOW + 1e9, math.inf])
def test_an_entry_beyond_the_reach_comes_round_early(deadline: float) -> None:
    """It is looked at after a turn of the wheel at the latest, whatever its deadline."""
    wheel = ExpiryWheel()
    wheel.arm(9, deadline, NOW)
    assert popped(wheel, NOW + REACH_S - 2) == []
    assert popped(wheel, NOW + REACH_S + 1) == [9]


@pytest.mark.parametrize("jump", [0.0, 0.4, 1.0, 254.0, 255.0, 256.0, 257.0, 100_000.0, 1e12])
def test_a_jump_of_the_clock_brings_up_all_that_is_due_and_nothing_else(jump: float) -> None:
    """However long no sweep came by."""
    wheel = ExpiryWheel()
    deadlines = {handle: NOW + handle / 2 for handle in range(1, 500)}
    for handle, deadline in deadlines.items():
        wheel.arm(handle, deadline, NOW)
    due = {handle for handle, deadline in deadlines.items() if math.ceil(deadline) <= NOW + jump}
    assert popped(wheel, NOW + jump) == sorted(due)
    assert len(wheel) == 499 - len(due)
    assert popped(wheel, NOW + jump + REACH_S + 1) == sorted(deadlines.keys() - due)
    assert len(wheel) == 0


def test_due_entries_that_no_budget_was_left_for_come_up_later() -> None:
    """They stay due over later turns, beside newer ones."""
    wheel = ExpiryWheel()
    for handle in (1, 2, 3):
        wheel.arm(handle, NOW + handle, NOW)
    wheel.turn(NOW + 10)
    (first,) = wheel.take(1)
    wheel.arm(4, NOW + 11, NOW + 10)
    next_due = wheel.next_due()
    assert next_due is not None
    assert next_due <= NOW + 10
    assert sorted([first, *popped(wheel, NOW + 12)]) == [1, 2, 3, 4]


def test_who_stops_half_way_takes_nothing_of_what_others_come_for() -> None:
    """Its bucket was empty by then, and the next one is another's."""
    wheel = ExpiryWheel()
    for handle, deadline in ((1, NOW + 1), (2, NOW + 2), (3, NOW + 2)):
        wheel.arm(handle, deadline, NOW)
    wheel.turn(NOW + 10)
    stopped = wheel.take(2)
    assert next(stopped) == 1
    assert len(list(wheel.take(1))) == 1
    del stopped
    assert len(wheel) == 1
    assert len(popped(wheel, NOW + 10)) == 1
    assert wheel.next_due() is None


def test_the_next_moment_is_never_after_the_first_entry() -> None:
    """It is the second in which the earliest entry comes up; None while the wheel is empty."""
    wheel = ExpiryWheel()
    assert wheel.next_due() is None
    wheel.arm(1, NOW + 30, NOW)
    assert wheel.next_due() == 7_031.0
    wheel.arm(2, NOW + 3, NOW)
    assert wheel.next_due() == 7_004.0


def test_a_wheel_that_stood_empty_takes_up_at_the_present() -> None:
    """An entry armed long after the last sweep is not looked at in vain."""
    wheel = ExpiryWheel()
    wheel.turn(5.0)
    wheel.arm(1, NOW + 30, NOW)
    assert wheel.next_due() == 7_031.0


def test_a_sweep_ends_what_is_over_and_names_it() -> None:
    """Established and half-open ones, each with its own cause; the others stay."""
    store = make_store()
    idle = FakeSession(1, peer_id="ann", expires_at=NOW + 20)
    stalled = FakeSession(2, tenant="cards", half_open=True, expires_at=NOW + 10)
    lively = FakeSession(3, expires_at=NOW + 200)
    for session in (idle, stalled, lively):
        store.add(session, NOW)
    assert store.sweep(NOW + 9, 100) == []
    ended = {(each.session_id, each.tenant, each.reason) for each in store.sweep(NOW + 21, 100)}
    assert ended == {
        (session_id(1), "dice", TerminationReason.IDLE),
        (session_id(2), "cards", TerminationReason.HANDSHAKE_TIMEOUT),
    }
    assert [session.wipes for session in (idle, stalled, lively)] == [1, 1, 0]
    assert store.counts().sessions == 1
    with pytest.raises(SessionNotFound):
        store.get("cards", session_id(2), NOW + 21)


def test_a_session_in_use_is_looked_at_once_a_deadline_and_not_once_a_message() -> None:
    """The deadline moves with every message; the queue is not told, and finds out when the entry comes up."""
    store = make_store()
    session = FakeSession(1, expires_at=NOW + 30)
    store.add(session, NOW)
    for second in range(1, 1_001):
        session.expires_at = NOW + second + 30
        assert store.sweep(NOW + second, 10) == []
    assert store.counts().expiry_entries == 1
    assert 1_000 / 31 - 1 <= store.looked_at <= 1_000 / 30 + 1
    assert len(store.sweep(NOW + 1_031, 10)) == 1


def test_a_finished_handshake_outlives_the_deadline_of_handshakes() -> None:
    """The entry of the handshake comes up and moves to the session's own deadline."""
    store = make_store()
    session = FakeSession(1, half_open=True, expires_at=NOW + 10)
    store.add(session, NOW)
    session.finish(NOW + 100)
    store.finished(session, NOW + 5)
    assert store.sweep(NOW + 20, 10) == []
    assert store.get("dice", session_id(1), NOW + 99) is session
    assert [each.reason for each in store.sweep(NOW + 101, 10)] == [TerminationReason.IDLE]


def test_however_many_sessions_end_keys_are_wiped_in_time_and_idle_ones_packed() -> None:
    """Where more ends than a sweep may look at, the other queues have their turns all the same."""
    store: ShardedStore[FakeSession] = ShardedStore(StoreLimits(), packer=FakePacker())
    store.sweep(NOW, 6)
    keeper, idle = FakeSession(0), FakeSession(1)
    keeper.keeps = [NOW + 5]
    store.add(keeper, NOW)
    store.tend(keeper, NOW + 5, NOW)
    for number in range(2, 102):
        store.add(FakeSession(number, expires_at=NOW + 5), NOW)
    store.add(idle, NOW)
    ended = sum(len(store.sweep(NOW + 30, 6)) for _ in range(4))
    assert 12 <= ended < 24
    assert store.wiped == 1
    assert idle.is_packed
    assert store.counts().packed == 1, "what is over is not packed before it ends"


def test_what_fails_as_a_session_ends_keeps_no_other_from_ending() -> None:
    """Whoever hears of ends must not raise. Where it does all the same, the sweep breaks off, and the next goes on."""
    broken = [session_id(1), session_id(5)]

    def hear(session: FakeSession | Glance | SuspendedSession, reason: TerminationReason, *, resumable: bool) -> None:
        if session.session_id in broken:
            raise ZeroDivisionError

    store = ShardedStore[FakeSession](StoreLimits(), on_end=hear)
    for number in range(1, 6):
        store.add(FakeSession(number, expires_at=NOW + 5), NOW)
    for _ in broken:
        with pytest.raises(ZeroDivisionError):
            store.sweep(NOW + 10, 100)
    store.sweep(NOW + 10, 100)
    assert store.counts().sessions == 0
    assert store.counts().expiry_entries == 0


def test_a_sweep_looks_at_no_more_entries_than_its_budget() -> None:
    """A mass expiry is spread over many sweeps, and so is the end of its tombstones."""
    store = make_store()
    for number in range(100):
        store.add(FakeSession(number, expires_at=NOW + 5), NOW)
    sizes = []
    for _ in range(15):
        before = store.looked_at
        sizes.append(len(store.sweep(NOW + 10, 7)))
        assert store.looked_at - before <= 7
    assert sizes == [7] * 14 + [2]
    assert store.counts().tombstones == 100
    for _ in range(14):
        before = store.looked_at
        store.sweep(NOW + 100, 7)
        assert store.looked_at - before == 7
    assert store.counts().tombstones == 2
    store.sweep(NOW + 100, 7)
    assert store.leftovers() == []


def test_a_sweep_without_work_looks_at_next_to_nothing() -> None:
    """Sessions that are not due cost nothing, however many there are."""
    store = make_store()
    for number in range(1_000):
        store.add(FakeSession(number, expires_at=NOW + 100), NOW)
    for tick in range(50):
        store.sweep(NOW + tick, 1_000)
    assert store.looked_at == 0


def test_a_sweep_after_a_day_without_one_finds_everything() -> None:
    """A stopped process that wakes up ends all that is over."""
    store = make_store()
    for number in range(300):
        store.add(FakeSession(number, expires_at=NOW + number), NOW)
    lasting = FakeSession(300, expires_at=NOW + 200_000)
    store.add(lasting, NOW)
    assert len(store.sweep(NOW + 86_400, 1_000)) == 300
    assert store.get("dice", session_id(300), NOW + 86_400) is lasting
    assert len(store.sweep(NOW + 200_001, 1_000)) == 1


def test_the_entry_of_an_ended_session_goes_within_a_turn_of_the_wheel() -> None:
    """However long the session might have lived, and without being reported."""
    store = make_store()
    session = FakeSession(1, expires_at=NOW + 86_400)
    store.add(session, NOW)
    store.end(session, TerminationReason.CLOSED, NOW)
    assert store.counts().expiry_entries == 1
    assert store.sweep(NOW + REACH_S + 1, 10) == []
    assert store.leftovers() == []
    assert session.wipes == 1


def test_the_hint_covers_sessions_and_tombstones() -> None:
    """Nothing is due before it; what is due at it is found."""
    store = make_store()
    assert store.next_expiry() is None
    store.add(FakeSession(1, expires_at=NOW + 9.5), NOW)
    hint = store.next_expiry()
    assert hint == 7_010.0
    assert len(store.sweep(hint, 10)) == 1
    assert store.next_expiry() == hint + 60.0
    store.sweep(hint + 60.0, 10)
    assert store.next_expiry() is None


def test_a_deadline_that_moves_back_is_kept_once_the_store_is_told() -> None:
    """A handshake's 10 s become an idle time of one; whoever has ended is left alone."""
    store = make_store()
    session = FakeSession(1, expires_at=NOW + 10, half_open=True)
    store.add(session, NOW)
    session.finish(NOW + 1)
    store.finished(session, NOW)
    store.hasten(session, NOW)
    assert [ended.session_id for ended in store.sweep(NOW + 2, 100)] == [session_id(1)]
    entries = store.counts().expiry_entries
    store.hasten(session, NOW + 2)
    assert store.counts().expiry_entries == entries


def test_a_deadline_that_moves_to_and_fro_leaves_no_entries_behind() -> None:
    """A player changes networks twice a second: one entry for its session, and at most another for each pause."""
    store = make_store()
    session = FakeSession(1, expires_at=NOW + 60)
    store.add(session, NOW)
    for half_second in range(1_000):
        now = NOW + half_second / 2
        session.expires_at = now + (180 if half_second % 2 else 60)
        store.hasten(session, now)
        assert store.sweep(now, 100) == []
        assert store.counts().expiry_entries <= 1 + REACH_S // 60
    assert len(store.sweep(NOW + 500 + 180, 100)) == 1
    store.sweep(NOW + 500 + 180 + REACH_S, 100)
    assert store.counts().expiry_entries == 0


def test_a_session_that_comes_and_goes_is_looked_at_as_often_as_one_that_stays() -> None:
    """Each return puts it on the wheel of idle sessions; the entries of earlier ones come up once and no more."""
    store = ShardedStore[FakeSession](StoreLimits(), packer=FakePacker())
    session = FakeSession(1, half_open=True)
    store.add(session, NOW)
    store.sweep(NOW, 10)
    for _ in range(50):
        record = SuspendedSession(
            session_id=session.session_id,
            tenant="dice",
            peer_id="",
            group="",
            mode=2,
            remote_static=b"",
            bound=(),
            by_service=True,
            resumable=False,
            suspended_at=NOW,
            expires_at=session.expires_at,
        )
        store.suspend(session, record)
        store.restore(record, session, NOW)
    store.sweep(NOW + 20, 1_000)
    looked_at = store.looked_at
    for second in range(20, 200):
        store.sweep(NOW + second, 1_000)
    assert store.looked_at - looked_at <= 180 / 15


def test_a_packed_session_keeps_the_entry_that_its_deadline_has() -> None:
    """Packed and unpacked between two sweeps, it ends when it is due, and only then."""
    store = ShardedStore[FakeSession](StoreLimits(), packer=FakePacker())
    session = FakeSession(1, expires_at=NOW + 300)
    store.add(session, NOW)
    session.expires_at = NOW + 40
    store.hasten(session, NOW)
    store.sweep(NOW, 10)
    assert store.sweep(NOW + 20, 10) == []
    assert store.counts().packed == 1
    assert store.get("dice", session.session_id, NOW + 21) is session
    assert store.sweep(NOW + 39, 10) == []
    assert store.counts().packed == 1
    assert [each.session_id for each in store.sweep(NOW + 41, 10)] == [session.session_id]
    assert store.sweep(NOW + 41 + REACH_S, 10) == []
    assert store.counts().expiry_entries == 0
