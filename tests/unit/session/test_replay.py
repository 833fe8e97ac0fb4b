"""The replay window: ordered situations, bulk runs, its packed form, and which counter a header means."""

from __future__ import annotations

import random
import struct

import pytest

from noisegate_server.session.constants import WINDOW
from noisegate_server.session.replay import PACKED_WINDOW, ReplayWindow, Verdict, nearest

FRESH, REPLAYED, TOO_OLD = Verdict.FRESH, Verdict.REPLAYED, Verdict.TOO_OLD
LAST = 2**64 - 2

# One window lives through the whole table: each counter, what it is, and why. FRESH ones are committed.
SITUATIONS = [
    (0, FRESH, "the very first counter is zero"),
    (0, REPLAYED, "and comes once"),
    (1, FRESH, "the next in order"),
    (1, REPLAYED, "again"),
    (9, FRESH, "a small gap"),
    (8, FRESH, "one that came late"),
    (7, FRESH, "and one before it"),
    (7, REPLAYED, "late ones come once too"),
    (8, REPLAYED, "late ones come once too"),
    (2, FRESH, "an early gap is still open"),
    (63, FRESH, "the last bit of the first block"),
    (64, FRESH, "the first bit of the second"),
    (64, REPLAYED, "again"),
    (63, REPLAYED, "again, across the border"),
    (65, FRESH, "in order"),
    (WINDOW - 1, FRESH, "a jump inside the first window"),
    (WINDOW - 2, FRESH, "just before it"),
    (WINDOW, FRESH, "now zero is exactly one window behind"),
    (0, REPLAYED, "which is still known"),
    (3, FRESH, "as is what never came"),
    (WINDOW + 1, FRESH, "one further"),
    (0, TOO_OLD, "zero has left"),
    (1, REPLAYED, "one has not"),
    (4, FRESH, "four has not"),
    (WINDOW + 63, FRESH, "the last bit of the redundant block"),
    (63, REPLAYED, "exactly one window behind, in the oldest block"),
    (62, TOO_OLD, "one more is too old, though its block is there"),
    (WINDOW + 64, FRESH, "a new block takes the place of the first"),
    (63, TOO_OLD, "the first block has gone"),
    (64, REPLAYED, "the second is whole"),
    (66, FRESH, "with its gaps"),
    (3 * WINDOW, FRESH, "a jump over more than a window"),
    (2 * WINDOW - 1, TOO_OLD, "just outside"),
    (2 * WINDOW, FRESH, "just inside, and nothing is left of the old bits"),
    (2 * WINDOW + 64, FRESH, "in every block"),
    (2 * WINDOW, REPLAYED, "again"),
    (3 * WINDOW - 1, FRESH, "just behind the highest"),
    (2**32, FRESH, "past the low bytes of a header"),
    (2**32 - 1, FRESH, "and before them"),
    (2**32 - WINDOW - 1, TOO_OLD, "outside"),
    (LAST - 1, FRESH, "the last but one"),
    (LAST, FRESH, "the last counter that is no reserved nonce"),
    (LAST, REPLAYED, "again"),
    (LAST - WINDOW, FRESH, "one window behind the last"),
    (LAST - WINDOW - 1, TOO_OLD, "outside"),
]


def _offer(window: ReplayWindow, counter: int) -> Verdict:
    verdict = window.check(counter)
    if verdict is FRESH:
        window.commit(counter)
    return verdict


def test_each_situation_in_order_has_its_verdict() -> None:
    """One window gives every situation of the table its verdict, in this order."""
    window = ReplayWindow()
    assert [(counter, _offer(window, counter), why) for counter, _, why in SITUATIONS] == SITUATIONS


@pytest.mark.parametrize("start", [0, 1, 63, 64, WINDOW - 1, WINDOW, WINDOW + 64, 2**32 - 7, LAST - 3 * WINDOW])
def test_counters_in_order_are_fresh_once(start: int) -> None:
    """Three windows of counters in order are fresh, each a replay right after."""
    window = ReplayWindow()
    for counter in range(start, start + 3 * WINDOW):
        assert _offer(window, counter) is FRESH
        assert _offer(window, counter) is REPLAYED


@pytest.mark.parametrize("start", [0, 1, 31, 64, 5 * WINDOW, LAST - WINDOW])
def test_a_whole_window_in_reverse_is_fresh_once(start: int) -> None:
    """The highest, then everything down to one window behind it, is fresh; the one below that is too old."""
    window = ReplayWindow()
    counters = range(start + WINDOW, start - 1, -1)
    assert all(_offer(window, counter) is FRESH for counter in counters)
    assert all(_offer(window, counter) is REPLAYED for counter in counters)
    if start:
        assert window.check(start - 1) is TOO_OLD


@pytest.mark.parametrize("stride", [2, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 64, 17 * 64, 17 * 64 + 1])
def test_a_stride_leaves_only_its_own_counters_marked(stride: int) -> None:
    """After strides of any size, exactly the counters that came are replays and the gaps inside the window fresh."""
    window = ReplayWindow()
    came = [i * stride for i in range(40)]
    assert all(_offer(window, counter) is FRESH for counter in came)
    seen = set(came)
    for counter in range(came[-1] - WINDOW, came[-1] + 1):
        if counter >= 0:
            assert window.check(counter) is (REPLAYED if counter in seen else FRESH)


@pytest.mark.parametrize("jump", [WINDOW + 1, 16 * 64, 17 * 64, 18 * 64, 17 * 64 * 3, 2**40, 2**40 + 63])
def test_a_jump_leaves_no_bit_of_a_full_window_behind(jump: int) -> None:
    """After every block was full, a jump of a window or more finds each counter that never came fresh."""
    window = ReplayWindow()
    for counter in range(17 * 64):
        window.commit(counter)
    highest = 17 * 64 - 1 + jump
    window.commit(highest)
    unseen = range(max(highest - WINDOW, 17 * 64), highest)
    assert all(window.check(counter) is FRESH for counter in unseen)


def test_a_shuffled_window_is_fresh_once() -> None:
    """1,024 counters in any order are each fresh once, whatever came first."""
    counters = list(range(500, 500 + WINDOW))
    random.Random(1).shuffle(counters)
    window = ReplayWindow()
    assert all(_offer(window, counter) is FRESH for counter in counters)
    assert all(_offer(window, counter) is REPLAYED for counter in counters)


def test_a_check_alone_changes_nothing() -> None:
    """A forged packet is checked and never committed: a counter far ahead shuts nothing out."""
    window = ReplayWindow()
    window.commit(5)
    before = window.pack()
    assert window.check(LAST) is FRESH
    assert window.check(6) is FRESH
    assert window.pack() == before
    assert window.check(5) is REPLAYED


def test_a_new_window_has_seen_nothing() -> None:
    """Without a commit every counter is fresh."""
    window = ReplayWindow()
    assert window.highest == -1
    assert window.check(0) is FRESH


@pytest.mark.parametrize("counter", [-1, 7, 8, 7 - WINDOW, 9_999 - WINDOW, LAST + 1])
def test_a_commit_without_a_fresh_check_is_refused(counter: int) -> None:
    """What is replayed, too old or no counter at all cannot be committed, and nothing changes."""
    window = ReplayWindow()
    for seen in (7, 8, 10_000):
        window.commit(seen)
    window.commit(10_000 - WINDOW)
    before = window.pack()
    with pytest.raises(ValueError, match="counter"):
        window.commit(counter)
    assert window.pack() == before


def test_a_packed_window_comes_back_as_it_was() -> None:
    """A window answers the same after it was packed, and costs no more than its blocks that are partly filled."""
    window = ReplayWindow()
    for counter in (0, 3, 900, 1_500, 1_499):
        window.commit(counter)
    packed = window.pack()
    again = ReplayWindow.unpack(packed)
    assert len(packed) == PACKED_WINDOW + 2 * 8
    assert again.highest == 1_500
    assert [again.check(c) for c in range(2_000)] == [window.check(c) for c in range(2_000)]
    assert ReplayWindow.unpack(ReplayWindow().pack()).highest == -1


def test_a_window_without_gaps_packs_small() -> None:
    """After any number of records in order only the block of the newest one is partly filled."""
    window = ReplayWindow()
    for counter in range(5_000):
        window.commit(counter)
    again = ReplayWindow.unpack(window.pack())
    assert len(window.pack()) == PACKED_WINDOW + 8 == 24
    assert [again.check(c) for c in range(6_000)] == [window.check(c) for c in range(6_000)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(15),
        bytes(17),
        struct.pack(">QII", 0, 0, 1) + struct.pack(">Q", 1),
        struct.pack(">QII", 0, 1, 0),
        struct.pack(">QII", 6, 0, 0),
        struct.pack(">QII", 6, 0, 1),
        struct.pack(">QII", 6, 0, 1) + struct.pack(">Q", 0),
        struct.pack(">QII", 6, 0, 1) + struct.pack(">Q", 0b1000000),
        struct.pack(">QII", 6, 0, 1) + struct.pack(">Q", 0b1100000),
        struct.pack(">QII", 64, 0, 1) + struct.pack(">Q", 2**64 - 1),
        struct.pack(">QII", 64, 1, 1) + struct.pack(">Q", 1),
        struct.pack(">QII", 64, 1 | 1 << 17, 0),
    ],
)
def test_a_packed_window_that_cannot_be_is_refused(data: bytes) -> None:
    """Other lengths, and bits that contradict the highest counter, are refused."""
    with pytest.raises(ValueError, match="packed window"):
        ReplayWindow.unpack(data)


@pytest.mark.parametrize(
    ("low", "bits", "highest", "expected"),
    [
        (0, 32, -1, 0),
        (5, 32, -1, 5),
        (2**32 - 1, 32, -1, 2**32 - 1),
        (0, 8, 0, 0),
        (255, 8, 0, 255),
        (255, 8, 255, 255),
        (0, 8, 255, 256),
        (0, 8, 256, 256),
        (255, 8, 256, 255),
        (200, 8, 300, 200),
        (172, 8, 300, 428),
        (173, 8, 300, 173),
        (3, 32, 2**32 - 2, 2**32 + 3),
        (2**32 - 1, 32, 2**32 + 3, 2**32 - 1),
        (2**31, 32, 2**32, 2**32 + 2**31),
        (2**31 + 1, 32, 2**32, 2**31 + 1),
        (2**31 + 1, 32, 0, 2**31 + 1),
    ],
)
def test_a_short_number_means_the_nearest_long_one(low: int, bits: int, highest: int, expected: int) -> None:
    """The low bits name the nearest number, the later of two equally near ones, and never one below zero."""
    assert nearest(low, bits, highest) == expected
