"""What sessions take of memory, disk and time: the figures that docs/operate.md plans with.

The doctor and the chart hold limits against them; `python -m tools.make_chart` gives them to the chart.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FIGURES", "memory_bytes", "suspend_seconds", "volume_bytes"]

_MIB: Final = 1024 * 1024

PROCESS: Final = 96 * _MIB
"""Bytes of the process after its start."""
KEPT: Final = 164 * _MIB
"""Bytes at most: answers for repeated calls and for repeated packets, 64 MiB each; 16,384 AEAD contexts of 2.2 KB."""
SESSION: Final = 4_608
"""Bytes of a session in use."""
SUSPENDED: Final = 2 * 1_024
"""Bytes of a suspended session in the state file, and as much again while it is written."""
SUSPENDED_A_SECOND: Final = 5_000
"""Sessions that a stop suspends, on a slow disk."""

FIGURES: Final = {
    "process": PROCESS,
    "kept": KEPT,
    "session": SESSION,
    "suspended": SUSPENDED,
    "suspended_a_second": SUSPENDED_A_SECOND,
}


def memory_bytes(sessions: int) -> int:
    """Of a process with so many sessions, all in use at once."""
    return PROCESS + KEPT + sessions * SESSION


def volume_bytes(sessions: int) -> int:
    """Of the disk that the state file is on, with so many sessions suspended."""
    return sessions * SUSPENDED


def suspend_seconds(sessions: int) -> float:
    """That a stop takes to suspend so many."""
    return sessions / SUSPENDED_A_SECOND
