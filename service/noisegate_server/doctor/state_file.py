"""The state file: whether it can be used, has room, and is not younger than today. Looked at without writing to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from noisegate_server.config import Config
from noisegate_server.config.capacity import volume_bytes
from noisegate_server.doctor.findings import Findings
from noisegate_server.vault.schema import ForeignFile, identify
from noisegate_server.vault.troubles import FOR_OTHERS, NOT_WRITABLE, SHARED, trouble

__all__ = ["examine_state_file"]

_OPTION: Final = "--state-file"


def examine_state_file(findings: Findings, config: Config, wall: float) -> None:
    """The file, or the folder in which it will be made."""
    path = config.state_file
    if path is None:
        return
    _examine_room(findings, path.parent, config.max_sessions)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _examine_folder(findings, path)
        return
    except OSError as error:
        findings.mend(_OPTION, f"{path}: cannot be reached ({error.strerror})", NOT_WRITABLE[1])
        return
    if mode & FOR_OTHERS:
        what, remedy = SHARED
        findings.mend(_OPTION, f"{path}: {what}", remedy)
    if not os.access(path, os.R_OK | os.W_OK):
        what, remedy = NOT_WRITABLE
        findings.mend(_OPTION, f"{path}: {what}", remedy)
        return
    # A reader that finds the log of a crash makes a file for sharing it; the service, which is alone, has none.
    shared = path.with_name(f"{path.name}-shm")
    was_there = shared.exists()
    try:
        _examine_content(findings, path, wall)
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "") or type(error).__name__
        if name == "SQLITE_BUSY":
            findings.ok(_OPTION, f"{path}: in use by a running service")
        else:
            what, remedy = trouble(name)
            findings.mend(_OPTION, f"{path}: {what}", remedy)
    finally:
        if not was_there:
            shared.unlink(missing_ok=True)


def _examine_room(findings: Findings, folder: Path, sessions: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    needed = volume_bytes(sessions)
    told = f"{folder}: {free / 1e9:.1f} GB free"
    if free < needed:
        findings.note(
            _OPTION,
            f"{told}, and {sessions:,} sessions may need {needed / 1e9:.1f} GB",
            "make room, or lower --max-sessions: what cannot be written does not survive a stop",
        )
    else:
        findings.ok(_OPTION, told)


def _examine_folder(findings: Findings, path: Path) -> None:
    if path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
        findings.ok(_OPTION, f"{path}: will be made at the first start")
    else:
        findings.mend(_OPTION, f"{path}: cannot be made", f"make the folder; {NOT_WRITABLE[1]}")


def _examine_content(findings: Findings, path: Path, wall: float) -> None:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
        try:
            if not identify(connection):
                findings.ok(_OPTION, f"{path}: empty, and made ready at the first start")
                return
            ((kept, newest),) = connection.execute("SELECT count(*), max(suspended_wall) FROM sessions")
        except ForeignFile as foreign:
            findings.mend(_OPTION, f"{path}: {foreign}", foreign.remedy)
            return
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            what, remedy = trouble("SQLITE_NOTADB")
            findings.mend(_OPTION, f"{path}: {what}", remedy)
            return
    findings.ok(_OPTION, f"{path}: in order, {kept} suspended sessions")
    if newest is not None and newest > wall:
        findings.mend(
            "clock",
            f"{path}: holds what was suspended {newest - wall:.0f} s from now",
            "set this machine's clock: it was put back",
        )
