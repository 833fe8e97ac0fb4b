"""What the evening looks like while it goes on: plain lines here, the live screen in screen.py."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from examples.dice.rows import Row, Rows


class View(Protocol):
    """Shows what happens."""

    def progress(self, text: str) -> None:
        """A step of the setup."""

    def begin(self) -> None:
        """The game begins."""

    def event(self, name: str, event: dict[str, Any]) -> None:
        """A process has said something."""

    def end(self) -> None:
        """The game is over, or was cut short."""


class PlainView:
    """One line for each event, for pipes and logs."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._began = time.monotonic()

    def progress(self, text: str) -> None:
        self._line(f"setup | {text}.")

    def begin(self) -> None:
        self._began = time.monotonic()
        self._line("time | player | table server (sealed bytes, no key) | noisegate (RPC, time)")

    def event(self, name: str, event: dict[str, Any]) -> None:
        at = time.monotonic() - self._began
        row = self._rows.add(event, at) if event["kind"] in ("row", "note") else None
        for line in (*self._rows.late(at), *([row] if row else ())):
            self._line(_plain(line))
        if event["kind"] == "told":
            self._line(f"{at:5.1f} s | noisegate tells: {event['text']}. | - | WatchSessions")

    def end(self) -> None:
        """Lines need no end."""

    @staticmethod
    def _line(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _plain(row: Row) -> str:
    return f"{row.at:5.1f} s | {row.text} | {row.wire or '-'} | {row.rpc.strip() or '-'}"
