"""The table of hello timestamps: what is new, what is not, and what forgetting means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.trust.timestamps import Timestamps

START = 1_750_000_000.25
START_MS = 1_750_000_000_250
ANN, BOB, EVE = b"a" * 32, b"b" * 32, b"e" * 32


def test_an_unknown_key_must_not_come_from_before_the_start() -> None:
    """The very millisecond of the start is good, the one before is not."""
    timestamps = Timestamps(START)
    assert timestamps.is_new("dice", ANN, START_MS)
    assert not timestamps.is_new("dice", ANN, START_MS - 1)


def test_a_known_key_must_rise() -> None:
    """The same timestamp again is a replay; one below it too."""
    timestamps = Timestamps(START)
    timestamps.accept("dice", ANN, START_MS + 5)
    assert [timestamps.is_new("dice", ANN, START_MS + more) for more in (4, 5, 6)] == [False, False, True]


def test_asking_changes_nothing() -> None:
    """A timestamp counts when it was accepted, not when it was looked at."""
    timestamps = Timestamps(START)
    assert timestamps.is_new("dice", ANN, START_MS + 9)
    assert timestamps.is_new("dice", ANN, START_MS)
    assert len(timestamps) == 0


def test_keys_and_tenants_do_not_touch_each_other() -> None:
    """What one player sent says nothing about another, nor about the same key at another tenant."""
    timestamps = Timestamps(START)
    timestamps.accept("dice", ANN, START_MS + 100)
    assert timestamps.is_new("dice", BOB, START_MS)
    assert timestamps.is_new("cards", ANN, START_MS)


def test_a_forgotten_key_is_held_to_the_newest_that_was_forgotten() -> None:
    """A full table drops the one accepted longest ago; its own timestamp and all below are refused from then on."""
    timestamps = Timestamps(START, capacity=2)
    timestamps.accept("dice", ANN, START_MS + 30)
    timestamps.accept("dice", BOB, START_MS + 20)
    timestamps.accept("dice", EVE, START_MS + 40)
    assert len(timestamps) == 2
    assert [timestamps.is_new("dice", ANN, START_MS + more) for more in (30, 31)] == [False, True]
    assert timestamps.is_new("dice", BOB, START_MS + 21)
    timestamps.accept("dice", ANN, START_MS + 50)
    assert [timestamps.is_new("dice", BOB, START_MS + more) for more in (21, 30, 31)] == [False, False, True]


def test_a_key_that_comes_again_is_not_the_oldest_any_more() -> None:
    """The order is that of acceptance."""
    timestamps = Timestamps(START, capacity=2)
    for key, more in ((ANN, 1), (BOB, 2), (ANN, 3), (EVE, 4)):
        timestamps.accept("dice", key, START_MS + more)
    assert [timestamps.is_new("dice", ANN, START_MS + more) for more in (3, 4)] == [False, True]
    assert [timestamps.is_new("dice", BOB, START_MS + more) for more in (2, 3)] == [False, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 20)), max_size=60), st.integers(1, 4))
def test_nothing_is_ever_accepted_twice(offers: list[tuple[int, int]], capacity: int) -> None:
    """However small the table: of each key, what is accepted rises strictly."""
    timestamps = Timestamps(START, capacity=capacity)
    accepted: dict[int, int] = {}
    for player, more in offers:
        key = bytes([player]) * 32
        if timestamps.is_new("dice", key, START_MS + more):
            assert more > accepted.get(player, -1)
            accepted[player] = more
            timestamps.accept("dice", key, START_MS + more)
        assert len(timestamps) <= capacity


def test_our_own_timestamps_rise_while_the_clock_stands_still() -> None:
    """Two hellos of one millisecond have two timestamps."""
    timestamps = Timestamps(START)
    assert [timestamps.ours(START) - START_MS for _ in range(3)] == [0, 1, 2]
    assert timestamps.ours(START + 1) == START_MS + 1_000


def test_our_own_timestamps_follow_a_clock_that_was_set_back() -> None:
    """A second of lead at most: a peer would take more for a wrong clock."""
    timestamps = Timestamps(START)
    timestamps.ours(START + 60)
    assert timestamps.ours(START) == START_MS
    assert timestamps.ours(START + 0.5) == START_MS + 500
    assert timestamps.ours(START) == START_MS + 501
