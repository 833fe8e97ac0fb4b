"""One evening at the table: starts everybody, introduces them to each other, and collects the books."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Final

from examples.dice.books import Report
from examples.dice.script import GUESTS, MAX_EARLY_BYTES, Guest
from examples.dice.troupe import Child, Event, Troupe, TroupeError
from examples.dice.view import View

SETUP_S: Final = 45.0
AWAY_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asks for. `limit`: seconds that the game may take."""

    rounds: int
    seed: int | None
    fast: bool
    sabotage: bool
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everybody's books, the service's address, and how many seconds the game took."""

    table: Report
    players: list[Report]
    attacker: Report
    took: float


class Evening:
    """All processes and what they have to know of each other."""

    def __init__(self, options: Options, view: View) -> None:
        self._options, self._view = options, view
        self._troupe = Troupe(view.event)

    async def run(self) -> Result:
        """The whole evening. TroupeError says which process failed or hung."""
        try:
            try:
                async with asyncio.timeout(SETUP_S):
                    players, table, attacker, start = await self._set_up()
            except TimeoutError:
                raise TroupeError(f"the setup took more than {SETUP_S:.0f} s") from None
            self._view.begin()
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._options.limit):
                    for guest, config in start:
                        players[guest.name].tell(config)
                    return await self._play(list(players.values()), table, attacker, began)
            except TimeoutError:
                late = ", ".join(name for name in self._troupe.silent("books") if name != "noisegate")
                raise TroupeError(f"not finished after {self._options.limit:g} s: {late}") from None
        finally:
            self._view.end()
            await self._troupe.end()

    async def _set_up(self) -> tuple[dict[str, Child], Child, Child, list[tuple[Guest, Event]]]:
        troupe, options, module = self._troupe, self._options, "examples.dice."
        serve = (
            "-m",
            "noisegate_server",
            "serve",
            "--dev",
            "--listen",
            "127.0.0.1:0",
            "--max-early-data",
            str(MAX_EARLY_BYTES),
        )
        self._view.progress("Starting noisegate, the table server, seven players and an attacker")
        service = await troupe.start("noisegate", f"{module}keeper", sys.executable, *serve)
        table = await troupe.start("the table server", f"{module}table_server")
        players = {guest.name: await troupe.start(guest.name, f"{module}player_process") for guest in GUESTS}
        attacker = await troupe.start("the attacker", f"{module}attacker")
        address = (await troupe.expect(service, "line"))["text"].rpartition(" ")[2]
        self._view.progress(f"noisegate listens on {address}: every key of the table's side is in that process")
        roster = {name: (await troupe.expect(child, "ready"))["public_key"] for name, child in players.items()}
        self._view.progress(f"{len(roster)} players have made their own keys")
        codes = {name: secrets.token_hex(8) for name in players}
        table.tell(
            {
                "noisegate": address, "roster": roster, "codes": codes, "rounds": options.rounds,
                "seed": options.seed, "fast": options.fast, "sabotage": options.sabotage,
            }
        )  # fmt: skip
        listening = await troupe.expect(table, "listening")
        ports = listening["ports"]
        self._view.progress("The table listens: " + ", ".join(f"{name} {port}" for name, port in ports.items()))
        victim = next(guest for guest in GUESTS if guest.through_attacker)
        attacker.tell({"port": ports["UDP"], "victim": victim.name, "seed": options.seed, "fast": options.fast})
        false_port = (await troupe.expect(attacker, "forwarding"))["port"]
        self._view.progress(f"An attacker sits between {victim.name} and the table and copies every packet")
        start = [
            (
                guest,
                {
                    "name": guest.name, "code": codes[guest.name], "service_key": listening["service_key"],
                    "port": false_port if guest is victim else ports[guest.transport], "seed": options.seed,
                    "away_s": 0.05 if options.fast else AWAY_S,
                },
            )
            for guest in GUESTS
        ]  # fmt: skip
        return players, table, attacker, start

    async def _play(self, players: list[Child], table: Child, attacker: Child, began: float) -> Result:
        troupe = self._troupe
        await troupe.expect(table, "rounds over")
        attacker.tell({})  # the last call: its victim is about to leave
        await troupe.expect(attacker, "done")
        table.tell({})
        await troupe.expect(table, "over")
        reports = [await troupe.expect(child, "books") for child in players]
        attacker.tell({})
        attack = await troupe.expect(attacker, "books")
        table.tell({})
        books = await troupe.expect(table, "books")
        return Result(table=books, players=reports, attacker=attack, took=time.monotonic() - began)
