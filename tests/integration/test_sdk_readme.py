"""The examples of clients/python/README.md, as they stand there, against a running service and real players."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from examples.dice.noise_player import NoisePlayer
from noisegate import Client, Pattern
from noisegate_server.config import Config
from tests.support.noise_client import Setup, Udp, datagram_player, noise_player, open_datagram
from tests.support.server import ROOT, RunningServer
from tests.unit.sdk.test_readme import README, Peer, example

SECONDS = 20.0
PATIENCE = 0.1
GREET = """
import sys
from tests.unit.sdk.test_readme import example
for message in example(2)["greet"](sys.argv[1], bytes.fromhex(sys.argv[2])):
    print(message.hex())
"""
"""The blocking client wants a process without another event loop of grpc.aio."""


class Wire:
    """The game's end of a stream to a player who runs XX and says its name."""

    name = "ann"

    def __init__(self, player: NoisePlayer) -> None:
        self._player = player
        self.read_by_player: list[bytes] = []
        self._outgoing = [player.write_handshake()]

    async def read(self) -> bytes:
        """The player's next message."""
        return self._outgoing.pop(0)

    async def write(self, *messages: bytes) -> None:
        """Each is one message for the player, who answers."""
        for message in messages:
            if self._player.established:
                self.read_by_player.append(self._player.open(message))
            else:
                self._player.read_handshake(message)
                self._outgoing += [self._player.write_handshake(), self._player.seal(b"ann")]


async def test_the_stream_example_plays_with_a_real_player(client: Client) -> None:
    """XX in three messages, one record each way, the end of the session."""
    player = noise_player(Setup(pattern=Pattern.XX, prologue=b""), (await client.capabilities()).static_key)
    wire = Wire(player)
    await example(0)["play"](client, wire)
    assert wire.read_by_player == [b"welcome, ann"]


async def test_the_udp_example_plays_with_a_real_player(client: Client) -> None:
    """A socket at each end; the record comes back from the table."""
    player = datagram_player(
        Setup(pattern=Pattern.XX, prologue=b""), (await client.capabilities()).static_key, tickets=False
    )
    loop = asyncio.get_running_loop()
    table, _ = await loop.create_datagram_endpoint(lambda: example(1)["Table"](client), local_addr=("127.0.0.1", 0))
    socket, peer = await loop.create_datagram_endpoint(Peer, remote_addr=table.get_extra_info("sockname"))
    for packet in player.start(time.monotonic()):
        socket.sendto(packet)
    heard: list[bytes] = []
    async with asyncio.timeout(SECONDS):
        while not heard:
            try:
                packet = await asyncio.wait_for(peer.got.get(), PATIENCE)
            except TimeoutError:
                # A record may overtake the last handshake packet and be lost, as any packet may.
                outgoing = [*player.tick(time.monotonic()), *([player.send(b"hi")] if player.established else [])]
            else:
                received = player.receive(packet, time.monotonic())
                heard += received.plaintexts
                outgoing = list(received.to_send)
            for packet in outgoing:
                socket.sendto(packet)
    assert heard[0] == b"echo hi"
    for transport in (socket, table):
        transport.close()
    await asyncio.sleep(0)
    async for info in client.list_sessions(group="table 7"):
        await client.adopt(info).close()


class Seat:
    """A real player of a match, as the game has it."""

    def __init__(self, road: Udp) -> None:
        self.session_id = road.session.id
        self._road = road
        self.took: list[bytes | None] = []
        self.saw: list[bytes] = []

    def arrived(self) -> list[bytes]:
        """What the player has sent, and a forged packet in its name."""
        packet = self._road.player.send(b"left")
        return [packet, packet[:-1] + bytes([packet[-1] ^ 1])]

    def take(self, plaintext: bytes | None, _: tuple[bytes, ...]) -> None:
        """What the player said."""
        self.took.append(plaintext)

    def state(self) -> bytes:
        """What the player shall see."""
        return b"state"

    def send(self, *messages: bytes) -> None:
        """Messages for the player."""
        for message in messages:
            self.saw += self._road.player.receive(message, time.monotonic()).plaintexts


async def test_the_match_example_plays_a_tick_with_real_players(client: Client, server: RunningServer) -> None:
    """Each player's packet and each player's state, and no forged one."""
    setups = [Setup(pattern=Pattern.NK, prologue=b"", peer_id=f"seat {number}") for number in range(12)]
    roads = await asyncio.gather(*(open_datagram(client, setup, tickets=False) for setup in setups))
    seats = [Seat(road) for road in roads]
    await example(4)["match"](server.address, seats)
    assert [seat.took for seat in seats] == [[b"left"]] * 12
    assert [seat.saw for seat in seats] == [[b"state"]] * 12
    await asyncio.gather(*(road.session.close() for road in roads))


async def test_the_blocking_example_greets_a_real_player(client: Client, server: RunningServer) -> None:
    """Message 2 and one record: the player is established and reads the greeting."""
    player = noise_player(Setup(pattern=Pattern.IK, prologue=b""), (await client.capabilities()).static_key)
    command = [sys.executable, "-c", GREET, server.address, player.write_handshake().hex()]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    answer, record = (bytes.fromhex(line) for line in done.stdout.split())
    player.read_handshake(answer)
    assert player.open(record) == b"welcome"


def test_the_readme_names_the_address_that_a_service_takes_by_itself() -> None:
    """What is copied from there reaches `noisegate serve --dev`."""
    assert f'connect("{Config.model_fields["listen"].default}")' in README.read_text(encoding="utf-8")
