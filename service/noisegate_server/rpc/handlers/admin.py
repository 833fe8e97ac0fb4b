"""RevokePeer: what an operator may do."""

from __future__ import annotations

from noisegate.v1 import admin_service_pb2 as pb
from noisegate_server.engine import revoke as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import admin as convert

__all__ = ["revoke_peer"]


async def revoke_peer(
    parts: Parts, operator: str, request: pb.RevokePeerRequest, now: float, wall: float
) -> pb.RevokePeerResponse:
    """End all that a player of the named tenant has; whose tenant `operator` is does not matter here."""
    whom = convert.whom(request)
    revoked = await engine.revoke(
        parts, whom.tenant, peer_id=whom.peer_id, static_key=whom.static_key, now=now, wall=wall
    )
    return pb.RevokePeerResponse(sessions_ended=revoked.sessions_ended, suspended_deleted=revoked.suspended_deleted)
