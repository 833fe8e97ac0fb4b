"""Where a session lives: `--advertise`, and the SDK that goes there."""

from __future__ import annotations

import noisegate
from tests.integration.conftest import DEV, Launch
from tests.support.answer_cutter import AnswerCutter
from tests.support.noise_client import Setup, open_datagram, open_noise


async def test_the_sdk_follows_a_session_to_the_advertised_endpoint(launch: Launch) -> None:
    """The first call goes to the target, all later ones of the session to where the answer said it lives."""
    async with AnswerCutter() as road:
        server = launch(*DEV, "--advertise", road.address)
        road.aim(server.port)
        policy = noisegate.CallPolicy(packet_deadline=5.0)
        async with noisegate.connect(server.address, policy=policy) as client:
            assert (await client.capabilities()).endpoint == road.address
            assert road.connections == 0
            session, player = await open_noise(client, Setup(peer_id="ada"))
            assert session.endpoint == road.address
            assert road.connections == 1
            assert player.open((await session.encrypt(b"x")).packet) == b"x"
            assert (await session.describe()).endpoint == road.address
            datagram = await open_datagram(client, Setup(peer_id="bob"))
            assert datagram.session.endpoint == road.address
            await datagram.talk()
            assert [each.endpoint async for each in client.list_sessions(peer_id="bob")] == [road.address]
            assert road.connections == 1


async def test_without_advertise_the_endpoint_is_the_address_listened_on(launch: Launch) -> None:
    """Port 0 has become a real one by then, so that a caller can use the endpoint as it stands."""
    server = launch()
    async with noisegate.connect(server.address) as client:
        session, _ = await open_noise(client, Setup())
        assert session.endpoint == server.address == (await client.capabilities()).endpoint
