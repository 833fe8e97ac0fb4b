"""What can be wrong with the state file, and the way out: the words of a start, of the log and of the doctor."""

from __future__ import annotations

from typing import Final

__all__ = ["FOR_OTHERS", "NOT_WRITABLE", "SHARED", "trouble"]

FOR_OTHERS: Final = 0o077
"""The bits of a file's mode that let others at it."""

SHARED: Final = (
    "others on this machine may read it",
    "run chmod 600 on it; a kubelet opens it at each mount, unless the pod has fsGroupChangePolicy OnRootMismatch",
)
NOT_WRITABLE: Final = (
    "cannot be written",
    "let the service's user write to it and to its folder; in Kubernetes a volume is its pod's by fsGroup",
)
_DAMAGED: Final = ("is no state file, or is damaged", "give another file; the sessions in this one are lost")

_BY_ERROR: Final = {
    "SQLITE_BUSY": ("another process has it open", "give each process a file of its own"),
    "SQLITE_CANTOPEN": NOT_WRITABLE,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_FULL": ("its disk is full", "make room on it, or lower --max-sessions"),
    "SQLITE_IOERR": ("its disk fails", "look at the disk, and at what the system's log says of it"),
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_PERM": NOT_WRITABLE,
    "SQLITE_READONLY": NOT_WRITABLE,
}


def trouble(error: str) -> tuple[str, str]:
    """(what, remedy) of an error of SQLite by its name, or its kind's: SQLITE_IOERR_WRITE is a SQLITE_IOERR."""
    kind = "_".join(error.split("_")[:2])
    return _BY_ERROR.get(kind, (f"cannot be used ({error})", "run `noisegate doctor`, and look at the disk"))
