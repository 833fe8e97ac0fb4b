"""SuspendSession and RestoreSession."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import restore, suspend
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.session import to_session
from noisegate_server.session.errors import InvalidField

__all__ = ["restore_session", "suspend_session"]


async def suspend_session(
    parts: Parts, tenant: str, request: pb.SuspendSessionRequest, now: float, wall: float
) -> pb.SuspendSessionResponse:
    """Take a session out of memory."""
    session_id = fields.session_id(request.session_id)
    suspended = await suspend.suspend(parts, tenant, session_id, return_blob=request.return_blob, now=now, wall=wall)
    return pb.SuspendSessionResponse(blob=suspended.blob, expires_in=fields.duration(suspended.expires_in))


async def restore_session(
    parts: Parts, tenant: str, request: pb.RestoreSessionRequest, now: float, wall: float
) -> pb.RestoreSessionResponse:
    """Bring a session back."""
    match request.WhichOneof("source"):
        case "session_id":
            restored = await restore.restore(parts, tenant, fields.session_id(request.session_id), now, wall)
        case "blob":
            restored = await restore.restore_blob(parts, tenant, request.blob, now, wall)
        case _:
            raise InvalidField("source", "one of session_id, blob")
    return pb.RestoreSessionResponse(to_peer=restored.to_peer, session=to_session(restored.session, parts.endpoint))
