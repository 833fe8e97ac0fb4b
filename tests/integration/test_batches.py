"""EncryptBatch, DecryptBatch and Broadcast against a running service, through the SDK."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing
from pathlib import Path

import pytest

import noisegate
from noisegate import RecordMode, Sealed, Session
from noisegate._calls import ENCRYPT_BATCH
from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate_server.engine import records
from noisegate_server.session.state import RecordMode as Mode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.base import StoreLimits
from tests.integration.conftest import DEV, Launch
from tests.support.engine import TENANT, Clock, Engine
from tests.support.requests import initiation

PLAYERS = 100
PATIENT = noisegate.CallPolicy(packet_deadline=20, control_deadline=20)


class Room:
    """Players, whose ends are an engine in this process, and their sessions at a running service."""

    def __init__(self, client: noisegate.Client, clock: Clock) -> None:
        self.client = client
        self.players = Engine(clock, limits=StoreLimits(sessions_per_peer=PLAYERS))
        self.sessions: list[Session] = []
        self.far: list[bytes] = []

    async def fill(self, count: int) -> None:
        """Let so many players in."""
        key = (await self.client.capabilities()).static_key
        for number in range(count):
            request = initiation(
                mode=Mode.DATAGRAM, pattern=Pattern.NK, suite=Suite.CHACHA20_POLY1305_X25519,
                remote_static_key=key,
            )  # fmt: skip
            begun = self.players.initiate(request)
            session = await self.client.respond(
                mode=RecordMode.DATAGRAM, message=begun.to_peer[0], peer_id=f"p{number}", group="room"
            )
            session.detach()
            self.players.proceed(begun.session_id, session.to_peer[0])
            self.sessions.append(session)
            self.far.append(begun.session_id)

    def seal(self, player: int, text: bytes) -> bytes:
        """What a player sends."""
        return self.players.encrypt(self.far[player], text).ciphertext

    def open(self, player: int, packet: bytes) -> bytes | None:
        """What a player reads."""
        clock = self.players.clock
        return records.decrypt(
            self.players.parts, TENANT, self.far[player], packet, b"", ticket=False, now=clock.now, wall=clock.wall
        ).plaintext


def real_clock() -> Clock:
    """One whose wall is today's: hellos carry it."""
    clock = Clock()
    clock.wall = time.time()
    return clock


async def test_a_tick_of_a_match_is_one_call_each_way(launch: Launch) -> None:
    """100 players' packets open in one call, their answers are sealed in one, and all of it reads as it was written."""
    server = launch(*DEV)
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        room = Room(client, real_clock())
        await room.fill(PLAYERS)
        texts = [os.urandom(40) for _ in range(PLAYERS)]
        packets = [room.seal(player, text) for player, text in enumerate(texts)]
        opened = await client.decrypt_batch(zip(room.sessions, packets, strict=True))
        assert [each.plaintext if isinstance(each, noisegate.Opened) else each for each in opened] == texts
        again = await client.decrypt_batch(zip(room.sessions, packets, strict=True))
        assert {type(each) for each in again} == {noisegate.ReplayDetected}
        forged = bytes((packets[0][-1] ^ 1,))
        answers = await client.decrypt_batch(
            [(room.sessions[0], packets[0][:-1] + forged), (room.sessions[1], room.seal(1, b"next"))]
        )
        assert isinstance(answers[0], noisegate.DecryptFailed)
        assert isinstance(answers[1], noisegate.Opened)
        for _ in range(2):
            sealed = await client.encrypt_batch([(each, text) for each in room.sessions for text in (b"a", b"bc")])
            read = [room.open(n // 2, each.packet) for n, each in enumerate(sealed) if isinstance(each, Sealed)]
            assert read == [b"a", b"bc"] * PLAYERS
        cast = await client.broadcast(room.sessions, b"goal")
        assert [room.open(n, each.packet) for n, each in enumerate(cast) if isinstance(each, Sealed)] == [
            b"goal"
        ] * PLAYERS


async def test_suspended_sessions_come_back_for_their_items(launch: Launch, tmp_path: Path) -> None:
    """What idleness has put away is restored on the way; what its caller put away is refused, alone."""
    server = launch(*DEV, "--suspend-idle", "0.2", "--state-file", str(tmp_path / "state"))
    async with (
        noisegate.connect(server.address, policy=PATIENT) as client,
        aclosing(client.watch_sessions(group="room")) as events,
    ):
        assert await asyncio.wait_for(anext(events), 10) == noisegate.Watching()
        room = Room(client, real_clock())
        await room.fill(4)
        await client.decrypt_batch([(each, room.seal(n, b"hello")) for n, each in enumerate(room.sessions)])
        await room.sessions[3].suspend()
        asleep: set[bytes] = set()
        while len(asleep) < 4:
            told = await asyncio.wait_for(anext(events), 10)
            if isinstance(told, noisegate.SessionEvent) and told.kind is noisegate.SessionEventKind.SUSPENDED:
                asleep.add(told.session_id)
        results = await client.encrypt_batch([(each, b"back") for each in room.sessions])
        assert [type(each) for each in results] == [Sealed] * 3 + [noisegate.NotEstablished]
        read = [room.open(n, each.packet) for n, each in enumerate(results) if isinstance(each, Sealed)]
        assert read == [b"back"] * 3


async def test_the_largest_batch_fits_every_limit(launch: Launch) -> None:
    """1,024 items of 1,280 bytes go through, one byte more does not, and nothing of a refused batch was done."""
    server = launch(*DEV)
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        room = Room(client, real_clock())
        await room.fill(1)
        session = room.sessions[0]
        results = await client.encrypt_batch([(session, bytes(1_280))] * 1_024)
        assert [each.counter for each in results if isinstance(each, Sealed)] == list(range(1_024))
        request = service.EncryptBatchRequest(
            session_ids=session.id, counts=[1_024], lengths=[1_280] * 1_023 + [1_281], plaintexts=bytes(1_310_721)
        )
        with pytest.raises(noisegate.MessageTooLarge):
            # The client itself would make two calls of it.
            await client._calls.call(ENCRYPT_BATCH, request)
        assert (await session.describe()).sealed == 1_024
