"""The command `noisegate`: one file per command, and nothing here but their list."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Final

import typer

from noisegate_server import __version__
from noisegate_server.cli import instructions as _instructions  # noqa: F401  # before anything loads `cryptography`

__all__ = ["main"]

_COMMANDS: Final = ("serve", "doctor", "keygen", "sessions", "health", "revoke", "bench")
"""Each a function in the file of its name."""
_BUILT_IN: Final = ("demo", "--version")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"noisegate {__version__}")
        raise typer.Exit


def _program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


def _demo(
    pause: Annotated[float, typer.Option("--pause", min=0, max=5, help="Seconds to read each step.")] = 0.0,
) -> None:
    """Show one session from handshake to close, explained on the terminal."""
    # Imported here because it plays the player's side too, which no other command needs.
    from noisegate_server.cli.demo import run  # noqa: PLC0415  # see above

    run(pause=pause)


def _app(commands: Iterable[str]) -> typer.Typer:
    app = typer.Typer(
        name="noisegate",
        help="Session crypto as a service for multiplayer games.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # a frame of four columns cuts the names of options and variables off
    )
    app.callback()(_program)
    app.command("demo")(_demo)
    for name in commands:
        app.command(name)(getattr(import_module(f"{__name__}.{name}"), name))
    return app


def main() -> None:
    """The console script's entry."""
    # The one that is asked for, where it is known: the server takes a second of CPU to load, its clients a fifth of it.
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    asked = [first] if first in _COMMANDS else [] if first in _BUILT_IN else _COMMANDS
    _app(asked)()
