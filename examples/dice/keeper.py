"""Runs a program that knows nothing of this example, and ends it when the parent is gone."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from examples.dice.child import Commands, run_child


async def keep(_commands: Commands) -> int:
    """Runs the command line after this module's name; its exit code."""
    process = await asyncio.create_subprocess_exec(*sys.argv[1:], stdin=asyncio.subprocess.DEVNULL)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 2)
            except TimeoutError:
                process.kill()
                await process.wait()


if __name__ == "__main__":
    run_child(keep)
