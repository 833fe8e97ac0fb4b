"""Slots of fixed sizes: what is written stays where it is, what is freed is wiped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.store.slots import LARGEST, Slots


def test_a_slot_holds_what_was_written() -> None:
    """Slots of all sizes keep their bytes while others come and go."""
    slots = Slots()
    taken = {slots.take(length): bytes([length % 251 + 1]) * length for length in range(1, LARGEST + 1)}
    for reference, content in taken.items():
        slots.slot(reference)[: len(content)] = content
    assert len(taken) == len(slots) == LARGEST
    for reference, content in taken.items():
        slot = slots.slot(reference)
        assert bytes(slot[: len(content)]) == content
        assert len(slot) - len(content) < 16
        assert not any(slot[len(content) :])


def test_a_freed_slot_is_wiped_and_used_again() -> None:
    """Where a secret lay there are zeros, but for the four bytes that lead to the next free slot."""
    slots = Slots()
    first, second, third = (slots.take(100) for _ in range(3))
    views = [slots.slot(each) for each in (first, second, third)]
    for view in views:
        view[:] = b"\xaa" * len(view)
    slots.free(second, slots.slot(second))
    slots.free(first, slots.slot(first))
    assert not any(views[0][4:])
    assert not any(views[1][4:])
    assert all(views[2])
    assert [slots.take(97), slots.take(112)] == [first, second]
    assert not any(views[0])
    assert not any(views[1])


def test_chunks_are_made_one_by_one_and_never_moved() -> None:
    """A view of the first slot is the first slot still when ten chunks were made, of which each is as large."""
    slots = Slots()
    first = slots.take(1_000)
    view = slots.slot(first)
    chunks = [slots.slot(slots.take(1_000)).obj for _ in range(2_559)]
    view[0] = 77
    assert slots.slot(first)[0] == 77
    assert len({id(chunk) for chunk in chunks}) == 10
    assert {memoryview(chunk).nbytes for chunk in chunks} == {256 * 1024}


def test_what_goes_makes_room_for_what_comes() -> None:
    """Any number of sessions that come and go need the slots of those that were there together."""
    slots = Slots()
    ever = set()
    for _ in range(20):
        taken = [slots.take(400) for _ in range(1_000)]
        ever.update(taken)
        for reference in taken:
            slots.free(reference, slots.slot(reference))
    assert len(slots) == 0
    assert len(ever) == 1_000


@pytest.mark.parametrize("length", [-1, 0, LARGEST + 1])
def test_another_length_is_refused(length: int) -> None:
    """A slot has 1 to LARGEST bytes."""
    with pytest.raises(ValueError, match="1 to 1024"):
        Slots().take(length)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1, 31, 32, 33, 320, 1_024])), max_size=200))
def test_no_two_slots_share_a_byte(steps: list[tuple[int, int]]) -> None:
    """Whatever is taken and freed in whatever order, each slot in use has its own content."""
    slots = Slots()
    held: dict[int, int] = {}
    for number, (pick, length) in enumerate(steps):
        if pick % 3 == 0 and held:
            slots.free(reference := list(held)[pick % len(held)], slots.slot(reference))
            del held[reference]
        else:
            reference = slots.take(length)
            assert reference not in held
            assert reference > 0
            slots.slot(reference)[:] = bytes([number % 255 + 1]) * len(slots.slot(reference))
            held[reference] = number % 255 + 1
        assert all(set(slots.slot(each)) == {mark} for each, mark in held.items())
    assert len(slots) == len(held)
