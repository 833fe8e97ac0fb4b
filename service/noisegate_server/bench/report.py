"""The result on a terminal: a table that grows while it is measured, then what each row compares."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from noisegate_server.bench.claims import Claim
from noisegate_server.bench.figures import Figure, Verdict
from noisegate_server.bench.plot import bar

__all__ = ["Report", "environment"]

_STYLES: Final = {Verdict.AIM: "green", Verdict.MUST: "green", Verdict.UNSURE: "yellow", Verdict.MISSED: "red"}
_PLOT: Final = "rounds │ must ¦ aim"


def environment() -> str:
    """What the figures were taken with."""
    return (
        f"CPython {platform.python_version()}, grpcio {version('grpcio')}, protobuf {version('protobuf')}, "
        f"cryptography {version('cryptography')}, {platform.machine()}"
    )


class Report:
    """A live table of the rows that were asked for."""

    def __init__(self, claims: Mapping[str, Claim], console: Console | None = None) -> None:
        # Into a file or a pipe the table keeps the width at which it can be read.
        self._console = console or (Console() if sys.stdout.isatty() else Console(width=120))
        self._claims = claims
        self._figures: dict[str, Figure] = {}

    @contextmanager
    def live(self) -> Iterator[Live]:
        """Show the table; on a terminal it changes while the rows are measured."""
        self._console.print(f"{environment()}; trust the ratios, not the times")
        with Live(self._table(), console=self._console, refresh_per_second=4) as live:
            yield live

    def add(self, figure: Figure, live: Live) -> None:
        """A row is there."""
        self._figures[figure.id] = figure
        live.update(self._table())

    def explain(self) -> None:
        """What each row compares, what it cost here, and a word on what is not as it must be."""
        # The live table ends without a line feed where there is no terminal.
        self._console.print()
        for figure in self._figures.values():
            claim, taken = figure.claim, figure.taken
            lines = [
                f"{figure.id}: {claim.what}",
                f"    / {claim.reference}",
                f"    {taken.detail}; {figure.seconds:.0f} s",
            ]
            self._console.print("\n".join(lines), highlight=False, markup=False)
            if figure.verdict in (Verdict.UNSURE, Verdict.MISSED):
                self._console.print(f"    {figure.verdict.value}", style=_STYLES[figure.verdict], highlight=False)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("id", "figure", "rounds", "must", "aim", _PLOT):
            table.add_column(name, justify="left" if name in ("id", _PLOT) else "right", no_wrap=True)
        waiting = [id_ for id_ in self._claims if id_ not in self._figures]
        for id_ in self._claims:
            table.add_row(id_, *self._cells(id_, measuring=waiting[:1] == [id_]))
        return table

    def _cells(self, id_: str, *, measuring: bool) -> tuple[RenderableType, ...]:
        claim = self._claims[id_]
        bounds = (f"{claim.must:,g}", f"{claim.aim:,g}")
        figure = self._figures.get(id_)
        if figure is None:
            return ("", "", *bounds, Spinner("dots", "measuring") if measuring else "")
        taken, style = figure.taken, _STYLES[figure.verdict]
        return (
            Text(_number(taken.ratio), style=style),
            f"{_number(taken.low)} to {_number(taken.high)}",
            *bounds,
            Text(bar(figure), style=style),
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
