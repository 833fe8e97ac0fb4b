"""The ordered set of handles, against a sorted list."""

from __future__ import annotations

import random

import pytest

from noisegate_server.store.handles import CHUNK, HandleSet
from noisegate_server.store.indexes import PostingIndex


def filled(count: int, step: int = 3) -> HandleSet:
    """`count` handles, `step` apart."""
    handles = HandleSet()
    for number in range(1, count + 1):
        handles.append(number * step)
    return handles


@pytest.mark.parametrize("seed", range(5))
def test_it_pages_like_a_sorted_list_whatever_is_removed(seed: int) -> None:
    """Removals at random, with pages from random places in between."""
    rng = random.Random(seed)
    handles = filled(4 * CHUNK)
    expected = [number * 3 for number in range(1, 4 * CHUNK + 1)]
    for removed in rng.sample(expected, len(expected)):
        assert handles.remove(removed)
        expected.remove(removed)
        assert len(handles) == len(expected)
        if rng.random() < 0.05:
            after, limit = rng.randrange(-5, 12 * CHUNK + 10), rng.randrange(1, 2 * CHUNK)
            assert handles.page(after, limit) == [each for each in expected if each > after][:limit]
    assert handles.page(-1, 10) == []


@pytest.mark.parametrize("absent", [-1, 0, 1, 4, 3 * CHUNK + 1, 10**9])
def test_removing_what_is_not_there_changes_nothing(absent: int) -> None:
    """It answers False."""
    handles = filled(2 * CHUNK)
    assert not handles.remove(absent)
    assert len(handles) == 2 * CHUNK
    assert not HandleSet().remove(absent)


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_a_set_that_shrank_is_not_left_in_splinters(order: str) -> None:
    """One handle in 128 stays; the chunks are joined in whatever order the others go."""
    handles = filled(20 * CHUNK)
    leaving = [number * 3 for number in range(1, 20 * CHUNK + 1) if number % 128]
    if order == "backwards":
        leaving.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(leaving)
    for each in leaving:
        handles.remove(each)
    assert len(handles) == 20 * CHUNK // 128
    assert handles.chunk_count() <= 1 + 8 * len(handles) / CHUNK


def test_an_index_entry_changes_its_form_without_being_noticed() -> None:
    """From a few handles to many and back, the key lists the same; the last handle takes the key along."""
    index = PostingIndex(4)
    key = ("dice", "ann")
    for handle in range(1, 41):
        index.add(key, handle)
        assert index.page(key, 0, 100) == list(range(1, handle + 1))
    index.remove(key, 1_000)
    index.remove(("dice", "bob"), 1)
    assert index.count(key) == 40
    for handle in range(1, 41):
        assert not index.is_empty()
        index.remove(key, handle)
        assert index.page(key, 0, 100) == list(range(handle + 1, 41))
    assert index.is_empty()
