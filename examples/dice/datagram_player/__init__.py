"""A player of DATAGRAM mode: docs/protocol.md as a program, on the `cryptography` package and nothing of ours.

Written from the protocol's text alone, so it is also a check of that text, and a place to start from for whoever writes
a player in another language. No I/O: packets go in and come out, time and randomness are arguments. From the bottom:

wire (packets), fragments, keys, handshake (Noise and its hybrid extension), epoch (records), tickets, limits,
connection (its id), session (control records, rotation, salted epochs), stored (a session as bytes), settings,
initiate and respond (both sides of a handshake), player.

Left out: puzzles that ask for work, which version 1 does not define.
"""

from __future__ import annotations

from examples.dice.datagram_player.epoch import padded
from examples.dice.datagram_player.keys import nearest
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.player import DatagramPlayer
from examples.dice.datagram_player.settings import Settings
from examples.dice.datagram_player.tickets import Ticket
from examples.dice.datagram_player.wire import (
    FLAG_DATAGRAM,
    FLAG_MASK,
    FLAG_PAD,
    FLAG_RATCHET,
    FLAG_TICKETS,
    NO_CONNECTION,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Received,
)

__all__ = [
    "FLAG_DATAGRAM",
    "FLAG_MASK",
    "FLAG_PAD",
    "FLAG_RATCHET",
    "FLAG_TICKETS",
    "NO_CONNECTION",
    "DatagramPlayer",
    "Limits",
    "NotPossibleError",
    "PacketRefusedError",
    "Protocol",
    "Received",
    "Settings",
    "Ticket",
    "nearest",
    "padded",
]
