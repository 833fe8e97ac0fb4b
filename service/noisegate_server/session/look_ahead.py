"""What a ratchet's receiver has derived for messages that have not opened: so that forgeries cost their price once.

It costs no forward secrecy, since all of it follows from what the ratchet holds anyway. Phase secrets as far as anybody
has looked, and of each phase that was looked into every 32nd chain value: a packet that lies anywhere ahead then costs
at most 33 HMACs. Bounded: 64 phases of 256 bytes beside 64 secrets of 32. Dropped with the grace of its first use.
"""

from __future__ import annotations

import math
from typing import Final

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import GRACE_S, KEY, RATCHET_MESSAGES
from noisegate_server.session.keys import chain_start, next_chain, next_phase

_SHIFT: Final = RATCHET_MESSAGES.bit_length() - 1
_STRIDE: Final = 32
_MARKS: Final = RATCHET_MESSAGES // _STRIDE


class Marks:
    """Chain values of one phase: C(0), C(32), ..., C(224), as far as they are known."""

    __slots__ = ("first", "last", "values")

    def __init__(self) -> None:
        self.values = bytearray(_MARKS * KEY)
        self.first = 0
        """The number of the first value that is known, if `last` is not below it."""
        self.last = -1

    def get(self, number: int) -> bytearray:
        """A copy of a known value."""
        return self.values[number * KEY : (number + 1) * KEY]

    def put(self, number: int, chain: bytearray) -> None:
        """Note a value: the first one, or the one after `last`."""
        if self.last < 0:
            self.first = number
        self.last = number
        self.values[number * KEY : (number + 1) * KEY] = chain

    def passed(self, number: int) -> None:
        """Wipe the values before `number`."""
        self.values[: number * KEY] = bytes(number * KEY)
        self.first = max(self.first, number)
        if self.last < self.first:
            self.last = -1


class LookAhead:
    """One receiver's. Empty, it holds nothing; secrets are wiped by `wipe()`."""

    __slots__ = ("first", "marks", "phases", "until")

    def __init__(self) -> None:
        self.first = 0
        """The phase of `phases[0]`, of what is not empty."""
        self.phases: list[bytearray] = []
        """P(first), P(first + 1), ..."""
        self.marks: dict[int, Marks] = {}
        self.until = math.inf

    def chain(self, counter: int, at: int, chain: bytearray, following: bytearray, now: float) -> bytearray:
        """C of message `counter`, for the caller to wipe, from a ratchet that is at `at` <= `counter`."""
        if self.until == math.inf:
            self.until = now + GRACE_S
        phase = counter >> _SHIFT
        marks = self.marks.get(phase)
        if marks is None:
            marks = self.marks[phase] = Marks()
        index = counter & (RATCHET_MESSAGES - 1)
        wanted = index // _STRIDE
        known = min(marks.last, wanted)
        if known >= marks.first:
            begin, value = known * _STRIDE, marks.get(known)
        elif phase == at >> _SHIFT:
            begin, value = at & (RATCHET_MESSAGES - 1), bytearray(chain)
        else:
            begin, value = 0, chain_start(self._phase(phase, at >> _SHIFT, following))
        while True:
            number, rest = divmod(begin, _STRIDE)
            if not rest and marks.last in (-1, number - 1):
                marks.put(number, value)
            if begin == index:
                return value
            after = next_chain(value)
            wipe(value)
            value = after
            begin += 1

    def passed(self, at: int, now: float) -> None:
        """The ratchet has moved to `at`: wipe what lies before it, and everything that is old."""
        if self.until == math.inf:
            return
        if now >= self.until:
            self.wipe()
            return
        phase = at >> _SHIFT
        for old in [known for known in self.marks if known < phase]:
            wipe(self.marks.pop(old).values)
        if (marks := self.marks.get(phase)) is not None:
            marks.passed(-(-(at & (RATCHET_MESSAGES - 1)) // _STRIDE))
        while self.phases and self.first <= phase + 1:
            # The ratchet holds P(phase + 1) itself.
            wipe(self.phases.pop(0))
            self.first += 1

    def wipe(self) -> None:
        """Wipe everything."""
        for secret in self.phases:
            wipe(secret)
        for marks in self.marks.values():
            wipe(marks.values)
        self.phases.clear()
        self.marks.clear()
        self.until = math.inf

    def _phase(self, phase: int, current: int, following: bytearray) -> bytearray:
        """P(phase), which lies ahead; it stays this object's, or the ratchet's."""
        if phase == current + 1:
            return following
        if not self.phases:
            self.first = current + 2
            self.phases.append(next_phase(following))
        while self.first + len(self.phases) <= phase:
            self.phases.append(next_phase(self.phases[-1]))
        return self.phases[phase - self.first]
