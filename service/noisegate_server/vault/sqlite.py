"""A vault in one local SQLite file: what is suspended, used or revoked outlives the process, and a power cut.

The file holds no key in the open: blobs are sealed under a key that is not in it. Who can write it can forget for us,
and an old copy put in its place brings back what was used since; SECURITY.md says what follows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from noisegate_server.session.constants import CONNECTION_ID
from noisegate_server.store.vault import KeptSession, Revocation
from noisegate_server.vault.schema import ForeignFile, prepare
from noisegate_server.vault.troubles import FOR_OTHERS, NOT_WRITABLE, SHARED, trouble
from noisegate_server.vault.worker import Worker

__all__ = ["SqliteVault", "UnusableFile"]

_OWN: Final = 0o600
_FOUND_BY: Final = (
    "session_id, tenant, peer_id, group_name, mode, remote_static, connection_ids, by_service, resumable,"
    " suspended_wall, expires_wall"
)


class UnusableFile(Exception):
    """The file cannot be the vault; the text says why and what to do, for whoever started the process."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")


class SqliteVault:
    """A `Vault` in a file. Belongs to the event loop in which it was opened."""

    __slots__ = ("_issuer", "_worker")

    def __init__(self, path: Path, issuer: bytes) -> None:
        """Open the file, or make it, with `issuer` (4 bytes at random). UnusableFile where that cannot be.

        Reads the whole file once, to find out whether it is sound.
        """
        connection = _connect(path)
        try:
            self._issuer: Final = prepare(connection, issuer)
        except ForeignFile as foreign:
            connection.close()
            raise UnusableFile(str(foreign), foreign.remedy) from None
        except sqlite3.Error as error:
            connection.close()
            raise UnusableFile(*trouble(getattr(error, "sqlite_errorname", "") or type(error).__name__)) from None
        self._worker: Final = Worker(connection)

    @property
    def issuer(self) -> bytes:
        return self._issuer

    @property
    def survives(self) -> bool:
        return True

    async def kept(self) -> list[KeptSession]:
        return await self._worker.run(_kept)

    async def revoked(self) -> list[Revocation]:
        return await self._worker.run(_revoked)

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        await self._worker.run(partial(_keep, rows=[_row(session) for session in sessions]))

    async def take(self, session_id: bytes) -> bytes | None:
        return await self._worker.run(partial(_take, session_id=session_id))

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        await self._worker.run(partial(_forget, rows=[(session_id,) for session_id in session_ids]))

    async def spend(self, number: bytes, until_wall: float) -> bool:
        return await self._worker.run(partial(_spend, number=number, until_wall=until_wall))

    async def revoke(self, revocation: Revocation) -> None:
        await self._worker.run(partial(_revoke, revocation=revocation))

    async def expire(self, wall: float, budget: int) -> None:
        await self._worker.run(partial(_expire, wall=wall, budget=budget))

    async def settle(self) -> None:
        await self._worker.run(_nothing)

    async def close(self) -> None:
        await self._worker.close()


def _connect(path: Path) -> sqlite3.Connection:
    """The connection to a file that nobody else may read. UnusableFile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWN)
        try:
            mode = os.fstat(descriptor).st_mode
        finally:
            os.close(descriptor)
        _sync_folder(path.parent)
    except OSError as error:
        raise UnusableFile(f"cannot be opened ({error.strerror})", NOT_WRITABLE[1]) from None
    if mode & FOR_OTHERS:
        raise UnusableFile(*SHARED)
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _sync_folder(folder: Path) -> None:
    """A new file's name must outlive a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _row(session: KeptSession) -> tuple[Any, ...]:
    return (
        session.session_id,
        session.tenant,
        session.peer_id,
        session.group,
        session.mode,
        session.remote_static,
        b"".join(session.connection_ids),
        session.by_service,
        session.resumable,
        session.suspended_wall,
        session.expires_wall,
        session.blob,
    )


def _session(row: tuple[Any, ...]) -> KeptSession:
    session_id, tenant, peer_id, group, mode, remote_static, joined, by_service, resumable, suspended, expires = row
    return KeptSession(
        session_id=session_id,
        tenant=tenant,
        peer_id=peer_id,
        group=group,
        mode=mode,
        remote_static=remote_static,
        connection_ids=tuple(joined[at : at + CONNECTION_ID] for at in range(0, len(joined), CONNECTION_ID)),
        by_service=bool(by_service),
        resumable=bool(resumable),
        suspended_wall=suspended,
        expires_wall=expires,
        blob=b"",
    )


def _kept(connection: sqlite3.Connection) -> list[KeptSession]:
    return [_session(row) for row in connection.execute(f"SELECT {_FOUND_BY} FROM sessions ORDER BY suspended_wall")]  # noqa: S608  # our own names


def _revoked(connection: sqlite3.Connection) -> list[Revocation]:
    rows = connection.execute("SELECT tenant, peer_id, static_key, revoked_wall FROM revoked")
    return [
        Revocation(tenant=tenant, peer_id=peer_id, static_key=static_key, revoked_wall=revoked_wall)
        for tenant, peer_id, static_key, revoked_wall in rows
    ]


def _keep(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _take(connection: sqlite3.Connection, session_id: bytes) -> bytes | None:
    rows = connection.execute("DELETE FROM sessions WHERE session_id = ? RETURNING blob", (session_id,)).fetchall()
    return rows[0][0] if rows else None


def _forget(connection: sqlite3.Connection, rows: list[tuple[bytes]]) -> None:
    connection.executemany("DELETE FROM sessions WHERE session_id = ?", rows)


def _spend(connection: sqlite3.Connection, number: bytes, until_wall: float) -> bool:
    done = connection.execute(
        "INSERT OR IGNORE INTO spent SELECT :number, :until FROM vault WHERE :until > spent_floor",
        {"number": number, "until": until_wall},
    )
    return done.rowcount == 1


def _revoke(connection: sqlite3.Connection, revocation: Revocation) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO revoked VALUES (?, ?, ?, ?)",
        (revocation.tenant, revocation.peer_id, revocation.static_key, revocation.revoked_wall),
    )


def _expire(connection: sqlite3.Connection, wall: float, budget: int) -> None:
    connection.execute(
        "DELETE FROM sessions WHERE session_id IN"
        " (SELECT session_id FROM sessions WHERE expires_wall <= ? ORDER BY expires_wall LIMIT ?)",
        (wall, budget),
    )
    gone = connection.execute(
        "DELETE FROM spent WHERE number IN"
        " (SELECT number FROM spent WHERE until_wall <= ? ORDER BY until_wall LIMIT ?) RETURNING until_wall",
        (wall, budget),
    ).fetchall()
    if gone:
        connection.execute("UPDATE vault SET spent_floor = max(spent_floor, ?)", max(gone))


def _nothing(_connection: sqlite3.Connection) -> None:
    """A job that only waits for its turn."""
