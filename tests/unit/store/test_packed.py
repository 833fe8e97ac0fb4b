"""Idle sessions as records: what they share, and who may have how much of it."""

from __future__ import annotations

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

    def glance(self, shared: str, record: memoryview, handle: int) -> Glance:
        return super().glance(shared.partition(" ")[0], record, handle)


def test_the_kinds_of_one_tenant_leave_room_for_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant at its share keeps its other sessions as objects, until one of its kinds has gone."""
    monkeypatch.setattr(packed, "MAX_SHARED_PER_TENANT", 2)
    store = PackedSessions[FakeSession](SharesNothing(), 4, 1)
    sessions = [FakeSession(number, tenant=tenant) for tenant, number in (("a", 1), ("a", 2), ("a", 3), ("b", 4))]
    for handle, session in enumerate(sessions, 1):
        session.handle = handle
    assert [store.put(session) for session in sessions] == [True, True, False, True]
    glance = store.glance(1)
    assert glance is not None
    assert store.drop(glance)
    assert store.put(sessions[2])
