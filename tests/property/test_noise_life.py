"""A state machine drives NOISE sessions through all that may happen to them on an ordered stream."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from noisegate_server.session.suites import Pattern, Suite
from tests.support.noise_life import NoiseLife

pytestmark = pytest.mark.timeout(900)

FUZZ = int(os.environ.get("NOISEGATE_FUZZ", "0"))
"""As in test_session_life."""
LIVES = 100
STEPS_EACH = 50

sides = st.sampled_from([0, 1])


class NoiseSessionLife(RuleBasedStateMachine):
    """Every method of the life that is a step is a rule; those that matter most, more than one."""

    def __init__(self) -> None:
        super().__init__()
        self.started: NoiseLife | None = None

    @property
    def life(self) -> NoiseLife:
        assert self.started is not None
        return self.started

    @initialize(
        pattern=st.sampled_from([Pattern.XX, Pattern.IK, Pattern.NK]),
        suite=st.sampled_from(list(Suite)),
        ratchet=st.booleans(),
    )
    def begin(self, pattern: Pattern, suite: Suite, ratchet: bool) -> None:
        self.started = NoiseLife(pattern=pattern, suite=suite, ratchet=ratchet)

    @rule(side=sides, size=st.sampled_from([0, 1, 40, 300]))
    def send(self, side: int, size: int) -> None:
        self.life.send(side, size)

    @rule(side=sides, count=st.sampled_from([1, 1, 2, 5, 1_000]))
    def deliver(self, side: int, count: int) -> None:
        self.life.deliver(side, count)

    @rule(side=sides)
    def deliver_all(self, side: int) -> None:
        self.life.deliver(side, 1_000_000)

    @rule(side=sides)
    def rekey(self, side: int) -> None:
        self.life.rekey(side)

    @rule()
    def renegotiate(self) -> None:
        self.life.renegotiate()

    @rule(side=sides)
    def switch(self, side: int) -> None:
        self.life.switch(side)

    @rule(side=sides, place=st.integers(0, 100_000))
    def forge(self, side: int, place: int) -> None:
        self.life.forge(side, place)

    @rule(side=sides)
    def come_back(self, side: int) -> None:
        self.life.come_back(side)

    @rule()
    def give_ticket(self) -> None:
        self.life.give_ticket()

    @rule()
    def resume(self) -> None:
        self.life.resume()

    @rule(seconds=st.sampled_from([1.0, 61.0, 3_600.0]))
    def wait(self, seconds: float) -> None:
        self.life.wait(seconds)

    def teardown(self) -> None:
        if self.started is not None:
            self.life.finish()


TestNoiseSessionLife = NoiseSessionLife.TestCase
TestNoiseSessionLife.settings = settings(
    max_examples=LIVES * (FUZZ or 1),
    stateful_step_count=STEPS_EACH,
    derandomize=not FUZZ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
