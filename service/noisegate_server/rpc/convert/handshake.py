"""Handshake: the three steps of a request, and what a step gave."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.handshake import Initiation, Response
from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.policy import Options
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.established import established, pending
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.network import PROFILES, Network
from noisegate_server.session.state import RecordMode

__all__ = ["initiation", "mode", "response", "to_response"]


def mode(value: int, path: str) -> RecordMode:
    """A record mode that exists; its number is the contract's."""
    try:
        return RecordMode(value)
    except ValueError:
        raise InvalidField(path, "RECORD_MODE_NOISE or RECORD_MODE_DATAGRAM") from None


def options(value: session_pb2.SessionOptions, path: str) -> Options:
    """What the caller wants for a session; 0.0 seconds for the service's default."""
    return Options(
        idle_timeout=fields.seconds(value.idle_timeout, f"{path}.idle_timeout", limits.MAX_IDLE_SECONDS),
        network=network(value.network, f"{path}.network"),
        lifetime=fields.seconds(value.lifetime, f"{path}.lifetime", limits.MAX_LIFETIME_SECONDS),
        pad=value.pad,
        mask=value.mask,
        tickets=value.tickets,
        ratchet=value.ratchet,
        rotation=_rotation(value.rotation),
        max_early=early_data(value.max_early_data_bytes, f"{path}.max_early_data_bytes"),
    )


def network(value: int, path: str) -> Network:
    """The network that a player is on; unset is WIFI."""
    if value not in (session_pb2.NETWORK_UNSPECIFIED, *PROFILES):
        raise InvalidField(path, "NETWORK_WIFI, NETWORK_CELLULAR or unset")
    return Network(value or Network.WIFI)


def early_data(value: int, path: str) -> int:
    """At most 16,384 bytes; the service may allow fewer."""
    if value > limits.MAX_PAYLOAD_BYTES:
        raise InvalidField(path, f"at most {limits.MAX_PAYLOAD_BYTES}")
    return value


def _rotation(value: session_pb2.RotationLimits) -> LowerLimits:
    """As they came: what they may be depends on the tenant, and is the engine's to say."""
    return LowerLimits(
        soft_age=value.soft_age.seconds + value.soft_age.nanos / 1e9,
        hard_age=value.hard_age.seconds + value.hard_age.nanos / 1e9,
        soft_messages=value.soft_messages,
        hard_messages=value.hard_messages,
        soft_bytes=value.soft_bytes,
        hard_bytes=value.hard_bytes,
    )


def initiation(step: pb.InitiateHandshake) -> Initiation:
    """noisegate begins."""
    if not step.HasField("protocol"):
        raise InvalidField("initiate.protocol", "must be set")
    chosen = (int(step.protocol.pattern), int(step.protocol.suite))
    offer: tuple[tuple[int, int], ...] = ()
    if step.offer:
        if len(step.offer) > limits.MAX_OFFER:
            raise InvalidField("initiate.offer", f"at most {limits.MAX_OFFER} protocols")
        offer = tuple((int(protocol.pattern), int(protocol.suite)) for protocol in step.offer)
        if chosen not in offer:
            raise InvalidField("initiate.offer", "must contain initiate.protocol")
    return Initiation(
        mode=mode(step.mode, "initiate.mode"),
        pattern=chosen[0],
        suite=chosen[1],
        offer=offer,
        remote_static_key=fields.key(step.remote_static_key, "initiate.remote_static_key"),
        psk=fields.psk(step.psk, "initiate.psk"),
        prologue=fields.prologue(step.prologue, "initiate.prologue"),
        payload=fields.payload(step.payload, "initiate.payload"),
        peer_id=fields.name(step.peer_id, "initiate.peer_id"),
        group=fields.name(step.group, "initiate.group"),
        options=options(step.options, "initiate.options"),
    )


def response(step: pb.RespondHandshake) -> Response:
    """The player has begun. Without `protocol` pattern and suite are 0: the hello says them."""
    return Response(
        mode=mode(step.mode, "respond.mode"),
        pattern=int(step.protocol.pattern),
        suite=int(step.protocol.suite),
        hello=step.hello,
        message=step.message,
        psk=fields.psk(step.psk, "respond.psk"),
        prologue=fields.prologue(step.prologue, "respond.prologue"),
        payload=fields.payload(step.payload, "respond.payload"),
        peer_id=fields.name(step.peer_id, "respond.peer_id"),
        group=fields.name(step.group, "respond.group"),
        options=options(step.options, "respond.options"),
    )


def to_response(step: HandshakeStep, endpoint: str) -> pb.HandshakeResponse:
    """What a step gave; `endpoint` is where the session lives."""
    message = pb.HandshakeResponse(
        session_id=step.session_id,
        to_peer=step.to_peer,
        payload=step.payload,
        endpoint=endpoint,
        hello=step.hello,
        connection_id=step.connection_id,
    )
    if step.retry is not None:
        # Nothing lives anywhere: the player may begin anew with another instance.
        message.endpoint = ""
        message.retry.reason = pb.HandshakeRetry.Reason.ValueType(step.retry)
    elif step.established is None:
        message.pending.CopyFrom(pending(step.expires_in))
    else:
        message.established.CopyFrom(established(step.established))
    return message
