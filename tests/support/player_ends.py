"""The dice example's own player and the service below its seam, and the packets between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from examples.dice.datagram_player import (
    FLAG_MASK,
    FLAG_PAD,
    FLAG_RATCHET,
    FLAG_TICKETS,
    DatagramPlayer,
    Protocol,
    Settings,
)
from noisegate_server.engine import network
from noisegate_server.engine.outcomes import Early
from noisegate_server.engine.policy import Options
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.network import Network
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import TENANT, Engine, at_once
from tests.support.noise_client import public_key
from tests.support.requests import initiation, response

PROLOGUE = b"table 7"
CLASSICAL = Suite.CHACHA20_POLY1305_X25519
ONE_UDP_PACKET = 65_507
"""The game's SDK puts fragments together; these ends are below it."""


@dataclass
class Ends:
    """A player, and its session at the service."""

    engine: Engine
    player: DatagramPlayer
    session_id: bytes = b""

    @property
    def now(self) -> float:
        """Monotonic seconds of both."""
        return self.engine.clock.now

    def to_player(self, packets: Sequence[bytes]) -> list[bytes]:
        """Delivers packets of the service and every answer to them; what the player read as data."""
        read: list[bytes] = []
        for packet in packets:
            received = self.player.receive(packet, self.now)
            read += received.plaintexts
            self.to_service(received.to_send)
        return read

    def to_service(self, packets: Sequence[bytes]) -> list[bytes]:
        """Delivers packets of the player and every answer to them; what the service read as data."""
        read: list[bytes] = []
        for packet in packets:
            if packet[0] in (0x09, 0x0E):
                self.to_player(self.engine.proceed(self.session_id, packet).to_peer)
                continue
            opened = self.engine.decrypt(self.session_id, packet)
            read += [] if opened.plaintext is None else [opened.plaintext]
            self.to_player(opened.to_peer)
        return read

    def talk(self) -> None:
        """One message each way, which must arrive."""
        assert self.to_service([self.player.send(b"roll")]) == [b"roll"]
        sealed = self.engine.encrypt(self.session_id, b"six")
        assert self.to_player((*sealed.to_peer, sealed.ciphertext)) == [b"six"]

    def run(self, seconds: float) -> None:
        """Time passes, and both do what is due: the service inside the calls that come."""
        for _ in range(round(seconds * 2)):
            self.engine.clock.step(0.5)
            self.to_service(self.player.tick(self.now))

    def change_network(self, to: Network) -> tuple[bytes, ...]:
        """The game tells the service of it; what must go to the player."""
        clock, parts = self.engine.clock, self.engine.parts
        change = network.change_network(parts, TENANT, self.session_id, to, clock.now, clock.wall)
        return at_once(change).to_peer

    @property
    def epochs(self) -> tuple[int, int]:
        """Under which each side seals: the player, the service."""
        records = self.engine.session(self.session_id).records
        assert records is not None
        return self.player.epoch, records.epoch


def a_player(engine: Engine, *offer: tuple[int, int], **changes: object) -> DatagramPlayer:
    """With a static key, the service's key, and this offer."""
    settings = Settings(
        offer=tuple(Protocol(*pair) for pair in offer), static=os.urandom(32), remote=engine.identity.public,
        prologue=PROLOGUE, mtu=ONE_UDP_PACKET,
    )  # fmt: skip
    settings = replace(settings, **changes)  # type: ignore[arg-type]  # fields of Settings
    return DatagramPlayer(settings, random_bytes=os.urandom, wall=lambda: engine.clock.wall)


def begin(ends: Ends, packet: bytes) -> None:
    """The service answers a step 1, and the handshake goes on to its end."""
    begun = ends.engine.respond(response(packet, prologue=PROLOGUE))
    ends.session_id = begun.session_id
    ends.to_player(begun.to_peer)
    assert ends.player.established


def sit_down(engine: Engine, player: DatagramPlayer, *, service_initiates: bool, flags: int) -> Ends:
    """An IK session, begun by either side."""
    ends = Ends(engine, player)
    if not service_initiates:
        begin(ends, player.start(ends.now)[0])
        return ends
    options = Options(
        tickets=bool(flags & FLAG_TICKETS), ratchet=bool(flags & FLAG_RATCHET), mask=bool(flags & FLAG_MASK),
        pad=bool(flags & FLAG_PAD),
    )  # fmt: skip
    public = public_key(player.own.settings.static or b"")
    begun = engine.initiate(
        initiation(pattern=Pattern.IK, suite=CLASSICAL, remote_static_key=public, prologue=PROLOGUE, options=options)
    )
    ends.session_id = begun.session_id
    ends.to_player(begun.to_peer)
    return ends


def resume(
    ends: Ends, packet: bytes, *, accept_early: bool = False, options: Options | None = None
) -> tuple[Early, bytes, bool]:
    """The service answers a RESUME; what became of early data, what it was, and whether it fell back."""
    request = ResumeRequested(
        mode=RecordMode.DATAGRAM, message=packet, ticket=b"", hello=b"", prologue=PROLOGUE, payload=b"welcome",
        accept_early=accept_early, options=options or Options(),
    )  # fmt: skip
    step = ends.engine.accept_resume(request)
    ends.session_id = step.session_id
    received = [ends.player.receive(packet, ends.now) for packet in step.to_peer]
    for one in received:
        ends.to_service(one.to_send)
    if not step.fell_back:
        assert received[0].payloads == [b"welcome"]
        assert received[0].early is (step.early is Early.ACCEPTED)
    return step.early, step.early_data, step.fell_back


def back(ends: Ends, stored: bytes) -> list[bytes]:
    """The app's next process, with what the last one has stored; what it says first."""
    engine, settings = ends.engine, ends.player.own.settings
    ends.player = DatagramPlayer(settings, random_bytes=os.urandom, wall=lambda: engine.clock.wall)
    return ends.player.restore(stored, ends.now)
