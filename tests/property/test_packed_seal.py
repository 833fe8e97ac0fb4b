"""Sealing straight from an idle session's record against unpacking it first: the same life in two services.

One is asked in batches, which leave a packed session packed where they can; the other call by call, which unpacks.
Whatever happens between, both give the same bytes, and in the end their sessions are the same in every field.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noisegate_server.store.packing import IDLE_S
from tests.property.test_fast_path import EVERYBODY, NETWORKS, Life, player, some

ASLEEP = IDLE_S + 1.0
steps = st.one_of(
    st.tuples(st.just("seal"), some),
    st.tuples(st.just("open"), some),
    st.tuples(st.just("forge"), some),
    st.tuples(st.just("one"), player),
    st.tuples(st.just("rekey"), player),
    st.tuples(st.just("renegotiate"), player),
    st.tuples(st.just("answer_a_rotation"), player),
    st.tuples(st.just("follow_a_rekey"), player),
    st.tuples(st.just("change_network"), st.tuples(player, st.sampled_from(NETWORKS))),
    st.tuples(st.just("suspend"), player),
    st.tuples(st.just("close"), player),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("doze"), st.sampled_from([0.3, 2.0, 60.0, 700.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.3, ASLEEP, ASLEEP, 60.0, 700.0])),
)
asleep = ("wait", ASLEEP)


@pytest.mark.fixed_ephemeral
@settings(max_examples=25, deadline=None)
@given(life=st.lists(steps, max_size=12))
@example(life=[("seal", [0, 0, 1, 0]), asleep, ("seal", [2, 0, 3, 0, 4, 1]), ("deliver", None)])
@example(life=[("rekey", 0), asleep, ("seal", [0]), asleep, ("follow_a_rekey", 0), ("deliver", None)])
@example(life=[("renegotiate", 0), ("deliver", None), ("wait", 60.0), asleep, ("seal", [0]), ("deliver", None)])
@example(
    life=[("change_network", (3, NETWORKS[1])), asleep, ("seal", [3]), asleep, ("change_network", (3, NETWORKS[0]))]
)
@example(life=[("seal", [5]), asleep, ("seal", [5]), asleep, ("seal", [5]), asleep, ("seal", [5])])
@example(life=[("doze", 700.0), ("seal", [0, 2]), ("doze", 60.0), ("seal", [0])])
@example(life=[("suspend", 0), asleep, ("close", 0), ("wait", 700.0)])
def test_a_session_that_stays_packed_lives_as_one_that_does_not(life: list[tuple[str, Any]]) -> None:
    """Same bytes, counters and refusals at every step, and the same sessions in the end."""
    straight, unpacked = Life(in_batches=True), Life(in_batches=False)
    for what, how in [("seal", EVERYBODY), *life, ("deliver", None)]:
        for each in (straight, unpacked):
            each.live(*asleep)
            each.live("seal", EVERYBODY)
            each.live(what, how)
        assert straight.log == unpacked.log
    for each in (straight, unpacked):
        each.live(*asleep)
    assert straight.states() == unpacked.states()
