"""What the service can do, as GetCapabilities says it."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.capabilities import Capabilities
from noisegate_server.rpc import limits

__all__ = ["to_response"]


def to_response(value: Capabilities) -> pb.GetCapabilitiesResponse:
    """The engine's facts and this layer's own limit."""
    return pb.GetCapabilitiesResponse(
        protocol_version=value.protocol_version,
        server_version=value.server_version,
        endpoint=value.endpoint,
        static_key=value.static_key,
        protocols=[
            pb.SupportedProtocol(
                protocol=session_pb2.Protocol(pattern=pattern, suite=suite),  # type: ignore[arg-type]  # enum numbers
                name=name,
            )
            for pattern, suite, name in value.protocols
        ],
        modes=value.modes,  # type: ignore[arg-type]  # enum numbers
        max_plaintext_bytes=value.max_plaintext_bytes,
        max_datagram_plaintext_bytes=value.max_datagram_plaintext_bytes,
        max_request_bytes=limits.MAX_REQUEST_BYTES,
        max_early_data_bytes=value.max_early_data_bytes,
        max_batch_items=limits.MAX_BATCH_ITEMS,
        max_batch_bytes=limits.MAX_BATCH_BYTES,
    )
