"""The table: seats, rounds and money. It says what it wants said and hears what was meant; bytes are others' work."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from examples.dice.child import emit, row
from examples.dice.conversation import Conversation, Message
from examples.dice.game import STAKE, Bank, Outcome, Round, commitment, judge, throw
from examples.dice.script import BY_NAME, GUESTS, Act
from examples.dice.table_calls import COUNTED, Counts, Link, Passed
from examples.dice.table_datagrams import DatagramLink
from examples.dice.table_seats import Challenge, Seat, suspend, tell_network, wake
from examples.dice.table_streams import StreamLink
from examples.dice.wires import WireLostError
from noisegate import NoisegateError

PATIENCE_S: Final = 12.0
"""The longest that the table waits for anybody."""
TICK_S, REPEAT_S = 0.03, 0.4
THROW_S: Final = (0.9, 0.8, 0.6, 0.45, 0.3)
"""Between throws of a round: long rounds go faster."""
CONFIRMED: Final = {"Decrypt": "Decrypt: confirmed"}
BET_S, ROUND_S, BUDGET_S = 0.22, 0.7, 36.0


class GameStuckError(RuntimeError):
    """Somebody did not do what the game waits for."""


class Table:
    """The game and its players' seats."""

    def __init__(self, config: dict[str, Any], counts: Counts) -> None:
        self._config, self.counts = config, counts
        self._pace = 0.0 if config["fast"] else 1.0
        self._seeds = random.Random(f"{config['seed']} table") if config["seed"] is not None else secrets.SystemRandom()
        self.seats = {guest.name: Seat(name=guest.name, talk=Conversation(repeat_s=REPEAT_S)) for guest in GUESTS}
        self.bank = Bank(dict.fromkeys(self.seats, STAKE))
        self.start = self.bank.total
        self.rounds: list[Round] = []
        self._labels = 0
        self._changed = asyncio.Event()
        self._began = time.monotonic()
        self._shown: dict[str, Any] = {"round": 0, "throw": 0, "dice": [], "point": 0, "shooter": "", "outcome": ""}

    # --- what the doors call

    def label(self) -> str:
        """A name that says nothing, for a player who is not known yet."""
        self._labels += 1
        return f"seat-{self._labels}"

    def knows(self, label: str) -> bool:
        """Whether a player sits here whom noisegate knows by this name."""
        return any(seat.label == label for seat in self.seats.values())

    def name_of(self, label: str) -> str:
        """Whose seat it is that noisegate knows by this name."""
        return next((seat.name for seat in self.seats.values() if seat.label == label), "Somebody")

    async def heard(self, link: Link, plaintext: bytes, passed: Passed) -> None:
        """A record of the player opened."""
        seat = self._seat_of(link, plaintext, passed)
        if seat is None:
            return
        heard = seat.talk.hear(plaintext)
        if heard.number:
            row((seat.name, "up", heard.number), wire=passed.wire, rpc=passed.rpc, ms=passed.ms)
        for message in heard.messages:
            await self._take(seat, message)
        if heard.aside is not None:
            await self._proved(seat, heard.aside, passed)
        self._changed.set()

    def changed(self, link: Link, act: Act, passed: Passed) -> None:
        """Keys or an address changed."""
        seat = next((seat for seat in self.seats.values() if seat.link is link), None)
        if seat is None:
            return
        row((seat.name, act.value, 1), wire=passed.wire, rpc=passed.rpc, ms=passed.ms, style=act.value)
        if act is Act.MOVE and isinstance(link, DatagramLink):
            self.counts.moved += 1
            # A record proves who sent it and not from where: a number is sealed, sent there and has to come back.
            seat.challenge = Challenge(token=secrets.token_hex(8), address=link.address)
        else:
            self.counts.rotated += 1
            seat.acts.add(act)
            if seat.network == "wifi":
                seat.acts.add(Act.WIFI)
        self._changed.set()

    async def woken(self, link: Link) -> None:
        """The player of a suspended session is back."""
        seat = next((seat for seat in self.seats.values() if seat.link is link), None)
        if seat is not None:
            await wake(seat)
            self._show()
            self._changed.set()

    async def lost(self, link: Link, passed: Passed | None) -> None:
        """The player closed its session, or its connection is gone."""
        seat = next((seat for seat in self.seats.values() if seat.link is link), None)
        ms = 0.0 if passed else await link.end()
        if seat is None:
            return
        seat.link, seat.left = None, seat.bye
        wire = passed.wire if passed else f"{link.transport} connection ends"
        rpc, ms = ("Decrypt: close", passed.ms) if passed else ("CloseSession", ms)
        if seat.bye:
            self.counts.closed += 1
            row((seat.name, "close", 1), wire=wire, rpc=rpc, ms=ms)
        else:
            emit("note", style="drop", text=f"{seat.name}'s seat, bet and money stay.", wire=wire, rpc=rpc, ms=ms)
        self._show()
        self._changed.set()

    # --- the game

    async def play(self, last_call: Awaitable[object]) -> None:
        """All rounds; after the last call, which is the parent's, good-bye. GameStuckError."""
        seats = list(self.seats.values())
        await self._until(lambda: all(seat.link for seat in seats), lambda seat: seat.link is None, "join")
        for number in range(1, self._config["rounds"] + 1):
            await self._round(number, seats[(number - 1) % len(seats)])
        emit("rounds over")
        await last_call
        for seat in seats:
            await self.say(seat, {"t": "over"})
        await self._until(lambda: all(seat.left for seat in seats), lambda seat: not seat.left, "leave")

    async def _round(self, number: int, shooter: Seat) -> None:
        bank, seats = self.bank, list(self.seats.values())
        seed = f"{self._seeds.getrandbits(256):064x}"
        self._show(round=number, throw=0, dice=[], point=0, shooter=shooter.name, outcome="")
        start = {"t": "round", "round": number, "commit": commitment(seed), "shooter": shooter.name}
        for seat in seats:
            await self.say(seat, start, tell=seat is shooter)
            if BY_NAME[seat.name].acts.get(number) is Act.ROTATE and seat.link is not None:
                await self._ask_rotation(seat, seat.link)
            await self._pause(BET_S)
        await self._until(lambda: len(bank.bets) == len(seats), lambda seat: seat.name not in bank.bets, "bet")
        bets, throws, point, outcome = dict(bank.bets), list[tuple[int, int]](), 0, None
        lucks = [seat.luck for seat in seats]
        while outcome is None:
            await self._pause(THROW_S[min(len(throws), len(THROW_S) - 1)])
            shooter.thrown = False
            await self.say(shooter, {"t": "your throw", "round": number})
            await self._until(lambda: shooter.thrown, lambda seat: seat is shooter, "throw")
            throws.append(dice := throw(seed, lucks, len(throws) + 1))
            point, outcome = judge(point, sum(dice))
            self._show(throw=len(throws), dice=list(dice), point=point, outcome=outcome or "")
            message = {"t": "dice", "round": number, "throw": len(throws), "dice": dice, "point": point}
            for seat in seats:
                await self.say(seat, {**message, "outcome": outcome}, tell=seat is shooter, copies=len(seats))
        self._settle(number, outcome)
        self.rounds.append(Round(number=number, bets=bets, throws=throws, outcome=outcome))
        for seat in seats:
            await self.say(seat, {"t": "reveal", "round": number, "seed": seed, "lucks": lucks}, tell=seat is shooter)
        await self._until(lambda: not self._waiting(number), lambda seat: seat in self._waiting(number), "change")
        await self._pause(ROUND_S)

    def _settle(self, number: int, outcome: Outcome) -> None:
        self.bank.settle(outcome)
        if self._config["sabotage"] and number == 1:
            self.bank.bankrolls[GUESTS[0].name] -= 1  # a dollar vanishes: the books must find it
        self._show()

    def _waiting(self, number: int) -> list[Seat]:
        """Whose sessions have not yet gone through what the script has for this round."""
        return [
            self.seats[guest.name]
            for guest in GUESTS
            if (act := guest.acts.get(number)) is not None and act not in self.seats[guest.name].acts
        ]

    async def _ask_rotation(self, seat: Seat, link: Link) -> None:
        ms = await link.rotate()
        text = f"The table wants fresh keys for {seat.name}."
        emit("note", style="rotate", text=text, wire="UDP out: what noisegate gives", rpc="Rotate RENEGOTIATE", ms=ms)

    async def _take(self, seat: Seat, message: Message) -> None:
        kind = message["t"]
        if kind == "join":
            await self.say(seat, {"t": "seat", "bankroll": STAKE}, tell=False)
            if isinstance(seat.link, StreamLink):
                await seat.link.give_ticket()
        elif kind == "bet":
            self.bank.bet(seat.name, message["amount"])
            seat.luck = message["luck"]
        elif kind == "throw":
            seat.thrown = True
        elif kind == "moved":
            seat.moving = Act(message["network"])
        elif kind == "background":
            for number, plaintext in seat.talk.due(time.monotonic()):  # it has been heard: that is still said
                await self._send(seat, number, plaintext)
            await suspend(seat, self.counts)
        elif kind == "bye":
            seat.bye = True
        self._show()

    async def _proved(self, seat: Seat, echo: Message, passed: Passed) -> None:
        challenge = seat.challenge
        if challenge is None or echo.get("token") != challenge.token or not isinstance(seat.link, DatagramLink):
            return
        seat.challenge = None
        seat.link.verified(challenge.address)
        text = f"{seat.name} echoes a sealed number: that is the proof."
        emit("note", style="move", text=text, wire=passed.wire, rpc=passed.rpc, ms=passed.ms)
        await tell_network(seat)
        seat.talk.hurry()
        self._show()

    def _seat_of(self, link: Link, plaintext: bytes, passed: Passed) -> Seat | None:
        """The seat of a link: known, brought back by a ticket, or asked for in the player's first message."""
        seat = next((seat for seat in self.seats.values() if seat.link is link), None)
        if seat is not None:
            return seat
        if link.resumed:
            seat = next((seat for seat in self.seats.values() if seat.label == link.label), None)
            if seat is not None:
                self._back(seat, link, passed)
            return seat
        join = Conversation(repeat_s=0).hear(plaintext).messages
        if not join or join[0]["t"] != "join" or not self._welcome(join[0], link):
            return None
        seat = self.seats[join[0]["name"]]
        seat.link, seat.label = link, link.label
        return seat

    def _welcome(self, join: Message, link: Link) -> bool:
        """Whether the player is who it says: by its static key, or, if it has none (NK), by its seat's code."""
        name, established = join["name"], link.session.established
        if name not in self.seats or self.seats[name].link is not None or established is None:
            return False
        if BY_NAME[name].pattern == "NK":
            return secrets.compare_digest(str(join["code"]), str(self._config["codes"][name]))
        return secrets.compare_digest(established.remote_static_key.hex(), str(self._config["roster"][name]))

    def _back(self, seat: Seat, link: Link, passed: Passed) -> None:
        old, seat.link = seat.link, link
        self.counts.resumed += 1
        seat.acts |= {Act.DROP, Act.VANISH}
        wire = f"the ticket says: {link.label}"
        row((seat.name, "resume", 1), wire=wire, rpc=CONFIRMED.get(passed.rpc, passed.rpc), style="resume")
        seat.talk.hurry()
        if old is not None:
            asyncio.get_running_loop().create_task(old.end())

    # --- messages

    async def say(self, seat: Seat, message: Message, *, tell: bool = False, copies: int = 1) -> None:
        """Says something to a player; if it is away, it hears it later. `tell`: the screen shows it."""
        number, plaintext = seat.talk.say(message, time.monotonic())
        if tell:
            seat.untold.add(number)
        await self._send(seat, number, plaintext, copies)

    async def _send(self, seat: Seat, number: int, plaintext: bytes, copies: int = 1) -> None:
        if seat.link is None or not seat.reachable:
            return  # away, asleep, or at an address that has proved nothing: it is said again later
        try:
            passed = await seat.link.send(plaintext)
        except (WireLostError, NoisegateError):
            return
        if number in seat.untold:
            seat.untold.remove(number)
            times = f" x{copies}" if copies > 1 else ""
            row((seat.name, "down", number), wire=passed.wire + times, rpc=passed.rpc, ms=passed.ms)

    async def repeat(self) -> None:
        """Says again what was not answered; for ever."""
        while True:
            now = time.monotonic()
            for seat in self.seats.values():
                if seat.challenge is not None and seat.link is not None and now - seat.challenge.asked >= REPEAT_S:
                    await self._ask_proof(seat, seat.link, seat.challenge, now)
                for number, plaintext in seat.talk.due(now) if seat.reachable else ():
                    await self._send(seat, number, plaintext)
            await asyncio.sleep(TICK_S)

    @staticmethod
    async def _ask_proof(seat: Seat, link: Link, challenge: Challenge, now: float) -> None:
        first, challenge.asked = not challenge.asked, now
        passed = await link.send(seat.talk.aside({"token": challenge.token}))
        if first:
            text = f"The table asks {seat.name}'s new address for proof."
            emit("note", style="move", text=text, wire=passed.wire, rpc=passed.rpc, ms=passed.ms)

    async def _pause(self, seconds: float) -> None:
        if time.monotonic() - self._began < BUDGET_S:
            await asyncio.sleep(seconds * self._pace)

    async def _until(self, done: Callable[[], bool], missing: Callable[[Seat], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                names = ", ".join(seat.name for seat in self.seats.values() if missing(seat))
                raise GameStuckError(f"{names} did not {what} within {PATIENCE_S:.0f} s") from None

    def _show(self, **changes: object) -> None:
        self._shown |= changes
        seats = [
            {
                "name": seat.name,
                "bankroll": self.bank.bankrolls[seat.name],
                "bet": self.bank.bets.get(seat.name),
                "here": seat.link is not None and not seat.asleep,
                "where": seat.where,
            }
            for seat in self.seats.values()
        ]
        emit("state", **self._shown, seats=seats, house=self.bank.house, counts=self.tally())

    def tally(self) -> dict[str, int]:
        """The counts that the screen shows and the books need."""
        return {name: getattr(self.counts, name) for name in COUNTED}
