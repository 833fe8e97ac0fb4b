"""The caps: whose fault a refusal is, and that nothing is evicted."""

from __future__ import annotations

from dataclasses import fields

import pytest

from noisegate_server.session.errors import Overloaded, SessionQuota
from noisegate_server.session.state import TerminationReason
from noisegate_server.store import deadlines
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.sharded import ShardedStore
from tests.support.fake_session import FakeSession, session_id

NOW = 100.0


def filled(limits: StoreLimits, *sessions: FakeSession) -> ShardedStore[FakeSession]:
    """A store with these sessions."""
    store: ShardedStore[FakeSession] = ShardedStore(limits)
    for session in sessions:
        store.add(session, NOW)
    return store


def test_a_player_at_the_cap_is_refused_and_keeps_the_oldest_session() -> None:
    """Nothing is evicted; the same player of another tenant and other players go on; an end makes room."""
    oldest = FakeSession(1, peer_id="ann")
    store = filled(StoreLimits(sessions_per_peer=2), oldest, FakeSession(2, peer_id="ann"))
    refused = FakeSession(3, peer_id="ann")
    with pytest.raises(SessionQuota, match="at most 2 sessions") as refusal:
        store.add(refused, NOW)
    assert refusal.value.subject == "peer:ann"
    assert refused.wipes == 0
    assert store.get("dice", session_id(1), NOW) is oldest
    store.add(FakeSession(4, peer_id="ann", tenant="cards"), NOW)
    store.add(FakeSession(5, peer_id="bob"), NOW)
    store.end(oldest, TerminationReason.CLOSED, NOW)
    store.add(refused, NOW)
    assert store.counts().sessions == 4


def test_sessions_without_a_player_have_no_cap_of_a_player() -> None:
    """An empty `peer_id` names nobody."""
    store = filled(StoreLimits(sessions_per_peer=1, half_open_per_peer=1))
    for number in range(5):
        store.add(FakeSession(number, half_open=True), NOW)
    assert store.counts().half_open == 5


def test_a_tenant_at_its_cap_is_refused_and_others_are_not() -> None:
    """One tenant cannot take the whole process."""
    store = filled(StoreLimits(sessions_per_tenant=1), FakeSession(1))
    with pytest.raises(SessionQuota, match="at most 1 sessions") as refusal:
        store.add(FakeSession(2), NOW)
    assert refusal.value.subject == "tenant"
    store.add(FakeSession(3, tenant="cards"), NOW)


def test_a_full_process_is_overloaded() -> None:
    """No one is to blame, and another instance may have room."""
    first = FakeSession(1)
    store = filled(StoreLimits(capacity=1), first)
    with pytest.raises(Overloaded):
        store.add(FakeSession(2, tenant="cards"), NOW)
    store.end(first, TerminationReason.CLOSED, NOW)
    store.add(FakeSession(2, tenant="cards"), NOW)


def test_unfinished_handshakes_have_caps_of_their_own() -> None:
    """For the player, the tenant and the process; established sessions are not held up by them."""
    limits = StoreLimits(half_open=4, half_open_per_tenant=3, half_open_per_peer=2)
    store = filled(limits, *(FakeSession(number, peer_id="ann", half_open=True) for number in (1, 2)))
    with pytest.raises(SessionQuota, match="at most 2 unfinished") as refusal:
        store.add(FakeSession(3, peer_id="ann", half_open=True), NOW)
    assert refusal.value.subject == "peer:ann"
    store.add(FakeSession(4, peer_id="bob", half_open=True), NOW)
    with pytest.raises(SessionQuota, match="at most 3 unfinished") as refusal:
        store.add(FakeSession(5, half_open=True), NOW)
    assert refusal.value.subject == "tenant"
    store.add(FakeSession(6, tenant="cards", half_open=True), NOW)
    with pytest.raises(Overloaded):
        store.add(FakeSession(7, tenant="chess", half_open=True), NOW)
    store.add(FakeSession(8, peer_id="ann"), NOW)


def test_a_finished_or_ended_handshake_makes_room() -> None:
    """For its player and for the process."""
    first, second = (FakeSession(number, peer_id="ann", half_open=True) for number in (1, 2))
    store = filled(StoreLimits(half_open=2, half_open_per_peer=2), first, second)
    first.finish(NOW + 50)
    store.finished(first, NOW)
    store.end(second, TerminationReason.HANDSHAKE_FAILED, NOW)
    assert store.counts().half_open == 0
    for number in (3, 4):
        store.add(FakeSession(number, peer_id="ann", half_open=True), NOW)
    with pytest.raises(SessionQuota):
        store.add(FakeSession(5, peer_id="ann", half_open=True), NOW)


def test_a_refusal_leaves_nothing_behind() -> None:
    """A refused session is in no index."""
    store = filled(StoreLimits(half_open=1), FakeSession(1, half_open=True))
    with pytest.raises(Overloaded):
        store.add(FakeSession(2, peer_id="ann", group="table", half_open=True, connection_ids=(b"8 bytes.",)), NOW)
    store.end_all(NOW, TerminationReason.SHUTDOWN)
    assert store.leftovers() == ["expiry"]


def test_the_expiry_queue_has_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions begun and ended at once leave entries behind; these cannot grow for ever, and a sweep frees them."""
    monkeypatch.setattr(deadlines, "_ENTRIES_MIN", 10)
    store = filled(StoreLimits(capacity=2))
    for number in range(10):
        session = FakeSession(number)
        store.add(session, NOW)
        store.end(session, TerminationReason.CLOSED, NOW)
    with pytest.raises(Overloaded):
        store.add(FakeSession(10), NOW)
    assert store.counts().expiry_entries == 10
    store.sweep(NOW + 300, 1_000)
    store.add(FakeSession(10), NOW + 300)


@pytest.mark.parametrize("name", [field.name for field in fields(StoreLimits)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_below_one_is_refused_by_name(name: str, value: float) -> None:
    """A zero would mean a store that takes nothing."""
    with pytest.raises(ValueError, match=f"^{name} must be at least 1$"):
        StoreLimits(**{name: value})  # type: ignore[arg-type]  # the field's name is a parameter of the test
