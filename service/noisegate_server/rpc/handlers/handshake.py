"""Handshake: one step, in either role."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import handshake as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert import handshake as convert
from noisegate_server.session.errors import InvalidField

__all__ = ["handshake"]


def handshake(parts: Parts, tenant: str, request: pb.HandshakeRequest, now: float, wall: float) -> pb.HandshakeResponse:
    """Run the step that the request names."""
    match request.WhichOneof("step"):
        case "initiate":
            step = engine.initiate(parts, tenant, convert.initiation(request.initiate), now, wall)
        case "respond":
            step = engine.respond(parts, tenant, convert.response(request.respond), now, wall)
        case "proceed":
            proceed = request.proceed
            session_id = fields.optional_session_id(proceed.session_id, "proceed.session_id")
            payload = fields.payload(proceed.payload, "proceed.payload")
            step = engine.proceed(parts, tenant, session_id, proceed.message, payload, now, wall)
        case _:
            raise InvalidField("step", "one of initiate, respond, proceed")
    return convert.to_response(step, parts.endpoint)
