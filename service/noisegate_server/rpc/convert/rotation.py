"""Rotate: the request, and what a rotation's step gave."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.outcomes import Rotation
from noisegate_server.engine.rotate import RotateCommand
from noisegate_server.rpc.convert import fields
from noisegate_server.session.errors import InvalidField

__all__ = ["command", "to_response"]

_KINDS = (pb.ROTATION_KIND_REKEY, pb.ROTATION_KIND_RENEGOTIATE)
_DIRECTIONS = (pb.DIRECTION_UNSPECIFIED, pb.DIRECTION_SEND, pb.DIRECTION_RECEIVE)


def command(request: pb.RotateRequest) -> RotateCommand:
    """What shall be rotated; which of it fits the session's mode and state is the engine's to say."""
    if request.kind not in _KINDS:
        raise InvalidField("kind", "ROTATION_KIND_REKEY or ROTATION_KIND_RENEGOTIATE")
    if request.direction not in _DIRECTIONS:
        raise InvalidField("direction", "DIRECTION_SEND, DIRECTION_RECEIVE or unset")
    return RotateCommand(
        kind=int(request.kind),
        direction=int(request.direction),
        message=request.message,
        switch_send=request.switch_send,
        switch_receive=request.switch_receive,
        psk=fields.psk(request.psk, "psk"),
    )


def to_response(rotation: Rotation) -> pb.RotateResponse:
    """How far the rotation is."""
    return pb.RotateResponse(
        to_peer=rotation.to_peer,
        state=rotation.state,  # type: ignore[arg-type]  # the state's number is the enum's
        epoch=rotation.epoch,
        counter=rotation.counter,
        ready_to_switch=rotation.ready_to_switch,
    )
