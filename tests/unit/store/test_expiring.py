"""The table whose rows live equally long: bounded in time, rows and bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.store.expiring import ExpiringTable

NOW = 500.0


def weighed(budget: int, capacity: int = 100) -> tuple[ExpiringTable[str, bytes], list[bytes]]:
    """A table of byte strings that weigh their length, and what it has dropped."""
    dropped: list[bytes] = []
    return ExpiringTable(ttl=10.0, capacity=capacity, on_drop=dropped.append, weigh=len, budget=budget), dropped


def test_rows_over_the_budget_push_the_oldest_out() -> None:
    """As many as it takes, oldest first."""
    table, dropped = weighed(budget=10)
    for key, value in (("a", b"aaaa"), ("b", b"bbb"), ("c", b"ccc")):
        table.put(key, value, NOW)
    assert (dropped, table.held_bytes) == ([], 10)
    table.put("d", b"ddddd", NOW)
    assert dropped == [b"aaaa", b"bbb"]
    assert (table.get("c", NOW), table.get("d", NOW), table.held_bytes) == (b"ccc", b"ddddd", 8)


def test_a_value_over_the_whole_budget_is_not_kept() -> None:
    """The bound holds for a single row as well."""
    table, dropped = weighed(budget=4)
    table.put("a", b"12345", NOW)
    assert (len(table), table.held_bytes, dropped) == (0, 0, [b"12345"])


def test_the_number_of_rows_is_bounded_too() -> None:
    """Rows without weight still count."""
    table: ExpiringTable[str, bytes] = ExpiringTable(ttl=10.0, capacity=2)
    for key in "abc":
        table.put(key, b"x" * 1_000, NOW)
    assert [table.get(key, NOW) is not None for key in "abc"] == [False, True, True]


def test_a_row_goes_when_its_time_is_over() -> None:
    """At the very end of its life it is gone, and its bytes with it once it is swept."""
    table, dropped = weighed(budget=10)
    table.put("a", b"aaa", NOW)
    assert table.get("a", NOW + 9.9) == b"aaa"
    assert table.get("a", NOW + 10.0) is None
    table.forget_expired(NOW + 10.0)
    assert (table.held_bytes, dropped) == (0, [b"aaa"])


def test_what_is_taken_out_is_the_caller_s() -> None:
    """`pop` gives the value away: it is not dropped, and weighs nothing here any more."""
    table, dropped = weighed(budget=10)
    table.put("a", b"aaa", NOW)
    assert table.pop("a", NOW) == b"aaa"
    assert (table.held_bytes, dropped) == (0, [])


steps = st.tuples(st.sampled_from(["put", "pop", "wait", "clear"]), st.sampled_from("abcdef"), st.integers(0, 12))


@given(st.lists(steps, max_size=80))
def test_the_weight_is_always_that_of_the_rows(plan: list[tuple[str, str, int]]) -> None:
    """Whatever happens: the count of bytes is the sum over the rows, and within the budget."""
    table, _ = weighed(budget=20, capacity=4)
    now = NOW
    for what, key, size in plan:
        if what == "put":
            table.put(key, bytes(size), now)
        elif what == "pop":
            table.pop(key, now)
        elif what == "wait":
            now += size
        elif size == 0:
            table.clear()
        assert table.held_bytes == sum(len(value) for value, _ in table._rows.values()) <= 20
        assert len(table) <= 4
