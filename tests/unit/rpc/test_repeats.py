"""The memory behind request_id: its bounds, and its order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate_server.rpc import limits
from noisegate_server.rpc.repeats import Key, Repeats, Shared

SHORT, LONG = 5.0, 10.0


def key(name: str, tenant: str = "t") -> Key:
    """A key of one method."""
    return (tenant, "/s/M", name)


def keep(
    repeats: Repeats, name: str, now: float, *, lifetime: float = SHORT, size: int = 1, session: bytes = b""
) -> None:
    """Keeps an answer of `size` bytes."""
    repeats.keep(key(name), b"d", (0, bytes(size)), owner=session, lifetime=lifetime, now=now)


def test_the_oldest_goes_when_there_are_too_many() -> None:
    """Oldest by the time at which it would go, across both lifetimes."""
    repeats = Repeats(max_entries=2)
    keep(repeats, "handshake", 0.0, lifetime=LONG)
    keep(repeats, "a", 1.0)
    keep(repeats, "b", 2.0)
    assert repeats.find(key("a"), b"d", SHORT, 2.0) is None
    assert repeats.find(key("b"), b"d", SHORT, 2.0) == (0, b"\0")
    assert repeats.find(key("handshake"), b"d", LONG, 2.0) == (0, b"\0")


def test_the_oldest_goes_when_they_are_too_large() -> None:
    """An answer's bytes count, and what it costs to keep it."""
    repeats = Repeats(max_bytes=10_000)
    keep(repeats, "a", 0.0, size=6_000)
    keep(repeats, "b", 1.0, size=6_000)
    assert len(repeats) == 1
    assert repeats.find(key("b"), b"d", SHORT, 1.0) is not None
    assert 6_000 < repeats.held_bytes <= 10_000


def test_one_larger_than_all_room_is_not_kept() -> None:
    """It must not push the bound, and must not loop."""
    repeats = Repeats(max_bytes=1_000)
    keep(repeats, "a", 0.0, size=2_000)
    assert (len(repeats), repeats.held_bytes) == (0, 0)


def test_a_sweep_stops_at_its_budget() -> None:
    """A slice of work stays a slice, and the rest is still due."""
    repeats = Repeats()
    for number in range(10):
        keep(repeats, str(number), 0.0)
    assert repeats.expire(4.9, 100) == 0
    assert repeats.expire(5.0, 4) == 4
    assert repeats.next_expiry <= 5.0
    assert repeats.expire(5.0, 100) == 6
    assert repeats.next_expiry == math.inf


def test_one_tenant_cannot_drop_anothers_answers_by_naming_its_session() -> None:
    """Sessions are counted by tenant, whatever id a request names."""
    repeats = Repeats()
    keep(repeats, "mine", 0.0, session=b"s" * 24)
    repeats.forget("stranger", b"s" * 24)
    for number in range(20):
        repeats.keep(key(str(number), "stranger"), b"d", (0, b""), owner=b"s" * 24, lifetime=SHORT, now=0.0)
    assert repeats.find(key("mine"), b"d", SHORT, 0.0) is not None


def test_the_tenant_with_most_makes_room_for_all() -> None:
    """However old the answers of another one are; alone it may use all the room."""
    repeats = Repeats(max_bytes=10_000)
    for number in range(20):
        repeats.keep(key(str(number), "greedy"), b"d", (0, bytes(500)), owner=b"", lifetime=SHORT, now=0.0)
    assert len(repeats) == 9
    for number in range(4):
        repeats.keep(key(str(number), "modest"), b"d", (0, bytes(500)), owner=b"", lifetime=SHORT, now=0.0)
    for number in range(20, 40):
        repeats.keep(key(str(number), "greedy"), b"d", (0, bytes(500)), owner=b"", lifetime=SHORT, now=1.0)
    assert all(repeats.find(key(str(number), "modest"), b"d", SHORT, 1.0) for number in range(4))
    assert [number for number in range(40) if repeats.find(key(str(number), "greedy"), b"d", SHORT, 1.0)] == [
        35, 36, 37, 38, 39,
    ]  # fmt: skip


def test_a_closed_session_takes_its_part_out_of_shared_answers() -> None:
    """Of its own tenant's, wherever in them it stands; ids are compared at their places alone."""

    def without(body: bytes, items: Sequence[int]) -> bytes:
        return bytes(each for n, each in enumerate(body) if n not in items)

    repeats = Repeats(max_entries=3)
    shifted = b"xab" + b"b__" * 2
    for name, tenant, owners in [
        ("both", "t", b"aabbbbaab"), ("one", "t", b"bbb___bbb"), ("foreign", "u", b"bbb___bbb"), ("none", "t", shifted),
    ]:  # fmt: skip
        repeats.keep(
            key(name, tenant), b"d", (0, b"012"),  lifetime=SHORT, now=0.0,
            owner=Shared(owners, without),
        )  # fmt: skip
    held = repeats.held_bytes
    repeats.forget("t", b"bbb")
    answers = {
        name: repeats.find(key(name, tenant), b"d", SHORT, 0.0)
        for name, tenant in [("both", "t"), ("one", "t"), ("foreign", "u"), ("none", "t")]
    }
    assert answers == {"both": None, "one": (0, b"1"), "foreign": (0, b"012"), "none": (0, b"012")}
    assert repeats.held_bytes == held - 2
    repeats.expire(SHORT, 10)
    assert (len(repeats), repeats.held_bytes) == (0, 0)
    repeats.forget("t", b"bbb")


def test_a_session_leaves_many_shared_answers_in_slices_and_none_is_given_meanwhile() -> None:
    """Thousands at once would hold the loop; what is asked for in between is cut first."""
    count = 10 * limits.CUT_AT_ONCE
    cut: list[int] = []

    def without(_: bytes, items: Sequence[int]) -> bytes:
        cut.extend(items)
        return b""

    repeats = Repeats()
    for number in range(count):
        shared = Shared(b"aaabbb", without)
        repeats.keep(key(str(number)), b"d", (0, b"0"), owner=shared, lifetime=SHORT, now=0.0)
    repeats.forget("t", b"bbb")
    assert len(cut) == limits.CUT_AT_ONCE
    assert {repeats.find(key(str(number)), b"d", SHORT, 0.0) for number in range(0, count, 7)} == {(0, b"")}
    repeats.keep(key("later"), b"d", (0, b"0"), owner=Shared(b"bbb", without), lifetime=SHORT, now=0.0)
    looked_at = []
    while looked := repeats.cut(12):
        looked_at.append(looked)
    assert sum(looked_at) == count - limits.CUT_AT_ONCE
    assert max(looked_at) == 12
    # It has come back from where it was since then.
    assert repeats.find(key("later"), b"d", SHORT, 0.0) == (0, b"0")
    assert {repeats.find(key(str(number)), b"d", SHORT, 0.0) for number in range(count)} == {(0, b"")}


def test_where_too_many_sessions_end_the_tenants_shared_answers_go() -> None:
    """What is still to be looked through is bounded, and nothing of an ended session stays."""
    repeats = Repeats()
    shared = Shared(b"s" * 24, lambda body, _: body)
    for tenant in ("t", "u"):
        for number in range(2 * limits.CUT_AT_ONCE):
            repeats.keep(key(str(number), tenant), b"d", (0, b""), owner=shared, lifetime=SHORT, now=0.0)
    for number in range(2 * limits.MAX_CUTS + 1):
        repeats.forget("t", b"%024d" % number)
    assert len(repeats) == 2 * limits.CUT_AT_ONCE
    assert repeats.find(key("0", "u"), b"d", SHORT, 0.0) is not None


def test_a_tenant_has_only_so_many_shared_answers() -> None:
    """The oldest goes, of this tenant alone."""
    repeats = Repeats()
    shared = Shared(b"s" * 24, lambda body, _: body)
    for tenant in ("u", "t"):
        for number in range(limits.MAX_SHARED_REPEATS + (tenant == "t")):
            repeats.keep(key(str(number), tenant), b"d", (0, b""), owner=shared, lifetime=SHORT, now=0.0)
    assert len(repeats) == 2 * limits.MAX_SHARED_REPEATS
    assert [repeats.find(key("0", tenant), b"d", SHORT, 0.0) is None for tenant in ("u", "t")] == [False, True]


async def test_a_call_that_waits_hears_which_sessions_of_its_tenant_are_closed() -> None:
    """They may have a part in its answer."""
    repeats = Repeats()
    for tenant in ("t", "u"):
        repeats.begin(key("batch", tenant), b"d", asyncio.get_running_loop().create_future())
    repeats.forget("t", b"bb")
    assert [repeats.end(key("batch", tenant)) for tenant in ("t", "u")] == [[b"bb"], []]
    assert repeats.end(key("batch")) == ()


names = st.sampled_from(["a", "b", "c", "d", "e"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), names, st.sampled_from([SHORT, LONG]), st.sampled_from([b"", b"1", b"2"])),
        st.tuples(st.just("forget"), st.sampled_from([b"1", b"2"])),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 4.0, 6.0])),
        st.tuples(st.just("expire"), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=200, deadline=None)
def test_it_agrees_with_a_plain_dict(script: list[tuple]) -> None:
    """Against the obvious model: what is found, how many there are, and that the bound on expiry is never late."""
    repeats, model, now = Repeats(), {}, 0.0
    for step in script:
        match step:
            case ("keep", name, lifetime, session):
                # A method has one lifetime, so a name is used with one as well.
                name = f"{name}{lifetime}"
                keep(repeats, name, now, lifetime=lifetime, session=session)
                model[name] = (now + lifetime, lifetime, session)
            case ("forget", session):
                repeats.forget("t", session)
                model = {name: row for name, row in model.items() if row[2] != session}
            case ("pass", seconds):
                now += seconds
            case ("expire", budget):
                repeats.expire(now, budget)
        live = {name for name, row in model.items() if row[0] > now}
        found = {
            f"{name}{lifetime}"
            for name in "abcde"
            for lifetime in (SHORT, LONG)
            if repeats.find(key(f"{name}{lifetime}"), b"d", lifetime, now) is not None
        }
        # Of one session only the last eight are kept, and there are no more names than ten.
        per_session = [sum(1 for row in model.values() if row[2] == session) for session in (b"1", b"2")]
        if max(per_session) <= 8:
            assert found == live
        assert repeats.next_expiry <= min((row[0] for name, row in model.items() if name in found), default=math.inf)
    repeats.expire(now + 100, 1_000)
    assert (len(repeats), repeats.held_bytes, repeats.next_expiry) == (0, 0, math.inf)
