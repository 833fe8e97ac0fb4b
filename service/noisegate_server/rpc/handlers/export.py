"""ExportSecret."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import export as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.session.errors import InvalidField, MessageTooLarge

__all__ = ["export_secret"]


def export_secret(
    parts: Parts, tenant: str, request: pb.ExportSecretRequest, now: float, wall: float
) -> pb.ExportSecretResponse:
    """Derive an exporter secret."""
    session_id = fields.session_id(request.session_id)
    label = request.label.encode()
    if not 1 <= len(label) <= limits.MAX_LABEL_BYTES:
        raise InvalidField("label", f"1 to {limits.MAX_LABEL_BYTES} bytes")
    if len(request.context) > limits.MAX_CONTEXT_BYTES:
        raise MessageTooLarge("context", limits.MAX_CONTEXT_BYTES)
    if not limits.MIN_EXPORT_BYTES <= request.length <= limits.MAX_EXPORT_BYTES:
        raise InvalidField("length", f"{limits.MIN_EXPORT_BYTES} to {limits.MAX_EXPORT_BYTES}")
    secret = engine.export_secret(parts, tenant, session_id, label, request.context, length=request.length, now=now)
    response = pb.ExportSecretResponse(secret=bytes(secret))
    secret[:] = bytes(len(secret))
    return response
