"""How `noisegate demo` talks and judges: numbered sentences, bytes and times under them, every claim checked."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable
from typing import Final, TypeVar

from rich.console import Console

import noisegate

__all__ = ["ClaimError", "Stage", "short"]

T = TypeVar("T")
E = TypeVar("E", bound=noisegate.NoisegateError)
_SHOWN_BYTES: Final = 16
_LABEL: Final = 22


class ClaimError(Exception):
    """Something that the demo says did not hold; the text is the claim."""


def short(data: bytes) -> str:
    """Length and the first bytes in hex."""
    rest = ".." if len(data) > _SHOWN_BYTES else ""
    return f"{len(data)} bytes {data[:_SHOWN_BYTES].hex()}{rest}"


class Stage:
    """Tells the steps to a console: coloured on a terminal, plain lines elsewhere.

    `pause`: seconds to read a step before the next begins.
    """

    def __init__(self, console: Console, *, pause: float = 0.0) -> None:
        self._console: Final = console
        self._pause: Final = pause
        self._milliseconds: Final[list[float]] = []
        self._told = False
        self.steps = 0
        """Sentences told so far."""
        self.claims = 0
        """Claims that held so far."""

    @property
    def calls(self) -> int:
        """RPCs made so far, refused ones included."""
        return len(self._milliseconds)

    @property
    def median_ms(self) -> float:
        """The median time of an RPC; 0 before the first."""
        return statistics.median(self._milliseconds) if self._milliseconds else 0.0

    async def act(self, title: str) -> None:
        """A heading."""
        await self._rest()
        self.say("")
        self.say(f"== {title}", style="bold cyan")

    async def step(self, sentence: str) -> None:
        """One sentence about what is going to happen."""
        await self._rest()
        self.steps += 1
        self.say("")
        self.say(f"{self.steps:2}. {sentence}", style="bold")
        self._told = True

    def note(self, label: str, text: str) -> None:
        """A line of evidence."""
        self.say(f"      {label:<{_LABEL}}{text}", style="dim")

    def sent(self, label: str, data: bytes) -> None:
        """A line of evidence: bytes on their way."""
        self.note(label, short(data))

    def say(self, line: str, *, style: str = "") -> None:
        """One line as it is."""
        self._console.print(line, style=style or None, markup=False, highlight=False, soft_wrap=True)

    async def call(self, name: str, awaitable: Awaitable[T]) -> T:
        """Make an RPC and show its time."""
        began = time.perf_counter()
        answer = await awaitable
        self._took(name, began, "")
        return answer

    async def refused(self, name: str, awaitable: Awaitable[object], error: type[E]) -> E:
        """Make an RPC that must be refused with `error`; returns the refusal. ClaimError for all else."""
        claim = f"{name} is refused with {error.__name__}"
        began = time.perf_counter()
        try:
            await awaitable
        except error as refusal:
            self._took(name, began, f"refused: {refusal.reason}")
            self.claims += 1
            return refusal
        except noisegate.NoisegateError as other:
            raise ClaimError(f"{claim} (it was {type(other).__name__})") from None
        raise ClaimError(f"{claim} (it was accepted)")

    def check(self, holds: bool, claim: str) -> None:
        """Go on where `claim` holds. ClaimError otherwise."""
        if not holds:
            raise ClaimError(claim)
        self.claims += 1

    def _took(self, name: str, began: float, outcome: str) -> None:
        milliseconds = (time.perf_counter() - began) * 1_000
        self._milliseconds.append(milliseconds)
        self.note(name, f"{milliseconds:.1f} ms  {outcome}".rstrip())

    async def _rest(self) -> None:
        if self._told and self._pause:
            await asyncio.sleep(self._pause)
        self._told = False
