"""What is known once a handshake or a resume has finished, and where it stands until then."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.outcomes import Established
from noisegate_server.rpc.convert import fields

__all__ = ["established", "pending"]


def established(value: Established) -> session_pb2.Established:
    """The finished handshake's facts."""
    return session_pb2.Established(
        remote_static_key=value.remote_static_key,
        handshake_hash=value.handshake_hash,
        protocol=session_pb2.Protocol(pattern=value.pattern, suite=value.suite),  # type: ignore[arg-type]  # enum numbers
        protocol_name=value.protocol_name,
        expires_in=fields.duration(value.expires_in),
        overhead_bytes=value.overhead_bytes,
        keep_alive=fields.duration(value.keep_alive),
        idle_timeout=fields.duration(value.idle_timeout),
    )


def pending(expires_in: float) -> pb.HandshakePending:
    """Another message of the player is due within `expires_in` seconds."""
    return pb.HandshakePending(expires_in=fields.duration(expires_in))
