"""Packets of many sessions on one stream against a running service: load, cut connections, stops and restarts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from itertools import product
from pathlib import Path
from typing import Any

import grpc
import pytest

import noisegate
from noisegate import Client, Multiplex, Pattern
from noisegate._calls import Calls
from noisegate._channels import Channels
from noisegate._multiplexer import Multiplexer
from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.integration.conftest import Launch
from tests.integration.raw import SERVICE
from tests.support.noise_client import Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer
from tests.support.stream_cutter import Part, Place, StreamCutter, Way

SECONDS = 30.0
PATIENT = noisegate.CallPolicy(packet_deadline=SECONDS, control_deadline=SECONDS, first_backoff=0.01)
STEADFAST = noisegate.CallPolicy(
    packet_deadline=SECONDS, control_deadline=SECONDS, attempts=1_000, first_backoff=0.01, max_backoff=0.1
)
TRANSPORT = f"/{SERVICE}/Transport"


def open_stream(channel: grpc.aio.Channel, seconds: float | None = None) -> Any:
    """A Transport of bytes; Any, because the published types know of no end of input."""
    return channel.stream_stream(TRANSPORT, request_serializer=None, response_deserializer=None)(timeout=seconds)


def together(address: str, policy: noisegate.CallPolicy = PATIENT, **options: float) -> Client:
    """A client whose packets travel together."""
    return noisegate.connect(address, policy=policy, multiplex=Multiplex(**options))  # type: ignore[arg-type]


async def players(client: Client, count: int) -> list[Udp]:
    """Established DATAGRAM sessions, each with a player of its own."""
    setups = [Setup(pattern=Pattern.NK, peer_id=f"player {number}", group="stream") for number in range(count)]
    return list(await asyncio.gather(*(open_datagram(client, setup, tickets=False) for setup in setups)))


async def close(*roads: Udp) -> None:
    """End the sessions."""
    await asyncio.gather(*(road.session.close() for road in roads))


async def test_a_hundred_sessions_speak_a_hundred_times(server: RunningServer) -> None:
    """Each message arrives at its own player, once, in its order; and so do the players'."""

    async def speak(road: Udp, number: int) -> None:
        for n in range(100):
            text = b"%d of %d" % (n, number)
            sealed = await road.session.encrypt(text)
            assert await road.to_player(sealed.messages) == [text]
            assert await road.to_service([road.player.send(text)]) == [text]

    async with together(server.address) as client:
        roads = await players(client, 100)
        await asyncio.gather(*(speak(road, number) for number, road in enumerate(roads)))
        info = await roads[0].session.describe()
        assert info.sealed >= 100
        assert info.opened >= 100
        await close(*roads)


async def test_a_forged_record_fails_its_own_call(server: RunningServer) -> None:
    """In the middle of a batch, with the exception of a unary call; a replay likewise, and an unknown session."""
    async with together(server.address) as client:
        roads = await players(client, 4)
        packets = [road.player.send(b"hi") for road in roads]
        forged = packets[1][:-1] + bytes([packets[1][-1] ^ 1])
        unknown = client.session(bytes(24), mode=noisegate.RecordMode.DATAGRAM)
        results = await asyncio.gather(
            roads[0].session.decrypt(packets[0]),
            roads[1].session.decrypt(forged),
            roads[2].session.decrypt(packets[2]),
            roads[2].session.decrypt(packets[2]),
            unknown.decrypt(packets[3]),
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [
            noisegate.Opened, noisegate.DecryptFailed, noisegate.Opened, noisegate.ReplayDetected,
            noisegate.SessionNotFound,
        ]  # fmt: skip
        assert unknown.ended
        assert (await roads[1].session.decrypt(packets[1])).plaintext == b"hi"
        await close(*roads)


async def test_batches_and_broadcasts_travel_on_the_stream(server: RunningServer) -> None:
    """Beside the packets of their sessions; a NOISE session among them keeps its order."""
    async with together(server.address) as client:
        roads = await players(client, 5)
        noise, player = await open_noise(client, Setup(peer_id="noise"))
        room = [noise, *(road.session for road in roads)]
        single, many, text = await asyncio.gather(
            roads[0].session.encrypt(b"single"),
            client.encrypt_batch((session, b"%d" % n) for n, session in enumerate(room)),
            client.broadcast(room, b"all"),
        )
        sealed = [each for each in (*many, *text) if isinstance(each, noisegate.Sealed)]
        assert len(sealed) == 12
        assert [player.open(sealed[at].packet) for at in (0, 6)] == [b"0", b"all"]
        assert await roads[0].to_player([single.packet, sealed[1].packet, sealed[7].packet]) == [
            b"single",
            b"1",
            b"all",
        ]
        opened = await client.decrypt_batch(
            [(noise, player.seal(b"up")), *((road.session, road.player.send(b"up")) for road in roads)]
        )
        assert [each.plaintext for each in opened if isinstance(each, noisegate.Opened)] == [b"up"] * 6
        await noise.close()
        await close(*roads)


PLACES = [Place(way=way, number=number, part=part) for way, number, part in product(Way, (3, 6), Part)]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.way.name}-{place.number}-{place.part.name}")
async def test_a_cut_connection_loses_nothing(server: RunningServer, place: Place) -> None:
    """Wherever it is cut: before, in the middle of and behind a request or an answer, and again a little later.

    A NOISE player reads records in their order alone, so that one that was sealed twice or not at all would show.
    """
    again = Place(way=place.way, number=place.number + 5, part=place.part)
    async with (
        noisegate.connect(server.address, policy=PATIENT) as direct,
        StreamCutter(server.port, place, again) as cutter,
        together(cutter.address, max_items=8) as client,
    ):
        session, player = await open_noise(direct, Setup(peer_id="noise"))
        roads = await players(direct, 8)
        noise = client.session(session.id, mode=session.mode)
        handles = [client.session(road.session.id, mode=road.session.mode) for road in roads]

        async def talk() -> None:
            for n in range(10):
                assert player.open((await noise.encrypt(b"%d" % n)).packet) == b"%d" % n
                assert (await noise.decrypt(player.seal(b"%d" % n))).plaintext == b"%d" % n

        async def play(road: Udp, handle: noisegate.Session) -> None:
            for n in range(10):
                packet = (await handle.encrypt(b"%d" % n)).packet
                assert road.player.receive(packet, time.monotonic()).plaintexts == [b"%d" % n]
                opened = await handle.decrypt(road.player.send(b"%d" % n))
                assert opened.plaintext == b"%d" % n

        await asyncio.gather(talk(), *(play(*each) for each in zip(roads, handles, strict=True)))
        assert cutter.cuts == 2
        await session.close()
        await close(*roads)


async def test_a_stop_in_the_middle_of_load_loses_no_answer(launch: Launch) -> None:
    """Every counter that was consumed was also answered: what was read is answered, what comes later is refused."""
    server = launch()
    async with together(server.address, noisegate.CallPolicy(packet_deadline=SECONDS, attempts=1)) as client:
        roads = await players(client, 20)
        counters: dict[bytes, list[int]] = {road.session.id: [] for road in roads}
        warm = asyncio.Event()

        async def seal_on(road: Udp) -> noisegate.NoisegateError:
            mine = counters[road.session.id]
            while True:
                try:
                    mine.append((await road.session.encrypt(b"x")).counter)
                except noisegate.NoisegateError as error:
                    return error
                if len(mine) > 100:
                    warm.set()

        before = {road.session.id: (await road.session.describe()).sealed for road in roads}
        callers = [asyncio.ensure_future(seal_on(road)) for road in roads for _ in range(3)]
        await warm.wait()
        server.signal(signal.SIGTERM)
        errors = await asyncio.gather(*callers)
    assert {error.code for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    for session_id, mine in counters.items():
        assert sorted(mine) == list(range(before[session_id], before[session_id] + len(mine)))
    assert await asyncio.to_thread(server.wait, SECONDS) == 0
    assert "defect" not in server.log()


async def test_load_goes_on_over_a_restart(launch: Launch, tmp_path: Path) -> None:
    """The service drains, keeps its sessions and comes back at its address: no call fails, no record is lost."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--listen", f"127.0.0.1:{port}", "--state-file", str(tmp_path / "state")]
    for name in ("identity", "blob-key"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex() + "\n")
        options += (f"--{name}", str(path))
    first = launch(*options)
    async with together(first.address, STEADFAST) as client:
        roads = await players(client, 10)
        over = asyncio.Event()
        warm = asyncio.Event()
        after = {road.session.id: 0 for road in roads}

        async def play(road: Udp) -> None:
            rounds = 0
            while after[road.session.id] < 20:
                text = b"%d" % rounds
                assert await road.to_player((await road.session.encrypt(text)).messages) == [text]
                if await road.to_service([road.player.send(text)]) != [text]:
                    # This packet brought the session back; its answer told the player the new keys.
                    assert await road.to_service([road.player.send(text)]) == [text]
                rounds += 1
                after[road.session.id] += over.is_set()
                if rounds > 20:
                    warm.set()

        playing = [asyncio.ensure_future(play(road)) for road in roads]
        await warm.wait()
        assert await asyncio.to_thread(first.stop) == 0
        launch(*options)
        over.set()
        await asyncio.gather(*playing)
        await close(*roads)


async def test_small_windows_do_not_lock_up(server: RunningServer) -> None:
    """4 MiB each way at once through windows of some kB, in batches of one: neither side waits for the other."""
    tiny = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024))
    channels = Channels(server.address, tls=None, insecure=False, options=tiny)
    calls = Calls(channels, PATIENT, os.urandom)
    calls.together = Multiplexer(
        channels, PATIENT, Multiplex(max_items=1), share=calls.share, request_id=calls.request_id
    )
    async with Client(calls) as client:
        (road,) = await players(client, 1)
        text = os.urandom(65_000)
        sealed = await asyncio.gather(*(road.session.encrypt(text) for _ in range(64)))
        assert [len(each.packet) > len(text) for each in sealed] == [True] * 64
        assert await road.to_player([sealed[-1].packet]) == [text]
        await close(road)


async def test_a_stream_ends_with_its_deadline(server: RunningServer) -> None:
    """As any call does; the batches before it are answered."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = open_stream(channel, 0.5)
        batch = pb.EncryptBatchRequest(session_ids=bytes(24), lengths=[1], plaintexts=b"x")
        carried = pb.TransportBatch(correlation_id=7, encrypt=batch)
        await call.write(pb.TransportRequest(batches=[carried]).SerializeToString())
        (answer,) = pb.TransportResponse.FromString(await call.read()).answers
        assert (answer.correlation_id, answer.encrypt.errors[0].index) == (7, 0)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_stream_that_is_not_understood_is_refused(server: RunningServer) -> None:
    """With the refusal of a unary call whose body is no message."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = open_stream(channel)
        await call.write(b"\x0a\x05abc")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
