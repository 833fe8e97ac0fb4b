"""Whom an operator names."""

from __future__ import annotations

from dataclasses import dataclass

from noisegate.v1 import admin_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.session.errors import InvalidField

__all__ = ["Whom", "whom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """A player of a tenant: exactly one of `peer_id` and `static_key` is not empty."""

    tenant: str
    peer_id: str
    static_key: bytes


def whom(request: pb.RevokePeerRequest) -> Whom:
    """The player that a request names."""
    if not 1 <= len(request.tenant.encode()) <= limits.MAX_TENANT_BYTES:
        raise InvalidField("tenant", f"1 to {limits.MAX_TENANT_BYTES} bytes")
    peer_id = fields.name(request.peer_id, "peer_id")
    static_key = fields.key(request.static_key, "static_key")
    if not peer_id and not static_key:
        raise InvalidField("peer", f"a peer_id that is not empty, or a static_key of {limits.KEY_BYTES} bytes")
    return Whom(tenant=request.tenant, peer_id=peer_id, static_key=static_key)
