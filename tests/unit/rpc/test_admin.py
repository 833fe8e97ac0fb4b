"""AdminService's table in this process: what it has, whom it refuses, and that it reaches over tenants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noisegate.v1 import admin_service_pb2 as pb
from noisegate.v1 import session_crypto_service_pb2 as sessions_pb
from noisegate_server.rpc.admin import ADMIN_METHODS, ADMIN_SERVICE, build_admin_table
from noisegate_server.rpc.call import Caller, Code, Table
from noisegate_server.rpc.health import Health
from noisegate_server.rpc.policy import Policy
from tests.support.engine_table import Service
from tests.support.in_process import LOCAL, call
from tests.support.rpc_table import reason

REVOKE = f"/{ADMIN_SERVICE}/RevokePeer"
OTHER = Caller(identity="spiffe://game.example/other", tenant="spiffe://game.example/other")
OPERATOR = Caller(identity="spiffe://game.example/operator", tenant="spiffe://game.example/operator")


@pytest.fixture
def service() -> Service:
    """A fresh instance."""
    return Service()


def admin_table(service: Service) -> Table:
    """The operators' table over the same parts."""
    return build_admin_table(replace(service.rpc, policy=Policy(), health=Health(ADMIN_SERVICE)))


def test_the_table_has_every_method_of_the_contract(service: Service) -> None:
    """And none of SessionCryptoService."""
    contract = pb.DESCRIPTOR.services_by_name["AdminService"]
    assert contract.full_name == ADMIN_SERVICE
    assert set(ADMIN_METHODS) == {method.name for method in contract.methods}
    for method in contract.methods:
        assert ADMIN_METHODS[method.name].request.DESCRIPTOR is method.input_type
    ours = {name for name in admin_table(service) if not name.startswith("/grpc.health.")}
    assert ours == {f"/{ADMIN_SERVICE}/{method.name}" for method in contract.methods}


async def test_an_operator_reaches_every_tenant_and_no_tenant_another(service: Service) -> None:
    """The request names the tenant; the operator's own name is none of it."""
    mine, _ = service.session(peer_id="eve")
    others, _ = service.session(OTHER, peer_id="eve")
    request = pb.RevokePeerRequest(tenant=OTHER.tenant, peer_id="eve")
    code, body = await call(admin_table(service), REVOKE, request.SerializeToString(), OPERATOR)
    assert (code, pb.RevokePeerResponse.FromString(body).sessions_ended) == (0, 1)
    assert reason(service.refused("GetSession", _named(bytes(24)))) == "SESSION_NOT_FOUND"
    assert service.call("GetSession", _named(mine)).session.state == 2
    ended = service.call("GetSession", _named(others), OTHER).session
    assert ended.termination_reason == 9


@pytest.mark.parametrize("caller", [Caller(identity="", tenant=""), Caller(identity="spiffe://x/y", tenant="")])
async def test_who_is_nobody_is_refused(service: Service, caller: Caller) -> None:
    """Without exactly one name in its certificate an operator has no rights."""
    request = pb.RevokePeerRequest(tenant="local", peer_id="eve")
    service.session(peer_id="eve")
    code, _ = await call(admin_table(service), REVOKE, request.SerializeToString(), caller)
    assert code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    assert len(service.parts.revocations) == 0


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff"])
async def test_what_is_no_request_is_refused(service: Service, body: bytes) -> None:
    """INVALID_REQUEST, and nothing is revoked."""
    reply = await call(admin_table(service), REVOKE, body)
    assert (reply[0], reason(reply)) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert len(service.parts.revocations) == 0


async def test_a_stopping_service_takes_no_orders(service: Service) -> None:
    """DRAINING, as for callers: the word would end with the process."""
    health = Health(ADMIN_SERVICE)
    table = build_admin_table(replace(service.rpc, policy=Policy(), health=health))
    health.drain()
    request = pb.RevokePeerRequest(tenant="local", peer_id="eve").SerializeToString()
    reply = await call(table, REVOKE, request, LOCAL)
    assert reason(reply) == "DRAINING"
    assert health.status(ADMIN_SERVICE) == 2


def _named(session_id: bytes) -> sessions_pb.GetSessionRequest:
    return sessions_pb.GetSessionRequest(session_id=session_id)
