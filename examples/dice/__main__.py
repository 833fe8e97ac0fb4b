"""`python -m examples.dice`: a dice table whose server cannot read its players, in about half a minute."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.dice.books import Check, check_books
from examples.dice.evening import Evening, Options, Result
from examples.dice.screen import COUNTS, LEAST_SIZE, Screen
from examples.dice.script import LEAST_ROUNDS
from examples.dice.troupe import TroupeError
from examples.dice.view import PlainView, View

NEXT: Final = (
    (".venv/bin/noisegate serve --dev", "a service of your own, for this machine"),
    (".venv/bin/noisegate sessions --target 127.0.0.1:7443", "what lives on it"),
    ("make bench", "how fast it is on this machine"),
)
ROUNDS, LIMIT_S = 6, 55.0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.dice", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {LEAST_ROUNDS}")
    parser.add_argument("--seed", type=int, help="the same bets and dice again")
    parser.add_argument("--fast", action="store_true", help="without pauses")
    parser.add_argument("--plain", action="store_true", help="lines instead of the screen")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help=argparse.SUPPRESS)
    parser.add_argument("--sabotage", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds: at least {LEAST_ROUNDS}, so that everything happens")
    return arguments


def _summary(console: Console, result: Result, checks: list[Check]) -> None:
    counts = Table(title=f"The game took {result.took:.0f} s.", title_justify="left", box=SIMPLE_HEAD)
    for _, title, style in COUNTS:
        counts.add_column(title, style=f"bold {style}", justify="right")
    counts.add_row(*(str(result.table["counts"][name]) for name, _, _ in COUNTS))
    books = Table(title="The books, from three parties' own accounts:", title_justify="left", box=SIMPLE_HEAD)
    for column in ("", "check", "compared"):
        books.add_column(column)
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("WRONG", style="bold red")
        books.add_row(mark, check.name, Text(check.detail))
    console.print(counts, books, sep="\n")


def _plain_summary(result: Result, checks: list[Check]) -> None:
    numbers = result.table["counts"]
    print(f"counts | {', '.join(f'{title} {numbers[name]}' for name, title, _ in COUNTS)}")
    print(f"time | {result.took:.1f} s")
    for check in checks:
        print(f"books | {'ok' if check.ok else 'WRONG'} | {check.name} | {check.detail}")


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 when every line of the books is right, 1 when one is wrong or a process failed."""
    arguments = _arguments(argv)
    console = Console()
    small = console.width < LEAST_SIZE[0] or console.height < LEAST_SIZE[1]
    plain = arguments.plain or not console.is_terminal or small
    view: View = PlainView() if plain else Screen(console, arguments.rounds)
    options = Options(
        rounds=arguments.rounds, seed=arguments.seed, fast=arguments.fast, sabotage=arguments.sabotage,
        limit=arguments.limit,
    )  # fmt: skip
    try:
        result = asyncio.run(Evening(options, view).run())
    except KeyboardInterrupt:
        print("Cut short; every process has ended.")
        return 130
    except TroupeError as error:
        print(f"The game failed: {error}", file=sys.stderr)
        return 1
    checks = check_books(result.table, result.players, result.attacker)
    if plain:
        _plain_summary(result, checks)
    else:
        _summary(console, result, checks)
    wrong = [check for check in checks if not check.ok]
    for check in wrong:
        print(f"The books are wrong: {check.name}: {check.detail}", file=sys.stderr)
    if not wrong:
        print("\nTry next:")
        width = max(len(command) for command, _ in NEXT)
        for command, what in NEXT:
            print(f"  {command.ljust(width)}  {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
