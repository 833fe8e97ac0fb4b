"""Rotate."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import rotate as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert import rotation as convert

__all__ = ["rotate"]


def rotate(parts: Parts, tenant: str, request: pb.RotateRequest, now: float, wall: float) -> pb.RotateResponse:
    """Change keys, or take the next step of changing them."""
    session_id = fields.session_id(request.session_id)
    return convert.to_response(engine.rotate(parts, tenant, session_id, convert.command(request), now))
