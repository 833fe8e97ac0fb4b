"""WatchSessions against a running service: what is told, a reader that does not read, and every way to its end."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

import noisegate
from noisegate import Client, Lagged, Pattern, SessionEvent, SessionEventKind, TerminationReason, Watching
from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.integration.conftest import DEV, Launch
from tests.integration.raw import SERVICE
from tests.support.certificates import Authority
from tests.support.noise_client import Setup, open_datagram, open_noise
from tests.support.server import RunningServer

Events = AsyncGenerator[Watching | SessionEvent | Lagged, None]
K = SessionEventKind
PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)


async def watching(events: Events) -> None:
    """Wait until the watch is in place."""
    assert await asyncio.wait_for(anext(events), 10) == Watching()


async def told(events: Events) -> SessionEvent:
    """The next event."""
    event = await asyncio.wait_for(anext(events), 10)
    assert isinstance(event, SessionEvent)
    return event


async def test_a_players_session_is_told_from_its_beginning_to_its_end(client: Client) -> None:
    """Established, due, rotated, ended with its cause and whether a ticket helps: of this player alone."""
    async with aclosing(client.watch_sessions(peer_id="watched")) as events:
        await watching(events)
        other = await open_datagram(client, Setup(peer_id="another"))
        road = await open_datagram(client, Setup(peer_id="watched", group="g"))
        await road.talk()
        established = await told(events)
        assert (established.kind, established.session_id) == (K.ESTABLISHED, road.session.id)
        assert (established.peer_id, established.group, established.epoch) == ("watched", "g", 0)
        await road.to_player((await road.session.rotate(noisegate.RotationKind.RENEGOTIATE)).to_peer)
        await road.talk()
        rotated = await told(events)
        assert (rotated.kind, rotated.epoch) == (K.ROTATED, 1)
        await other.session.close()
        await road.session.close()
        ended = await told(events)
        assert (ended.kind, ended.termination_reason) == (K.ENDED, TerminationReason.CLOSED)
        assert (ended.resumable, ended.epoch) == (True, 1)


async def test_a_suspended_session_is_told_to_go_and_to_come_back(client: Client) -> None:
    """Suspended and resumable, restored under its salted epoch, and its new keys once the player has used them."""
    async with aclosing(client.watch_sessions(peer_id="away")) as events:
        await watching(events)
        road = await open_datagram(client, Setup(peer_id="away", pattern=Pattern.IK))
        await road.talk()
        assert (await told(events)).kind is K.ESTABLISHED
        await road.session.suspend()
        suspended = await told(events)
        assert (suspended.kind, suspended.session_id, suspended.resumable) == (K.SUSPENDED, road.session.id, True)
        back = await client.restore(road.session.id)
        restored = await told(events)
        assert (restored.kind, restored.session_id, restored.epoch) == (K.RESTORED, road.session.id, 1)
        await road.to_player(back.to_peer)
        rotated = await told(events)
        assert (rotated.kind, rotated.epoch) == (K.ROTATED, 1)
        await road.session.close()
        seen = [await told(events)]
        while seen[-1].kind is not K.ENDED:
            seen.append(await told(events))
        assert (seen[-1].session_id, seen[-1].termination_reason) == (road.session.id, TerminationReason.CLOSED)


async def test_what_nobody_calls_for_is_told_too(client: Client) -> None:
    """A session that only the sweeper ends: its watcher knows without asking."""
    async with aclosing(client.watch_sessions(group="short")) as events:
        await watching(events)
        session, _ = await open_noise(client, Setup(group="short"), noisegate.SessionOptions(idle_timeout=1.0))
        assert (await told(events)).kind is K.ESTABLISHED
        ended = await told(events)
        assert (ended.session_id, ended.kind, ended.termination_reason) == (session.id, K.ENDED, TerminationReason.IDLE)


async def test_a_reader_that_does_not_read_misses_and_delays_nobody(server: RunningServer, client: Client) -> None:
    """Its socket is full, what waits for it at the service is bounded; another watcher has read everything by then."""
    # Small windows, and no probing that would widen them: a full socket after a few events instead of thousands.
    options = [("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0)]
    group, sessions = "g" * 64, 1_300
    async with grpc.aio.insecure_channel(server.address, options=options) as channel, AsyncExitStack() as stack:
        watch: Any = channel.unary_stream(f"/{SERVICE}/WatchSessions")
        stuck = watch(pb.WatchSessionsRequest(group=group).SerializeToString())
        assert pb.WatchSessionsResponse.FromString(await stuck.read()).HasField("watching")
        quick = await stack.enter_async_context(aclosing(client.watch_sessions(group=group)))
        await watching(quick)
        before = server.rss_bytes()
        begun = time.perf_counter()
        slots = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with slots:
                session, _ = await open_noise(client, Setup(pattern=Pattern.IK, group=group, peer_id=f"{number:064d}"))
                await session.close()

        makers = asyncio.gather(*(one(number) for number in range(sessions)))
        seen = [(await told(quick)).kind for _ in range(2 * sessions)]
        await makers
        took = time.perf_counter() - begun
        assert seen.count(K.ESTABLISHED) == seen.count(K.ENDED) == sessions

        read, missed = 0, 0
        while read + missed < 2 * sessions:
            answer = pb.WatchSessionsResponse.FromString(await asyncio.wait_for(stuck.read(), 10))
            missed += answer.lagged.missed
            read += answer.HasField("event")
        grown = server.rss_bytes() - before
        figures = f"{2 * sessions} events in {took:.1f} s; stuck: {read} read, {missed} missed; {grown >> 10} KiB grown"
        sys.stderr.write(figures + "\n")
        assert read + missed == 2 * sessions
        assert missed > 0
        stuck.cancel()


async def test_a_watcher_that_goes_frees_its_place(launch: Launch) -> None:
    """64 of a tenant; one more is refused until one goes, by closing its stream or by losing its connection."""
    server = launch()
    async with noisegate.connect(server.address, policy=PATIENT) as client, AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(aclosing(client.watch_sessions())) for _ in range(64)]
        for events in watches:
            await watching(events)
        with pytest.raises(noisegate.SessionQuota):
            await anext(client.watch_sessions())
        await watches.pop().aclose()
        watches.append(await stack.enter_async_context(aclosing(await _watch_at_last(client))))
        async with noisegate.connect(server.address, policy=PATIENT) as lost:
            await watches.pop().aclose()
            await _watch_at_last(lost)
        watches.append(await stack.enter_async_context(aclosing(await _watch_at_last(client))))


async def _watch_at_last(client: Client) -> Events:
    """A watch that is in place. The service hears of another's end a moment after its caller: until then it refuses."""
    async with asyncio.timeout(10):
        while True:
            events = client.watch_sessions()
            try:
                await watching(events)
            except noisegate.SessionQuota:
                continue
            return events


async def test_a_stop_ends_the_watch_with_draining(launch: Launch) -> None:
    """At once, not after the grace; and the server exits in good order."""
    server = launch()
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        events = client.watch_sessions()
        await watching(events)
        server.signal(signal.SIGTERM)
        with pytest.raises(noisegate.Draining) as ended:
            await asyncio.wait_for(anext(events), 10)
        assert ended.value.retry_delay == pytest.approx(0.1)
    assert await asyncio.to_thread(server.wait, 15.0) == 0


async def test_tenants_watch_their_own_sessions_alone(launch: Launch, tmp_path: Path) -> None:
    """Two callers with certificates of their own, watching everything: each is told of its own session."""
    authority = Authority()
    names = ("spiffe://example.org/alice", "spiffe://example.org/bob")
    tls = authority.tls(authority.caller("spiffe://example.org/check"))
    server = launch(*DEV, *authority.write_server_files(tmp_path), tls=tls)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                noisegate.connect(server.address, tls=authority.tls(authority.caller(name)), policy=PATIENT)
            )
            for name in names
        ]
        streams = [await stack.enter_async_context(aclosing(each.watch_sessions())) for each in clients]
        for events in streams:
            await watching(events)
        for each, events in zip(clients, streams, strict=True):
            session, _ = await open_noise(each, Setup())
            await session.close()
            assert [(await told(events)).session_id for _ in range(2)] == [session.id] * 2


def test_the_blocking_client_watches_too(server: RunningServer) -> None:
    """The same iterator without an event loop."""
    with noisegate.connect_sync(server.address, policy=PATIENT) as client:
        events = client.watch_sessions(peer_id="blocking")
        assert next(events) == Watching()
        session = client.initiate(
            mode=noisegate.RecordMode.NOISE, protocol=noisegate.Protocol(Pattern.XX), peer_id="blocking"
        )
        session.close()
        events.close()
