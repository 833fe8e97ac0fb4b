"""What every batch has in common: its order, its slices, a result for each item whatever becomes of the others.

A batch is served in slices. Between two of them its caller may let others run, since no session is held there; and
where a session has to come back from the vault first, the batch waits for that at its place, so that order is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise, repeat
from typing import Final, Protocol, TypeVar

from noisegate_server.engine.parts import Parts
from noisegate_server.session.errors import Overloaded, SessionError
from noisegate_server.session.session import Session
from noisegate_server.store.suspended import Dormant

SLICE: Final = 128
"""Items after which a batch may pause, and the longest run that is served at once."""
_TURNS: Final = 64
"""How often a session may leave memory again before its item is told to try later."""

Moment = tuple[float, float]
"""(now, wall)."""

R = TypeVar("R")

Steps = Generator[Dormant | None, Moment | None, R]
"""A batch that is being served. What it yields: None, others may run now; Dormant, this session has to come back.

It is sent the moment at which it goes on, or None where nothing else has run. A SessionError thrown in says why a
session does not come back. In the end it returns its result.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Items by session, in their order."""

    session_ids: Sequence[bytes]
    """One for each run."""
    starts: Sequence[int]
    """The first item of each run, 1 to SLICE behind that of the run before, and the end of the last."""

    @classmethod
    def of(cls, session_ids: Sequence[bytes], counts: Sequence[int]) -> Runs:
        """Runs of any length; long ones are cut. No `counts`: one item each."""
        if not counts:
            return cls(session_ids=session_ids, starts=range(len(session_ids) + 1))
        if max(counts) > SLICE:
            cut = [
                (session_id, min(SLICE, count - at))
                for session_id, count in zip(session_ids, counts, strict=True)
                for at in range(0, count, SLICE)
            ]
            session_ids, counts = [each for each, _ in cut], [count for _, count in cut]
        return cls(session_ids=session_ids, starts=list(accumulate(counts, initial=0)))

    def each(self) -> Sequence[bytes]:
        """The session of every item."""
        if isinstance(self.starts, range):
            return self.session_ids
        counts = [end - start for start, end in pairwise(self.starts)]
        return list(chain.from_iterable(map(repeat, self.session_ids, counts)))


@dataclass(slots=True, kw_only=True)
class Sparse:
    """What only some of a batch's items have: (index, what), in order."""

    errors: list[tuple[int, SessionError]] = field(default_factory=list)
    to_peer: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)
    rotation_due: list[int] = field(default_factory=list)


class Work(Protocol):
    """One kind of batch: how its items are served."""

    parts: Parts
    sparse: Sparse
    at_once: int
    """Items after which it may pause, at least as many as its longest run has."""

    def together(self, run: int, now: float) -> int:
        """Serve a whole part of the batch from run `run` on; how many runs, 0 where that is not possible."""

    def find(self, start: int, stop: int, now: float) -> Sequence[Session | None]:
        """The sessions of these runs; None where `one` has to look."""

    def straight(self, sessions: Sequence[Session | None], start: int, at: int, now: float) -> int:
        """Serve runs from run `start`, item `at` on, as far as they are simple; how many."""

    def one(self, run: int, index: int, now: float, wall: float) -> None:
        """Serve the item `index` of a run, whatever it is. SessionError; Dormant, and nothing was done."""

    def refused(self) -> None:
        """Leave the place of an item empty."""


def serve(work: Work, starts: Sequence[int], now: float, wall: float) -> Steps[None]:
    """Serve every item of a batch, in order; `starts` as in Runs."""
    run, total = 0, len(starts) - 1
    while run < total:
        if done := work.together(run, now):
            run += done
            if run < total and (moment := (yield None)) is not None:
                now, wall = moment
            continue
        first = run
        stop = bisect_right(starts, starts[run] + work.at_once) - 1
        sessions = work.find(run, stop, now)
        held = True
        while held and run < stop:
            run += work.straight(sessions[run - first :], run, starts[run], now)
            if run < stop:
                for index in range(starts[run], starts[run + 1]):
                    moment = yield from _serve_one(work, run, index, now, wall)
                    if moment is not None:
                        # Others have run: what was found may have ended or left since.
                        held, (now, wall) = False, moment
                run += 1
        if held and run < total and (moment := (yield None)) is not None:
            now, wall = moment
    if work.sparse.errors:
        work.parts.counts.refusals.update(type(error) for _, error in work.sparse.errors)


def _serve_one(work: Work, run: int, index: int, now: float, wall: float) -> Steps[Moment | None]:
    moment: Moment | None = None
    for _ in range(_TURNS):
        try:
            try:
                work.one(run, index, now, wall)
                break
            except Dormant as dormant:
                moment = (yield dormant) or (now, wall)
                now, wall = moment
        except SessionError as error:
            # Their tracebacks lead here, and so to the batch: a cycle, and refused packets work for the collector.
            error.__traceback__ = error.__context__ = None
            work.sparse.errors.append((index, error))
            work.refused()
            break
    else:
        work.sparse.errors.append((index, Overloaded("the session is on its way in or out of memory")))
        work.refused()
    return (yield None) or moment
