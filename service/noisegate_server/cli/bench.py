"""`noisegate bench`: what the README claims, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noisegate_server.cli.target import refuse

__all__ = ["bench"]


def bench(
    rows: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Rows to take; default: all.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the rows there.")] = None,
) -> None:
    """Measure this machine; exit code 1 where a figure misses what the project asks of itself."""
    # Imported here because it plays the player's side too, which no other command but the demo needs.
    from noisegate_server.bench.run import ROWS, run  # noqa: PLC0415  # see above

    unknown = [name for name in rows or () if name not in ROWS]
    if unknown:
        refuse(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if not run(rows or (), json):
        raise typer.Exit(1)
