"""How a use case waits without knowing of an event loop: for a turn of the others, and for another call to be done."""

from __future__ import annotations

from collections.abc import Generator
from types import coroutine
from typing import Any, Protocol


class Latch(Protocol):
    """Opens once; `asyncio.Event` is one."""

    def set(self) -> None:
        """Open it."""

    async def wait(self) -> Any:
        """Return as soon as it is open."""


class Underway:
    """A call that repeats of it wait for."""

    __slots__ = ("_latch", "failed")

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self.failed = False
        """It came to nothing, and nothing of it is left."""

    def over(self, *, failed: bool) -> None:
        """Let those who wait go on."""
        self.failed = failed
        self._latch.set()

    async def wait(self) -> None:
        """Return when it is over."""
        await self._latch.wait()


@coroutine
def turn() -> Generator[None, None, None]:
    """Let whatever else is ready run first."""
    yield


class Turns:
    """A latch that looks again at each turn: for instances whose vault never waits, where nobody ever looks twice."""

    __slots__ = ("_is_open",)

    def __init__(self) -> None:
        self._is_open = False

    def set(self) -> None:
        self._is_open = True

    async def wait(self) -> None:
        while not self._is_open:
            await turn()
