"""Suspend, restore and a change of network over the wire, across stops and crashes of the service."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer
from noisegate import Client, Network, Pattern, RecordMode, Session, SessionState
from tests.integration.conftest import Launch
from tests.support import logs
from tests.support.noise_client import Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer, run_command

PATIENT = noisegate.CallPolicy(packet_deadline=60.0, control_deadline=60.0)
SESSIONS = 200

Start = Callable[..., RunningServer]
"""(*options) -> a server; all of one test have the same identity, keys and state file."""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Options that make two processes the same service."""
    for name in ("identity", "tickets", "blobs"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex() + "\n")
    return (
        *("--identity", str(tmp_path / "identity")),
        *("--ticket-key", str(tmp_path / "tickets")),
        *("--blob-key", str(tmp_path / "blobs")),
        *("--state-file", str(tmp_path / "state")),
    )


@pytest.fixture
def start(launch: Launch, files: tuple[str, ...]) -> Start:
    """A service that can be stopped, or killed, and started again as the same one."""
    return lambda *options: launch("--listen", "127.0.0.1:0", *files, *options)


def connect(server: RunningServer) -> Client:
    """A patient client."""
    return noisegate.connect(server.address, policy=PATIENT)


async def pair(client: Client, peer_id: str = "") -> tuple[tuple[Session, NoisePlayer], Udp]:
    """A session of each mode."""
    setup = Setup(pattern=Pattern.IK, peer_id=peer_id)
    return await open_noise(client, setup), await open_datagram(client, setup)


async def talk(session: Session, player: NoisePlayer) -> None:
    """A message each way in NOISE mode."""
    assert (await session.decrypt(player.seal(b"roll"))).plaintext == b"roll"
    assert player.open((await session.encrypt(b"six")).packet) == b"six"


async def come_back(client: Client, session_id: bytes, road: Udp) -> None:
    """Restore a DATAGRAM session, tell its player, and talk."""
    road.join(await client.restore(session_id))
    await road.to_player(road.session.to_peer)
    await road.talk()


@pytest.mark.parametrize("crash", [False, True])
async def test_suspended_sessions_come_back_after_a_restart(start: Start, crash: bool) -> None:
    """Both modes, after SIGTERM and after SIGKILL right behind the answer: with names, ids and both directions."""
    before = start()
    async with connect(before) as client:
        (noise, player), road = await pair(client, "ann")
        await talk(noise, player)
        await road.talk()
        await noise.suspend()
        await road.session.suspend()
        for session in (noise, road.session):
            with pytest.raises(noisegate.NotEstablished) as refused:
                await session.encrypt(b"no")
            assert refused.value.metadata == {"state": "SUSPENDED"}
    if crash:
        before.kill()
    else:
        assert before.stop() == 0
    async with connect(start()) as client:
        listed = [info async for info in client.list_sessions(peer_id="ann")]
        assert {info.session_id for info in listed} == {noise.id, road.session.id}
        assert {info.state for info in listed} == {SessionState.SUSPENDED}
        assert not any(info.suspended_by_service for info in listed)
        back = await client.restore(noise.id)
        assert (back.peer_id, back.to_peer) == ("ann", ())
        await talk(back, player)
        await come_back(client, road.session.id, road)
        assert await road.to_service([road.player.send(b"again")]) == [b"again"]


async def test_two_hundred_sessions_outlive_a_stop_and_come_back_by_their_first_call(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM suspends them all; after the restart a player's packet or a game's message is enough."""
    before = start()
    async with connect(before) as client:
        async with asyncio.TaskGroup() as group:
            opening = [group.create_task(pair(client, f"p{number}")) for number in range(SESSIONS // 2)]
        pairs = [task.result() for task in opening]
        for (noise, player), road in pairs:
            await talk(noise, player)
            await road.talk()
    began = time.monotonic()
    assert before.stop() == 0
    stopped = time.monotonic()
    (line,) = logs.told(before.log(), "sessions suspended: their first calls bring them back")
    assert line["count"] == SESSIONS
    after = start()
    up = time.monotonic()
    async with connect(after) as client:
        states = [info async for info in client.list_sessions()]
        assert len(states) == SESSIONS
        assert all(info.state is SessionState.SUSPENDED and info.suspended_by_service for info in states)
        for number, ((noise, player), road) in enumerate(pairs):
            await talk(client.session(noise.id), player)
            road.join(client.session(road.session.id, mode=RecordMode.DATAGRAM))
            if number % 2:
                # The game speaks first: its record is the first that the player hears of the new keys.
                assert await road.to_player((await road.session.encrypt(b"welcome")).messages) == [b"welcome"]
            else:
                # The player speaks first, found by its connection id: what it says under the old keys is lost.
                _, told = await client.find_and_decrypt(road.player.send(b"lost"))
                assert told.plaintext is None
                await road.to_player(told.to_peer)
            await road.talk()
        took = time.monotonic() - up
    with capsys.disabled():
        sys.stdout.write(
            f"\n{SESSIONS} sessions suspended by a stop of {stopped - began:.2f} s, back by their first call, with a"
            f" message each way, in {took:.2f} s\n"
        )


async def test_of_many_that_restore_at_once_exactly_one_does(start: Start) -> None:
    """By id all see the session, and one has what the player must get; by blob one gets it, the others are refused."""
    server = start()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(server)) for _ in range(4)]
        (_, _), road = await pair(clients[0])
        kept, given = road, await open_datagram(clients[0], Setup())
        await kept.session.suspend()
        blob = (await given.session.suspend(return_blob=True)).blob
        assert 0 < len(blob) <= 4_096
        with pytest.raises(noisegate.SessionNotFound):
            await clients[0].get_session(given.session.id)

        async def restore(number: int, session_id: bytes = b"", blob: bytes = b"") -> Session | None:
            try:
                return await clients[number % 4].restore(session_id, blob=blob)
            except noisegate.BlobRejected:
                return None

        by_id = await asyncio.gather(*(restore(number, session_id=kept.session.id) for number in range(40)))
        by_blob = await asyncio.gather(*(restore(number, blob=blob) for number in range(40)))
        for road, answers, seen in ((kept, by_id, 40), (given, by_blob, 1)):
            sessions = [session for session in answers if session is not None]
            assert len(sessions) == seen
            (told,) = [session for session in sessions if session.to_peer]
            road.join(told)
            await road.to_player(told.to_peer)
            await road.talk()


async def test_a_blob_outlives_the_service_and_is_good_once(start: Start) -> None:
    """That it was used is known after a crash, too."""
    before = start()
    async with connect(before) as client:
        road = await open_datagram(client, Setup())
        blob = (await road.session.suspend(return_blob=True)).blob
    before.kill()
    second = start()
    async with connect(second) as client:
        road.join(await client.restore(blob=blob))
        await road.to_player(road.session.to_peer)
        await road.talk()
    second.kill()
    async with connect(start()) as client:
        with pytest.raises(noisegate.BlobRejected):
            await client.restore(blob=blob)
        with pytest.raises(noisegate.BlobRejected):
            await client.restore(blob=blob[:-1] + bytes((blob[-1] ^ 1,)))


async def test_a_noise_session_gives_no_blob_away(client: Client) -> None:
    """It would hold the keys of its records."""
    session, player = await open_noise(client, Setup())
    async with session:
        with pytest.raises(noisegate.InvalidRequest):
            await session.suspend(return_blob=True)
        await talk(session, player)


async def test_without_a_blob_key_a_state_file_keeps_no_sessions(
    launch: Launch, files: tuple[str, ...], start: Start
) -> None:
    """The start-up line says so; what another process left is deleted, since its key is gone."""
    before = start()
    async with connect(before) as client:
        road = await open_datagram(client, Setup())
        await road.session.suspend()
    assert before.stop() == 0
    without = [each for each in zip(files[::2], files[1::2], strict=True) if each[0] != "--blob-key"]
    keyless = launch("--listen", "127.0.0.1:0", *(word for option in without for word in option))
    assert "suspended sessions end with the process" in keyless.log()
    async with connect(keyless) as client:
        with pytest.raises(noisegate.SessionNotFound):
            await client.restore(road.session.id)
    assert keyless.stop() == 0
    async with connect(start()) as client:
        with pytest.raises(noisegate.SessionNotFound):
            await client.restore(road.session.id)


def change_key(files: tuple[str, ...]) -> None:
    """The file of the blob key has another one, and not the one before."""
    Path(files[files.index("--blob-key") + 1]).write_text(os.urandom(32).hex() + "\n")


async def test_a_lost_blob_ends_its_session_with_a_reason(launch: Launch, files: tuple[str, ...], start: Start) -> None:
    """Another key in the file: SESSION_CLOSED, cause LOST, and a ticket may help."""
    before = start()
    async with connect(before) as client:
        road = await open_datagram(client, Setup())
        await road.talk()
        assert road.player.ticket is not None
        await road.session.suspend()
    assert before.stop() == 0
    change_key(files)
    async with connect(start()) as client:
        with pytest.raises(noisegate.SessionClosed) as closed:
            await client.restore(road.session.id)
        assert closed.value.metadata == {"cause": "LOST", "resumable": "true"}


@pytest.mark.parametrize("trouble", ["taken", "foreign", "readable"])
def test_a_state_file_of_no_use_is_named_at_the_start(start: Start, files: tuple[str, ...], trouble: str) -> None:
    """Exit code 2, the option, and what to do about it."""
    path = Path(files[files.index("--state-file") + 1])
    if trouble == "taken":
        start()
    else:
        path.write_bytes(b"no database, " * 1_000)
        path.chmod(0o644 if trouble == "readable" else 0o600)
    result = run_command("serve", "--listen", "127.0.0.1:0", *files)
    assert result.returncode == 2
    said = {"taken": "another process", "foreign": "no state file", "readable": "chmod 600"}[trouble]
    assert result.stderr.splitlines()[-1].startswith(f"noisegate: --state-file: {path}: ")
    assert said in result.stderr


def size_of(path: Path) -> int:
    """In bytes."""
    return path.stat().st_size


def limit_files(server: RunningServer, size: int) -> None:
    """No file of the server may grow beyond `size` bytes any more: for it the disk is full."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_on_a_full_disk_sessions_go_on_and_leave_later(start: Start, files: tuple[str, ...]) -> None:
    """OVERLOADED for what must be durable, nothing lost; what needs nothing durable is served as ever."""
    server = start()
    log = Path(files[files.index("--state-file") + 1] + "-wal")
    policy = noisegate.CallPolicy(attempts=1, packet_deadline=60.0, control_deadline=60.0)
    async with noisegate.connect(server.address, policy=policy) as client:
        (noise, player), road = await pair(client)
        for _ in range(20):
            # So that the file is the longest that the process writes.
            await road.session.suspend()
            await come_back(client, road.session.id, road)
        limit_files(server, size_of(log))
        for session in (noise, road.session):
            with pytest.raises(noisegate.Overloaded):
                await session.suspend()
        await talk(noise, player)
        await road.talk()
        limit_files(server, resource.RLIM_INFINITY)
        await noise.suspend()
        await road.session.suspend()
        await talk(await client.restore(noise.id), player)
        await come_back(client, road.session.id, road)


async def test_idle_sessions_leave_memory_by_themselves(start: Start) -> None:
    """Their first call brings them back; nobody need know that they were away."""
    server = start("--suspend-idle", "0.2")
    async with connect(server) as client:
        (noise, player), road = await pair(client)
        watch = client.watch_sessions()
        seen: set[bytes] = set()
        while seen != {noise.id, road.session.id}:
            told = await anext(watch)
            if isinstance(told, noisegate.SessionEvent) and told.kind is noisegate.SessionEventKind.SUSPENDED:
                seen.add(told.session_id)
        await watch.aclose()
        await talk(noise, player)
        assert await road.to_player((await road.session.encrypt(b"hello")).messages) == [b"hello"]
        await road.talk()


async def networks(roads: Sequence[Udp], changes: Sequence[noisegate.NetworkChange]) -> None:
    """Deliver what changes of network bring about."""
    by_id = {change.session_id: change for change in changes}
    for road in roads:
        await road.to_player(by_id[road.session.id].to_peer)


async def test_a_player_moves_from_wifi_to_cellular_to_nothing_and_back(client: Client) -> None:
    """Keys, connection id and hints follow the network; the suite never gets weaker; nothing is lost on the way."""
    setup = Setup(peer_id="mover", pad=True)
    roads = [await open_datagram(client, setup) for _ in range(2)]
    noise, player = await open_noise(client, setup)
    before = [road.session.connection_id for road in roads]
    protocol = (await roads[0].session.describe()).established
    cellular = await client.change_network("mover", Network.CELLULAR)
    assert {(change.keep_alive, change.idle_timeout) for change in cellular} == {(60.0, 1_800.0)}
    await networks(roads, cellular)
    for road in roads:
        assert len((await road.session.encrypt(b"")).packet) == 32
        await road.talk()
        assert (await road.session.describe()).network is Network.CELLULAR
    away = await client.change_network("mover", Network.NONE)
    assert {change.state for change in away} == {SessionState.SUSPENDED}
    assert len(away) == 3
    back = await client.change_network("mover", Network.WIFI)
    assert {(change.keep_alive, change.idle_timeout) for change in back} == {(20.0, 600.0)}
    await networks(roads, back)
    for road, old in zip(roads, before, strict=True):
        await road.talk()
        described = await road.session.describe()
        assert road.player.send(b"x")[1:9] == described.connection_id != old
        assert described.epoch >= 1
        assert described.established is not None
        assert protocol is not None
        assert described.established.protocol_name == protocol.protocol_name
    await talk(noise, player)
    change = await noise.change_network(Network.WIFI)
    assert (change.to_peer, change.rotation_due) == ((), True)
    assert await client.change_network("nobody", Network.WIFI) == ()
    for session in (noise, *(road.session for road in roads)):
        await session.close()


async def test_closing_a_suspended_session_deletes_it_for_good(start: Start) -> None:
    """Durably: it is not there after a crash."""
    before = start()
    async with connect(before) as client:
        road = await open_datagram(client, Setup())
        await road.session.suspend()
        await client.session(road.session.id).close()
        with pytest.raises(noisegate.SessionClosed):
            await client.restore(road.session.id)
    before.kill()
    async with connect(start()) as client:
        with pytest.raises(noisegate.SessionNotFound):
            await client.restore(road.session.id)
