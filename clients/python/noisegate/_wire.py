"""Between the contract's messages and the SDK's values: the one place that knows both."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract

from ._model import (
    Capabilities,
    ControlKind,
    Established,
    Network,
    Opened,
    Protocol,
    RecordMode,
    Role,
    Rotation,
    RotationLimits,
    Sealed,
    SessionInfo,
    SessionOptions,
    SessionState,
    SupportedProtocol,
    TerminationReason,
    Ticket,
)

EnumT = TypeVar("EnumT", bound=IntEnum)


def seconds(duration: Duration) -> float:
    """A duration as seconds."""
    return duration.seconds + duration.nanos / 1e9


def to_mode(mode: RecordMode) -> contract.RecordMode.ValueType:
    """The contract's number."""
    return contract.RecordMode.ValueType(mode)


def to_network(network: Network) -> contract.Network.ValueType:
    """The contract's number."""
    return contract.Network.ValueType(network)


def to_duration(length: float) -> Duration:
    """Seconds as a duration."""
    whole = int(length)
    return Duration(seconds=whole, nanos=round((length - whole) * 1e9))


def to_protocol(protocol: Protocol | None) -> contract.Protocol | None:
    """The contract's protocol; None stays unset."""
    if protocol is None:
        return None
    return contract.Protocol(
        pattern=contract.Pattern.ValueType(protocol.pattern), suite=contract.Suite.ValueType(protocol.suite)
    )


def to_offer(offer: Iterable[Protocol]) -> list[contract.Protocol]:
    """The contract's offer, in the same order."""
    return [wire for protocol in offer if (wire := to_protocol(protocol)) is not None]


def to_options(options: SessionOptions | None) -> contract.SessionOptions | None:
    """The contract's options; a zero stays unset, which is the service's default."""
    if options is None:
        return None
    return contract.SessionOptions(
        idle_timeout=to_duration(options.idle_timeout) if options.idle_timeout else None,
        lifetime=to_duration(options.lifetime) if options.lifetime else None,
        pad=options.pad,
        mask=options.mask,
        tickets=options.tickets,
        ratchet=options.ratchet,
        max_early_data_bytes=options.max_early_data_bytes,
        rotation=to_rotation_limits(options.rotation),
        network=to_network(options.network),
    )


def to_rotation_limits(limits: RotationLimits) -> contract.RotationLimits | None:
    """The contract's limits; None, unset, where none is set."""
    if limits == RotationLimits():
        return None
    return contract.RotationLimits(
        soft_age=to_duration(limits.soft_age) if limits.soft_age else None,
        hard_age=to_duration(limits.hard_age) if limits.hard_age else None,
        soft_messages=limits.soft_messages,
        hard_messages=limits.hard_messages,
        soft_bytes=limits.soft_bytes,
        hard_bytes=limits.hard_bytes,
    )


def from_established(wire: contract.Established) -> Established:
    """What is known of a finished handshake."""
    return Established(
        remote_static_key=wire.remote_static_key,
        handshake_hash=wire.handshake_hash,
        protocol_name=wire.protocol_name,
        expires_in=seconds(wire.expires_in),
        overhead_bytes=wire.overhead_bytes,
        keep_alive=seconds(wire.keep_alive),
        idle_timeout=seconds(wire.idle_timeout),
    )


def from_capabilities(wire: service.GetCapabilitiesResponse) -> Capabilities:
    """What the service can do."""
    return Capabilities(
        protocol_version=wire.protocol_version,
        server_version=wire.server_version,
        endpoint=wire.endpoint,
        static_key=wire.static_key,
        protocols=tuple(
            SupportedProtocol(pattern=int(row.protocol.pattern), suite=int(row.protocol.suite), name=row.name)
            for row in wire.protocols
        ),
        modes=tuple(int(mode) for mode in wire.modes),
        max_plaintext_bytes=wire.max_plaintext_bytes,
        max_datagram_plaintext_bytes=wire.max_datagram_plaintext_bytes,
        max_request_bytes=wire.max_request_bytes,
        max_early_data_bytes=wire.max_early_data_bytes,
        max_batch_items=wire.max_batch_items,
        max_batch_bytes=wire.max_batch_bytes,
    )


def from_encrypt(wire: service.EncryptResponse) -> Sealed:
    """A sealed record."""
    return Sealed(
        packet=wire.ciphertext,
        to_peer=tuple(wire.to_peer),
        counter=wire.counter,
        epoch=wire.epoch,
        rotation_due=wire.rotation_due,
    )


def from_decrypt(wire: service.DecryptResponse) -> Opened:
    """An opened record. A content of a later contract reads as a control record that the game may ignore."""
    is_data = wire.WhichOneof("content") == "plaintext"
    return Opened(
        session_id=wire.session_id,
        plaintext=wire.plaintext if is_data else None,
        control=None if is_data else ControlKind(wire.control.kind),
        to_peer=tuple(wire.to_peer),
        counter=wire.counter,
        epoch=wire.epoch,
        early=wire.early,
        newest=wire.newest,
        rotation_due=wire.rotation_due,
        answered=b"" if is_data else wire.control.answered,
    )


def from_rotate(wire: service.RotateResponse) -> Rotation:
    """How far a rotation is."""
    return Rotation(
        to_peer=tuple(wire.to_peer),
        state=SessionState(wire.state),
        epoch=wire.epoch,
        counter=wire.counter,
        ready_to_switch=wire.ready_to_switch,
    )


def from_ticket(wire: service.IssueTicketResponse) -> Ticket:
    """A ticket, sealed."""
    return Ticket(to_peer=tuple(wire.to_peer), expires_in=seconds(wire.expires_in))


def _known(kind: type[EnumT], number: int) -> EnumT | None:
    """The word for a number; None where it is not set (a session that has ended) or of a later contract."""
    try:
        return kind(number)
    except ValueError:
        return None


def from_session(wire: contract.Session) -> SessionInfo:
    """A session as its owner may see it."""
    return SessionInfo(
        session_id=wire.session_id,
        state=SessionState(wire.state),
        termination_reason=TerminationReason(wire.termination_reason),
        mode=_known(RecordMode, wire.mode),
        role=_known(Role, wire.role),
        peer_id=wire.peer_id,
        group=wire.group,
        established=from_established(wire.established) if wire.HasField("established") else None,
        epoch=wire.epoch,
        sealed=wire.sealed,
        opened=wire.opened,
        refused=wire.refused,
        age=seconds(wire.age),
        idle=seconds(wire.idle),
        connection_id=wire.connection_id,
        endpoint=wire.endpoint,
        network=Network(wire.network),
        suspended_by_service=wire.suspended_by_service,
        early=wire.early,
    )
