"""A thousand players at once against one running service."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer
from noisegate import Pattern, RecordMode, Session, SessionState
from tests.integration.conftest import DEV, Launch
from tests.support.noise_client import Setup, noise_player

SESSIONS = 1_000
SECONDS = 60.0
BYTES_PER_SESSION = 64 * 1024
"""Far above what a session takes, with the record of its nonces; a leak of whole handshakes would pass it."""


async def test_a_thousand_handshakes_run_at_once(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    """All are half-open at the same time, all finish, ids and hashes differ, records flow, nothing is left."""
    server = launch(*DEV, "--handshake-timeout", "60")
    policy = noisegate.CallPolicy(packet_deadline=SECONDS, control_deadline=SECONDS)
    setup = Setup(pattern=Pattern.XX, static=os.urandom(32))
    async with noisegate.connect(server.address, policy=policy) as client:
        service_key = (await client.capabilities()).static_key
        before, began, cpu = server.rss_bytes(), time.monotonic(), server.cpu_seconds()

        async def begin(number: int) -> tuple[Session, NoisePlayer]:
            player = noise_player(setup, service_key)
            session = await client.respond(
                mode=RecordMode.NOISE,
                protocol=setup.protocol,
                message=player.write_handshake(),
                prologue=setup.prologue,
                peer_id=f"player {number}",
                group="stadium",
            )
            return session, player

        async def finish(session: Session, player: NoisePlayer) -> None:
            player.read_handshake(session.to_peer[0])
            await session.proceed(player.write_handshake())

        async def talk(session: Session, player: NoisePlayer) -> bool:
            text = os.urandom(64)
            up = (await session.decrypt(player.seal(text))).plaintext == text
            return up and player.open((await session.encrypt(text)).packet) == text

        pairs = await asyncio.gather(*(begin(number) for number in range(SESSIONS)))
        states = [each.state async for each in client.list_sessions(group="stadium", page_size=1_000)]
        assert states == [SessionState.HANDSHAKING] * SESSIONS
        await asyncio.gather(*(finish(*pair) for pair in pairs))
        established, used = time.monotonic() - began, server.cpu_seconds() - cpu
        assert all(await asyncio.gather(*(talk(*pair) for pair in pairs)))
        after = server.rss_bytes()

        assert len({session.id for session, _ in pairs}) == SESSIONS
        assert len({player.handshake_hash for _, player in pairs}) == SESSIONS
        for session, player in pairs:
            assert session.established is not None
            assert session.established.handshake_hash == player.handshake_hash
        with capsys.disabled():
            sys.stdout.write(
                f"\n{SESSIONS} concurrent handshakes: {established:.2f} s, {used:.2f} s of it CPU of the server;"
                f" RSS {before / 2**20:.1f} -> {after / 2**20:.1f} MiB,"
                f" {(after - before) / SESSIONS:.0f} bytes a session\n"
            )
        assert established < SECONDS
        assert after - before < SESSIONS * BYTES_PER_SESSION
        await asyncio.gather(*(session.close() for session, _ in pairs))
        assert [each async for each in client.list_sessions()] == []


@pytest.mark.parametrize("method", ["GetCapabilities", "ListSessions", "Handshake"])
async def test_a_thousand_first_calls_on_a_new_channel_succeed(launch: Launch, method: str) -> None:
    """More streams than a connection may have at first: what is refused unprocessed is repeated, and nothing twice."""
    server = launch(*DEV)
    policy = noisegate.CallPolicy(control_deadline=SECONDS / 2)

    async def call(client: noisegate.Client) -> None:
        if method == "GetCapabilities":
            await client.capabilities()
        elif method == "ListSessions":
            assert [each async for each in client.list_sessions(group="nobody")] == []
        else:
            await client.initiate(mode=RecordMode.NOISE, protocol=noisegate.Protocol(Pattern.XX), group="burst")

    async with noisegate.connect(server.address, policy=policy) as client:
        await asyncio.gather(*(call(client) for _ in range(SESSIONS)))
        begun = [each.session_id async for each in client.list_sessions(group="burst", page_size=1_000)]
        assert len(begun) == (SESSIONS if method == "Handshake" else 0)
        await asyncio.gather(*(client.session(each).close() for each in begun))
