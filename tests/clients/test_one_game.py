"""One player's evening in three languages: a lobby in TypeScript begins its sessions, a table in Go plays with it.

They share a session by its id and its endpoint; the player is in Python, with the library `noiseprotocol`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

import pytest

import noisegate
from examples.dice.noise_player import NoiseKeys, NoisePlayer, NoiseTicket
from examples.dice.wires import RESUME, Opening, TcpWire
from noisegate import Pattern, SessionEvent, SessionEventKind, Suite, Watching
from tests.support.go_program import NotAvailable, go_build, module_on_the_client
from tests.support.node_program import build_client
from tests.support.server import RunningServer
from tests.support.vectors import not_available

HERE: Final = Path(__file__).parent
PROLOGUE: Final = b"one game"
SUITE: Final = Suite.CHACHA20_POLY1305_X25519
SECONDS: Final = 60.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """The service that all share."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()


@pytest.fixture
def lobby(server: RunningServer, tmp_path: Path) -> Iterator[int]:
    """The lobby's port, with the table behind it, whose throws are these."""
    module_on_the_client(tmp_path)
    shutil.copyfile(HERE / "go" / "table.go.txt", tmp_path / "main.go")
    try:
        table, node = go_build(tmp_path, tmp_path / "table"), build_client()
    except NotAvailable as reason:
        not_available(str(reason))
    script = str(HERE / "typescript" / "lobby.mjs")
    with (
        spoken([str(table), server.address, "3+4", "1+1", "3+4"]) as address,
        spoken([node, script, server.address, address]) as port,
    ):
        yield int(port)


@contextmanager
def spoken(command: list[str]) -> Iterator[str]:
    """A program that runs, and the first line that it says."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def dial(port: int) -> TcpWire:
    """A connection to a port of this machine."""
    return TcpWire(*await asyncio.open_connection("127.0.0.1", port))


class Guest:
    """The player: a session at a time, over whatever connection it has."""

    def __init__(self, lobby: int) -> None:
        self._lobby = lobby
        self._keys = NoiseKeys(static=os.urandom(32))

    async def arrive(self, ticket: NoiseTicket | None = None) -> None:
        """By a handshake, or a ticket, at the lobby, and from there with the same session to the table."""
        if ticket is None:
            self.noise = NoisePlayer("Noise_XX_25519_ChaChaPoly_SHA256", self._keys, initiator=True, prologue=PROLOGUE)
            begun = Opening(pattern=Pattern.XX, suite=SUITE, message=self.noise.write_handshake())
        else:
            self.noise = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE)
            begun = Opening(pattern=RESUME, suite=SUITE, ticket=ticket.ticket, message=self.noise.write_handshake())
        self.wire = await dial(self._lobby)
        await self.wire.send(begun.encode())
        self.noise.read_handshake(await self.wire.receive())
        if not self.noise.established:
            await self.wire.send(self.noise.write_handshake())
        name, go, to, where, word = (await self.asks("ann")).split()
        assert (name, go, to) == ("ann,", "go", "to")
        await self.wire.close()
        self.wire = await dial(int(where.rpartition(":")[2]))
        await self.wire.send(word.encode())

    async def asks(self, text: str) -> str:
        """One record, and what the answer says."""
        await self.wire.send(self.noise.seal(text.encode()))
        return (await self.hears()).decode()

    async def hears(self) -> bytes:
        """The next record."""
        return self.noise.open(await self.wire.receive())

    async def forges(self, text: str) -> str:
        """A record with one bit turned, and what the answer says; ours, which never left, is sent after it."""
        record = self.noise.seal(text.encode())
        await self.wire.send(bytes([record[0] ^ 1]) + record[1:])
        answer = await self.hears()
        await self.wire.send(record)
        return answer.decode()


async def watched(client: noisegate.Client, ready: asyncio.Event) -> list[tuple[SessionEventKind, str]]:
    """What happens to the sessions of the game until two have ended."""
    told: list[tuple[SessionEventKind, str]] = []
    async with aclosing(client.watch_sessions(group="one game")) as events:
        async for event in events:
            if isinstance(event, Watching):
                ready.set()
            elif isinstance(event, SessionEvent):
                told.append((event.kind, event.peer_id))
                if [kind for kind, _ in told].count(SessionEventKind.ENDED) == 2:
                    break
    return told


async def test_a_lobby_in_typescript_and_a_table_in_go_share_the_sessions_of_a_player_in_python(
    server: RunningServer, lobby: int
) -> None:
    """Handshake, hand-over, bets, new keys, a forgery, a ticket, a lost connection, a resume, and the end."""
    guest = Guest(lobby)
    async with asyncio.timeout(SECONDS), noisegate.connect(server.address) as client:
        ready = asyncio.Event()
        watch = asyncio.create_task(watched(client, ready))
        await ready.wait()

        await guest.arrive()
        assert await guest.asks("bet") == "3+4: you have $110"
        (session,) = [each async for each in client.list_sessions(group="one game")]
        assert session.established is not None
        assert session.established.handshake_hash == guest.noise.handshake_hash
        # The name that the lobby read and the bet that the table read, in one session.
        assert (session.peer_id, session.opened) == ("guest-1", 2)

        assert await guest.asks("rekey") == "rekey"
        guest.noise.rekey_send()
        guest.noise.rekey_receive()
        assert await guest.forges("bet") == "refused: DECRYPT_FAILED"
        assert (await guest.hears()).decode() == "1+1: you have $100"

        await guest.wire.send(guest.noise.seal(b"ticket"))
        ticket = NoiseTicket.parse(await guest.hears())
        await guest.wire.close()

        await guest.arrive(ticket)
        assert await guest.asks("bet") == "3+4: you have $110"
        assert await guest.asks("bye") == "good night, guest-1"
        await guest.wire.close()

        # The lost session may end before the next one begins, or after.
        began, ended = (SessionEventKind.ESTABLISHED, "guest-1"), (SessionEventKind.ENDED, "guest-1")
        assert sorted(await watch) == [began, began, ended, ended]
        assert [each async for each in client.list_sessions(group="one game")] == []
