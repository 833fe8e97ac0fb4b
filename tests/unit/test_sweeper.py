"""What is due is done in slices of time, and never without turns for the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

import pytest

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc.limits import CUT_AT_ONCE
from noisegate_server.rpc.repeats import Repeats, Shared
from noisegate_server.session.errors import SessionClosed
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.sweeper import Sweeper
from tests.support.engine import Clock, Engine
from tests.support.fake_session import FakeSession, session_id

SESSIONS: Final = 2_000
END: Final = 2.0
"""Monotonic seconds: when all of them are over."""


class SlowClock:
    """Every look at it takes a tenth of a millisecond, like the work that was done since the one before."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.0001
        return self.now


def crowd() -> Parts:
    """An instance with sessions that end together."""
    store: Any = ShardedStore[FakeSession](StoreLimits())
    for number in range(1, SESSIONS + 1):
        store.add(FakeSession(number, expires_at=END), 0.0)
    return replace(Engine(Clock()).parts, store=store)


def ended_in_a_slice(at: float) -> int:
    """How many the first slice ends that begins then; more is due after it."""
    parts, clock = crowd(), SlowClock(at)
    assert Sweeper(parts, Repeats(), clock, lambda: 0.0).sweep()
    return SESSIONS - parts.store.counts().sessions


def test_a_slice_ends_with_its_time_and_more_is_due() -> None:
    """Whoever calls waits for one slice, however many sessions end together."""
    assert 0 < ended_in_a_slice(END) < 100


def test_the_further_behind_the_longer_a_slice_up_to_a_few_milliseconds() -> None:
    """Where more comes than a slice ends, it must not stay as it is; nor may a call wait for all that has piled up.

    What is less than a second behind is not late: it comes up by the second.
    """
    usual, soon, two, three, hour = (ended_in_a_slice(END + late) for late in (0.0, 1.0, 2.0, 3.0, 3_600.0))
    assert usual == soon
    assert 2 * usual < two < 5 * usual
    assert 1.2 * two < three < hour < 4 * two


async def turns_given(seconds_each: float) -> tuple[int, list[float]]:
    """Turns of the loop that others have between two slices, each so long, and how often the thread slept."""
    now, slept, turns = 0.0, list[float](), 0
    sweeper = Sweeper(crowd(), Repeats(), lambda: now, lambda: 0.0, slept.append)
    way = asyncio.create_task(sweeper.give_way())
    await turn()
    while not way.done():
        turns += 1
        now += seconds_each
        await turn()
    return turns, slept


async def test_between_two_slices_a_call_has_all_of_its_turns() -> None:
    """A call on grpc.aio is some ten: it waits for one slice, not for one in each."""
    turns, slept = await turns_given(0.00002)
    assert 10 <= turns <= 20
    # So that gRPC's threads have the core even where there is but one.
    assert slept == [pytest.approx(0.0, abs=0.0001)]


async def test_turns_that_calls_fill_do_not_keep_the_sweeper_from_its_slices() -> None:
    """It goes on after a millisecond."""
    assert (await turns_given(0.0004))[0] == 3
    assert (await turns_given(0.005))[0] == 1


def test_a_call_that_met_a_session_whose_time_is_over_makes_no_slice_longer() -> None:
    """That one is told of by the next sweep, and nothing is late."""
    usual = ended_in_a_slice(END)
    parts, clock = crowd(), SlowClock(END)
    with pytest.raises(SessionClosed):
        parts.store.get("dice", session_id(1), END)
    Sweeper(parts, Repeats(), clock, lambda: 0.0).sweep()
    assert SESSIONS - parts.store.counts().sessions < 1.5 * usual


@pytest.mark.parametrize("at", [END - 1.5, END], ids=["nothing is due yet", "all is due"])
def test_slices_follow_each_other_until_nothing_is_due(at: float) -> None:
    """Then the sweeper rests."""
    parts, clock = crowd(), SlowClock(at)
    sweeper = Sweeper(parts, Repeats(), clock, lambda: 0.0)
    slices = next(number for number in count(1) if not sweeper.sweep())
    assert (slices == 1) == (at < END)
    assert parts.store.counts().sessions == (SESSIONS if at < END else 0)


def test_what_is_kept_beside_sessions_is_dropped_without_rests_too() -> None:
    """No session is over; what was kept for repeats is, and what was revoked long ago is to be forgotten."""
    clock, repeats, parts = SlowClock(10.0), Repeats(), Engine(Clock()).parts
    for number in range(SESSIONS):
        repeats.keep(("t", "/s/M", str(number)), b"d", (0, b"x"), owner=b"", lifetime=5.0, now=0.0)
        parts.revocations.revoke_name("dice", str(number), 0.0)
    sweeper = Sweeper(parts, repeats, clock, lambda: 1e9)
    assert sweeper.sweep()
    assert 0 < len(repeats) < SESSIONS
    while sweeper.sweep():
        pass
    assert (len(repeats), len(parts.revocations)) == (0, 0)


def test_rows_have_the_time_of_a_slice_that_no_session_needs() -> None:
    """Thousands of answers that are over go by the clock, as ends do, and not by a number in each slice."""
    repeats, parts = Repeats(), Engine(Clock()).parts
    for number in range(SESSIONS):
        repeats.keep(("t", "/s/M", str(number)), b"d", (0, b"x"), owner=b"", lifetime=5.0, now=0.0)
    assert Sweeper(parts, repeats, SlowClock(10.0), lambda: 1e9).sweep()
    quick = SESSIONS - len(repeats)
    assert Sweeper(parts, repeats, lambda: 10.0, lambda: 1e9).sweep() is False
    assert len(repeats) == 0
    assert 12 < quick < 100


def test_rows_are_forgotten_while_sessions_end_too() -> None:
    """A few in each slice, however many sessions are over, and the parts of sessions in shared answers among them."""
    parts, repeats, clock = crowd(), Repeats(), SlowClock(END + 0.5)
    for number in range(100):
        repeats.keep(("t", "/s/M", str(number)), b"d", (0, b"x"), owner=b"", lifetime=5.0, now=END - 5.0)
    cut = list[bytes]()

    def without(answer: bytes, _items: Sequence[int]) -> bytes:
        cut.append(answer)
        return answer

    shared = CUT_AT_ONCE + 20
    for number in range(shared):
        key, owner = ("t", "/s/Many", str(number)), Shared(session_id(1) + session_id(2), without)
        repeats.keep(key, b"d", (0, str(number).encode()), owner=owner, lifetime=5.0, now=END)
    repeats.forget("t", session_id(1))
    assert len(cut) == CUT_AT_ONCE
    sweeper = Sweeper(parts, repeats, clock, lambda: 1e9)
    assert sweeper.sweep()
    assert (len(cut), len(repeats)) == (CUT_AT_ONCE + 2 * 6, shared + 100 - 2 * 12)
    for _ in range(10):
        assert sweeper.sweep()
    assert (len(cut), len(set(cut)), len(repeats)) == (shared, shared, shared)
    assert parts.store.counts().sessions > 0


def test_a_slice_is_one_sweep_however_many_steps_it_has() -> None:
    """So the metric tells how often the sweeper has run."""
    parts = crowd()
    Sweeper(parts, Repeats(), SlowClock(END), lambda: 0.0).sweep()
    assert parts.counts.sweeps == 1
