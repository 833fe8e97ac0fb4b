"""A driver: the program that calls one language's SDK, and the lines that are spoken with it.

A request is a line on its standard input, an answer a line on its standard output; bytes are hexadecimal digits.

    {"id": 7, "op": "encrypt", "session": "s", "plaintext": "686921"}
    {"id": 7, "ok": {"packet": "...", "to_peer": [], "counter": 0, "epoch": 0, "rotation_due": false}}
    {"id": 7, "error": {"code": "NOT_FOUND", "reason": "SESSION_NOT_FOUND", "resume_needed": true, "metadata": {}}}

Requests run side by side and answers may overtake each other. `{"op": "cancel", "target": 7}` cancels one, by the
language's own means, and has no answer. `client`, `session` and `receiver` are names under which the driver keeps what
the SDK gave it. The driver ends when its input does. Unknown operations are answered {"error": {"code": "UNKNOWN_OP"}}.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.conformance.suite.values import Unmet

ANSWER_SECONDS: Final = 30.0
_LINE_LIMIT: Final = 64 * 1024 * 1024
_ROOT: Final = Path(__file__).resolve().parents[3]


class Driver:
    """One running driver. Belongs to one event loop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._end = "the driver has ended"
        self._reading: Final = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str]) -> Driver:
        """Run the program. OSError where there is none."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT)
        return cls(process)

    def begin(self, op: str, **arguments: Any) -> tuple[int, asyncio.Future[dict[str, Any]]]:
        """Ask for an operation; its number, and its answer to come."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._reading.done():
            raise Unmet(self._end)
        self._waiting[number] = answer
        self._write({"id": number, "op": op, **arguments})
        return number, answer

    async def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Run an operation to its end. Unmet where the driver does not answer."""
        _, answer = self.begin(op, **arguments)
        return await self.answer(answer)

    async def answer(self, answer: asyncio.Future[dict[str, Any]]) -> dict[str, Any]:
        """Wait for what `begin` began."""
        try:
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError as error:
            raise Unmet("the driver does not answer") from error

    def cancel(self, number: int) -> None:
        """Cancel an operation."""
        self._write({"op": "cancel", "target": number})

    async def stop(self) -> None:
        """Close its input and wait for its end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), ANSWER_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    def _write(self, message: dict[str, Any]) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            try:
                answer = json.loads(line)
                waiting = self._waiting.pop(answer["id"], None)
            except (ValueError, LookupError, TypeError):
                self._end = f"the driver says what is no answer: {line[:80]!r}"
                if self._process.returncode is None:
                    self._process.kill()
                break
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unmet(self._end))
