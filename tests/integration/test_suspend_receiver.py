"""The SDK's UDP receiver while its players' sessions leave memory, come back, and change networks and addresses."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import pytest

import noisegate
from examples.dice.datagram_player import DatagramPlayer
from noisegate import Client, DatagramReceiver, Network, Received, Session
from tests.integration.conftest import DEV, Launch
from tests.support.noise_client import PROLOGUE, Setup, datagram_player

Address = tuple[str, int]
HOME: Address = ("198.51.100.1", 4_000)
AWAY: Address = ("203.0.113.9", 5_000)
PATIENT = noisegate.CallPolicy(packet_deadline=60.0, control_deadline=60.0)


class Table:
    """A game's socket, a player, and the way between: nothing is lost, everything is counted."""

    def __init__(self, client: Client, player: DatagramPlayer) -> None:
        self.client = client
        self.player = player
        self.receiver: DatagramReceiver[Address] = DatagramReceiver(
            client, admit=lambda _packet, _source: noisegate.Admission(peer_id="ann", prologue=PROLOGUE)
        )
        self.at = HOME
        """Where the player sends from."""
        self.heard: list[bytes] = []
        self.read: list[bytes] = []

    async def up(self, packets: Iterable[bytes]) -> Received[Address]:
        """From the player, and all that follows; what became of the last packet."""
        received: Received[Address] = Received()
        for packet in packets:
            received = await self.receiver.receive(packet, self.at)
            self.heard += received.plaintexts
            await self.down(received.to_send)
        return received

    async def down(self, messages: Iterable[tuple[bytes, Address]]) -> None:
        """To the player, if it is where they go, and all that follows."""
        for packet, address in messages:
            if address == self.at:
                came = self.player.receive(packet, time.monotonic())
                self.read += came.plaintexts
                await self.up(came.to_send)

    async def begin(self) -> Session:
        """The handshake; the session."""
        await self.up(self.player.start(time.monotonic()))
        received = await self.up([self.player.send(b"hello")])
        assert received.session is not None
        assert self.heard.pop() == b"hello"
        return received.session

    async def talk(self, session: Session) -> None:
        """A message each way."""
        await self.up([self.player.send(b"roll")])
        assert self.heard.pop() == b"roll"
        await self.down(self.receiver.route(session, (await session.encrypt(b"six")).messages))
        assert self.read.pop() == b"six"


async def seat(client: Client) -> Table:
    """A player that has not begun."""
    return Table(client, datagram_player(Setup(), (await client.capabilities()).static_key))


async def test_a_session_that_left_by_itself_comes_back_by_the_players_packet(launch: Launch) -> None:
    """The receiver's handle stays good; what the player said under the old keys is lost, the next message is not."""
    server = launch(*DEV, "--suspend-idle", "0.2")
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        table = await seat(client)
        watch = client.watch_sessions()
        assert isinstance(await anext(watch), noisegate.Watching)
        session = await table.begin()
        async for told in watch:
            if isinstance(told, noisegate.SessionEvent) and told.kind is noisegate.SessionEventKind.SUSPENDED:
                break
        await watch.aclose()
        await table.up([table.player.send(b"under the old keys")])
        assert table.heard == []
        await table.talk(session)


async def test_a_session_that_the_game_put_away_is_refused_until_it_is_restored(client: Client) -> None:
    """Its packets are refused, and its handle stays known; afterwards both directions flow to the same address."""
    table = await seat(client)
    session = await table.begin()
    await session.suspend()
    refused = await table.up([table.player.send(b"knock")])
    assert (refused.refused, refused.closed) == ("NOT_ESTABLISHED", False)
    back = await client.restore(session.id)
    await table.down(table.receiver.route(back, back.to_peer))
    await table.talk(session)
    await session.close()


@pytest.mark.parametrize("network", [Network.WIFI, Network.CELLULAR])
async def test_a_player_who_moves_proves_its_new_address_by_a_change_of_network(
    client: Client, network: Network
) -> None:
    """Until it has answered it gets three times what it sent; the answer lifts that, and the session goes on there."""
    table = await seat(client)
    session = await table.begin()
    assert table.receiver.verified(session)
    table.at = AWAY
    moved = await table.up([table.player.send(b"here I am")])
    assert moved.moved
    assert not table.receiver.verified(session)
    assert table.receiver.route(session, [os.urandom(2_000)]) == []
    change = await session.change_network(network)
    await table.down(table.receiver.route_change(session, change))
    assert table.receiver.verified(session)
    assert table.receiver.address(session) == AWAY
    await table.talk(session)
    if network is Network.WIFI:
        assert table.player.send(b"x")[1:9] == change.connection_id
    await session.close()
