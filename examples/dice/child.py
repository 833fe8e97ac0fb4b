"""How the processes of the example talk to the one that started them: JSON lines out, JSON lines in.

A child ends when its standard input does: so none outlives its parent, however that one ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

Commands = asyncio.Queue[dict[str, Any]]
ORPHANED: Final = 3


def emit(kind: str, **fields: object) -> None:
    """Tells the parent something."""
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


def row(key: tuple[str, str, int], **columns: object) -> None:
    """Tells one column of an event: `text` is the player's, `wire` the table's, `rpc` and `ms` noisegate's.

    Columns with the same key (player, event, number) make one line.
    """
    emit("row", key=list(key), **columns)


def imported(*packages: str) -> list[str]:
    """Which of the packages this process has imported, in whole or in part."""
    return sorted({name.partition(".")[0] for name in sys.modules} & set(packages))


def run_child(main: Callable[[Commands], Awaitable[int]]) -> None:
    """Runs `main` until it is done, or until the parent is gone."""
    with suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(_supervised(main)))


async def _supervised(main: Callable[[Commands], Awaitable[int]]) -> int:
    commands: Commands = asyncio.Queue()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def listen() -> int:
        while line := await reader.readline():
            commands.put_nowait(json.loads(line))
        return ORPHANED

    tasks = asyncio.ensure_future(main(commands)), asyncio.ensure_future(listen())
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    code = next(task.result() for task in tasks if task.done())
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return code
