"""The far end of a session, one face for both record modes: `noiseprotocol`, and the dice example's DATAGRAM code."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final

from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError
from examples.dice.noise_player import NoisePlayer, NoiseRefusedError, NoiseTicket
from noisegate import Pattern, RecordMode, Role, Suite
from tests.conformance.suite.values import Unmet
from tests.support.noise_client import CIPHERS, PROLOGUE, Setup, datagram_player

MakeNoisePlayer = Callable[[Setup, bytes], Any]
"""(setup, the service's key) -> a player with the face of NoisePlayer, as far as the cases need it."""

DEFAULTS: Final = {"pattern": "XX", "suite": "CHACHA20_POLY1305_X25519", "role": "RESPONDER"}


def setup_of(step: dict[str, Any]) -> Setup:
    """How a session shall come about; `role` is the service's part."""
    words = DEFAULTS | step
    return Setup(
        pattern=Pattern[words["pattern"]],
        suite=Suite[words["suite"]],
        role=Role[words["role"]],
        peer_id=words.get("peer_id", ""),
        group=words.get("group", ""),
    )


class Player(ABC):
    """One player. What it refuses raises Unmet."""

    mode: RecordMode

    @property
    @abstractmethod
    def handshake_hash(self) -> bytes:
        """Equal at both ends."""

    @abstractmethod
    def begin(self) -> bytes:
        """The first message of a handshake that the player begins; in NOISE mode its payload is "hi"."""

    @abstractmethod
    def seal(self, text: bytes, associated_data: bytes = b"") -> bytes:
        """A record for the service."""

    @abstractmethod
    def receive(self, packet: bytes, associated_data: bytes = b"") -> tuple[list[bytes], list[bytes]]:
        """(what it read, what it has to say to that)."""

    @abstractmethod
    def resume(self) -> dict[str, Any]:
        """Comes back by its ticket: the fields of a resume's first step. It forgets its old session."""

    @abstractmethod
    def finish(self, messages: Sequence[bytes]) -> None:
        """Reads the answer to `resume`."""


class NoiseEnd(Player):
    """NOISE mode."""

    mode = RecordMode.NOISE

    def __init__(self, setup: Setup, service_key: bytes, noise_player: MakeNoisePlayer) -> None:
        self._setup = setup
        self.noise: NoisePlayer = noise_player(setup, service_key)
        self._ticket: NoiseTicket | None = None

    @property
    def handshake_hash(self) -> bytes:
        return self.noise.handshake_hash

    def begin(self) -> bytes:
        message: bytes = self.noise.write_handshake(b"hi")
        return message

    def seal(self, text: bytes, associated_data: bytes = b"") -> bytes:
        return self.noise.seal(text, associated_data) if associated_data else self.noise.seal(text)

    def receive(self, packet: bytes, associated_data: bytes = b"") -> tuple[list[bytes], list[bytes]]:
        try:
            text = self.noise.open(packet, associated_data) if associated_data else self.noise.open(packet)
        except NoiseRefusedError as error:
            raise Unmet("the player cannot open the record") from error
        return [text], []

    def take_ticket(self, packet: bytes) -> None:
        """A record that holds a ticket."""
        self._ticket = NoiseTicket.parse(self.receive(packet)[0][0])

    def resume(self) -> dict[str, Any]:
        if self._ticket is None:
            raise Unmet("the player has no ticket")
        cipher = CIPHERS[self._setup.suite]
        self.noise = NoisePlayer.resume(self._ticket, cipher=cipher, prologue=PROLOGUE)
        return {"message": self.noise.write_handshake(), "ticket": self._ticket.ticket}

    def finish(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.noise.read_handshake(message)


class DatagramEnd(Player):
    """DATAGRAM mode."""

    mode = RecordMode.DATAGRAM

    def __init__(self, setup: Setup, service_key: bytes) -> None:
        self.player: DatagramPlayer = datagram_player(setup, service_key)

    def set_clock(self, ahead_s: float) -> None:
        """Its clock is wrong by so much."""
        self.player.own.wall = lambda: time.time() + ahead_s

    def begin(self) -> bytes:
        (packet,) = self.player.start(time.monotonic())
        return packet

    @property
    def handshake_hash(self) -> bytes:
        return self.player.handshake_hash

    def seal(self, text: bytes, associated_data: bytes = b"") -> bytes:
        return self.player.send(text, associated_data)

    def receive(self, packet: bytes, associated_data: bytes = b"") -> tuple[list[bytes], list[bytes]]:
        try:
            received = self.player.receive(packet, time.monotonic(), associated_data)
        except PacketRefusedError as error:
            raise Unmet("the player refuses the packet") from error
        return list(received.plaintexts), list(received.to_send)

    def resume(self) -> dict[str, Any]:
        (packet,) = self.player.resume(time.monotonic())
        return {"message": packet}

    def finish(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self.receive(message)


def player_of(
    mode: RecordMode, setup: Setup, service_key: bytes, noise_player: MakeNoisePlayer
) -> NoiseEnd | DatagramEnd:
    """One that has sent and read nothing yet."""
    if mode is RecordMode.NOISE:
        return NoiseEnd(setup, service_key, noise_player)
    return DatagramEnd(setup, service_key)
