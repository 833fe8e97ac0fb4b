"""The service against examples/dice/datagram_player, which was written from docs/protocol.md alone.

A path that loses, repeats and delays packets, the clock stepped by tenths of a second, rotations by both sides' policy,
with the ratchet and without.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.errors import RekeyRequired, SessionError
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engine, Engines
from tests.support.requests import initiation, response
from tests.support.vectors import peer_library

LIMITS = RotationLimits(soft_messages=400, hard_messages=3_000)
"""The service's, so low that it wants rotations of its own beside the player's, which come by age."""


@dataclass
class Table:
    """A player, the service, and the path between them."""

    engine: Engine
    player: object
    library: object
    session_id: bytes
    loss: float
    dice: random.Random
    flying: list[tuple[float, bool, bytes]] = field(default_factory=list)
    to_player: list[bytes] = field(default_factory=list)
    to_service: list[bytes] = field(default_factory=list)
    refused: int = 0

    def put(self, packets: tuple[bytes, ...] | list[bytes], to_player: bool) -> None:
        for packet in packets:
            for _ in range(2 if self.dice.random() < self.loss / 2 else 1):
                if self.dice.random() >= self.loss:
                    delay = self.dice.uniform(0.0, 0.6 if self.loss else 0.05)
                    self.flying.append((self.engine.clock.now + delay, to_player, packet))

    def arrive(self, to_player: bool, packet: bytes) -> None:
        now = self.engine.clock.now
        if to_player:
            try:
                received = self.player.receive(packet, now)  # type: ignore[attr-defined]  # the example's own types
            except self.library.PacketRefusedError:  # type: ignore[attr-defined]
                self.refused += 1
                return
            self.to_player += received.plaintexts
            self.put(received.to_send, to_player=False)
            return
        try:
            opened = self.engine.decrypt(b"", packet)
        except SessionError:
            self.refused += 1
            return
        if opened.plaintext is not None:
            self.to_service.append(opened.plaintext)
        self.put(opened.to_peer, to_player=True)

    def run(self, seconds: float, sent: tuple[list[bytes], list[bytes]]) -> None:
        for _ in range(round(seconds * 10)):
            self.engine.clock.step(0.1)
            now = self.engine.clock.now
            due = sorted((flight for flight in self.flying if flight[0] <= now), key=lambda flight: flight[0])
            self.flying = [flight for flight in self.flying if flight[0] > now]
            for _, to_player, packet in due:
                self.arrive(to_player, packet)
            self.put(self.player.tick(now), to_player=False)  # type: ignore[attr-defined]
            for _ in range(self.dice.randrange(6)):
                self.say(sent)

    def say(self, sent: tuple[list[bytes], list[bytes]]) -> None:
        text = b"%d" % len(sent[0])
        sent[0].append(text)
        try:
            packet = self.player.send(text)  # type: ignore[attr-defined]
        except self.library.NotPossibleError:  # type: ignore[attr-defined]
            sent[0][-1] = b""
        else:
            self.put([packet], to_player=False)
        text = b"%d" % len(sent[1])
        try:
            sealed = self.engine.encrypt(self.session_id, text)
        except RekeyRequired:
            return
        sent[1].append(text)
        self.put((*sealed.to_peer, sealed.ciphertext), to_player=True)


def sit_down(
    engines: Engines, *, service_initiates: bool, suite: Suite, ratchet: bool, masked: bool, loss: float
) -> Table:
    """A session between the service and a player, its handshake without loss."""
    library = peer_library("examples.dice.datagram_player")
    engine = engines.make(policy=Policy(limits=LIMITS))
    static = os.urandom(32)
    flags = library.FLAG_DATAGRAM | library.FLAG_TICKETS | (library.FLAG_RATCHET if ratchet else 0)
    flags |= library.FLAG_MASK | library.FLAG_PAD if masked else 0
    settings = library.Settings(
        offer=(library.Protocol(Pattern.IK, suite),), flags=flags, static=static,
        remote=None if service_initiates else engine.identity.public, prologue=b"table 7",
        mtu=65_507,  # the game's SDK puts fragments together; what is tested here is below it
    )  # fmt: skip
    player = library.DatagramPlayer(settings, random_bytes=os.urandom, wall=lambda: engine.clock.wall)
    now = engine.clock.now
    if service_initiates:
        public = X25519PrivateKey.from_private_bytes(static).public_key().public_bytes_raw()
        options = Options(tickets=True, ratchet=ratchet, mask=masked, pad=masked)
        begun = engine.initiate(
            initiation(pattern=Pattern.IK, suite=suite, remote_static_key=public, prologue=b"table 7", options=options)
        )
        session_id = begun.session_id
        answer = player.receive(begun.to_peer[0], now).to_send
        assert engine.proceed(session_id, answer[0]).established is not None
    else:
        begun = engine.respond(response(player.start(now)[0], prologue=b"table 7"))
        session_id = begun.session_id
        player.receive(begun.to_peer[0], now)
    assert player.established
    return Table(engine, player, library, session_id, loss, random.Random(7))


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("service_initiates", [False, True])
@pytest.mark.parametrize("ratchet", [True, False])
@pytest.mark.parametrize("loss", [0.0, 0.25])
def test_a_player_and_the_service_go_through_rotations(
    engines: Engines, service_initiates: bool, suite: Suite, ratchet: bool, loss: float
) -> None:
    """Three minutes of a game: what arrives is what was sent, once, and both ends come through every rotation."""
    table = sit_down(
        engines, service_initiates=service_initiates, suite=suite, ratchet=ratchet, masked=loss > 0, loss=loss
    )
    sent: tuple[list[bytes], list[bytes]] = [], []
    table.run(180.0, sent)
    for came, was in ((table.to_service, sent[0]), (table.to_player, sent[1])):
        assert len(came) == len(set(came))
        assert set(came) <= set(was)
        assert len(came) >= len(was) * (1 - loss) * 0.9
    epoch = table.engine.session(table.session_id).records
    assert epoch is not None
    assert epoch.epoch >= 4
    table.loss = 0.0
    table.run(15.0, sent)
    assert abs(epoch.epoch - table.player.epoch) <= 1  # type: ignore[attr-defined]
    mark = len(table.to_service), len(table.to_player)
    table.run(2.0, sent)
    assert len(table.to_service) > mark[0]
    assert len(table.to_player) > mark[1]


@pytest.mark.parametrize("service_initiates", [False, True])
def test_a_player_catches_up_after_a_long_silence_of_the_path(engines: Engines, service_initiates: bool) -> None:
    """Two thousand messages each way get lost: with the ratchet the next one opens at both ends."""
    table = sit_down(
        engines, service_initiates=service_initiates, suite=Suite.AES256_GCM_X25519, ratchet=True, masked=True, loss=0.0
    )
    sent: tuple[list[bytes], list[bytes]] = [], []
    table.run(1.0, sent)
    table.loss = 2.0
    for _ in range(1_900):
        table.say(sent)
    table.loss = 0.0
    table.flying.clear()
    table.run(3.0, sent)
    assert table.to_service[-1] in sent[0][-20:]
    assert table.to_player[-1] in sent[1][-20:]
