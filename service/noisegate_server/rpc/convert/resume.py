"""Resume: the player's step of a request, and what a step gave."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.outcomes import ResumeStep
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.established import established, pending
from noisegate_server.rpc.convert.handshake import mode, options
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.state import RecordMode

__all__ = ["requested", "to_response"]


def requested(step: pb.RespondResume) -> ResumeRequested:
    """The player resumes. Most fields are for the full handshake that may have come beside it."""
    record_mode = mode(step.mode, "respond.mode")
    if step.fallback_message and record_mode is not RecordMode.NOISE:
        raise InvalidField("respond.fallback_message", "only in NOISE mode; a RESUME packet has it")
    if step.HasField("fallback_protocol") and (step.hello or not step.fallback_message):
        raise InvalidField("respond.fallback_protocol", "only beside fallback_message, where there is no hello")
    return ResumeRequested(
        mode=record_mode,
        message=step.message,
        ticket=step.ticket,
        hello=step.hello,
        prologue=fields.prologue(step.prologue, "respond.prologue"),
        payload=fields.payload(step.payload, "respond.payload"),
        accept_early=step.accept_early_data,
        fallback_message=step.fallback_message,
        pattern=int(step.fallback_protocol.pattern),
        suite=int(step.fallback_protocol.suite),
        psk=fields.psk(step.psk, "respond.psk"),
        peer_id=fields.name(step.peer_id, "respond.peer_id"),
        group=fields.name(step.group, "respond.group"),
        options=options(step.options, "respond.options"),
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
        fell_back=step.fell_back,
        early=step.early,  # type: ignore[arg-type]  # the number is the enum's
        early_data=step.early_data,
    )
    if step.retry is not None:
        message.endpoint = ""
        message.retry.reason = pb.HandshakeRetry.Reason.ValueType(step.retry)
    elif step.established is None:
        message.pending.CopyFrom(pending(step.expires_in))
    else:
        message.established.CopyFrom(established(step.established))
    return message
