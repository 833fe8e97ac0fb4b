"""A UDP player of the hybrid suite over the running service: what is larger than 1,200 bytes travels in fragments.

The player is the dice example's, written from docs/protocol.md alone; between it and the game's DatagramReceiver lies a
path that loses, repeats and reorders datagrams, and drops every one that is larger than it takes.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

import noisegate
from examples.dice.datagram_player import FLAG_DATAGRAM, FLAG_TICKETS, DatagramPlayer, PacketRefusedError, Settings
from examples.dice.datagram_player import Protocol as WireProtocol
from noisegate import Client, DatagramReceiver, Pattern, Protocol, RecordMode, Session, Suite
from tests.support.noise_client import PROLOGUE, WITHOUT_REMOTE, public_key

HYBRID: Final = Suite.MLKEM1024_X25519_CHACHA20_POLY1305
MTU: Final = 1_200
TICK: Final = 0.25
"""Seconds of the path's own clock that pass with every round."""
ROUNDS: Final = 400


class Path:
    """A player, a game, and what is between them. Its clock is its own; nothing waits."""

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
        if heard.new_session:
            self.session = heard.session
        self.heard += heard.plaintexts
        self.put([each for each, _ in heard.to_send], to_player=True)


def hybrid_player(pattern: Pattern, service_key: bytes) -> DatagramPlayer:
    """A player that offers the hybrid alone; anonymous in NK."""
    settings = Settings(
        offer=(WireProtocol(int(pattern), int(HYBRID)),),
        flags=FLAG_DATAGRAM | FLAG_TICKETS,
        static=os.urandom(32),
        remote=None if pattern in WITHOUT_REMOTE else service_key,
        prologue=PROLOGUE,
        mtu=MTU,
    )
    return DatagramPlayer(settings, random_bytes=os.urandom, wall=time.time)


def name_of(session: Session | None) -> str:
    """The protocol that was run."""
    assert session is not None
    assert session.established is not None
    return session.established.protocol_name


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize(("pattern", "name"), [(Pattern.XX, "XXhfs"), (Pattern.IK, "IKhfs"), (Pattern.NK, "NKhfs")])
async def test_a_hybrid_player_lives_on_a_path_of_1200_bytes(
    client: Client, pattern: Pattern, name: str, loss: float
) -> None:
    """Handshake, rotation (IKhfs+psk1, or NKhfs+psk0 for an anonymous player) and resume (NNhfs+psk0), in fragments."""
    player = hybrid_player(pattern, (await client.capabilities()).static_key)
    path = Path(client, player, loss=loss, seed=int(pattern))
    path.put(player.start(path.now), to_player=False)
    await path.until("established", path.established)
    await path.say(b"before")
    assert name_of(path.session) == f"Noise_{name}_25519+MLKEM1024_ChaChaPoly_SHA256"
    first = path.session
    assert first is not None
    assert first.established is not None
    assert first.established.handshake_hash == player.handshake_hash
    shaken = path.seen["fragments"]
    assert shaken >= 4
    path.put(player.renegotiate(path.now), to_player=False)
    await path.until("rotated", lambda: player.epoch == 1)
    await path.say(b"after")
    assert (await first.describe()).epoch == 1
    rotated = path.seen["fragments"] - shaken
    assert rotated >= 4
    await path.until("a ticket", lambda: player.ticket is not None)
    path.session = None
    path.put(player.resume(path.now), to_player=False)
    await path.until("resumed", lambda: path.established() and player.epoch == 0)
    await path.say(b"again")
    assert name_of(path.session) == "Noise_NNhfs+psk0_25519+MLKEM1024_ChaChaPoly_SHA256"
    assert path.seen["fragments"] - shaken - rotated >= 4
    assert (path.seen["lost"] > 0) is (loss > 0)
    await first.close()


async def test_a_service_begins_with_a_hybrid_player_in_fragments(client: Client) -> None:
    """The first packet goes out through `cut`; what follows, the player's own sets included, as above."""
    player = hybrid_player(Pattern.XX, b"")
    path = Path(client, player, loss=0.2, seed=9)
    path.session = await client.initiate(
        mode=RecordMode.DATAGRAM, protocol=Protocol(Pattern.XX, HYBRID), prologue=PROLOGUE
    )
    path.receiver.add(path.session, "player")
    first = path.session.to_peer
    for _ in range(ROUNDS):
        if path.established():
            break
        # Repeated unchanged, in a new set; the player's answer is answered again too.
        path.put(path.receiver.cut(first), to_player=True)
        await path.run(2)
    await path.say(b"six")
    assert path.session.established is not None
    assert path.session.established.remote_static_key == public_key(player.own.settings.static or b"")
    assert path.seen["fragments"] >= 4
    await path.session.close()
