"""Any sequence of calls to a store that packs idle sessions: nobody sees that it does."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.property.test_store_model import StoreMachine
from tests.support.fake_session import FakePacker


class PackingStoreMachine(StoreMachine):
    """The same calls, and the same answers, of a store that packs sessions between any two of them."""

    def packer(self) -> FakePacker | None:
        """One that takes every established session for idle."""
        return FakePacker()

    @rule(step=st.sampled_from([15.0, 16.0, 40.0]))
    def pack_what_is_idle(self, step: float) -> None:
        """Time passes and everything that can be packed is."""
        self.now += step
        self.sweep_everything()
        before = self.store.counts()
        self.store.sweep(self.now, 10_000)
        assert self.store.counts().packed >= before.packed

    @invariant()
    def packed_sessions_are_counted(self) -> None:
        packed = sum(each.is_packed for each in self.sessions if each.session_id in self.model.live)
        assert self.store.counts().packed == packed


PackingStoreMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestPackingStore = PackingStoreMachine.TestCase
