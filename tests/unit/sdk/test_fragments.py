"""Fragments: cut, mixed, lost and put together again; and what a flood of them costs."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate.fragments import DEFAULT_LIMITS, BadFragment, Reassembler, ReassemblyLimits, split

CONNECTION = b"cccccccc"
ANN, BOB, MALLORY = "ann", "bob", "mallory"
SMALL = ReassemblyLimits(total_bytes=20_000, sets_per_source=3, bytes_per_source=8_000, seconds=2.0)


def packet(size: int, first: int = 0x09, connection_id: bytes = CONNECTION, seed: int = 0) -> bytes:
    """A packet of a type and a size, with bytes of its own."""
    return bytes((first,)) + connection_id + random.Random(seed).randbytes(size - 9)


def fragment(message_id: int, index: int, count: int, part: bytes, connection_id: bytes = CONNECTION) -> bytes:
    """A FRAGMENT, from docs/protocol.md, section 2."""
    return b"\x0d" + connection_id + message_id.to_bytes(2, "big") + bytes((index, count)) + part


def put_together(parts: tuple[bytes, ...], source: str = ANN) -> list[bytes | None]:
    """What a fresh reassembler says to each of these in their order."""
    reassembler: Reassembler[str] = Reassembler()
    return [reassembler.add(part, source, 0.0) for part in parts]


# --- cutting ---------------------------------------------------------------------------------------------------------


def test_a_packet_is_cut_as_the_protocol_says() -> None:
    """Header of 13 bytes with the packet's own connection id, parts of 1,187 bytes, the rest in the last."""
    whole = packet(1_707)
    assert split(whole, 0x0102) == (fragment(0x0102, 0, 2, whole[:1_187]), fragment(0x0102, 1, 2, whole[1_187:]))


@pytest.mark.parametrize("size", [9, 576, 1_200])
def test_a_packet_that_fits_goes_as_it_is(size: int) -> None:
    """Nothing is added to what the path takes."""
    assert split(packet(size), 1) == (packet(size),)


@given(
    size=st.integers(10, 65_535), mtu=st.integers(300, 2_000), first=st.sampled_from((9, 10, 11, 12)), data=st.data()
)
def test_any_order_and_repetition_gives_the_packet_once(size: int, mtu: int, first: int, data: st.DataObject) -> None:
    """No datagram is over the MTU; the packet comes with the last part that was missing, and not again."""
    whole = packet(size, first)
    parts = split(whole, data.draw(st.integers(0, 65_535)), mtu=mtu)
    assert max(map(len, parts)) <= mtu
    if len(parts) == 1:
        assert parts == (whole,)
        return
    order = data.draw(st.permutations(range(len(parts))))
    repeats = data.draw(st.lists(st.sampled_from(order[:-1]), max_size=5))
    reassembler: Reassembler[str] = Reassembler()
    seen = [reassembler.add(parts[index], ANN, 0.0) for index in (*order[:-1], *repeats)]
    assert seen == [None] * len(seen)
    assert reassembler.add(parts[order[-1]], ANN, 0.0) == whole
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("whole", "mtu"),
    [
        (packet(2_000, 0x0D), 1_200),
        (packet(2_000, 0x0E), 1_200),
        (packet(2_000, 0x16), 1_200),
        (packet(65_536), 1_200),
        (packet(2_000), 13),
        (packet(2_000), 20),
    ],
    ids=["a fragment", "a retry", "no packet", "too large", "no room", "256 parts"],
)
def test_what_must_not_be_cut_is_refused(whole: bytes, mtu: int) -> None:
    """Fragments are not nested, a RETRY is small, and a set has at most 255 parts."""
    with pytest.raises(ValueError, match=r"cut|parts"):
        split(whole, 1, mtu=mtu)


# --- putting together ------------------------------------------------------------------------------------------------


def test_sets_are_told_apart_by_source_connection_message_and_count() -> None:
    """Parts that differ in one of these are never put together."""
    whole = packet(2_000)
    head, tail = split(whole, 1)
    strangers = (
        (fragment(1, 1, 2, tail[13:]), BOB),
        (fragment(2, 1, 2, tail[13:]), ANN),
        (fragment(1, 1, 3, tail[13:]), ANN),
        (fragment(1, 1, 2, tail[13:], b"dddddddd"), ANN),
    )
    reassembler: Reassembler[str] = Reassembler()
    assert reassembler.add(head, ANN, 0.0) is None
    for stranger, source in strangers:
        assert reassembler.add(stranger, source, 0.0) is None
    assert reassembler.add(tail, ANN, 0.0) == whole


def test_a_repeat_is_a_whole_new_set() -> None:
    """A lost part of the first set is not made good by the second; the second is complete by itself."""
    whole = packet(3_000)
    first, second = split(whole, 7), split(whole, 8)
    assert put_together((first[0], first[2], second[1])) == [None, None, None]
    assert put_together((first[0], first[2], *second)) == [None, None, None, None, whole]


def test_the_first_of_two_parts_that_contradict_each_other_counts() -> None:
    """A forged part spoils the set that it hits, which the service then refuses; it cannot replace what is there."""
    head, tail = split(packet(2_000), 1)
    forged = fragment(1, 0, 2, b"\x09" + CONNECTION + b"forged")
    assert put_together((head, forged, tail))[2] == packet(2_000)
    assert put_together((forged, head, tail))[2] == b"\x09" + CONNECTION + b"forged" + tail[13:]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x0d" + CONNECTION,
        fragment(1, 0, 2, b""),
        fragment(1, 2, 2, b"part"),
        fragment(1, 0, 0, b"part"),
        b"\x09" + CONNECTION + b"\0\x01\0\x02part",
    ],
    ids=["empty", "cut", "no part", "index is count", "count is zero", "another type"],
)
def test_a_malformed_fragment_is_refused(bad: bytes) -> None:
    """BadFragment, and nothing is kept of it."""
    reassembler: Reassembler[str] = Reassembler()
    with pytest.raises(BadFragment):
        reassembler.add(bad, ANN, 0.0)
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)


@pytest.mark.parametrize(
    "whole",
    [packet(40, 0x0D), packet(40, 0x0E), packet(40, 0x16), packet(40, connection_id=b"dddddddd"), b"\x09" + bytes(5)],
    ids=["a fragment", "a retry", "no packet", "another connection", "too short"],
)
def test_parts_that_make_no_packet_of_their_connection_are_refused(whole: bytes) -> None:
    """No nesting, and the parts' connection id is the packet's; the set is gone."""
    reassembler: Reassembler[str] = Reassembler()
    middle = len(whole) // 2
    assert reassembler.add(fragment(1, 0, 2, whole[:middle]), ANN, 0.0) is None
    with pytest.raises(BadFragment):
        reassembler.add(fragment(1, 1, 2, whole[middle:]), ANN, 0.0)
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)


def test_one_part_alone_is_a_packet() -> None:
    """A count of 1 is allowed: the packet comes at once."""
    assert put_together((fragment(1, 0, 1, packet(100)),)) == [packet(100)]


def test_more_than_a_packet_is_refused() -> None:
    """65,535 bytes are put together, one more is not, and its set is gone."""
    parts = [fragment(1, index, 3, bytes((0x09, *CONNECTION)).ljust(21_845, b".")) for index in range(3)]
    assert len(put_together(tuple(parts))[2] or b"") == 65_535
    reassembler: Reassembler[str] = Reassembler()
    reassembler.add(parts[0], ANN, 0.0)
    reassembler.add(parts[1], ANN, 0.0)
    with pytest.raises(BadFragment):
        reassembler.add(parts[2] + b".", ANN, 0.0)
    assert reassembler.held_bytes == 0


def test_a_set_has_its_time() -> None:
    """Two seconds from its first part, however many come meanwhile; then its parts are as if they had never come."""
    head, middle, tail = split(packet(3_000), 1)
    reassembler: Reassembler[str] = Reassembler()
    reassembler.add(head, ANN, 10.0)
    reassembler.add(middle, ANN, 11.9)
    assert reassembler.add(tail, ANN, 12.0) is None
    reassembler.expire(14.0)
    assert (len(reassembler), reassembler.held_bytes) == (0, 0)


# --- floods ----------------------------------------------------------------------------------------------------------


def test_a_flood_from_many_sources_grows_nothing_beyond_the_bound() -> None:
    """Every datagram a source of its own, of the largest size that UDP carries or the smallest."""
    for size in (65_000, 1):
        reassembler: Reassembler[int] = Reassembler(SMALL)
        for source in range(2_000):
            reassembler.add(fragment(1, 0, 2, b"." * size), source, 0.0)
            assert reassembler.held_bytes <= SMALL.total_bytes
        assert len(reassembler) <= SMALL.total_bytes // 512


def test_a_set_survives_a_flood_smaller_than_the_table() -> None:
    """Oldest first: while less than the bound came after its first part, nobody pushes it out."""
    whole = packet(1_700)
    head, tail = split(whole, 1)
    for flood, survives in ((20, True), (40, False)):
        reassembler: Reassembler[str] = Reassembler(SMALL)
        reassembler.add(head, ANN, 0.0)
        for number in range(flood):
            reassembler.add(fragment(number, 0, 2, b"." * 200), f"spoofed {number}", 0.0)
        assert (reassembler.add(tail, ANN, 0.0) == whole) is survives


def test_a_source_that_floods_pushes_out_itself_alone() -> None:
    """Its share is full after three sets or 8,000 bytes; others keep theirs."""
    for size, most in ((10, 3), (6_000, 1)):
        reassembler: Reassembler[str] = Reassembler(SMALL)
        head, tail = split(packet(1_700), 1)
        reassembler.add(head, ANN, 0.0)
        before = reassembler.held_bytes
        for number in range(1_000):
            reassembler.add(fragment(number, 0, 2, b"." * size), MALLORY, 0.0)
            assert len(reassembler) <= 1 + most
            assert reassembler.held_bytes - before <= SMALL.bytes_per_source
        assert reassembler.add(tail, ANN, 0.0) == packet(1_700)


def test_the_default_share_has_room_for_the_largest_packet_and_the_default_bound_for_many() -> None:
    """A packet of 65,535 bytes in 255 parts fits one source; 25 sources of full shares fit the table."""
    whole = packet(65_535)
    parts = split(whole, 1, mtu=13 + 257)
    assert len(parts) == 255
    assert put_together(parts)[-1] == whole
    assert DEFAULT_LIMITS.total_bytes >= 25 * DEFAULT_LIMITS.bytes_per_source


# --- a model ---------------------------------------------------------------------------------------------------------

SOURCES = st.sampled_from((ANN, BOB, MALLORY))
STEPS = st.lists(
    st.tuples(
        SOURCES, st.integers(0, 3), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3_000), st.floats(0.0, 0.7)
    ),
    max_size=120,
)


@settings(max_examples=300)
@given(STEPS)
def test_it_does_what_a_list_of_sets_would(steps: list[tuple[str, int, int, int, int, float]]) -> None:
    """Against a model that keeps everything in one list, oldest first, and counts it anew each time."""
    reassembler: Reassembler[str] = Reassembler(SMALL)
    model: list[tuple[tuple[str, int, int], float, dict[int, bytes]]] = []

    def cost(source: str | None = None) -> int:
        return sum(
            512 + sum(128 + len(part) for part in parts.values()) for key, _, parts in model if source in (None, key[0])
        )

    now = 0.0
    for source, message_id, index, count, size, pause in steps:
        now += pause
        part = packet(9 + size, seed=size) if index == 0 else b"." * size
        datagram = fragment(message_id, index, count, part)
        if index >= count:
            with pytest.raises(BadFragment):
                reassembler.add(datagram, source, now)
            continue
        model = [row for row in model if row[1] > now]
        key = (source, message_id, count)
        row = next((row for row in model if row[0] == key), None)
        if row is None:
            row = (key, now + SMALL.seconds, {})
            model.append(row)
        expected = None
        if index not in row[2]:
            row[2][index] = part
            if len(row[2]) == count:
                expected = b"".join(row[2][number] for number in range(count))
                model.remove(row)
        while sum(1 for each in model if each[0][0] == source) > SMALL.sets_per_source or (
            cost(source) > SMALL.bytes_per_source
        ):
            model.remove(next(each for each in model if each[0][0] == source))
        while cost() > SMALL.total_bytes:
            model.pop(0)
        assert reassembler.add(datagram, source, now) == expected
        assert (len(reassembler), reassembler.held_bytes) == (len(model), cost())


@settings(max_examples=300)
@given(st.lists(st.tuples(st.binary(max_size=60), SOURCES), max_size=40))
def test_no_bytes_make_it_raise_anything_else(datagrams: list[tuple[bytes, str]]) -> None:
    """BadFragment or nothing, and never more than the bound."""
    reassembler: Reassembler[str] = Reassembler(SMALL)
    for number, (data, source) in enumerate(datagrams):
        with suppress(BadFragment):
            reassembler.add(b"\x0d" + data, source, number / 10)
        assert reassembler.held_bytes <= SMALL.total_bytes
