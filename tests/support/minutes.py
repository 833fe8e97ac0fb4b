"""What each suite of a run took: a suite is a folder of tests, or a file where a folder has one for each language."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Final

import pytest

_BY_FILE: Final = ("tests/clients", "tests/interop")


class Minutes:
    """A plugin: at the end it prints the minutes of every suite, the dearest first."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)
        self._tests: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts set-up and teardown too: what a suite builds, it builds there."""
        suite = _suite(report.nodeid)
        self._spent[suite] += report.duration
        self._tests[suite] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Prints the table."""
        terminalreporter.section("minutes per suite")
        for suite, seconds in sorted(self._spent.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{seconds / 60:6.1f} min  {self._tests[suite]:5} tests  {suite}")


def _suite(nodeid: str) -> str:
    path = PurePosixPath(nodeid.partition("::")[0])
    folder = PurePosixPath(*path.parts[:2]).as_posix()
    return path.as_posix() if folder in _BY_FILE else folder
