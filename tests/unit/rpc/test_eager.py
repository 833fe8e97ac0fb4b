"""A use case that may wait: at once where it need not, a task where it must."""

from __future__ import annotations

import asyncio

import pytest

from noisegate_server.rpc.eager import begin


async def test_what_never_waits_is_a_plain_result() -> None:
    """Over a vault in memory a call costs no task and no turn of the loop."""

    async def inner() -> int:
        return 20

    async def use_case() -> int:
        return await inner() + 1

    assert begin(use_case()) == 21


async def test_what_waits_goes_on_in_a_task() -> None:
    """Whatever came before the first wait has happened when `begin` returns, the rest when the task is done."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    done: list[str] = []

    async def use_case() -> int:
        done.append("fenced")
        first = await gate
        await asyncio.sleep(0)
        done.append("committed")
        return first + 1

    task = begin(use_case())
    assert isinstance(task, asyncio.Task)
    assert done == ["fenced"]
    gate.set_result(4)
    assert await task == 5
    assert done == ["fenced", "committed"]


async def test_an_error_before_the_first_wait_is_raised_at_once() -> None:
    """A refusal that needs no file costs no task either."""

    async def use_case() -> None:
        raise KeyError("at once")

    with pytest.raises(KeyError, match="at once"):
        begin(use_case())


async def test_an_error_of_what_is_waited_for_reaches_the_use_case() -> None:
    """It can clean up after it: put back what it has fenced."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def use_case() -> int:
        try:
            return await gate
        except OSError:
            seen.append("put back")
            raise

    task = begin(use_case())
    assert isinstance(task, asyncio.Task)
    gate.set_exception(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await task
    assert seen == ["put back"]


async def test_a_cancellation_reaches_the_use_case() -> None:
    """At its wait, as in any coroutine of a task."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def use_case() -> int:
        try:
            return await gate
        finally:
            seen.append("cleaned up")

    task = begin(use_case())
    assert isinstance(task, asyncio.Task)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]
    assert gate.cancelled()
