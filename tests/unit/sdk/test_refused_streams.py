"""Streams that the service refuses before it has processed anything (RFC 9113, section 8.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from google.protobuf.message import Message

import noisegate
from noisegate import Client, Network, RecordMode
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.refusing_service import refusing_service
from tests.unit.sdk.scripted_service import SESSION_ID, pending

QUICK = noisegate.CallPolicy(
    attempts=2, packet_deadline=10, control_deadline=10, first_backoff=0.001, max_backoff=0.002
)
REFUSALS = 12


async def _listed(client: Client) -> object:
    return [each async for each in client.list_sessions()]


async def _responded(client: Client) -> object:
    return await client.respond(mode=RecordMode.DATAGRAM, message=b"packet")


async def _resumed(client: Client) -> object:
    return await client.respond_resume(mode=RecordMode.DATAGRAM, message=b"packet")


async def _restored(client: Client) -> object:
    return await client.restore(SESSION_ID)


def _each(results: Sequence[object]) -> object:
    (result,) = results
    assert not isinstance(result, Exception)
    return result


async def _sealed(client: Client) -> object:
    return _each(await client.encrypt_batch([(client.session(SESSION_ID), b"hi")]))


async def _opened(client: Client) -> object:
    return _each(await client.decrypt_batch([(client.session(SESSION_ID), b"hi")]))


async def _told(client: Client) -> object:
    return _each(await client.broadcast([client.session(SESSION_ID)], b"hi"))


HANDSHAKE = service.HandshakeResponse(session_id=SESSION_ID, pending=pending())
RESUME = service.ResumeResponse(session_id=SESSION_ID, pending=pending())
METHODS: dict[str, tuple[Callable[[Client], Awaitable[object]], Message]] = {
    "GetCapabilities": (lambda client: client.capabilities(), service.GetCapabilitiesResponse()),
    "Handshake": (_responded, HANDSHAKE),
    "Resume": (_resumed, RESUME),
    "Encrypt": (lambda client: client.session(SESSION_ID).encrypt(b"hi"), service.EncryptResponse()),
    "Decrypt": (lambda client: client.session(SESSION_ID).decrypt(b"hi"), service.DecryptResponse()),
    "EncryptBatch": (_sealed, service.EncryptBatchResponse(ciphertexts=b"r", lengths=[1], counters=[0])),
    "DecryptBatch": (_opened, service.DecryptBatchResponse(plaintexts=b"p", lengths=[1], counters=[0])),
    "Broadcast": (_told, service.BroadcastResponse(ciphertexts=b"r", lengths=[1], counters=[0])),
    "Rotate": (lambda client: client.session(SESSION_ID).rotate(), service.RotateResponse()),
    "IssueTicket": (lambda client: client.session(SESSION_ID).issue_ticket(), service.IssueTicketResponse()),
    "GetSession": (lambda client: client.get_session(SESSION_ID), service.GetSessionResponse()),
    "ListSessions": (_listed, service.ListSessionsResponse()),
    "CloseSession": (lambda client: client.session(SESSION_ID).close(), service.CloseSessionResponse()),
    "SuspendSession": (lambda client: client.session(SESSION_ID).suspend(), service.SuspendSessionResponse()),
    "RestoreSession": (_restored, service.RestoreSessionResponse()),
    "ChangeNetwork": (lambda client: client.change_network("ann", Network.WIFI), service.ChangeNetworkResponse()),
    "ExportSecret": (lambda client: client.session(SESSION_ID).export_secret("voice"), service.ExportSecretResponse()),
}


def test_every_method_is_in_the_table() -> None:
    """A method that the contract grows has to come here too; a watch goes on and is not repeated."""
    methods = service.DESCRIPTOR.services_by_name["SessionCryptoService"].methods
    assert METHODS.keys() == {method.name for method in methods if not method.server_streaming}


@pytest.mark.parametrize("method", METHODS)
async def test_a_refused_stream_is_repeated_and_does_not_count(method: str) -> None:
    """Nothing was processed: more refusals than `attempts` allows are no error, whatever the method is."""
    call, answer = METHODS[method]
    async with (
        refusing_service(REFUSALS, answer) as refusing,
        noisegate.connect(refusing.address, policy=QUICK) as client,
    ):
        await call(client)
    assert (refusing.streams, len(refusing.bodies)) == (REFUSALS + 1, 1)


async def test_a_burst_that_is_refused_gets_through() -> None:
    """Each call is processed once, however the refusals fall on them."""
    async with (
        refusing_service(500, service.GetCapabilitiesResponse(protocol_version=1)) as refusing,
        noisegate.connect(refusing.address, policy=QUICK) as client,
    ):
        found = await asyncio.gather(*(client.capabilities() for _ in range(200)))
    assert [each.protocol_version for each in found] == [1] * 200
    assert (refusing.streams, len(refusing.bodies)) == (700, 200)


async def test_refusals_end_with_the_deadline() -> None:
    """A service that refuses for ever is an error before the call's time is over."""
    policy = noisegate.CallPolicy(packet_deadline=0.2, first_backoff=0.01, max_backoff=0.02)
    async with (
        refusing_service(1_000_000, service.EncryptResponse()) as refusing,
        noisegate.connect(refusing.address, policy=policy) as client,
    ):
        with pytest.raises((noisegate.ServiceUnavailable, noisegate.DeadlineExceeded)):
            await client.session(SESSION_ID).encrypt(b"hi")
    assert refusing.bodies == []
