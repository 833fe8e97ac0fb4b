"""The tables of a vault's file, and what makes a file one of ours.

The schema's version stands in the file (`user_version`), and beside it a number that says whose file it is
(`application_id`). A file of another version or another program is refused: nothing is written over.
"""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["ForeignFile", "identify", "prepare"]

_APPLICATION: Final = 0x4E476174
"""`NGat`."""
_VERSION: Final = 1

_TABLES: Final = (
    # spent_floor: the latest end of a used number that was deleted.
    "CREATE TABLE vault (issuer BLOB NOT NULL, spent_floor REAL NOT NULL) STRICT",
    """CREATE TABLE sessions (
        session_id BLOB PRIMARY KEY, tenant TEXT NOT NULL, peer_id TEXT NOT NULL, group_name TEXT NOT NULL,
        mode INTEGER NOT NULL, remote_static BLOB NOT NULL, connection_ids BLOB NOT NULL, by_service INTEGER NOT NULL,
        resumable INTEGER NOT NULL, suspended_wall REAL NOT NULL, expires_wall REAL NOT NULL, blob BLOB NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX sessions_expire ON sessions (expires_wall)",
    "CREATE TABLE spent (number BLOB PRIMARY KEY, until_wall REAL NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX spent_expire ON spent (until_wall)",
    """CREATE TABLE revoked (
        tenant TEXT NOT NULL, peer_id TEXT NOT NULL, static_key BLOB NOT NULL, revoked_wall REAL NOT NULL,
        PRIMARY KEY (tenant, peer_id, static_key)
    ) STRICT, WITHOUT ROWID""",
)

_SETTINGS: Final = (
    # Held until the connection closes, so that a second process finds the file taken.
    "PRAGMA locking_mode = EXCLUSIVE",
    # A commit has reached the disk when it returns.
    "PRAGMA synchronous = FULL",
    # What is deleted is overwritten with zeros.
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    # What a query sorts lies in no file beside: there may be no place for one, and it would not be overwritten.
    "PRAGMA temp_store = MEMORY",
)


class ForeignFile(Exception):
    """The file is no vault of this version; the text says what it is instead."""

    def __init__(self, what: str, remedy: str = "give another file") -> None:
        super().__init__(what)
        self.remedy = remedy


def prepare(connection: sqlite3.Connection, issuer: bytes) -> bytes:
    """Take the file, and make its tables where it is empty, with `issuer`; the issuer that it has from now on.

    Errors: ForeignFile; sqlite3.Error where it is broken, or taken by another process.
    """
    for setting in _SETTINGS:
        connection.execute(setting).fetchall()
    connection.execute("BEGIN EXCLUSIVE")
    if not identify(connection):
        for table in _TABLES:
            connection.execute(table)
        connection.execute("INSERT INTO vault VALUES (?, 0)", (issuer,))
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")
    # Not before the file is known to be ours, because this writes into it.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    if connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise ForeignFile("is damaged", "give another file; the sessions in this one are lost")
    found: bytes
    ((found,),) = connection.execute("SELECT issuer FROM vault").fetchall()
    return found


def identify(connection: sqlite3.Connection) -> bool:
    """Whether the file has the tables of this version; False for an empty one. ForeignFile, sqlite3.Error."""
    application, version = _number(connection, "application_id"), _number(connection, "user_version")
    if not application and not version and not _number(connection, "schema_version"):
        return False
    if application != _APPLICATION:
        raise ForeignFile("is a database of another program")
    if version != _VERSION:
        raise ForeignFile(
            f"is of another version of noisegate: of version {version} of the state, where this one has {_VERSION}",
            "run that one again, which has its sessions still; or give another file, and do without them",
        )
    return True


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    ((number,),) = connection.execute(f"PRAGMA {pragma}").fetchall()
    return int(number)
