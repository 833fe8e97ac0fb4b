"""What sealing and opening a record give back. Named tuples, because one is made for every packet."""

from __future__ import annotations

from typing import NamedTuple


class Sealed(NamedTuple):
    """A record for the peer."""

    ciphertext: bytes
    """NOISE: a transport message; DATAGRAM: a RECORD packet."""
    counter: int
    """64-bit, never used twice under one key."""
    epoch: int
    rotation_due: bool
    """A soft limit is passed."""
    to_peer: tuple[bytes, ...] = ()
    """Messages that must go to the peer besides."""


class Opened(NamedTuple):
    """A record of the peer, authenticated and counted."""

    kind: int
    """A `packets.Kind` without its flag; always DATA in NOISE mode."""
    content: bytes
    counter: int
    epoch: int
    newest: bool
    """The highest counter of its epoch so far, in the newest epoch that the peer has used."""
    wants_rotation: bool
    """The peer asks for a rotation."""
    confirmed: bool
    """This record was the first of its epoch: the peer has the epoch's keys."""
