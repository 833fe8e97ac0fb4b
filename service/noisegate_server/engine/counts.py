"""What the use cases have done so far, in plain integers that only grow, and one that says how many sessions rotate.

Nobody is told: who wants to know reads them. Nothing here names a session, a player or a tenant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, NamedTuple

from noisegate_server.session.constants import SOFT_FAILURES
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import HandshakeFailed, SessionError
from noisegate_server.session.record_layout import Glance
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role, SessionState, TerminationReason
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.suspended import SuspendedSession

__all__ = ["Attempt", "Cause", "Counts", "HandshakeKind", "Outcome", "RotationKind", "Subject", "cause_of"]

Subject = Session | SuspendedSession | Glance


class Outcome(StrEnum):
    """What became of a handshake or a resume; one that was given up has the termination's reason instead."""

    ESTABLISHED = "established"
    FAILED = "failed"
    """The player's message did not fit."""
    REFUSED = "refused"
    """The policy, the clock, a cap or the caller's own request was against it."""
    RETRY = "retry"
    """The player was told to begin anew."""
    REJECTED = "rejected"
    """The ticket could not be used."""
    FELL_BACK = "fell_back"
    """Likewise, and a full handshake took its place."""


class RotationKind(StrEnum):
    """How keys change."""

    REKEY = "rekey"
    RENEGOTIATE = "renegotiate"


class Cause(StrEnum):
    """Why they do."""

    CALLER = "caller"
    """Rotate."""
    NETWORK = "network"
    """ChangeNetwork."""
    PEER = "peer"
    """The player asked for it, began it, or has come back from storage."""
    AGE = "age"
    """A soft limit, as the next three."""
    MESSAGES = "messages"
    BYTES = "bytes"
    FAILURES = "failures"
    RESTORE = "restore"
    """The session has left memory and come back."""


class HandshakeKind(NamedTuple):
    """What a handshake ran; None where it was refused before that was chosen."""

    pattern: Pattern | None = None
    suite: Suite | None = None


class Attempt:
    """A first message that is being answered."""

    __slots__ = ("kind",)

    def __init__(self) -> None:
        self.kind = HandshakeKind()


class Counts:
    """Of one instance."""

    __slots__ = (
        "early", "ended", "handshakes", "opened", "opened_bytes", "refusals", "restored", "resumes", "rotating",
        "rotations", "sealed", "sealed_bytes", "suspended", "sweeps", "ticket_replays",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sealed = 0
        """Plaintexts of the game."""
        self.sealed_bytes = 0
        self.opened = 0
        """Records with data for the game."""
        self.opened_bytes = 0
        self.handshakes: Final[Counter[tuple[HandshakeKind, str]]] = Counter()
        """By kind and outcome: an Outcome or a TerminationReason's name."""
        self.resumes: Final[Counter[str]] = Counter()
        """By outcome, likewise."""
        self.early: Final[Counter[bool]] = Counter()
        """Early data, by whether it was accepted."""
        self.ticket_replays = 0
        """Tickets that came again after they were used."""
        self.rotations: Final[Counter[tuple[RotationKind, Cause]]] = Counter()
        """Those that are done."""
        self.rotating = 0
        """Sessions in memory whose state is ROTATING now."""
        self.suspended = 0
        self.restored = 0
        self.ended: Final[Counter[TerminationReason]] = Counter()
        """Established sessions."""
        self.refusals: Final[Counter[type[Exception]]] = Counter()
        """Of calls and of items in batches, by the error's type."""
        self.sweeps = 0

    # --- handshakes --------------------------------------------------------------------------------------------------

    @contextmanager
    def first_message(self) -> Iterator[Attempt]:
        """Count a handshake that is refused before it has a session."""
        attempt = Attempt()
        try:
            yield attempt
        except SessionError as error:
            outcome = Outcome.FAILED if isinstance(error, HandshakeFailed) else Outcome.REFUSED
            self.handshakes[attempt.kind, outcome] += 1
            raise

    def established(self, session: Session) -> None:
        """A handshake or a resume has finished."""
        if session.pattern is Pattern.NNPSK0:
            self.resumes[Outcome.ESTABLISHED] += 1
        else:
            self.handshakes[HandshakeKind(session.pattern, session.suite), Outcome.ESTABLISHED] += 1

    def given_up(self, session: Subject, reason: TerminationReason, *, resumable: bool) -> None:
        """A handshake that had a session ended before it finished. What a ticket brought, `redeem` counts."""
        if not isinstance(session, Session):
            return
        outcome = reason.name.lower()
        if session.pattern is not Pattern.NNPSK0:
            self.handshakes[HandshakeKind(session.pattern, session.suite), outcome] += 1
        elif session.role is Role.INITIATOR:
            self.resumes[outcome] += 1

    # --- rotations ---------------------------------------------------------------------------------------------------

    def settle(self, session: Session, cause: Cause) -> None:
        """Bring the session's state in line with its records; `cause`: why it rotates, if it begins to."""
        before = session.state
        session.settle()
        if session.state is not before:
            begins = session.state is SessionState.ROTATING
            self.rotating += 1 if begins else -1
            if begins:
                session.rotation_cause = cause

    def rotated(self, session: Session) -> None:
        """New keys are in use at both ends. Where nothing of ours had begun, the player has come back with them."""
        cause = Cause(session.rotation_cause or Cause.PEER)
        session.rotation_cause = ""
        self.rotations[RotationKind.RENEGOTIATE, cause] += 1

    # --- lives -------------------------------------------------------------------------------------------------------

    def came_back(self, session: Session) -> None:
        """A suspended session is in memory again, in DATAGRAM mode with new keys to agree on."""
        self.restored += 1
        self.rotating += session.state is SessionState.ROTATING
        if session.mode is RecordMode.DATAGRAM:
            session.rotation_cause = Cause.RESTORE

    def went(self, session: Session | Glance) -> None:
        """A session is about to leave memory suspended."""
        self.suspended += 1
        self.left(session)

    def end(self, session: Subject, reason: TerminationReason) -> None:
        """An established session ends."""
        self.ended[reason] += 1
        self.left(session)

    def left(self, session: Subject) -> None:
        """A session is about to leave memory, whatever for. One that is no object does not rotate."""
        if isinstance(session, Session):
            self.rotating -= session.state is SessionState.ROTATING


def cause_of(session: Session, records: DatagramRecords, now: float) -> Cause:
    """Why the policy rotates this session at `now`."""
    current, limits = records.current, records.limits
    if records.sealed_bytes >= limits.soft_bytes:
        return Cause.BYTES
    if records.sealed >= limits.soft_messages:
        return Cause.MESSAGES
    if now >= current.began_at + limits.soft_age:
        return Cause.AGE
    return Cause.FAILURES if session.refused >= SOFT_FAILURES else Cause.RESTORE
