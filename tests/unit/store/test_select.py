"""Listings: by player, by group, of a whole tenant, page by page."""

from __future__ import annotations

import pytest

from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.sharded import ShardedStore
from tests.support.fake_session import FakeSession

NOW = 50.0


@pytest.fixture
def store() -> ShardedStore[FakeSession]:
    """An empty store in which one player may have many sessions."""
    return ShardedStore(StoreLimits(sessions_per_peer=1_000))


def listing(
    store: ShardedStore[FakeSession], tenant: str, limit: int, *, peer_id: str = "", group: str = ""
) -> list[FakeSession]:
    """Every page of a listing, joined."""
    found: list[FakeSession] = []
    after: int | None = 0
    while after is not None:
        page, after = store.select(tenant, peer_id=peer_id, group=group, after=after, limit=limit)
        assert len(page) <= limit
        found += [each for each in page if isinstance(each, FakeSession)]
    return found


def test_players_groups_and_tenants_are_kept_apart(store: ShardedStore[FakeSession]) -> None:
    """Each filter finds its own, both together find those that are in both, and a tenant sees nothing foreign."""
    ann7 = FakeSession(1, peer_id="ann", group="table 7")
    ann8 = FakeSession(2, peer_id="ann", group="table 8")
    bob7 = FakeSession(3, peer_id="bob", group="table 7")
    nobody = FakeSession(4)
    foreign = FakeSession(5, tenant="cards", peer_id="ann", group="table 7")
    for session in (ann7, ann8, bob7, nobody, foreign):
        store.add(session, NOW)
    assert store.select("dice") == ([ann7, ann8, bob7, nobody], None)
    assert store.select("dice", peer_id="ann") == ([ann7, ann8], None)
    assert store.select("dice", group="table 7") == ([ann7, bob7], None)
    assert store.select("dice", peer_id="ann", group="table 7") == ([ann7], None)
    assert store.select("cards") == ([foreign], None)
    assert store.select("dice", peer_id="table 7") == ([], None)
    assert store.select("chess") == ([], None)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 1_100])
@pytest.mark.parametrize("limit", [1, 3, 16, 1_000])
def test_pages_list_every_session_once(store: ShardedStore[FakeSession], count: int, limit: int) -> None:
    """In the order in which they came, through small and large index entries alike."""
    sessions = [FakeSession(number, group="table") for number in range(count)]
    for session in sessions:
        store.add(session, NOW)
    if limit > 1 or count < 100:
        assert listing(store, "dice", limit) == sessions
        assert listing(store, "dice", limit, group="table") == sessions


@pytest.mark.parametrize("count", [2, 40])
def test_a_last_page_that_is_full_has_no_successor(store: ShardedStore[FakeSession], count: int) -> None:
    """The caller is not sent for an empty page."""
    sessions = [FakeSession(number) for number in range(count)]
    for session in sessions:
        store.add(session, NOW)
    assert store.select("dice", limit=count) == (sessions, None)
    assert store.select("dice", limit=count - 1) == (sessions[:-1], sessions[-2].handle)


def test_a_listing_survives_changes_between_its_pages(store: ShardedStore[FakeSession]) -> None:
    """Ended sessions do not shift the rest, and those that stay are listed once."""
    sessions = [FakeSession(number) for number in range(30)]
    for session in sessions:
        store.add(session, NOW)
    page, after = store.select("dice", limit=10)
    assert page == sessions[:10]
    assert after is not None
    for gone in (0, 9, 10, 15):
        store.end(sessions[gone], TerminationReason.CLOSED, NOW)
    newcomer = FakeSession(30)
    store.add(newcomer, NOW)
    page, after = store.select("dice", after=after, limit=100)
    assert page == [*sessions[11:15], *sessions[16:], newcomer]
    assert after is None


def test_a_filtered_page_may_be_short_and_go_on(store: ShardedStore[FakeSession]) -> None:
    """The page is counted before the second filter, so that no page does more than its share of work."""
    sessions = [FakeSession(number, peer_id="ann", group="odd" if number % 2 else "even") for number in range(9)]
    for session in sessions:
        store.add(session, NOW)
    page, after = store.select("dice", peer_id="ann", group="odd", limit=3)
    assert page == [sessions[1]]
    assert after == sessions[2].handle
    assert listing(store, "dice", 3, peer_id="ann", group="odd") == sessions[1::2]


@pytest.mark.parametrize("after", [-(2**70), -1, 0, 2**70])
def test_any_number_is_a_harmless_cursor(store: ShardedStore[FakeSession], after: int) -> None:
    """A made-up cursor finds all, or nothing."""
    for number in range(40):
        store.add(FakeSession(number, peer_id="ann" if number < 3 else ""), NOW)
    assert len(store.select("dice", after=after)[0]) == (40 if after <= 0 else 0)
    assert len(store.select("dice", peer_id="ann", after=after)[0]) == (3 if after <= 0 else 0)


def test_a_page_of_nothing_is_refused(store: ShardedStore[FakeSession]) -> None:
    """It could never come to an end."""
    with pytest.raises(ValueError, match="limit"):
        store.select("dice", limit=0)
