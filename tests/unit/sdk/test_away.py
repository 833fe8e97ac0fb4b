"""Players who go away and come back: suspend, restore, change of network, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

import noisegate
from noisegate import Network, RecordMode, SessionState
from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract
from tests.unit.sdk.scripted_service import CONNECTION_ID, SESSION_ID, Refusal, ScriptedService, scripted_service

QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)
RESTORED = service.RestoreSessionResponse(
    to_peer=[b"hello again"],
    session=contract.Session(
        session_id=SESSION_ID,
        state=contract.SESSION_STATE_ESTABLISHED,
        mode=contract.RECORD_MODE_DATAGRAM,
        peer_id="ann",
        group="table 7",
        connection_id=CONNECTION_ID,
        network=contract.NETWORK_CELLULAR,
        established=contract.Established(keep_alive=Duration(seconds=60), idle_timeout=Duration(seconds=1_800)),
    ),
)
CHANGE = service.NetworkChange(
    session_id=SESSION_ID,
    to_peer=[b"new id", b"new keys"],
    state=contract.SESSION_STATE_ROTATING,
    connection_id=b"12345678",
    keep_alive=Duration(seconds=20),
    idle_timeout=Duration(seconds=600),
    rotation_due=True,
)


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A running scripted service."""
    async with scripted_service() as running:
        yield running


@pytest.fixture
async def client(scripted: ScriptedService) -> AsyncIterator[noisegate.Client]:
    """A client of it."""
    async with noisegate.connect(scripted.address, policy=QUICK) as connected:
        yield connected


@pytest.mark.parametrize("return_blob", [False, True])
async def test_a_suspended_session_outlives_its_block(
    scripted: ScriptedService, client: noisegate.Client, return_blob: bool
) -> None:
    """To close it at the end of the block would delete what was put away."""
    answer = service.SuspendSessionResponse(blob=b"sealed" * return_blob, expires_in=Duration(seconds=90))
    scripted.answer("SuspendSession", answer)
    async with client.session(SESSION_ID) as session:
        suspended = await session.suspend(return_blob=return_blob)
    assert (suspended.blob, suspended.expires_in) == (b"sealed" * return_blob, 90)
    assert "sealed" not in repr(suspended)
    (request,) = scripted.requests("SuspendSession")
    assert (request.session_id, request.return_blob) == (SESSION_ID, return_blob)
    assert request.request_id
    assert [name for name, _ in scripted.raw] == ["SuspendSession"]


async def test_a_session_that_could_not_be_suspended_ends_with_its_block(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """It goes on, and so does its handle's care for it."""
    scripted.answer("SuspendSession", Refusal(StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"))
    scripted.answer("CloseSession", service.CloseSessionResponse())
    async with client.session(SESSION_ID) as session:
        with pytest.raises(noisegate.InvalidRequest):
            await session.suspend(return_blob=True)
    assert [name for name, _ in scripted.raw] == ["SuspendSession", "CloseSession"]


@pytest.mark.parametrize("blob", [b"", b"sealed"])
async def test_restoring_gives_a_handle_with_what_the_player_must_get(
    scripted: ScriptedService, client: noisegate.Client, blob: bytes
) -> None:
    """By the id or by the blob; the handle knows what the service said of the session."""
    scripted.answer("RestoreSession", RESTORED)
    session = await (client.restore(blob=blob) if blob else client.restore(SESSION_ID))
    assert session.to_peer == (b"hello again",)
    assert (session.id, session.mode, session.connection_id) == (SESSION_ID, RecordMode.DATAGRAM, CONNECTION_ID)
    assert (session.peer_id, session.group) == ("ann", "table 7")
    assert session.established is not None
    assert (session.established.keep_alive, session.established.idle_timeout) == (60, 1_800)
    (request,) = scripted.requests("RestoreSession")
    assert (request.blob, request.session_id) == (blob, b"" if blob else SESSION_ID)
    assert request.request_id


async def test_a_blob_that_was_used_is_told_by_its_class(scripted: ScriptedService, client: noisegate.Client) -> None:
    """So is a session that is lost, with its cause."""
    scripted.answer("RestoreSession", Refusal(StatusCode.FAILED_PRECONDITION, "BLOB_REJECTED"))
    with pytest.raises(noisegate.BlobRejected):
        await client.restore(blob=b"used")
    lost = Refusal(StatusCode.FAILED_PRECONDITION, "SESSION_CLOSED", {"cause": "LOST", "resumable": "true"})
    scripted.answer("RestoreSession", lost)
    with pytest.raises(noisegate.SessionClosed) as closed:
        await client.restore(SESSION_ID)
    assert closed.value.metadata["cause"] == "LOST"


async def test_a_change_of_network_says_what_to_send_and_what_has_changed(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """The handle knows the new connection id."""
    scripted.answer("ChangeNetwork", service.ChangeNetworkResponse(changes=[CHANGE]))
    session = client.session(SESSION_ID)
    change = await session.change_network(Network.WIFI)
    assert change.to_peer == (b"new id", b"new keys")
    assert (change.state, change.connection_id) == (SessionState.ROTATING, b"12345678")
    assert (change.keep_alive, change.idle_timeout, change.rotation_due) == (20, 600, True)
    assert session.connection_id == b"12345678"
    (request,) = scripted.requests("ChangeNetwork")
    assert (request.session_id, request.network) == (SESSION_ID, contract.NETWORK_WIFI)


async def test_all_sessions_of_a_player_can_be_told_at_once(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """One change for each."""
    scripted.answer("ChangeNetwork", service.ChangeNetworkResponse(changes=[CHANGE, CHANGE]))
    changes = await client.change_network("ann", Network.CELLULAR)
    assert [change.session_id for change in changes] == [SESSION_ID] * 2
    (request,) = scripted.requests("ChangeNetwork")
    assert (request.peer_id, request.network) == ("ann", contract.NETWORK_CELLULAR)


async def test_a_session_whose_player_is_on_no_network_outlives_its_block(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """It is suspended."""
    suspended = service.NetworkChange(session_id=SESSION_ID, state=contract.SESSION_STATE_SUSPENDED)
    scripted.answer("ChangeNetwork", service.ChangeNetworkResponse(changes=[suspended]))
    async with client.session(SESSION_ID) as session:
        assert (await session.change_network(Network.NONE)).state is SessionState.SUSPENDED
    assert [name for name, _ in scripted.raw] == ["ChangeNetwork"]
