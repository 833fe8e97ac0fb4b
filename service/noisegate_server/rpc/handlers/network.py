"""ChangeNetwork."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import network as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.network import Network

__all__ = ["change_network"]


async def change_network(
    parts: Parts, tenant: str, request: pb.ChangeNetworkRequest, now: float, wall: float
) -> pb.ChangeNetworkResponse:
    """Tell one session, or all of a player, of the player's network."""
    try:
        network = Network(request.network)
    except ValueError:
        raise InvalidField("network", "NETWORK_WIFI, NETWORK_CELLULAR or NETWORK_NONE") from None
    changes: tuple[engine.NetworkChange, ...]
    match request.WhichOneof("target"):
        case "session_id":
            session_id = fields.session_id(request.session_id)
            changes = (await engine.change_network(parts, tenant, session_id, network, now, wall),)
        case "peer_id" if request.peer_id:
            peer_id = fields.name(request.peer_id, "peer_id")
            changes = await engine.change_networks(parts, tenant, peer_id, network, now, wall)
        case _:
            raise InvalidField("target", "one of session_id, peer_id")
    return pb.ChangeNetworkResponse(changes=[_change(change) for change in changes])


def _change(change: engine.NetworkChange) -> pb.NetworkChange:
    return pb.NetworkChange(
        session_id=change.session_id,
        to_peer=change.to_peer,
        state=change.state,  # type: ignore[arg-type]  # the state's number is the enum's
        connection_id=change.connection_id,
        keep_alive=fields.duration(change.keep_alive),
        idle_timeout=fields.duration(change.idle_timeout),
        rotation_due=change.rotation_due,
        token=change.token,
    )
