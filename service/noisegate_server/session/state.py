"""The life of a session: one table, from which the code, the documentation's diagram and the tests are made.

Anything that is not in the table is refused with `IllegalTransition`. Numbers are those of the contract's enums.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = [
    "TRANSITIONS",
    "IllegalTransition",
    "RecordMode",
    "Role",
    "SessionInput",
    "SessionState",
    "TerminationReason",
    "transition",
]


class RecordMode(IntEnum):
    """How records travel between the player and noisegate."""

    NOISE = 1
    DATAGRAM = 2


class Role(IntEnum):
    """The part that noisegate plays in a Noise handshake."""

    INITIATOR = 1
    RESPONDER = 2


class SessionState(IntEnum):
    """Where a session is in its life."""

    HANDSHAKING = 1
    ESTABLISHED = 2
    ROTATING = 3
    SUSPENDED = 4
    TERMINATED = 5


class SessionInput(IntEnum):
    """What may happen to a session."""

    HANDSHAKE_FINISHED = 1
    ROTATION_BEGAN = 2
    ROTATION_FINISHED = 3
    ROTATION_ABANDONED = 4
    SUSPEND = 5
    RESTORE = 6
    END = 7


class TerminationReason(IntEnum):
    """Why a session ended."""

    CLOSED = 1
    PEER_CLOSED = 2
    IDLE = 3
    LIFETIME = 4
    HANDSHAKE_FAILED = 5
    HANDSHAKE_TIMEOUT = 6
    EXHAUSTED = 7
    SHUTDOWN = 8
    REVOKED = 9
    LOST = 10


class IllegalTransition(Exception):
    """A defect of the caller of `transition`: this input cannot happen in this state."""


_S = SessionState
_I = SessionInput

TRANSITIONS: Final[dict[tuple[SessionState, SessionInput], SessionState]] = {
    (_S.HANDSHAKING, _I.HANDSHAKE_FINISHED): _S.ESTABLISHED,
    (_S.HANDSHAKING, _I.END): _S.TERMINATED,
    (_S.ESTABLISHED, _I.ROTATION_BEGAN): _S.ROTATING,
    (_S.ESTABLISHED, _I.SUSPEND): _S.SUSPENDED,
    (_S.ESTABLISHED, _I.END): _S.TERMINATED,
    (_S.ROTATING, _I.ROTATION_FINISHED): _S.ESTABLISHED,
    (_S.ROTATING, _I.ROTATION_ABANDONED): _S.ESTABLISHED,
    (_S.ROTATING, _I.SUSPEND): _S.SUSPENDED,
    (_S.ROTATING, _I.END): _S.TERMINATED,
    (_S.SUSPENDED, _I.RESTORE): _S.ESTABLISHED,
    (_S.SUSPENDED, _I.END): _S.TERMINATED,
}


def transition(state: SessionState, event: SessionInput) -> SessionState:
    """The state after `event`; IllegalTransition where the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"{event.name} in {state.name}") from None
