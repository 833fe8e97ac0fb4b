"""AdminService: a table of its own for a listener of its own, so that no caller of the other one can reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from noisegate.v1 import admin_service_pb2 as pb
from noisegate_server.rpc.call import Method, Table
from noisegate_server.rpc.handlers import admin
from noisegate_server.rpc.health import health_methods
from noisegate_server.rpc.table import serve
from noisegate_server.rpc.unary import Row, Rpc

__all__ = ["ADMIN_METHODS", "ADMIN_SERVICE", "build_admin_table"]

ADMIN_SERVICE: Final = "noisegate.v1.AdminService"

ADMIN_METHODS: Final[Mapping[str, Row]] = {
    "RevokePeer": Row(request=pb.RevokePeerRequest, handle=admin.revoke_peer, waits=True),
}
"""Unary RPC of AdminService to what serves it. All of them may be repeated at will."""


def build_admin_table(rpc: Rpc) -> Table:
    """Every method of the operators' listener, health included. `rpc` has a policy and health of its own."""
    rows = {f"/{ADMIN_SERVICE}/{name}": row for name, row in ADMIN_METHODS.items()}
    return {name: Method(unary=serve(name, row, rpc)) for name, row in rows.items()} | health_methods(rpc.health)
