"""What the use cases give back: plain values, from which `rpc` makes the contract's messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from noisegate_server.session.packets import RetryReason
from noisegate_server.session.session import Session
from noisegate_server.session.suites import NOISE_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What is known about a session once its handshake has finished."""

    remote_static_key: bytes
    handshake_hash: bytes
    pattern: int
    suite: int
    protocol_name: str
    expires_in: float
    """Seconds."""
    overhead_bytes: int
    keep_alive: float
    """Seconds, as the next."""
    idle_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeStep:
    """What a step of a handshake gave."""

    session_id: bytes
    """Empty beside `retry`."""
    to_peer: tuple[bytes, ...] = ()
    payload: bytes = b""
    hello: bytes = b""
    connection_id: bytes = b""
    established: Established | None = None
    """None: another message of the player is needed."""
    expires_in: float = 0.0
    """While not established: seconds until the handshake is given up."""
    retry: RetryReason | None = None
    """`to_peer` is a RETRY: the player begins anew, and there is no session."""


class Early(IntEnum):
    """What became of early data; numbers of the contract's EarlyData."""

    NONE = 0
    ACCEPTED = 1
    REJECTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStep:
    """What a step of a resume gave."""

    session_id: bytes
    to_peer: tuple[bytes, ...] = ()
    payload: bytes = b""
    ticket: bytes = b""
    connection_id: bytes = b""
    peer_id: str = ""
    group: str = ""
    established: Established | None = None
    expires_in: float = 0.0
    early: Early = Early.NONE
    early_data: bytes = field(default=b"", repr=False)
    """The player's, where it was accepted: in one answer, and in none that is given again."""
    fell_back: bool = False
    """The ticket was refused; this is the full handshake that came with it."""
    retry: RetryReason | None = None
    """As in HandshakeStep; only where it fell back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How far a rotation is."""

    to_peer: tuple[bytes, ...]
    state: int
    epoch: int
    counter: int = 0
    ready_to_switch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedTicket:
    """A ticket, sealed for the player."""

    to_peer: tuple[bytes, ...]
    expires_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as its owner may see it."""

    session_id: bytes
    state: int
    termination_reason: int = 0
    mode: int = 0
    role: int = 0
    peer_id: str = ""
    group: str = ""
    established: Established | None = None
    epoch: int = 0
    sealed: int = 0
    opened: int = 0
    refused: int = 0
    age: float = 0.0
    idle: float = 0.0
    connection_id: bytes = b""
    early: bool = False
    network: int = 0
    suspended_by_service: bool = False


class Decrypted(NamedTuple):
    """An opened record. A named tuple, because one is made for every packet."""

    session_id: bytes
    to_peer: tuple[bytes, ...]
    plaintext: bytes | None
    """None: nothing for the game."""
    control: int
    """A number of the contract's ControlKind; 0 beside a plaintext."""
    counter: int
    epoch: int
    early: bool
    newest: bool
    rotation_due: bool
    answered: bytes = b""
    """The token of the question of ours that it answers."""


def established(session: Session, now: float) -> Established | None:
    """What is known about `session`, or None while its handshake has not finished."""
    records = session.records
    if records is None:
        return None
    return Established(
        remote_static_key=session.remote_static,
        handshake_hash=session.handshake_hash,
        pattern=session.pattern,
        suite=session.suite,
        protocol_name=NOISE_NAMES[session.pattern, session.suite],
        expires_in=session.lifetime_end - now,
        overhead_bytes=records.overhead,
        keep_alive=session.keep_alive,
        idle_timeout=session.idle_timeout,
    )
