"""A control record that is said again until the peer reacts (docs/protocol.md, section 4)."""

from __future__ import annotations

from noisegate_server.session.backoff import Backoff
from noisegate_server.session.packets import Kind


class Reminder:
    """Our rotate-1, a question for a record of the new epoch, or a nudge. Made at rest."""

    __slots__ = ("nudged_at", "record", "timer")

    def __init__(self) -> None:
        self.record: tuple[Kind, bytes] | None = None
        """Kind and content; None at rest."""
        self.nudged_at = -1
        """A nudge: the next counter when it was last said in a keep-alive; -1 where it is none."""
        self.timer = Backoff()

    def start(self, kind: Kind, content: bytes, now: float) -> None:
        """Say this from the first wait on; the caller says it now."""
        self.record = (kind, content)
        self.nudged_at = -1
        self.timer.start(now)

    def nudge(self, counter: int, now: float) -> None:
        """Say in a keep-alive, only where all else was silent, what every record says; `counter` is the next one's."""
        self.start(Kind.KEEP_ALIVE, b"", now)
        self.nudged_at = counter

    def stop(self) -> None:
        """The peer has reacted."""
        self.record = None
        self.nudged_at = -1
        self.timer.stop()

    def due(self, counter: int, now: float) -> tuple[Kind, bytes] | None:
        """What is to be said again at `now` in record `counter`; if so the next wait begins."""
        if not self.timer.due(now):
            return None
        if self.nudged_at >= 0:
            spoken, self.nudged_at = self.nudged_at, counter
            if spoken != counter:
                # Whatever was sent since has said it: there is no silence to break.
                return None
            self.nudged_at += 1
        return self.record
