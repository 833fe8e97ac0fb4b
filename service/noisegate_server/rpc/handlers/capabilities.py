"""GetCapabilities."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import capabilities as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import capabilities as convert

__all__ = ["get_capabilities"]


def get_capabilities(
    parts: Parts, tenant: str, request: pb.GetCapabilitiesRequest, now: float, wall: float
) -> pb.GetCapabilitiesResponse:
    """What the service can do and with which static key it answers."""
    return convert.to_response(engine.capabilities(parts, tenant))
