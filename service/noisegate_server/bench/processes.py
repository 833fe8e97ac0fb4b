"""Servers in processes of their own, each kept on one core."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["SERVICE", "pin", "process"]

SERVICE: Final = (sys.executable, "-m", "noisegate_server", "serve", "--dev", "--listen", "127.0.0.1:0")
"""The service as it is shipped."""
_CORES: Final = sorted(os.sched_getaffinity(0))
"""Read before anything is pinned: a child inherits the one core of its parent."""


@contextmanager
def process(*command: str) -> Iterator[tuple[int, str]]:
    """A server process on core 0 that says `... listening on HOST:PORT`: its pid and that address."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if server.stdout is None:
            raise RuntimeError("no standard output")
        address = server.stdout.readline().rsplit(" ", 1)[-1].strip()
        if not address:
            raise RuntimeError(f"{command} did not start")
        pin(server.pid, 0)
        yield server.pid, address
    finally:
        server.terminate()
        server.wait(15)
        if server.stdout is not None:
            server.stdout.close()


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread may have ended since it was listed.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {_CORES[core % len(_CORES)]})
