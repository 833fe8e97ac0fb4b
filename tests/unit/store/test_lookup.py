"""Look-up, ownership and what is told about ended sessions."""

from __future__ import annotations

from random import Random

import pytest

from noisegate_server.session.errors import SessionClosed, SessionNotFound
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.state import TerminationReason
from noisegate_server.store import table
from noisegate_server.store.base import ConnectionIdTaken, DuplicateSession, SessionStore, StoreLimits
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.store.suspended import SuspendedSession
from tests.support.fake_session import FakeSession, connection_id, session_id

NOW = 5_000.25


def make_store(limits: StoreLimits | None = None) -> ShardedStore[FakeSession]:
    """An empty store."""
    return ShardedStore(limits or StoreLimits())


def suspended(session: FakeSession) -> SuspendedSession:
    """What is left of a session that leaves memory."""
    return SuspendedSession(
        session_id=session.session_id, tenant=session.tenant, peer_id="", group="", mode=2, remote_static=b"",
        bound=(), by_service=True, resumable=False, suspended_at=NOW, expires_at=session.expires_at,
    )  # fmt: skip


def add(store: SessionStore[FakeSession], session: FakeSession, now: float = NOW) -> FakeSession:
    """Add a session and hand it back."""
    store.add(session, now)
    return session


def test_a_session_is_found_by_its_id() -> None:
    """The owner gets the very session that was added."""
    store = make_store()
    first, second = add(store, FakeSession(1)), add(store, FakeSession(2))
    assert store.get("dice", session_id(1), NOW) is first
    assert store.get("dice", session_id(2), NOW) is second


def test_an_id_of_no_bytes_is_unknown() -> None:
    """A caller that forgot the id is answered as for any other that is not here."""
    store = make_store()
    add(store, FakeSession(1))
    with pytest.raises(SessionNotFound):
        store.get("dice", b"", NOW)


def test_a_foreign_session_is_answered_exactly_like_an_unknown_one() -> None:
    """Type, text and metadata are equal, so that ids cannot be probed; the session itself is untouched."""
    store = make_store()
    session = add(store, FakeSession(1))
    with pytest.raises(SessionNotFound) as foreign:
        store.get("cards", session_id(1), NOW)
    with pytest.raises(SessionNotFound) as unknown:
        store.get("cards", session_id(2), NOW)
    assert (type(foreign.value), str(foreign.value)) == (type(unknown.value), str(unknown.value))
    assert foreign.value.metadata == unknown.value.metadata
    assert foreign.value.__suppress_context__ or foreign.value.__context__ is None
    assert unknown.value.__suppress_context__
    assert session.wipes == 0


@pytest.mark.parametrize("as_room", [False, True])
def test_many_are_found_in_their_order_and_none_that_has_left(as_room: bool) -> None:
    """Time and again: unknown and foreign ones are None, as are from then on those that end or are suspended."""
    store = make_store()
    sessions = [add(store, FakeSession(number)) for number in range(1, 4)]
    foreign = add(store, FakeSession(4, tenant="cards"))
    numbers = [2, 1, 2, 3]

    def find(tenant: str, numbers: list[int]) -> list[FakeSession | None]:
        ids = [session_id(number) for number in numbers]
        return list(store.get_room(tenant, b"".join(ids)) if as_room else store.get_many(tenant, ids))

    for _ in range(3):
        assert find("dice", numbers) == [sessions[1], sessions[0], sessions[1], sessions[2]]
        assert find("dice", [4, 1, 99]) == [None, sessions[0], None]
        assert find("cards", [4, 1]) == [foreign, None]
    store.end(sessions[0], TerminationReason.CLOSED, NOW)
    for _ in range(2):
        assert find("dice", numbers) == [sessions[1], None, sessions[1], sessions[2]]
    store.suspend(sessions[1], suspended(sessions[1]))
    for _ in range(2):
        assert find("dice", numbers) == [None, None, None, sessions[2]]
    store.end_all(NOW, TerminationReason.SHUTDOWN)
    assert find("dice", numbers) == [None] * 4
    assert "sessions" not in store.leftovers()


def test_what_was_found_out_about_a_room_goes_with_any_of_its_sessions() -> None:
    """It is there with the next call for the same ids, and for these alone."""
    store = make_store()
    sessions = [add(store, FakeSession(number)) for number in range(1, 4)]
    ids = [each.session_id for each in sessions]
    room = store.get_room("dice", b"".join(ids))
    room.paths[0] = "found out"
    assert store.get_room("dice", b"".join(ids)) is room
    assert store.get_room("dice", b"".join(ids[:2])).paths == {}
    store.end(sessions[1], TerminationReason.CLOSED, NOW)
    assert store.get_room("dice", b"".join(ids)).paths == {}
    assert store.get_room("dice", ids[0] + ids[2]).paths == {}


def test_sessions_that_were_known_make_room_for_those_that_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many are kept; after so many others they are forgotten, and for a while nobody is kept."""
    monkeypatch.setattr(table, "_KNOWN", 2)
    monkeypatch.setattr(table, "_MISSED", 6)
    monkeypatch.setattr(table, "_PASSED", 5)
    store = make_store()
    ids = [add(store, FakeSession(number)).session_id for number in range(1, 6)]
    known = []
    for asked in (ids, ids, ids[::-1], ids[::-1]):
        assert [each and each.session_id for each in store.get_many("dice", asked)] == asked
        known.append(sorted(store._table._found.get("dice", {})))
    assert known == [ids[:2], [], [], ids[3:]]


def test_rooms_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different lists are asked for, the store keeps so many sessions of them and no more."""
    monkeypatch.setattr(table, "_KNOWN", 4)
    store = make_store()
    for number in range(1, 10):
        add(store, FakeSession(number))
    kept = store._table
    for first in range(1, 8):
        room = b"".join(map(session_id, range(first, first + 3)))
        assert all(store.get_room("dice", room))
        assert sum(map(len, kept._rooms.values())) == kept._in_rooms == 3
        assert len(kept._found["dice"]) <= 4


def test_an_ended_session_tells_its_owner_why() -> None:
    """The tombstone has the cause and whether a ticket may help."""
    store = make_store()
    session = add(store, FakeSession(1))
    store.end(session, TerminationReason.EXHAUSTED, NOW, resumable=True)
    with pytest.raises(SessionClosed) as refusal:
        store.get("dice", session_id(1), NOW)
    assert refusal.value.metadata == {"cause": "EXHAUSTED", "resumable": "true"}


def test_an_ended_session_is_unknown_to_others() -> None:
    """A tombstone answers its owner only."""
    store = make_store()
    store.end(add(store, FakeSession(1)), TerminationReason.CLOSED, NOW)
    with pytest.raises(SessionNotFound):
        store.get("cards", session_id(1), NOW)


def test_a_tombstone_lives_for_its_time_even_without_a_sweep() -> None:
    """After `tombstone_s` the owner is told nothing more."""
    store = make_store(StoreLimits(tombstone_s=30.0))
    store.end(add(store, FakeSession(1)), TerminationReason.CLOSED, NOW)
    with pytest.raises(SessionClosed):
        store.get("dice", session_id(1), NOW + 29.9)
    with pytest.raises(SessionNotFound):
        store.get("dice", session_id(1), NOW + 30.0)


def test_the_newest_tombstone_pushes_the_oldest_out() -> None:
    """Ended sessions cannot fill the memory."""
    store = make_store(StoreLimits(tombstones=2))
    for number in (1, 2, 3):
        store.end(add(store, FakeSession(number)), TerminationReason.CLOSED, NOW)
    assert store.counts().tombstones == 2
    with pytest.raises(SessionNotFound):
        store.get("dice", session_id(1), NOW)
    with pytest.raises(SessionClosed):
        store.get("dice", session_id(2), NOW)


def test_an_unfinished_handshake_leaves_no_tombstone() -> None:
    """Whoever fails a handshake learns nothing and costs nothing."""
    store = make_store()
    store.end(add(store, FakeSession(1, half_open=True)), TerminationReason.HANDSHAKE_FAILED, NOW)
    assert store.counts().tombstones == 0
    with pytest.raises(SessionNotFound):
        store.get("dice", session_id(1), NOW)


def test_a_session_is_wiped_exactly_once() -> None:
    """Ending a session again does nothing: no second wipe, and the first cause stands."""
    store = make_store()
    session = add(store, FakeSession(1))
    store.end(session, TerminationReason.CLOSED, NOW)
    store.end(session, TerminationReason.EXHAUSTED, NOW)
    assert session.wipes == 1
    with pytest.raises(SessionClosed, match="CLOSED"):
        store.get("dice", session_id(1), NOW)


def test_a_session_that_is_not_in_the_store_is_left_alone() -> None:
    """Its owner wipes it, not the store."""
    store = make_store()
    stranger = FakeSession(1)
    store.end(stranger, TerminationReason.CLOSED, NOW)
    store.finished(stranger, NOW)
    store.bind_connection(stranger, connection_id(1))
    assert stranger.wipes == 0
    assert store.leftovers() == []


def test_an_expired_session_ends_at_the_next_look_up() -> None:
    """No sweep is needed for a session to be over, and the sweep reports it once."""
    store: ShardedStore[FakeSession] = ShardedStore(StoreLimits(), resumable=lambda session: session.group == "table 7")
    session = add(store, FakeSession(1, expires_at=NOW + 10, peer_id="ann", group="table 7"))
    assert store.get("dice", session_id(1), NOW + 9.99) is session
    with pytest.raises(SessionClosed) as refusal:
        store.get("dice", session_id(1), NOW + 10)
    assert refusal.value.metadata == {"cause": "IDLE", "resumable": "true"}
    assert session.wipes == 1
    assert store.next_expiry() == 0.0
    assert [(each.session_id, each.tenant, each.peer_id, each.group, each.reason) for each in store.sweep(NOW, 0)] == [
        (session_id(1), "dice", "ann", "table 7", TerminationReason.IDLE)
    ]
    assert store.sweep(NOW + 400, 100) == []


def test_an_expired_handshake_is_not_found() -> None:
    """A half-open session that timed out was never a session for anybody."""
    store = make_store()
    session = add(store, FakeSession(1, half_open=True, expires_at=NOW + 10, connection_ids=(connection_id(1),)))
    with pytest.raises(SessionNotFound):
        store.get_by_connection("dice", connection_id(1), NOW + 10)
    assert session.wipes == 1
    assert store.counts().half_open == 0


def test_a_foreign_look_up_does_not_end_an_expired_session() -> None:
    """Another tenant changes nothing, whatever it asks."""
    store = make_store()
    session = add(store, FakeSession(1, expires_at=NOW + 10))
    with pytest.raises(SessionNotFound):
        store.get("cards", session_id(1), NOW + 20)
    assert session.wipes == 0
    with pytest.raises(SessionClosed):
        store.get("dice", session_id(1), NOW + 20)


def test_a_finished_handshake_leaves_a_tombstone_when_it_ends() -> None:
    """`finished` makes a session of a handshake."""
    store = make_store()
    session = add(store, FakeSession(1, half_open=True))
    session.finish(NOW + 100)
    store.finished(session, NOW)
    store.finished(session, NOW)
    assert store.counts().half_open == 0
    store.end(session, TerminationReason.PEER_CLOSED, NOW)
    with pytest.raises(SessionClosed):
        store.get("dice", session_id(1), NOW)


def test_a_session_id_is_never_used_twice() -> None:
    """Neither beside the session nor beside its tombstone; the newcomer is left to the caller."""
    store = make_store()
    session = add(store, FakeSession(1))
    with pytest.raises(DuplicateSession):
        store.add(FakeSession(1, tenant="cards"), NOW)
    store.end(session, TerminationReason.CLOSED, NOW)
    with pytest.raises(DuplicateSession):
        store.add(FakeSession(1), NOW)
    assert store.counts().sessions == 0


def test_connection_ids_find_their_session_while_they_are_bound() -> None:
    """Those that a session brings, and those that it gets later."""
    store = make_store()
    session = add(store, FakeSession(1, connection_ids=(connection_id(1),)))
    store.bind_connection(session, connection_id(2))
    store.bind_connection(session, connection_id(2))
    session.learn(connection_id(2))
    assert store.get_by_connection("dice", connection_id(1), NOW) is session
    assert store.get_by_connection("dice", connection_id(2), NOW) is session
    store.unbind_connection(session, connection_id(1))
    session.drop(connection_id(1))
    with pytest.raises(SessionNotFound):
        store.get_by_connection("dice", connection_id(1), NOW)
    store.end(session, TerminationReason.CLOSED, NOW)
    with pytest.raises(SessionNotFound):
        store.get_by_connection("dice", connection_id(2), NOW)
    assert store.leftovers() == ["expiry", "tombstones"]


def test_connection_ids_belong_to_a_tenant() -> None:
    """Two tenants may draw the same id, and neither finds the other's session by it."""
    store = make_store()
    mine = add(store, FakeSession(1, connection_ids=(connection_id(1),)))
    with pytest.raises(SessionNotFound):
        store.get_by_connection("cards", connection_id(1), NOW)
    theirs = add(store, FakeSession(2, tenant="cards", connection_ids=(connection_id(1),)))
    assert store.get_by_connection("dice", connection_id(1), NOW) is mine
    assert store.get_by_connection("cards", connection_id(1), NOW) is theirs


def test_a_taken_connection_id_is_refused_and_changes_nothing() -> None:
    """The caller draws another one; the first owner keeps it, and nobody else can unbind it."""
    store = make_store()
    owner = add(store, FakeSession(1, connection_ids=(connection_id(1),)))
    other = add(store, FakeSession(2))
    with pytest.raises(ConnectionIdTaken):
        store.bind_connection(other, connection_id(1))
    with pytest.raises(ConnectionIdTaken):
        store.add(FakeSession(3, connection_ids=(connection_id(3), connection_id(1))), NOW)
    store.unbind_connection(other, connection_id(1))
    assert store.get_by_connection("dice", connection_id(1), NOW) is owner
    assert store.counts().sessions == 2
    with pytest.raises(SessionNotFound):
        store.get_by_connection("dice", connection_id(3), NOW)


def test_sessions_spread_over_the_shards() -> None:
    """5,000 ids at random leave no shard of 256 empty and none with more than four times its share."""
    store, random = make_store(), Random(24)
    for _ in range(5_000):
        store.add(FakeSession(random.getrandbits(24 * 8)), NOW)
    counts = store.counts()
    assert len(counts.per_shard) == 256
    assert sum(counts.per_shard) == counts.sessions == 5_000
    assert 0 < min(counts.per_shard) <= max(counts.per_shard) < 4 * 5_000 / 256


@pytest.mark.parametrize("shards", [0, -1, 3, 255, 512])
def test_the_number_of_shards_is_a_power_of_two(shards: int) -> None:
    """Anything else would leave shards without sessions."""
    with pytest.raises(ValueError, match="power of two"):
        ShardedStore[FakeSession](StoreLimits(), shards)


def test_end_all_leaves_only_tombstones() -> None:
    """At shutdown every session is wiped, and owners who still ask are told."""
    store = make_store()
    sessions = [add(store, FakeSession(number, half_open=number % 2 == 0)) for number in range(1, 11)]
    assert store.end_all(NOW, TerminationReason.SHUTDOWN) == 10
    assert [session.wipes for session in sessions] == [1] * 10
    assert store.counts().sessions == 0
    with pytest.raises(SessionClosed, match="SHUTDOWN"):
        store.get("dice", session_id(1), NOW)
    assert store.sweep(NOW + 1_000, 100) == []
    assert store.leftovers() == []
    assert store.next_expiry() is None


def test_every_end_of_an_established_session_is_heard_once_before_it_is_wiped() -> None:
    """By a call, a look-up past its time, a sweep and the shutdown; a handshake that never finished is no end."""
    heard: list[tuple[int, TerminationReason, bool, int]] = []

    def on_end(session: FakeSession | SuspendedSession | Glance, reason: TerminationReason, *, resumable: bool) -> None:
        assert isinstance(session, FakeSession)
        heard.append((int.from_bytes(session.session_id, "big"), reason, resumable, session.wipes))

    store: ShardedStore[FakeSession] = ShardedStore(StoreLimits(), resumable=lambda _: True, on_end=on_end)
    called = add(store, FakeSession(1))
    add(store, FakeSession(2, expires_at=NOW + 1))
    add(store, FakeSession(3, expires_at=NOW + 1))
    add(store, FakeSession(4))
    half_open = add(store, FakeSession(5, half_open=True))
    store.end(called, TerminationReason.CLOSED, NOW)
    store.end(called, TerminationReason.CLOSED, NOW)
    store.end(half_open, TerminationReason.HANDSHAKE_FAILED, NOW)
    with pytest.raises(SessionClosed):
        store.get("dice", session_id(2), NOW + 2)
    store.sweep(NOW + 2, 100)
    store.end_all(NOW + 3, TerminationReason.SHUTDOWN)
    assert heard == [
        (1, TerminationReason.CLOSED, False, 0),
        (2, TerminationReason.IDLE, True, 0),
        (3, TerminationReason.IDLE, True, 0),
        (4, TerminationReason.SHUTDOWN, False, 0),
    ]


def test_who_asks_in_company_for_what_it_does_not_have_leaves_nothing_behind() -> None:
    """Without a policy file every caller is a tenant, and there may be any number of them."""
    store = make_store()
    session = add(store, FakeSession(1))
    for stranger in range(100):
        assert store.get_many(f"stranger {stranger}", [session_id(1), session_id(2)]) == [None, None]
    assert store.get_many("dice", [session_id(1)]) == [session]
    assert list(store._table._found) == ["dice"]
    store.end(session, TerminationReason.CLOSED, NOW)
    assert not store._table._found
