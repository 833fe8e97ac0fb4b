"""The words for players who go away and come back: networks, and sessions that leave memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from noisegate.v1 import session_crypto_service_pb2 as service

from ._model import SessionState
from ._wire import seconds

__all__ = ["NetworkChange", "Suspended", "from_change", "from_suspend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """A session that has left memory."""

    blob: bytes = field(repr=False)
    """The sealed session, where it was asked for: for `client.restore`, once. Otherwise empty."""
    expires_in: float
    """Seconds for which it can come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """What a change of network did to one session."""

    session_id: bytes
    """24 bytes."""
    to_peer: tuple[bytes, ...]
    """What must go to the player, in this order, each on its own."""
    state: SessionState
    """SUSPENDED for a player who is on no network; TERMINATED where the session could not come back."""
    connection_id: bytes
    """DATAGRAM: what the player's packets will carry, 8 bytes."""
    keep_alive: float
    """Seconds: the player should send something at least this often."""
    idle_timeout: float
    """Seconds: the session ends when nothing was sealed or opened for this long."""
    rotation_due: bool
    """NOISE: the game should run a RENEGOTIATE now."""
    token: bytes = b""
    """DATAGRAM: of the question in `to_peer`; see `DatagramReceiver.route_change`."""


def from_suspend(wire: service.SuspendSessionResponse) -> Suspended:
    """A session that has left memory."""
    return Suspended(blob=wire.blob, expires_in=seconds(wire.expires_in))


def from_change(wire: service.NetworkChange) -> NetworkChange:
    """What a change of network did."""
    return NetworkChange(
        session_id=wire.session_id,
        to_peer=tuple(wire.to_peer),
        state=SessionState(wire.state),
        connection_id=wire.connection_id,
        keep_alive=seconds(wire.keep_alive),
        idle_timeout=seconds(wire.idle_timeout),
        rotation_due=wire.rotation_due,
        token=wire.token,
    )
