"""Runs a coroutine at once, as far as it comes without waiting.

A use case that may have to wait (for a file, for a remote store) is written once, as a coroutine. Over a store in
memory it never waits, and then the seam's answer is a plain reply: no task, no turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ["begin"]

T = TypeVar("T")


class _Rest(Generic[T]):
    """What is left of a coroutine that has begun and has yielded `first`, for a task to run."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, T], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        awaited = self._first
        try:
            while True:
                try:
                    yield awaited
                except BaseException as error:  # noqa: BLE001  # a cancellation too belongs to the coroutine
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result


async def _finish(rest: _Rest[T]) -> T:
    return await rest


def begin(coroutine: Coroutine[Any, Any, T]) -> T | asyncio.Task[T]:
    """The coroutine's result where it had to wait for nothing, otherwise a task that runs what is left of it.

    What it raises before its first wait is raised here. Up to there it has no current task, so no timeout of asyncio's.
    """
    try:
        first = coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    if first is None:
        # It waits for a turn of the loop and nothing else: a task's first step comes after just that.
        return asyncio.ensure_future(coroutine)
    return asyncio.ensure_future(_finish(_Rest(coroutine, first)))
