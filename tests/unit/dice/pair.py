"""Two players, a clock that is stepped by hand, and a channel that loses, repeats and reorders."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from examples.dice.datagram_player import (
    FLAG_DATAGRAM,
    FLAG_TICKETS,
    DatagramPlayer,
    PacketRefusedError,
    Protocol,
    Settings,
)

XX, IK, NK, IKPSK2 = 1, 2, 3, 6
INITIATOR_STATIC = bytes(range(32))
RESPONDER_STATIC = bytes(range(32, 64))


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


@dataclass
class Clock:
    """Monotonic and wall time that only a test moves."""

    now: float = 0.0

    def wall(self) -> float:
        """Unix seconds."""
        return 1_800_000_000.0 + self.now


@dataclass
class Pair:
    """An initiator and a responder that share a clock."""

    initiator: DatagramPlayer
    responder: DatagramPlayer
    clock: Clock
    plaintexts: dict[str, list[bytes]] = field(default_factory=lambda: {"initiator": [], "responder": []})

    def deliver(self, packets: list[bytes], to: DatagramPlayer) -> list[bytes]:
        """Delivers the packets and every answer to them at once; what `to` read as data."""
        read: list[bytes] = []
        receiver = to
        while packets:
            answers: list[bytes] = []
            for packet in packets:
                result = receiver.receive(packet, self.clock.now)
                answers += result.to_send
                if receiver is to:
                    read += result.plaintexts
            packets, receiver = answers, self.initiator if receiver is self.responder else self.responder
        return read

    def talk(self) -> None:
        """One message each way, which must arrive."""
        assert self.deliver([self.initiator.send(b"roll")], self.responder) == [b"roll"]
        assert self.deliver([self.responder.send(b"six")], self.initiator) == [b"six"]


def make_pair(
    pattern: int,
    suite: int = 1,
    flags: int = FLAG_DATAGRAM | FLAG_TICKETS,
    seed: int = 1,
    connection_id: bytes = bytes(8),
) -> Pair:
    """Two players that have not begun."""
    clock, random_bytes = Clock(), random.Random(seed).randbytes
    offer, psk = (Protocol(pattern, suite),), b"k" * 32
    initiator = Settings(
        offer=offer,
        flags=flags,
        static=None if pattern == NK else INITIATOR_STATIC,
        remote=None if pattern == XX else public_key(RESPONDER_STATIC),
        psk=psk,
        prologue=b"table 7",
        connection_id=connection_id,
    )
    responder = Settings(offer=offer, flags=flags, static=RESPONDER_STATIC, psk=psk, prologue=b"table 7")
    return Pair(
        initiator=DatagramPlayer(initiator, random_bytes=random_bytes, wall=clock.wall),
        responder=DatagramPlayer(responder, random_bytes=random_bytes, wall=clock.wall),
        clock=clock,
    )


def established_pair(pattern: int = IK, suite: int = 1, flags: int = FLAG_DATAGRAM | FLAG_TICKETS) -> Pair:
    """Two players whose handshake is over."""
    pair = make_pair(pattern, suite, flags)
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    pair.talk()
    return pair


class Channel:
    """A datagram path both ways: seeded loss, repeats and delays of up to a second."""

    def __init__(self, pair: Pair, seed: int, loss: float) -> None:
        self.pair, self.loss, self._random = pair, loss, random.Random(seed)
        self._flying: list[tuple[float, bytes, bool]] = []
        self.read: tuple[list[bytes], list[bytes]] = [], []
        self.refused = 0

    def put(self, packets: list[bytes], to_initiator: bool) -> None:
        """Sends packets, each of which may be lost, late or doubled."""
        for packet in packets:
            if self._random.random() < self.loss:
                continue
            copies = 2 if self._random.random() < self.loss / 2 else 1
            for _ in range(copies):
                delay = self._random.uniform(0.0, 1.0 if self.loss else 0.05)
                self._flying.append((self.pair.clock.now + delay, packet, to_initiator))

    def run(self, seconds: float, act: Callable[[random.Random], None] = lambda _: None) -> None:
        """Steps time by 100 ms: what is due arrives, both players tick, then `act` may send."""
        clock = self.pair.clock
        for _ in range(round(seconds * 10)):
            clock.now += 0.1
            due = [flight for flight in self._flying if flight[0] <= clock.now]
            self._flying = [flight for flight in self._flying if flight[0] > clock.now]
            for _, packet, to_initiator in sorted(due, key=lambda flight: flight[0]):
                receiver = self.pair.initiator if to_initiator else self.pair.responder
                try:
                    result = receiver.receive(packet, clock.now)
                except PacketRefusedError:
                    self.refused += 1
                    continue
                self.read[to_initiator].extend(result.plaintexts)
                self.put(result.to_send, not to_initiator)
            self.put(self.pair.initiator.tick(clock.now), to_initiator=False)
            self.put(self.pair.responder.tick(clock.now), to_initiator=True)
            act(self._random)
