"""Resume: one step, in either role."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import redeem
from noisegate_server.engine import resume as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert import resume as convert
from noisegate_server.session.errors import InvalidField

__all__ = ["resume"]


async def resume(parts: Parts, tenant: str, request: pb.ResumeRequest, now: float, wall: float) -> pb.ResumeResponse:
    """Run the step that the request names."""
    match request.WhichOneof("step"):
        case "initiate":
            session_id = fields.session_id(request.initiate.session_id, "initiate.session_id")
            prologue = fields.prologue(request.initiate.prologue, "initiate.prologue")
            early_data = fields.payload(request.initiate.early_data, "initiate.early_data")
            step = engine.initiate(parts, tenant, session_id, prologue, early_data, now, wall)
        case "respond":
            step = await redeem.respond(parts, tenant, convert.requested(request.respond), now, wall)
        case "proceed":
            session_id = fields.optional_session_id(request.proceed.session_id, "proceed.session_id")
            step = engine.proceed(parts, tenant, session_id, request.proceed.message, now, wall)
        case _:
            raise InvalidField("step", "one of initiate, respond, proceed")
    return convert.to_response(step, parts.endpoint)
