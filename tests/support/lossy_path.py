"""A UDP player of the dice example, the SDK's receiver over a running service, and a bad path between them.

The path loses, repeats and reorders datagrams, and carries none above 1,200 bytes. Its clock is its own: nothing waits.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

import noisegate
from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError
from noisegate import Client, DatagramReceiver, Session
from tests.support.noise_client import PROLOGUE

MTU: Final = 1_200
TICK: Final = 0.25
"""Seconds of the path's clock that pass with every round."""
ROUNDS: Final = 400


class Path:
    """A player, a game, and what is between them."""

    def __init__(self, client: Client, player: DatagramPlayer, *, loss: float, seed: int) -> None:
        self.player = player
        self.now = 0.0
        self.seen: Counter[str] = Counter()
        self.receiver: DatagramReceiver[str] = DatagramReceiver(
            client, admit=lambda packet, source: noisegate.Admission(prologue=PROLOGUE), now=lambda: self.now
        )
        self.session: Session | None = None
        self.heard: list[bytes] = []
        self.read: list[bytes] = []
        self._loss = loss
        self._dice = random.Random(seed)
        self._flying: list[tuple[float, bool, bytes]] = []

    def put(self, datagrams: list[bytes], *, to_player: bool) -> None:
        """Send; each datagram may get lost, come twice, or be overtaken."""
        for datagram in datagrams:
            assert len(datagram) <= MTU
            self.seen["fragments" if datagram[:1] == b"\x0d" else "whole"] += 1
            copies = 2 if self._dice.random() < self._loss / 2 else 1
            for _ in range(copies):
                if self._dice.random() < self._loss:
                    self.seen["lost"] += 1
                else:
                    self._flying.append((self.now + self._dice.uniform(0.0, TICK), to_player, datagram))

    async def run(self, rounds: int = 1) -> None:
        """Let the path's clock go on, and deliver what is due."""
        for _ in range(rounds):
            self.now += TICK
            self.put(self.player.tick(self.now), to_player=False)
            due = sorted(flight for flight in self._flying if flight[0] <= self.now)
            self._flying = [flight for flight in self._flying if flight[0] > self.now]
            for _, to_player, datagram in due:
                await self._arrive(datagram, to_player=to_player)

    def established(self) -> bool:
        """Whether both ends have finished the newest handshake."""
        return self.player.established and self.session is not None and self.session.established is not None

    async def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Run until `holds()`; a failure of the test where that never comes."""
        for _ in range(ROUNDS):
            if holds():
                return
            await self.run()
        pytest.fail(f"{what}: not after {ROUNDS} rounds")

    async def say(self, text: bytes) -> None:
        """One message each way, sent as often as the path needs."""
        assert self.session is not None
        while text not in self.heard or text not in self.read:
            assert self.seen["said"] < ROUNDS
            self.seen["said"] += 1
            self.put([self.player.send(text)], to_player=False)
            sealed = await self.session.encrypt(text)
            self.put([each for each, _ in self.receiver.route(self.session, sealed.messages)], to_player=True)
            await self.run(2)

    async def _arrive(self, datagram: bytes, *, to_player: bool) -> None:
        if to_player:
            try:
                received = self.player.receive(datagram, self.now)
            except PacketRefusedError:
                self.seen["refused by the player"] += 1
                return
            self.read += received.plaintexts
            self.put(received.to_send, to_player=False)
            return
        heard = await self.receiver.receive(datagram, "player")
        self.seen[heard.refused] += 1
        if heard.new_session:
            self.session = heard.session
        self.heard += heard.plaintexts
        self.put([each for each, _ in heard.to_send], to_player=True)
