"""A player over UDP at a table that answers every word with its echo: the example in the README of each client."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from examples.dice.datagram_player import DatagramPlayer

SECONDS = 10.0


def play(wire: socket.socket, player: DatagramPlayer) -> None:
    """The handshake and three echoes."""
    wire.settimeout(SECONDS)
    for packet in player.start(time.monotonic()):
        wire.send(packet)
    while not player.established:
        heard(player, wire)
    # The table serves each packet for itself, so the first ones may overtake the end of the handshake and be refused.
    wire.settimeout(SECONDS / 10)
    for text in (b"1", b"2", b"3"):
        echo(player, wire, text)


def echo(player: DatagramPlayer, wire: socket.socket, text: bytes) -> None:
    """Say it until it comes back; the echo of an earlier saying counts too."""
    for _ in range(10):
        wire.send(player.send(text))
        with suppress(TimeoutError):
            while b"echo " + text not in heard(player, wire):
                pass
            return
    raise AssertionError("no echo")


def heard(player: DatagramPlayer, wire: socket.socket) -> list[bytes]:
    """What the player reads in the next packet; what it says to that is sent."""
    received = player.receive(wire.recv(65_535), time.monotonic())
    for packet in received.to_send:
        wire.send(packet)
    return list(received.plaintexts)
