"""What a UDP game says to its receive path, and what it hears of a packet."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ._model import ControlKind, SessionOptions
from ._session import Session

AddressT = TypeVar("AddressT", bound=Hashable)
"""Whatever the transport names a sender by, e.g. the (host, port) of asyncio's DatagramProtocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """How the game receives a player who begins a session. A resumed session has its ticket's names and options."""

    peer_id: str = ""
    """The player: at most 64 bytes."""
    group: str = ""
    """The match, room or table: at most 64 bytes."""
    prologue: bytes = b""
    """The same at both ends: at most 1,024 bytes."""
    payload: bytes = field(default=b"", repr=False)
    """Of message 2: at most 16,384 bytes, in practice a third of what the player sent."""
    psk: bytes = field(default=b"", repr=False)
    """For psk patterns: 32 bytes. Secret."""
    options: SessionOptions | None = None
    """What the game wants for this session."""
    accept_early_data: bool = False
    """Take the early data of a player who resumes, where it can come for the first time alone."""


ANYONE: Final = Admission()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Generic[AddressT]):
    """What one packet was."""

    session: Session | None = None
    """The packet's session; None where it has none."""
    plaintexts: tuple[bytes, ...] = field(default=(), repr=False)
    """What the player wrote for the game: none or one. Secret."""
    payload: bytes = field(default=b"", repr=False)
    """The payload of a handshake message; possibly replayed until a first record has opened."""
    early_data: bytes = field(default=b"", repr=False)
    """What a resuming player sent along. Until a first record opens, whoever has its ticket's key may have sent it."""
    to_send: tuple[tuple[bytes, AddressT], ...] = ()
    """Send each of these, in this order, each as one datagram."""
    new_session: bool = False
    """This packet began the session, as far as this receiver knows."""
    established: bool = False
    """With this packet the handshake finished: records may flow."""
    epoch: int | None = None
    """The record's key epoch; the first record of a higher one ends a renegotiation. None: no record was opened."""
    counter: int | None = None
    """The record's counter. None: no record was opened."""
    control: ControlKind | None = None
    """What the record was, when it was nothing for the game, e.g. ROTATION: a step of a renegotiation."""
    closed: bool = False
    """The session has ended; the receiver has forgotten it."""
    early: bool = False
    """The plaintext may be a replay: the handshake is not yet confirmed."""
    rotation_due: bool = False
    """A soft limit is passed: `session.rotate(RotationKind.RENEGOTIATE)` soon."""
    moved: bool = False
    """The player is followed to the address that this packet came from."""
    withheld: int = 0
    """Messages that were not sent, because their address has not proved that it wants them."""
    refused: str = ""
    """Why the packet was dropped: an ErrorReason, NOT_A_PACKET, NOT_ADMITTED or UNEXPECTED_PACKET; RETRY_CHOOSE or
    RETRY_CLOCK where the player has to begin anew and `to_send` tells it how; else empty."""
