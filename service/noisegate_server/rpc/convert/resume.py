"""Resume: the player's step of a request, and what a step gave."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.outcomes import ResumeStep
from noisegate_server.engine.resume import ResumeRequested
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.established import established, pending
from noisegate_server.rpc.convert.handshake import mode

__all__ = ["requested", "to_response"]


def requested(step: pb.RespondResume) -> ResumeRequested:
    """The player resumes."""
    return ResumeRequested(
        mode=mode(step.mode, "respond.mode"),
        message=step.message,
        ticket=step.ticket,
        hello=step.hello,
        prologue=fields.prologue(step.prologue, "respond.prologue"),
        payload=fields.payload(step.payload, "respond.payload"),
    )


def to_response(step: ResumeStep, endpoint: str) -> pb.ResumeResponse:
    """What a step gave; `endpoint` is where the session lives."""
    message = pb.ResumeResponse(
        session_id=step.session_id,
        to_peer=step.to_peer,
        endpoint=endpoint,
        payload=step.payload,
        ticket=step.ticket,
        connection_id=step.connection_id,
        peer_id=step.peer_id,
        group=step.group,
    )
    if step.established is None:
        message.pending.CopyFrom(pending(step.expires_in))
    else:
        message.established.CopyFrom(established(step.established))
    return message
