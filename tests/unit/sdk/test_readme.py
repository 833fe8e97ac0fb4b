"""The examples of clients/python/README.md, run as they stand there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import noisegate
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_carrier import scripted_carrier
from tests.unit.sdk.scripted_service import CONNECTION_ID, SESSION_ID, established, pending, scripted_service

README = Path(noisegate.__file__).parents[1] / "README.md"
QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001)


def example(number: int) -> dict[str, Any]:
    """What the README's `number`th block of Python defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(blocks[number], str(README), "exec"), names)  # noqa: S102 -- our own README
    return names


class Player:
    """Messages that a player sends, and those that it gets."""

    name = "ann"

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)
        self.got: list[bytes] = []

    async def read(self) -> bytes:
        """The next message of the player."""
        return self._messages.pop(0)

    async def write(self, *messages: bytes) -> None:
        """Messages for the player."""
        self.got += messages


async def test_the_stream_example_plays_one_session() -> None:
    """Handshake in two steps, one record each way, and the close at the end of the block."""
    player = Player(b"message 1", b"message 3", b"record")
    async with scripted_service() as scripted, noisegate.connect(scripted.address, policy=QUICK) as client:
        scripted.answer(
            "Handshake",
            service.HandshakeResponse(session_id=SESSION_ID, to_peer=[b"message 2"], pending=pending()),
            service.HandshakeResponse(session_id=SESSION_ID, established=established()),
        )
        scripted.answer("Decrypt", service.DecryptResponse(plaintext=b"ann"))
        scripted.answer("Encrypt", service.EncryptResponse(ciphertext=b"sealed", to_peer=[b"extra"]))
        scripted.answer("CloseSession", service.CloseSessionResponse())
        await example(0)["play"](client, player)
        assert scripted.requests("Encrypt")[0].plaintext == b"welcome, ann"
    assert player.got == [b"message 2", b"extra", b"sealed"]
    assert [name for name, _ in scripted.raw][-1] == "CloseSession"


class Peer(asyncio.DatagramProtocol):
    """A player's socket."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, packet: bytes, source: object) -> None:
        """A packet for the player."""
        self.got.put_nowait(packet)


async def test_the_udp_example_answers_a_player() -> None:
    """A real socket on each side."""
    hello = (b"\x09" + bytes(8) + b"\x01").ljust(100, b".")
    loop = asyncio.get_running_loop()
    async with scripted_service() as scripted, noisegate.connect(scripted.address, policy=QUICK) as client:
        scripted.answer(
            "Handshake",
            service.HandshakeResponse(
                session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[b"message 2"], established=established()
            ),
        )
        scripted.answer(
            "Decrypt", service.DecryptResponse(session_id=SESSION_ID, plaintext=b"hi", newest=True, counter=1)
        )
        scripted.answer("Encrypt", service.EncryptResponse(ciphertext=b"sealed"))
        table, _ = await loop.create_datagram_endpoint(lambda: example(1)["Table"](client), local_addr=("127.0.0.1", 0))
        player, peer = await loop.create_datagram_endpoint(Peer, remote_addr=table.get_extra_info("sockname"))
        player.sendto(hello)
        assert await asyncio.wait_for(peer.got.get(), 10) == b"message 2"
        player.sendto(b"\x0a" + CONNECTION_ID + b"record")
        assert await asyncio.wait_for(peer.got.get(), 10) == b"sealed"
        assert scripted.requests("Encrypt")[0].plaintext == b"echo hi"
        assert scripted.requests("Handshake")[0].respond.group == "table 7"
        for transport in (player, table):
            transport.close()
        await asyncio.sleep(0)


class Seat:
    """A player of a match, as the game has it."""

    def __init__(self, number: int) -> None:
        self.session_id = number.to_bytes(24, "big")
        self.packets = [b"%d" % number]
        self.took: list[tuple[bytes | None, tuple[bytes, ...]]] = []
        self.sent: list[bytes] = []

    def arrived(self) -> list[bytes]:
        """Packets since the last tick."""
        return self.packets

    def take(self, plaintext: bytes | None, to_peer: tuple[bytes, ...]) -> None:
        """What the player said."""
        self.took.append((plaintext, to_peer))

    def state(self) -> bytes:
        """What the player shall see."""
        return b"state"

    def send(self, *messages: bytes) -> None:
        """Messages for the player."""
        self.sent += messages


async def test_the_match_example_plays_a_tick() -> None:
    """Everybody's packets in one batch each way; a replayed one is dropped."""
    seats = [Seat(number) for number in range(10, 40)]
    seats[3].packets *= 2
    async with scripted_carrier() as carrier:
        await example(4)["match"](carrier.address, seats)
    assert [seat.took for seat in seats] == [[(seat.packets[0][::-1], ())] for seat in seats]
    assert [seat.sent for seat in seats] == [[b"0:state"]] * 30
    assert len(carrier.batches) == 2
