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
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Also draw them there, as SVG.")] = None,
) -> None:
    """Measure on this machine what the project claims; exit code 1 where a row misses what it must keep."""
    # Imported here because it plays the player's side too, which no other command but the demo needs.
    from noisegate_server.bench.run import UnknownRow, run  # noqa: PLC0415  # see above

    try:
        if not run(rows or (), json, plot):
            raise typer.Exit(1)
    except UnknownRow as unknown:
        refuse(str(unknown))
