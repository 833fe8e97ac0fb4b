"""Whether memory and the time of a stop are enough for as many sessions as there may be."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from noisegate_server.config import Config
from noisegate_server.config.capacity import memory_bytes, suspend_seconds
from noisegate_server.doctor.findings import Findings

__all__ = ["examine_limits"]

_OF_THE_CONTAINER: Final = Path("/sys/fs/cgroup/memory.max")
"""Of the control group that this process sees as the root (cgroup v2)."""


def examine_limits(findings: Findings, config: Config) -> None:
    """By the figures of docs/operate.md."""
    _examine_memory(findings, config.max_sessions, _memory())
    if config.state_file is not None and config.blob_key is not None:
        seconds = suspend_seconds(config.max_sessions)
        if config.suspend_grace < seconds:
            findings.note(
                "--suspend-grace",
                f"{config.suspend_grace:g} s, and {config.max_sessions:,} sessions may take {seconds:.0f} s to suspend",
                "raise it, or lower --max-sessions: what is left at the end of a stop ends",
            )


def _examine_memory(findings: Findings, sessions: int, available: int) -> None:
    needed = memory_bytes(sessions)
    told = f"{available / 1e9:.1f} GB of memory"
    if available < needed:
        findings.note(
            "--max-sessions",
            f"{told}, and {sessions:,} sessions in use may take {needed / 1e9:.1f} GB",
            "lower it, or give more memory: a process that is killed for it loses its sessions",
        )
    else:
        findings.ok("--max-sessions", f"{told}, enough for {sessions:,} sessions in use")


def _memory() -> int:
    """What this process may have at most."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):
        return min(machine, int(_OF_THE_CONTAINER.read_text(encoding="ascii")))
    return machine
