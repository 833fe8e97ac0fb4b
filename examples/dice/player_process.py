"""A player: makes its own keys, speaks to the table through public libraries alone, and keeps its own books.

Nothing of noisegate is imported here. Run by `python -m examples.dice`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from examples.dice.child import Commands, emit, imported, row, run_child
from examples.dice.conversation import Conversation, Message
from examples.dice.datagram_link import DatagramLink
from examples.dice.datagram_player import Protocol as NoiseNumbers
from examples.dice.datagram_player import Settings
from examples.dice.game import Outcome, commitment, payout, throw
from examples.dice.noise_link import NoiseLink
from examples.dice.noise_player import NoiseKeys
from examples.dice.script import BY_NAME, PATTERNS, PROLOGUE, Act, Guest

TICK_S = 0.03


class Player:
    """One guest of the table."""

    def __init__(self, guest: Guest, config: dict[str, Any], static: bytes) -> None:
        self.guest, self.name = guest, guest.name
        self._away_s, self._code = config["away_s"], config["code"]
        self._luck = random.Random(f"{config['seed']} {guest.name}")
        self._talk = Conversation(repeat_s=0.4)
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._link = self._make_link(config, static)
        self._answered = asyncio.Event()
        self._handled = 0
        self._commit = ""
        self._throws: list[tuple[int, int]] = []
        self.bankroll = 0
        self.bets: dict[int, int] = {}
        self.lucks: dict[int, str] = {}
        self.seen: list[list[int]] = []
        self.proofs = 0

    def _make_link(self, config: dict[str, Any], static: bytes) -> DatagramLink | NoiseLink:
        guest, remote = self.guest, bytes.fromhex(config["service_key"]) if self.guest.pattern != "XX" else None
        mine = None if guest.pattern == "NK" else static
        if guest.transport != "UDP":
            return NoiseLink(guest, config["port"], NoiseKeys(static=mine, remote=remote), self._hear)
        offer = tuple(NoiseNumbers(PATTERNS[guest.pattern], suite) for suite in guest.suites)
        settings = Settings(offer=offer, static=mine, remote=remote, prologue=PROLOGUE)
        return DatagramLink(guest, config["port"], settings, self._hear)

    async def play(self) -> None:
        """From the handshake to the end of the evening."""
        await self._link.connect()
        ticking = asyncio.create_task(self._tick())
        self._say({"t": "join", "name": self.name, "code": self._code}, f"{self.name} joins the table.")
        going = True
        while going:
            going = await self._handle(await self._inbox.get())
        await self._settled()
        # The table's last message is acknowledged before the door closes.
        self._flush()
        ticking.cancel()
        await self._link.close()
        row((self.name, "close", 1), text=f"{self.name} leaves with ${self.bankroll} and closes the session.")

    def report(self) -> dict[str, Any]:
        """This player's books."""
        return {
            "name": self.name,
            "bankroll": self.bankroll,
            "bets": {str(number): bet for number, bet in self.bets.items()},
            "throws": self.seen,
            "proofs": self.proofs,
            "sent": self._talk.sent,
            "delivered": self._talk.delivered,
            "refused": self._link.refused,
            "suite": self._link.suite,
            "lured": self._link.lured,
            "early": self._link.early,
            "ids": self._link.ids,
            "modules": imported("noisegate", "noisegate_server", "grpc"),
        }

    # --- messages

    def _say(self, message: Message, text: str) -> bytes:
        number, plaintext = self._talk.say(message, time.monotonic())
        row((self.name, "up", number), text=text)
        self._link.send(plaintext)
        return plaintext

    def _hear(self, plaintext: bytes) -> None:
        heard = self._talk.hear(plaintext)
        self._answered.set()
        for message in heard.messages:
            self._inbox.put_nowait(message)
        if heard.aside is not None:
            # The table asks a new address for proof; nothing else may go there before.
            self._link.send(self._talk.aside(heard.aside))

    def _flush(self) -> None:
        for _, plaintext in self._talk.due(time.monotonic()):
            self._link.send(plaintext)

    async def _settled(self) -> None:
        while not self._talk.settled:
            self._answered.clear()
            await self._answered.wait()

    async def _tick(self) -> None:
        while True:
            self._link.tick()
            self._flush()
            await asyncio.sleep(TICK_S)

    async def _handle(self, message: Message) -> bool:
        self._handled += 1
        kind = message["t"]
        if kind == "round":
            await self._round(message)
        elif kind == "over":
            self._say({"t": "bye", "bankroll": self.bankroll}, f"{self.name} has counted: ${self.bankroll}.")
            return False
        else:
            answers: dict[str, Callable[[Message], None]] = {
                "seat": self._seat, "your throw": self._throw, "dice": self._dice, "reveal": self._reveal,
            }  # fmt: skip
            answers[kind](message)
        return True

    def _read(self, text: str) -> None:
        row((self.name, "down", self._handled), text=text)

    # --- the game

    def _seat(self, message: Message) -> None:
        self.bankroll = message["bankroll"]
        self._read(f"{self.name} has a seat and ${self.bankroll}.")

    async def _round(self, message: Message) -> None:
        self._commit, self._throws = message["commit"], []
        number, act = message["round"], self.guest.acts.get(message["round"])
        self._read(f"Round {number}: {self.name} shoots. Seed hash {self._commit[:8]}.")
        if act is Act.VANISH:
            await self._leave("vanishes; only a ticket is left")
        said = self._bet(number, away=act is Act.VANISH)
        if act is Act.DROP:
            await self._settled()
            await self._leave("loses the connection, bet on the table")
        if act in (Act.DROP, Act.VANISH):
            await self._come_back(said if act is Act.VANISH else b"")
        elif act is Act.BACKGROUND:
            await self._rest()
        elif act is not None:
            await self._link.acts[act]()
        if act in (Act.CELLULAR, Act.WIFI):
            text = f"{self.name} speaks from the new address."
            self._say({"t": "moved", "network": act.value}, text)

    def _bet(self, number: int, *, away: bool) -> bytes:
        amount = min(self.bankroll, 5 * self._luck.randint(1, 5))
        self.bankroll -= amount
        self.bets[number] = amount
        self.lucks[number] = f"{self._luck.getrandbits(64):016x}"
        text = f"{self.name} bets ${amount} on the pass line."
        if away:
            text = f"{self.name}'s bet of ${amount} is in the first packet back."
        return self._say({"t": "bet", "round": number, "amount": amount, "luck": self.lucks[number]}, text)

    async def _rest(self) -> None:
        """The app goes to the background, and comes back with what it has stored."""
        self._say({"t": "background"}, f"{self.name}'s app will be in the background.")
        await self._settled()
        await self._link.acts[Act.BACKGROUND]()
        await asyncio.sleep(self._away_s)
        await self._link.acts[Act.FOREGROUND]()
        self._talk.hurry()
        self._say({"t": "back"}, f"{self.name} speaks in the same session again.")

    async def _leave(self, how: str) -> None:
        await self._link.drop()
        emit("note", style="drop", text=f"{self.name} {how}.", wire="", rpc="")
        await asyncio.sleep(self._away_s)

    async def _come_back(self, early_data: bytes) -> None:
        await self._link.resume(early_data)
        row((self.name, "resume", 1), text=f"{self.name} is back by ticket with the same bankroll.")
        self._talk.hurry()
        # The table believes in a resume only after a first record; until then it may be a replay.
        self._say({"t": "back"}, f"{self.name} says hello in the new session.")

    def _throw(self, message: Message) -> None:
        self._say({"t": "throw", "round": message["round"]}, f"{self.name} throws.")

    def _dice(self, message: Message) -> None:
        first, second = message["dice"]
        number, total, point = message["round"], first + second, message["point"]
        self._throws.append((first, second))
        self.seen.append([number, first, second])
        text = f"{self.name} reads {first} + {second} = {total}"
        if message["outcome"]:
            outcome = Outcome(message["outcome"])
            self.bankroll += payout(self.bets[number], outcome)
            text += f": the pass line {'wins' if outcome is Outcome.WIN else 'loses'}."
        else:
            text += f": the point is {point}." if message["throw"] == 1 else f", the point stays {point}."
        self._read(text)

    def _reveal(self, message: Message) -> None:
        number, seed, lucks = message["round"], message["seed"], message["lucks"]
        fair = commitment(seed) == self._commit and self.lucks[number] in lucks
        fair = fair and all(throw(seed, lucks, index) == dice for index, dice in enumerate(self._throws, 1))
        self.proofs += fair
        self._read(f"{self.name} checks the seed: the dice were {'fair' if fair else 'NOT FAIR'}.")


async def main(commands: Commands) -> int:
    """Public key out, configuration in, then the game; the books last."""
    static = os.urandom(32)
    public = X25519PrivateKey.from_private_bytes(static).public_key().public_bytes_raw()
    emit("ready", public_key=public.hex())
    config = await commands.get()
    player = Player(BY_NAME[config["name"]], config, static)
    await player.play()
    emit("books", **player.report())
    return 0


if __name__ == "__main__":
    run_child(main)
