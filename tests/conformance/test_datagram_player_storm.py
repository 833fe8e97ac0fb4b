"""The service and the dice example's own player over a bad path, with everything that may happen to a session at once.

Loss, repeats and delays; rotations from either side, rekeys, changes of network; either side suspended and restored, or
both. Two implementations that share no line: what arrives was sent and arrives once, and both ways flow in the end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from examples.dice.datagram_player import (
    FLAG_DATAGRAM,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_RATCHET,
    FLAG_TICKETS,
    DatagramPlayer,
    PacketRefusedError,
)
from examples.dice.datagram_player.handshake import AEADS
from noisegate_server.engine.policy import Policy
from noisegate_server.engine.rotate import REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.session.errors import NotEstablished, SessionError
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.network import Network
from noisegate_server.session.suites import Pattern
from tests.support.engines import Engines
from tests.support.player_ends import CLASSICAL, Ends, a_player, sit_down

EVERY_FLAG = FLAG_DATAGRAM | FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS
LIMITS = RotationLimits(soft_messages=300, hard_messages=3_000)


@dataclass
class Storm:
    """The two ends, what is on its way between them, and what each has read."""

    ends: Ends
    chance: random.Random
    loss: float
    flying: list[tuple[float, bool, bytes]] = field(default_factory=list)
    read: tuple[list[bytes], list[bytes]] = field(default_factory=lambda: ([], []))
    sent: tuple[set[bytes], set[bytes]] = field(default_factory=lambda: (set(), set()))
    stored: bytes = b""
    number: int = 0

    def put(self, packets: Sequence[bytes], *, to_player: bool) -> None:
        """Sends packets, each of which may be lost, late or doubled."""
        for packet in packets:
            for _ in range(2 if self.chance.random() < self.loss / 2 else 1):
                if self.chance.random() >= self.loss:
                    delay = self.chance.uniform(0.0, 0.8 if self.loss else 0.05)
                    self.flying.append((self.ends.now + delay, to_player, packet))

    def arrive(self, to_player: bool, packet: bytes) -> None:
        """One packet reaches one end, which may be asleep; the game restores a session whose player is back."""
        ends = self.ends
        try:
            if to_player:
                received = ends.player.receive(packet, ends.now)
                self.read[1].extend(received.plaintexts)
                self.put(received.to_send, to_player=False)
                return
            opened = ends.engine.decrypt(ends.session_id, packet)
        except NotEstablished:
            self.put(ends.engine.restore(ends.session_id).to_peer, to_player=True)
        except (SessionError, PacketRefusedError):
            return
        else:
            self.read[0].extend([] if opened.plaintext is None else [opened.plaintext])
            self.put(opened.to_peer, to_player=True)

    def say(self) -> None:
        """One message each way, where that is possible at present."""
        self.number += 1
        up, down = b"up %d" % self.number, b"down %d" % self.number
        if self.ends.player.established:
            self.sent[0].add(up)
            self.put([self.ends.player.send(up)], to_player=False)
        try:
            sealed = self.ends.engine.encrypt(self.ends.session_id, down)
        except NotEstablished:
            return
        self.sent[1].add(down)
        self.put((*sealed.to_peer, sealed.ciphertext), to_player=True)

    def run(self, seconds: float, messages: float) -> None:
        """Time passes by tenths of a second; so many messages each way in each of them, on the average."""
        clock = self.ends.engine.clock
        for _ in range(round(seconds * 10)):
            clock.step(0.1)
            due = sorted(one for one in self.flying if one[0] <= clock.now)
            self.flying = [one for one in self.flying if one[0] > clock.now]
            for _, to_player, packet in due:
                self.arrive(to_player, packet)
            self.put(self.ends.player.tick(clock.now), to_player=False)
            if self.chance.random() < messages:
                self.say()

    # --- what may happen

    def player_stops(self) -> None:
        """Its app goes to the background, or, where it is there, comes back."""
        ends, settings = self.ends, self.ends.player.own.settings
        if self.stored:
            stored, self.stored = self.stored, b""
            self.put(ends.player.restore(stored, ends.now), to_player=False)
            return
        self.stored = ends.player.suspend(ends.now)
        ends.player = DatagramPlayer(settings, random_bytes=os.urandom, wall=lambda: ends.engine.clock.wall)

    def service_stops(self) -> None:
        """The game has the session suspended, where its newest epoch is confirmed."""
        try:
            self.ends.engine.suspend(self.ends.session_id)
        except SessionError:
            return

    def player_rotates(self) -> None:
        """Rekey, or a renegotiation."""
        player = self.ends.player
        if player.established:
            self.put(
                player.rekey() if self.chance.random() < 0.3 else player.renegotiate(self.ends.now), to_player=False
            )

    def service_rotates(self) -> None:
        """Rekey, or a renegotiation."""
        kind = REKEY if self.chance.random() < 0.3 else RENEGOTIATE
        try:
            self.put(self.ends.engine.rotate(self.ends.session_id, RotateCommand(kind=kind)).to_peer, to_player=True)
        except SessionError:
            return

    def network_changes(self) -> None:
        """As the game would tell it; a suspended session comes back by this."""
        network = self.chance.choice([Network.WIFI, Network.CELLULAR])
        self.put(self.ends.change_network(network), to_player=True)


class Net:
    """Every key and nonce under which the player seals. The service's are caught by a net of the whole run."""

    def __init__(self) -> None:
        self.seen: set[tuple[bytes, bytes]] = set()

    def over(self, aead: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """The same AEAD; a nonce that comes a second time under a key fails the test."""
        seen = self.seen

        class Watched:
            def __init__(self, key: bytes) -> None:
                self._key, self._aead = key, aead(key)

            def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
                assert (self._key, nonce) not in seen
                seen.add((self._key, nonce))
                return bytes(self._aead.encrypt(nonce, data, associated_data))

            def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
                return bytes(self._aead.decrypt(nonce, data, associated_data))

        return Watched


@pytest.mark.parametrize("service_initiates", [False, True])
@pytest.mark.parametrize("flags", [FLAG_DATAGRAM, EVERY_FLAG])
@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_may_happen_breaks_a_session(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, seed: int, service_initiates: bool, flags: int
) -> None:
    """Thirty events in some minutes, after each of them a good or a bad path; no nonce comes twice under a key."""
    net = Net()
    watched = {suite: net.over(aead) for suite, aead in AEADS.items()}
    monkeypatch.setattr("examples.dice.datagram_player.epoch.AEADS", watched)
    engine = engines.make(policy=Policy(limits=LIMITS))
    player = a_player(engine, (Pattern.IK, CLASSICAL), flags=flags)
    ends = sit_down(engine, player, service_initiates=service_initiates, flags=flags)
    ends.talk()
    storm = Storm(ends, random.Random(seed), 0.0)
    events: tuple[Callable[[], None], ...] = (
        storm.player_stops, storm.service_stops, storm.player_rotates, storm.service_rotates, storm.network_changes,
    )  # fmt: skip
    for _ in range(30):
        storm.chance.choice(events)()
        storm.loss = storm.chance.choice([0.0, 0.2, 0.4])
        storm.run(storm.chance.uniform(0.1, 8.0), messages=0.4)
    if storm.stored:
        storm.player_stops()
    storm.loss = 0.0
    storm.run(25.0, messages=0.2)
    for read, sent in zip(storm.read, storm.sent, strict=True):
        assert len(read) == len(set(read))
        assert set(read) <= sent
        assert len(read) > 50
    marks = [len(read) for read in storm.read]
    storm.run(2.0, messages=1.0)
    for read, mark in zip(storm.read, marks, strict=True):
        assert len(read) > mark + 10
    assert len(set(ends.epochs)) == 1
    assert len(net.seen) > 100
