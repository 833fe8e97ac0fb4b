"""What an examination finds: one line each, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from noisegate_server.config import ConfigError

__all__ = ["Finding", "Findings", "State"]


class State(Enum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    """It works, and an operator may want it otherwise."""
    MEND = "mend"
    """The service does not start so, or does not do what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    check: str
    """What was looked at, an option's name as a rule."""
    state: State
    text: str
    """What was found; never a secret."""
    remedy: str = ""
    """What to do; empty where there is nothing to do."""


class Findings:
    """The report, as it grows."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def ok(self, check: str, text: str) -> None:
        """It is as it should be."""
        self._found.append(Finding(check=check, state=State.OK, text=text))

    def note(self, check: str, text: str, remedy: str = "") -> None:
        """It works, and could be otherwise."""
        self._found.append(Finding(check=check, state=State.NOTE, text=text, remedy=remedy))

    def mend(self, check: str, text: str, remedy: str) -> None:
        """It must be mended."""
        self._found.append(Finding(check=check, state=State.MEND, text=text, remedy=remedy))

    @contextmanager
    def of_options(self) -> Iterator[None]:
        """What is refused inside is a finding, as the start of the service would refuse it."""
        try:
            yield
        except ConfigError as refused:
            self.mend(refused.option, "the service does not start so", refused.remedy)

    @property
    def healthy(self) -> bool:
        """Whether nothing must be mended."""
        return all(finding.state is not State.MEND for finding in self._found)
