"""Idle sessions as records: what they share, and who may have how much of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from noisegate_server.session.record_layout import Glance
from noisegate_server.store import packed
from noisegate_server.store.packed import PackedSessions
from tests.support.fake_session import FakePacker, FakeSession


class SharesNothing(FakePacker):
    """Each session is of a kind of its own."""

    def pack(self, session: FakeSession) -> tuple[str, bytearray]:
        _, record = super().pack(session)
        return f"{session.tenant} {session.session_id.hex()}", record

    def glance(self, shared: str, record: memoryview, handle: int, reference: int) -> Glance:
        return super().glance(shared.partition(" ")[0], record, handle, reference)


def numbered(sessions: Iterable[FakeSession]) -> list[FakeSession]:
    """With handles, as a table gives them."""
    given = list(sessions)
    for handle, session in enumerate(given, 1):
        session.handle = handle
    return given


def test_the_kinds_of_one_tenant_leave_room_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant at its share keeps its other sessions as objects, until one of its kinds has gone."""
    monkeypatch.setattr(packed, "MAX_SHARED_PER_TENANT", 2)
    store = PackedSessions[FakeSession](SharesNothing(), 4, 1)
    sessions = numbered(FakeSession(number, tenant=tenant) for tenant, number in zip("aaab", range(1, 5), strict=True))
    assert [store.put(session) for session in sessions] == [True, True, False, True]
    glance = store.glance(1)
    assert glance is not None
    assert store.drop(glance)
    assert store.put(sessions[2])


def test_of_two_sessions_whose_ids_have_one_digest_only_one_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are found: the other one stays an object until the first has gone."""
    monkeypatch.setattr(packed, "xxh3_64_intdigest", lambda _session_id: 7)
    store = PackedSessions[FakeSession](FakePacker(), 4, 1)
    first, second = numbered(map(FakeSession, (1, 2)))
    assert [store.put(each) for each in (first, second)] == [True, False]
    assert not second.is_packed
    glance = store.glance_by_id(first.session_id)
    assert glance is not None
    assert store.glance_by_id(second.session_id) is None
    assert store.drop(glance)
    assert store.put(second)
    assert store.glance_by_id(second.session_id) is not None


def test_a_session_that_was_packed_anew_since_it_was_seen_is_dropped_from_where_it_lies_now() -> None:
    """What was seen of it says where it lay then; who has taken that place stays."""
    store = PackedSessions[FakeSession](FakePacker(), 4, 1)
    first, second = numbered(map(FakeSession, (1, 1 + 256)))
    assert store.put(first)
    seen = store.glance(1)
    assert seen is not None
    assert store.take(1) is first
    assert store.put(second)
    assert store.put(first)
    now = store.glance(1)
    assert now is not None
    assert now.reference != seen.reference
    assert store.drop(seen)
    assert not store.drop(now)
    assert store.glance(1) is None
    assert store.take(2) is second
    assert store.is_empty()
