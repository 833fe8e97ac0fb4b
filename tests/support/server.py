"""A server in a process of its own, as an operator starts it, and what a test may ask of that process."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
READY: Final = "noisegate listening on "
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 20.0

SEALED_ENV: Final = "NOISEGATE_TEST_SEALED"
"""As tests.support.recording has it, which is not imported here: it imports the server."""


class NotReadyError(RuntimeError):
    """The process ended, or said nothing in time; the text has its log."""


def run_command(*arguments: str, seconds: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
    """`noisegate ARGUMENTS` to its end."""
    command = [sys.executable, "-m", "noisegate_server", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


class RunningServer:
    """One `noisegate serve`. Raises NotReadyError where it does not come up.

    `sealed`: a file in which every nonce that it uses is recorded; `environment`: variables beside those of this
    process.
    """

    def __init__(
        self, arguments: Sequence[str], sealed: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self._last_words = ""
        module = "noisegate_server" if sealed is None else "tests.support.recorded_server"
        variables = os.environ | (environment or {}) | ({} if sealed is None else {SEALED_ENV: str(sealed)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", *arguments],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        try:
            self.address = self._wait_until_ready()
        except NotReadyError:
            self.kill()
            raise

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.address.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def log(self) -> str:
        """Everything that it has written to standard error."""
        if self._log.closed:
            return self._last_words
        return os.pread(self._log.fileno(), 16 * 1024 * 1024, 0).decode("utf-8", "replace")

    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        code = self._process.wait(seconds)
        self._close()
        return code

    def stop(self) -> int:
        """SIGTERM, then its exit code. A process that does not stop is killed and its code is -9."""
        if not self.running:
            return self.wait()
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def kill(self) -> None:
        """As a crash ends it."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._last_words = self.log()
        self._log.close()

    def _wait_until_ready(self) -> str:
        stdout = self._process.stdout
        if stdout is None:
            raise NotReadyError("no standard output")
        deadline = time.monotonic() + START_SECONDS
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise NotReadyError(f"no word in {START_SECONDS} s; log:\n{self.log()}")
                read = os.read(stdout.fileno(), 1_024)
                if not read:
                    raise NotReadyError(f"ended with {self._process.wait()}; log:\n{self.log()}")
                line += read
        text = line.decode().strip()
        if not text.startswith(READY):
            raise NotReadyError(f"said {text!r}")
        return text.removeprefix(READY)
