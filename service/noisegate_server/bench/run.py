"""Every claim of the README as a ratio to a reference of the same run: measured, printed, judged."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from noisegate_server.bench import batch, many, own_cost, seam, stream
from noisegate_server.bench.measure import Figure

ROWS: dict[str, Callable[[], Coroutine[None, None, Figure]]] = {
    "batch": batch.measure_batch,
    "batch-open": batch.measure_open,
    "batch-cold": batch.measure_cold,
    "broadcast": batch.measure_broadcast,
    "stream": stream.measure,
    "idle-bytes": many.measure_idle,
    "stall-ms": many.measure_stall,
    "largest-call-ms": many.measure_largest,
    "tail": many.measure_tail,
    "own-cost": own_cost.measure,
    "seam": seam.measure,
}
"""Id of a row to what measures it, in the order of the table."""


def _table(figures: list[Figure]) -> Table:
    table = Table(title="noisegate: figures of one run", title_justify="left", show_lines=True)
    for name in ("id", "what / reference", "ratio", "rounds", "CPU, subject and reference", "must", "aim"):
        table.add_column(name, justify="left" if name.startswith(("id", "what")) else "right")
    for row in figures:
        table.add_row(
            row.id,
            f"{row.what}\n/ {row.reference}",
            f"[{'green' if row.holds else 'red'}]{row.ratio:.2f}[/]",
            f"{row.low:.2f} to {row.high:.2f}",
            row.detail or f"{row.subject_ns / 1000:.2f} us\n{row.reference_ns / 1000:.2f} us",
            f"{row.must:g}",
            f"{row.aim:g}",
        )
    return table


def _json(figures: list[Figure]) -> str:
    columns = ("id", "ratio", "better", "low", "high", "what", "reference")
    return json.dumps([{name: getattr(row, name) for name in columns} for row in figures], indent=2) + "\n"


def run(ids: Sequence[str] = (), json_file: Path | None = None) -> bool:
    """Measure the rows of these ids (none: all), print them, write them to `json_file`; whether every must is met."""
    # Into a file or a pipe the table keeps the width at which it can be read.
    console = Console() if sys.stdout.isatty() else Console(width=132)
    console.print(
        f"CPython {platform.python_version()}, grpcio {version('grpcio')}, protobuf {version('protobuf')}, "
        f"cryptography {version('cryptography')}, {platform.machine()}; trust the ratios, not the times"
    )
    figures: list[Figure] = []
    for name in ids or ROWS:
        with console.status(f"measuring {name}"):
            figures.append(asyncio.run(ROWS[name]()))
    console.print(_table(figures))
    if json_file is not None:
        json_file.write_text(_json(figures), encoding="utf-8")
    return all(row.holds for row in figures)
