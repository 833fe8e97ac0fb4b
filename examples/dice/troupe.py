"""The processes of the example: started, listened to, and ended together."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Event = dict[str, Any]
ROOT: Final = Path(__file__).parents[2]
LAST_WORDS: Final = 12
LINE_BYTES: Final = 1 << 20
GRACE_S: Final = 3.0


class TroupeError(RuntimeError):
    """A process ended, or did not say what it had to."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One process and what it has said."""

    name: str
    process: asyncio.subprocess.Process
    said: dict[str, Event] = field(default_factory=dict)
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_WORDS))
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def tell(self, command: Event) -> None:
        """One JSON line to its standard input."""
        if self.process.stdin is not None:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")


class Troupe:
    """All children. `on_event` gets every JSON line that a child writes."""

    def __init__(self, on_event: Callable[[str, Event], None]) -> None:
        self._on_event = on_event
        self._news = asyncio.Event()
        self._failure = ""
        self.children: dict[str, Child] = {}

    async def start(self, name: str, module: str, *arguments: str) -> Child:
        """Starts a module of Python as a process of its own; what it says is heard from now on."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, cwd=ROOT, limit=LINE_BYTES,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
            start_new_session=True,  # Ctrl-C is the parent's, which then ends them in order
        )  # fmt: skip
        child = self.children[name] = Child(name=name, process=process)
        child.tasks = [asyncio.create_task(self._listen(child)), asyncio.create_task(self._errors(child))]
        return child

    async def expect(self, child: Child, kind: str) -> Event:
        """Waits until the child has said something of this kind. TroupeError if any child fails before."""
        while kind not in child.said:
            if self._failure:
                raise TroupeError(self._failure)
            self._news.clear()
            await self._news.wait()
        return child.said[kind]

    def silent(self, kind: str) -> list[str]:
        """The children that have not said something of this kind."""
        return [child.name for child in self.children.values() if kind not in child.said]

    async def end(self) -> None:
        """Ends every child: by the end of its input, then by force."""
        for child in self.children.values():
            if child.process.stdin is not None:
                child.process.stdin.close()
        waits = [asyncio.create_task(child.process.wait()) for child in self.children.values()]
        if waits:
            await asyncio.wait(waits, timeout=GRACE_S)
        for child in self.children.values():
            with suppress(ProcessLookupError):
                if child.process.returncode is None:
                    child.process.kill()
            for task in child.tasks:
                task.cancel()
        await asyncio.gather(*waits, *(task for child in self.children.values() for task in child.tasks),
                             return_exceptions=True)  # fmt: skip

    async def _listen(self, child: Child) -> None:
        stdout = child.process.stdout
        while stdout is not None and (line := await stdout.readline()):
            text = line.decode(errors="replace").rstrip()
            event: Event = json.loads(text) if text.startswith("{") else {"kind": "line", "text": text}
            child.said[event["kind"]] = event
            if event["kind"] == "failed":
                self._fail(f"{child.name}: {event['text']}")
            self._on_event(child.name, event)
            self._news.set()
        code = await child.process.wait()
        if code or "books" not in child.said:
            last = next((f": {line}" for line in reversed(child.errors) if line), "")
            self._fail(f"{child.name} ended with exit code {code}{last}")

    async def _errors(self, child: Child) -> None:
        stderr = child.process.stderr
        while stderr is not None and (line := await stderr.readline()):
            child.errors.append(line.decode(errors="replace").rstrip())

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._news.set()
