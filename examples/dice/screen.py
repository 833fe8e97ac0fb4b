"""The live screen: bankrolls and dice above, three columns of events, counts below."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.dice.rows import Row, Rows
from examples.dice.script import BY_NAME, GUESTS, HYBRID, Guest

TITLE: Final = "Dice at a table that cannot read its players"
WHAT: Final = "The table server passes on the sealed bytes of seven players and has no key: only noisegate has."
STYLES: Final = {
    "attack": "bold red",
    "refused": "red",
    "drop": "bold yellow",
    "resume": "bold green",
    "rotate": "bold magenta",
    "rekey": "bold magenta",
    "renegotiate": "bold magenta",
    "move": "bold cyan",
    "quiet": "dim",
}
COUNTS: Final = (
    ("sealed", "sealed", "cyan"),
    ("opened", "opened", "cyan"),
    ("forged", "forged refused", "red"),
    ("replays", "replays refused", "red"),
    ("rotated", "rotated", "magenta"),
    ("resumed", "resumed", "green"),
    ("early", "early data", "green"),
    ("suspended", "suspended", "yellow"),
    ("moved", "moved", "cyan"),
    ("calls", "calls", "white"),
)
PIPS: Final = {
    1: (" " * 5, "  *  ", " " * 5),
    2: ("*    ", " " * 5, "    *"),
    3: ("*    ", "  *  ", "    *"),
    4: ("*   *", " " * 5, "*   *"),
    5: ("*   *", "  *  ", "*   *"),
    6: ("*   *", "*   *", "*   *"),
}
OUTCOMES: Final = {"win": ("the pass line wins", "bold green"), "lose": ("the pass line loses", "bold red")}
STATUS_LINES, FRAME_LINES = 10, 4


@dataclass(frozen=True, slots=True)
class Shape:
    """What a terminal of some size has room for: the events' last two columns, and panels around header and footer."""

    wire: int
    rpc: int
    framed: bool


WIDE: Final = Shape(36, 23, framed=True)
SMALL: Final = Shape(0, 22, framed=False)
"""Without the table server's column, which has little to say but sealed bytes, and without times."""
WIDE_FROM: Final = 115, 28
REDRAW_S: Final = 0.08
LEAST_SIZE: Final = 80, 24
"""Columns and lines below which plain lines read better."""


def _die(face: int, *, pretty: bool) -> list[str]:
    top, side, bottom, pip = ("╭───────╮", "│", "╰───────╯", "●") if pretty else ("+-------+", "|", "+-------+", "*")
    return [top, *(f"{side} {line.replace('*', pip)} {side}" for line in PIPS[face]), bottom]


def _over(guest: Guest, where: str) -> str:
    where = where or ("spied on" if guest.through_attacker else "")
    return f"{guest.transport}, {where}" if where else guest.transport


def _pattern(guest: Guest) -> str:
    return f"{guest.pattern}hfs" if guest.suite == HYBRID else guest.pattern


class Screen:
    """A View for terminals. It redraws when something has happened, a dozen times a second at most."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console, self._all_rounds = console, rounds
        self._rows, self._lines = Rows(), deque[Row](maxlen=200)
        self._state: dict[str, Any] = {"seats": [], "counts": {}}
        self._live: Live | None = None
        self._told = ""
        self._pretty = console.encoding.startswith("utf")
        self._began = self._drawn = time.monotonic()

    def progress(self, text: str) -> None:
        self._console.print(Text.assemble(("  * ", "green"), f"{text}."))

    def begin(self) -> None:
        self._began = time.monotonic()
        self._live = Live(self._draw(), console=self._console, screen=True, auto_refresh=False)
        self._live.start()

    def event(self, name: str, event: dict[str, Any]) -> None:
        at, kind = time.monotonic() - self._began, event["kind"]
        if kind in ("row", "note"):
            row = self._rows.add(event, at)
            self._lines.extend([*self._rows.late(at), *([row] if row else ())])
        elif kind in ("state", "counts"):
            self._state |= event
        elif kind == "told":
            self._told = f"WatchSessions: {event['text']}"
        if self._live is not None and time.monotonic() - self._drawn >= REDRAW_S:
            self._drawn = time.monotonic()
            self._live.update(self._draw(), refresh=True)

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = None

    # --- the parts

    @property
    def _shape(self) -> Shape:
        width, height = self._console.size
        return WIDE if width >= WIDE_FROM[0] and height >= WIDE_FROM[1] else SMALL

    def _draw(self) -> Layout:
        layout, framed = Layout(), self._shape.framed
        what, counts = Text(WHAT, justify="center"), self._counts()
        events = Panel(self._events(), box=ROUNDED, padding=(0, 1), subtitle=self._told, subtitle_align="left")
        layout.split_column(
            Layout(Panel(what, title=TITLE, box=ROUNDED, style="bold"), size=3)
            if framed
            else Layout(Text(TITLE, justify="center", style="bold"), size=1),
            Layout(name="status", size=STATUS_LINES),
            Layout(events),
            Layout(Panel(counts, box=ROUNDED), size=3) if framed else Layout(counts, size=1),
        )
        layout["status"].split_row(
            Layout(Panel(self._bankrolls(), box=ROUNDED, padding=(0, 1)), ratio=3),
            Layout(Panel(self._dice(), box=ROUNDED), ratio=2),
        )
        return layout

    def _bankrolls(self) -> Table:
        roomy = self._shape.framed
        table = Table(box=None, expand=True, padding=(0, 1) if roomy else (0, 1, 0, 0), header_style="bold")
        for title in ("player", "over", "mode", "Noise") if roomy else ("player", "over", "Noise"):
            table.add_column(title, no_wrap=True)
        for title in ("bet", "bankroll"):
            table.add_column(title, justify="right", no_wrap=True)
        for seat in self._state["seats"] or [{"name": guest.name} for guest in GUESTS]:
            guest, bet = BY_NAME[seat["name"]], seat.get("bet")
            mode = "DATAGRAM" if guest.transport == "UDP" else "NOISE"
            table.add_row(
                seat["name"] + (" *" if seat["name"] == self._state.get("shooter") else ""),
                _over(guest, seat.get("where", "")), *((mode,) if roomy else ()), _pattern(guest),
                "-" if bet is None else f"${bet}", f"${seat['bankroll']}" if "bankroll" in seat else "",
                style="" if seat.get("here") else "dim",
            )  # fmt: skip
        return table

    def _dice(self) -> Group:
        state = self._state
        title = f"Round {state.get('round', 0)} of {self._all_rounds}"
        if state.get("shooter"):
            title += f", {state['shooter']} shoots"
        lines = [Text(title, style="bold", justify="center")]
        if state.get("dice"):
            first, second = (_die(face, pretty=self._pretty) for face in state["dice"])
            lines += [Text(f"{left}   {right}", justify="center") for left, right in zip(first, second, strict=True)]
            if state["outcome"]:
                text, style = OUTCOMES[state["outcome"]]
            else:
                text, style = f"the point is {state['point']}", "bold yellow"
            throw = f"throw {state['throw']}: " if self._shape is WIDE else ""
            lines.append(Text(f"{throw}{sum(state['dice'])}, {text}", style=style, justify="center"))
        else:
            lines += [Text(""), Text(""), Text("Place your bets.", style="dim", justify="center")]
        return Group(*lines)

    def _events(self) -> Table:
        table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
        shape = self._shape
        table.add_column("player", ratio=1, overflow="ellipsis", no_wrap=True)
        if shape.wire:
            table.add_column("table server (sealed bytes, no key)", width=shape.wire, overflow="ellipsis", no_wrap=True)
        title = "noisegate (time, RPC)" if shape is WIDE else "noisegate (RPC)"
        table.add_column(title, width=shape.rpc, overflow="ellipsis", no_wrap=True)
        room = self._console.height - STATUS_LINES - FRAME_LINES - (6 if shape.framed else 2)
        for row in list(self._lines)[-max(room, 1) :]:
            style = STYLES.get(row.style, "")
            cells = [Text(row.text, style=style), Text(row.rpc if shape is WIDE else row.call, style=style or "green")]
            if shape.wire:
                cells.insert(1, Text(row.wire, style=style or "yellow"))
            table.add_row(*cells)
        return table

    def _counts(self) -> Text:
        """One word each; on a small terminal without what is largest."""
        counts, line, shape = self._state["counts"], Text(justify="center", no_wrap=True), self._shape
        for name, title, style in COUNTS if shape is WIDE else COUNTS[2:-1]:
            line.append(f"{title.split()[0]} ").append(f"{counts.get(name, 0)}", style=f"bold {style}")
            line.append("  " if shape is WIDE else " ")
        return line.append(f"{time.monotonic() - self._began:.0f} s", style="dim")
