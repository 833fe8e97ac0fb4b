"""The command `noisegate`: one file per command, and nothing here but their list."""

from __future__ import annotations

from typing import Annotated

import typer

from noisegate_server import __version__
from noisegate_server.cli import instructions as _instructions  # noqa: F401  # before anything loads `cryptography`
from noisegate_server.cli.bench import bench
from noisegate_server.cli.doctor import doctor
from noisegate_server.cli.health import health
from noisegate_server.cli.keygen import keygen
from noisegate_server.cli.revoke import revoke
from noisegate_server.cli.serve import serve
from noisegate_server.cli.sessions import sessions

__all__ = ["main"]

app = typer.Typer(
    name="noisegate",
    help="Session crypto as a service for multiplayer games.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a frame of four columns cuts the names of options and variables off
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noisegate {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


@app.command()
def demo(
    pause: Annotated[float, typer.Option("--pause", min=0, max=5, help="Seconds to read each step.")] = 0.0,
) -> None:
    """Show one session from handshake to close, explained on the terminal."""
    # Imported here because it plays the player's side too, which no other command needs.
    from noisegate_server.cli.demo import run  # noqa: PLC0415  # see above

    run(pause=pause)


app.command()(serve)
app.command()(doctor)
app.command()(keygen)
app.command()(sessions)
app.command()(health)
app.command()(revoke)
app.command()(bench)


def main() -> None:
    """The console script's entry."""
    app()
