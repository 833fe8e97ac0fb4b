"""The service of `noisegate demo`: a process of its own, as an operator starts one."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, NoReturn

__all__ = ["ServiceError", "own_service"]

_COMMAND: Final = ("-m", "noisegate_server", "serve", "--dev", "--listen", "127.0.0.1:0", "--drain", "0")
_READY: Final = b"noisegate listening on "
_START_S: Final = 20.0
_STOP_S: Final = 10.0


class ServiceError(Exception):
    """The service did not start or did not stop as it should; the text says how."""


@contextmanager
def own_service() -> Iterator[str]:
    """A service on a free port of this machine: its HOST:PORT. ServiceError. It ends with the block."""
    # Settings of the person's own service are not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOISEGATE_")}
    # Without this a SIGTERM would end us at once and leave the service behind.
    former = signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  # this program itself
            [sys.executable, *_COMMAND], env=environment, stdout=subprocess.PIPE, stderr=log
        )
        try:
            if process.stdout is None:
                raise ServiceError("it has no standard output")
            line = _first_line(process.stdout)
            if not line.startswith(_READY) or not line.endswith(b"\n"):
                raise ServiceError(f"it did not start; its log:\n{_text(log)}")
            yield line.removeprefix(_READY).decode().strip()
            process.terminate()
            if process.wait(_STOP_S):
                raise ServiceError(f"it ended with {process.returncode}; its log:\n{_text(log)}")
        except subprocess.TimeoutExpired:
            raise ServiceError(f"it did not stop within {_STOP_S:g} s; its log:\n{_text(log)}") from None
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            signal.signal(signal.SIGTERM, former)


def _first_line(pipe: IO[bytes]) -> bytes:
    """What comes up to the first line's end, the pipe's end, or the end of patience."""
    line = b""
    until = time.monotonic() + _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, until - time.monotonic())):
            read = os.read(pipe.fileno(), 1_024)
            if not read:
                break
            line += read
    return line


def _text(log: IO[bytes]) -> str:
    return os.pread(log.fileno(), 65_536, 0).decode("utf-8", "replace").strip()


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
