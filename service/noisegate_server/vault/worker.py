"""One thread that owns a SQLite connection, behind awaitables: jobs that wait together share one commit.

A commit that survives a power cut waits for the disk, so the event loop must not make it. Jobs run in the order in
which they were handed over, and their callers go on in that order.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

from noisegate_server.store.vault import VaultFailed

__all__ = ["Worker"]

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]
"""What the thread does inside a transaction. May be run a second time, after the first was undone."""

_GROUP: Final = 512
"""Jobs of one transaction at most."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A job, and the future of whoever waits for it."""

    job: Job[Any]
    answer: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Worker:
    """Runs jobs on `connection`, which nobody else may use from now on. Belongs to the event loop that makes it."""

    __slots__ = ("_connection", "_jobs", "_loop", "_open", "_thread")

    def __init__(self, connection: sqlite3.Connection) -> None:
        """`connection`: made with isolation_level None and check_same_thread False."""
        self._connection: Final = connection
        self._loop: Final = asyncio.get_running_loop()
        self._jobs: Final[SimpleQueue[_Asked | None]] = SimpleQueue()
        self._open = True
        self._thread: Final = Thread(target=self._work, name="vault", daemon=True)
        self._thread.start()

    async def run(self, job: Job[T]) -> T:
        """The job's result, once it is committed. VaultFailed where it is not."""
        if not self._open:
            raise VaultFailed("the vault is closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Asked(job, answer))
        del job
        try:
            return await answer
        finally:
            # A failure's traceback leads here: what holds it too would be a cycle, with the blobs of the job in it.
            del answer

    async def close(self) -> None:
        """Do what was asked for, then close the connection and end the thread. A repeat does nothing."""
        if self._open:
            self._open = False
            self._jobs.put(None)
            await self._loop.run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        more = True
        while more:
            group, more = self._next_group()
            if not self._commit(group):
                # What makes one job fail must not fail its neighbours: each for itself.
                for asked in group:
                    self._commit([asked])
            self._loop.call_soon_threadsafe(_deliver, group)
        self._connection.close()

    def _next_group(self) -> tuple[list[_Asked], bool]:
        """Those that wait, at least one; and whether the thread goes on after them."""
        group: list[_Asked] = []
        try:
            asked = self._jobs.get()
            while asked is not None:
                group.append(asked)
                if len(group) == _GROUP:
                    return group, True
                asked = self._jobs.get_nowait()
        except Empty:
            return group, True
        return group, False

    def _commit(self, group: list[_Asked]) -> bool:
        """Run the jobs in one transaction; False, with the error in each, where it was undone."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for asked in group:
                asked.result, asked.error = asked.job(connection), None
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # the outermost frame of its thread: whoever waits must be told
            for asked in group:
                asked.error = _failure(error)
            self._undo()
            return False
        return True

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has undone it by itself; otherwise the next BEGIN says so.
            return


_CERTAIN: Final = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY", "SQLITE_BUSY"})
"""Errors that leave no whole commit behind: its last frame was not written. Of a failed fsync nobody knows that."""


def _failure(error: Exception) -> Exception:
    """VaultFailed for what SQLite could not do."""
    if not isinstance(error, sqlite3.Error):
        return error
    name = getattr(error, "sqlite_errorname", "")
    return VaultFailed(name or type(error).__name__, certain=name in _CERTAIN)


def _deliver(group: list[_Asked]) -> None:
    for asked in group:
        if asked.answer.cancelled():
            continue
        if asked.error is not None:
            asked.answer.set_exception(asked.error)
        else:
            asked.answer.set_result(asked.result)
