"""The operator's client, asynchronous and blocking, against a scripted AdminService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import noisegate
import noisegate.admin
from noisegate.admin import Revoked
from noisegate.v1 import admin_service_pb2 as service

QUICK = noisegate.CallPolicy(control_deadline=5, first_backoff=0.001)
PATH = "/noisegate.v1.AdminService/RevokePeer"


class Operated(grpc.GenericRpcHandler):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[service.RevokePeerRequest] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def revoke(body: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append(service.RevokePeerRequest.FromString(body))
            return service.RevokePeerResponse(sessions_ended=2, suspended_deleted=1).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(revoke) if handler_call_details.method == PATH else None


@pytest.fixture
def operated() -> Iterator[Operated]:
    """A running service on a thread."""
    handler = Operated()
    server = grpc.server(ThreadPoolExecutor(max_workers=1), handlers=[handler])
    handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield handler
    server.stop(None).wait()


@pytest.fixture
async def operator(operated: Operated) -> AsyncIterator[noisegate.admin.AdminClient]:
    """A client of it."""
    async with noisegate.admin.connect(operated.address, policy=QUICK) as client:
        yield client


async def test_a_player_is_revoked_by_name_or_by_key(operated: Operated, operator: noisegate.admin.AdminClient) -> None:
    """One of the two is in the request."""
    assert await operator.revoke_peer("arena", peer_id="eve") == Revoked(sessions_ended=2, suspended_deleted=1)
    await operator.revoke_peer("arena", static_key=bytes(32))
    by_name, by_key = operated.asked
    assert (by_name.tenant, by_name.WhichOneof("peer"), by_name.peer_id) == ("arena", "peer_id", "eve")
    assert (by_key.WhichOneof("peer"), by_key.static_key) == ("static_key", bytes(32))


async def test_both_at_once_cannot_be_meant(operated: Operated, operator: noisegate.admin.AdminClient) -> None:
    """Nothing is called."""
    with pytest.raises(ValueError, match="one of"):
        await operator.revoke_peer("arena", peer_id="eve", static_key=bytes(32))
    assert operated.asked == []


def test_the_blocking_client_does_the_same(operated: Operated) -> None:
    """And may be closed twice."""
    with noisegate.admin.connect_sync(operated.address, policy=QUICK) as client:
        assert client.revoke_peer("arena", peer_id="eve").sessions_ended == 2
    client.close()
    assert [request.peer_id for request in operated.asked] == ["eve"]


def test_plaintext_is_for_loopback_alone() -> None:
    """As for `noisegate.connect`."""
    with pytest.raises(noisegate.InsecureTarget):
        noisegate.admin.connect("192.0.2.1:7444")
