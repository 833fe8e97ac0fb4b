"""RETRY on the receive path of a UDP game: to a player who has to begin anew, and from one whom the game began with."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from grpc import StatusCode

import noisegate
from noisegate import DatagramReceiver, Received
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    Refusal,
    ScriptedService,
    established,
    pending,
    scripted_service,
)

Address = tuple[str, int]
HOME: Address = ("198.51.100.1", 4_000)
STRANGER: Address = ("192.0.2.7", 53)
QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)

HELLO = b"\x09" + bytes(8) + b"\x01" + b"hello and message 1".ljust(90, b".")
OURS = [
    b"\x09" + CONNECTION_ID + b"\x01" + text.ljust(90, b".") for text in (b"classical", b"hybrid", b"by your clock")
]
HANDSHAKE_2 = b"\x09" + CONNECTION_ID + b"\x02" + b"message 2".ljust(64, b".")


def retry(refused: bytes, tail: bytes = b"\x01\0\x10") -> bytes:
    """A RETRY to a packet (docs/protocol.md, section 2)."""
    return b"\x0e" + bytes(8) + hashlib.sha256(refused).digest()[:8] + tail


def waiting(packet: bytes) -> service.HandshakeResponse:
    """A handshake that the game began and whose next packet this is."""
    return service.HandshakeResponse(
        session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[packet], pending=pending(10)
    )


TURNED_AWAY = service.HandshakeResponse(
    to_peer=[retry(HELLO)], retry=service.HandshakeRetry(reason=service.HandshakeRetry.REASON_CHOOSE)
)
DONE = service.HandshakeResponse(session_id=SESSION_ID, connection_id=CONNECTION_ID, established=established())


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedService]:
    """A service that answers from a script."""
    async with scripted_service() as running:
        yield running


@pytest.fixture
async def client(scripted: ScriptedService) -> AsyncIterator[noisegate.Client]:
    """A client of it."""
    async with noisegate.connect(scripted.address, policy=QUICK) as connected:
        yield connected


async def begin(client: noisegate.Client) -> noisegate.Session:
    """A handshake that the game begins."""
    return await client.initiate(mode=noisegate.RecordMode.DATAGRAM, protocol=noisegate.Protocol(noisegate.Pattern.XX))


async def test_a_player_who_has_to_begin_anew_is_told(scripted: ScriptedService, client: noisegate.Client) -> None:
    """The RETRY goes where the packet came from; there is no session, nothing is kept, and nobody raises."""
    receiver: DatagramReceiver[Address] = DatagramReceiver(client)
    scripted.answer("Handshake", TURNED_AWAY)
    heard = await receiver.receive(HELLO, HOME)
    assert heard == Received(to_send=((retry(HELLO), HOME),), refused="RETRY_CHOOSE")
    assert len(receiver) == 0


async def test_a_direct_call_gets_the_retry_as_an_error_of_its_own(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """`respond` has no session to give; the exception has what must be sent."""
    scripted.answer("Handshake", TURNED_AWAY)
    with pytest.raises(noisegate.PlayerMustRetry) as caught:
        await client.respond(mode=noisegate.RecordMode.DATAGRAM, message=HELLO)
    assert (caught.value.to_peer, caught.value.why) == ((retry(HELLO),), noisegate.RetryReason.CHOOSE)


async def test_a_retry_finds_the_session_that_it_refuses(scripted: ScriptedService, client: noisegate.Client) -> None:
    """By its echo, since its connection id is zeros; the next attempt goes to the player, whose address is proved."""
    receiver: DatagramReceiver[Address] = DatagramReceiver(client)
    scripted.answer("Handshake", *map(waiting, OURS), DONE)
    session = await begin(client)
    receiver.add(session, HOME)
    for refused, following in pairwise(OURS):
        heard = await receiver.receive(retry(refused), HOME)
        assert (heard.session, heard.to_send, heard.withheld) == (session, ((following, HOME),), 0)
    asked = [request.proceed for request in scripted.requests("Handshake")[1:]]
    assert [(proceed.session_id, proceed.message) for proceed in asked] == [
        (SESSION_ID, retry(refused)) for refused in OURS[:2]
    ]
    assert (await receiver.receive(HANDSHAKE_2, HOME)).established
    calls = len(scripted.raw)
    assert (await receiver.receive(retry(OURS[2]), HOME)).refused == "UNEXPECTED_PACKET"
    assert len(scripted.raw) == calls


@pytest.mark.parametrize("packet", [retry(b"another packet"), retry(OURS[0])[:16], b"\x0e" + bytes(8)])
async def test_a_retry_to_no_packet_of_ours_costs_no_call(
    scripted: ScriptedService, client: noisegate.Client, packet: bytes
) -> None:
    """A stranger cannot guess an echo: what he sends is dropped before the service hears of it."""
    receiver: DatagramReceiver[Address] = DatagramReceiver(client)
    scripted.answer("Handshake", waiting(OURS[0]))
    receiver.add(await begin(client), HOME)
    assert (await receiver.receive(packet, STRANGER)).refused == "UNEXPECTED_PACKET"
    assert len(scripted.raw) == 1


async def test_a_retry_that_the_service_refuses_proves_nothing(
    scripted: ScriptedService, client: noisegate.Client
) -> None:
    """The handshake goes on as it was."""
    receiver: DatagramReceiver[Address] = DatagramReceiver(client)
    scripted.answer("Handshake", waiting(OURS[0]), Refusal(StatusCode.INVALID_ARGUMENT, "HANDSHAKE_FAILED"), DONE)
    session = await begin(client)
    receiver.add(session, HOME)
    assert (await receiver.receive(retry(OURS[0]), HOME)).refused == "HANDSHAKE_FAILED"
    assert not receiver.verified(session)
    assert (await receiver.receive(HANDSHAKE_2, HOME)).established


async def test_a_forgotten_handshake_has_no_echoes(scripted: ScriptedService, client: noisegate.Client) -> None:
    """Its time runs out, and with it what a RETRY could be for."""
    seconds = [0.0]
    receiver: DatagramReceiver[Address] = DatagramReceiver(client, now=lambda: seconds[0])
    scripted.answer("Handshake", waiting(OURS[0]))
    receiver.add(await begin(client), HOME)
    seconds[0] = 11.0
    assert (await receiver.receive(retry(OURS[0]), HOME)).refused == "UNEXPECTED_PACKET"
    assert len(receiver) == 0
