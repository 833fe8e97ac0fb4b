"""A state machine drives two sessions through all that may happen to them (tests.support.life, tests.support.steps)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from noisegate_server.session.constants import RESERVED_COUNTERS
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.suites import Pattern, Suite
from tests.support.life import Life
from tests.support.owners import Variant
from tests.support.steps import STEPS, Step

pytestmark = pytest.mark.timeout(900)

FUZZ = int(os.environ.get("NOISEGATE_FUZZ", "0"))
"""This many times the usual count of lives, each time other ones (`make fuzz`); 0: the usual count, always the same."""
LIVES = 400
STEPS_EACH = 50

LIMITS = (
    RotationLimits(),
    RotationLimits(),
    RotationLimits(soft_age=10.0, hard_age=20.0),
    RotationLimits(soft_messages=5, hard_messages=RESERVED_COUNTERS + 40),
    RotationLimits(soft_bytes=500, hard_bytes=5_000),
)
# The hybrid costs ten times as much and is the same above its handshake.
SUITES = (*[Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519] * 4, Suite.MLKEM1024_X25519_CHACHA20_POLY1305)


class SessionLife(RuleBasedStateMachine):
    """Every step of the table is a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.life: Life | None = None

    @initialize(
        pattern=st.sampled_from([Pattern.XX, Pattern.IK, Pattern.NK]),
        suite=st.sampled_from(SUITES),
        pad=st.booleans(),
        mask=st.booleans(),
        ratchet=st.booleans(),
        first=st.sampled_from(LIMITS),
        second=st.sampled_from(LIMITS),
    )
    def begin(
        self,
        pattern: Pattern,
        suite: Suite,
        pad: bool,
        mask: bool,
        ratchet: bool,
        first: RotationLimits,
        second: RotationLimits,
    ) -> None:
        variant = Variant(pattern=pattern, suite=suite, pad=pad, mask=mask, ratchet=ratchet, limits=(first, second))
        self.life = Life(variant)

    def teardown(self) -> None:
        if self.life is not None:
            self.life.finish()
            self.life.shut_down()


def _rule(step: Step) -> Callable[..., None]:
    def run(self: SessionLife, **arguments: object) -> None:
        step.run(self.life, **arguments)

    run.__name__ = step.run.__name__
    arguments: dict[str, Any] = {name: st.sampled_from(values) for name, values in step.choices.items()}
    made: Callable[..., None] = rule(**arguments)(run)
    return made


for each in STEPS:
    for copy in range(1, each.weight + 1):
        setattr(SessionLife, f"{each.run.__name__}_{copy}", _rule(each))

TestSessionLife = SessionLife.TestCase
TestSessionLife.settings = settings(
    max_examples=LIVES * (FUZZ or 1),
    stateful_step_count=STEPS_EACH,
    derandomize=not FUZZ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
