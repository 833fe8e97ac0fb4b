"""The compact index against a plain dict of lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.store.compact import CompactIndex, buckets_for

keys = st.sampled_from([0, 1, 2, 4, 99, 256, 257, 2**32, 2**63, 2**64 - 1])
steps = st.lists(st.tuples(st.sampled_from(["add", "add", "remove", "remove other"]), keys, st.integers(1, 5)))


@given(steps, st.sampled_from([(1, 1), (4, 1), (256, 3)]))
def test_it_answers_as_a_dict_of_lists(steps: list[tuple[str, int, int]], size: tuple[int, int]) -> None:
    """Several values of a key are there in the order in which they came, and are taken out one by one."""
    index, model = CompactIndex(*size), dict[int, list[int]]()
    for what, key, value in steps:
        there = model.setdefault(key, [])
        if what == "add":
            index.add(key, value)
            there.append(value)
        else:
            wanted = value if what == "remove" else 99
            assert index.remove(key, wanted) == (wanted in there)
            if wanted in there:
                there.remove(wanted)
        for each, values in model.items():
            assert index.first(each) == (values[0] if values else 0)
        assert len(index) == sum(map(len, model.values()))
    shards = size[0]
    for number in range(shards):
        expected = sorted(each for each, values in model.items() if each % shards == number for _ in values)
        assert sorted(index.shard(number)) == expected


def test_a_million_entries_would_fill_buckets_of_some_sixty() -> None:
    """The buckets are as many as the capacity asks for, at least one for each shard."""
    assert 1_000_000 / (256 * buckets_for(1_000_000, 256)) < 70
    assert buckets_for(1, 256) == 1
