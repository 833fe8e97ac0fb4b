"""The table of a session's life."""

from __future__ import annotations

import itertools

import pytest

from noisegate_server.session.state import (
    TRANSITIONS,
    IllegalTransition,
    SessionInput,
    SessionState,
    TerminationReason,
    transition,
)

S, I = SessionState, SessionInput  # noqa: E741 - the two letters of the table
EVERY = list(itertools.product(SessionState, SessionInput))


@pytest.mark.parametrize(("state", "event"), EVERY, ids=lambda each: each.name)
def test_a_move_is_in_the_table_or_refused(state: SessionState, event: SessionInput) -> None:
    """Every pair of state and input either has one next state, or is refused by name."""
    if (state, event) in TRANSITIONS:
        assert transition(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{event.name} in {state.name}"):
            transition(state, event)


def test_every_state_but_the_last_can_end() -> None:
    """END leads from each living state to TERMINATED, and nothing leads out of TERMINATED."""
    assert {state for state, event in TRANSITIONS if event is I.END} == set(S) - {S.TERMINATED}
    assert all(TRANSITIONS[state, I.END] is S.TERMINATED for state in set(S) - {S.TERMINATED})
    assert not [state for state, _ in TRANSITIONS if state is S.TERMINATED]


def test_every_state_is_reached_from_the_first() -> None:
    """No state of the table is out of reach of a new session."""
    reached = {S.HANDSHAKING}
    for _ in S:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(S)


def test_only_an_established_session_rotates() -> None:
    """A rotation begins in ESTABLISHED alone (architecture, section 4)."""
    assert {state for state, event in TRANSITIONS if event is I.ROTATION_BEGAN} == {S.ESTABLISHED}


def test_a_rotating_session_is_suspended_too() -> None:
    """A drain cannot wait for a rotation; whatever is suspended comes back as ESTABLISHED."""
    assert {state for state, event in TRANSITIONS if event is I.SUSPEND} == {S.ESTABLISHED, S.ROTATING}
    assert TRANSITIONS[S.SUSPENDED, I.RESTORE] is S.ESTABLISHED


def test_the_numbers_are_the_contract_s() -> None:
    """States and reasons keep the numbers of proto/noisegate/v1/session.proto, which travel to callers."""
    assert [(state.name, state.value) for state in S] == [
        ("HANDSHAKING", 1),
        ("ESTABLISHED", 2),
        ("ROTATING", 3),
        ("SUSPENDED", 4),
        ("TERMINATED", 5),
    ]
    assert TerminationReason(1).name == "CLOSED"
