"""Streams that end: what goes again, what does not, and that nothing which was answered is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

import noisegate
from noisegate import Client, Multiplex, RecordMode
from noisegate._calls import Calls
from noisegate._channels import Channels
from noisegate._multiplexer import Multiplexer
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_carrier import ScriptedCarrier, Stream, scripted_carrier
from tests.unit.sdk.scripted_service import CuttingRelay, Refusal, cutting_relay
from tests.unit.sdk.test_multiplex import PATIENT, WAIT, connect, datagram, sid

OVERLOADED = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
DRAINING = Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry_delay=0.001)
TINY = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024), ("grpc.http2.max_frame_size", 16_384))


@pytest.fixture
async def carrier() -> AsyncIterator[ScriptedCarrier]:
    """A running service."""
    async with scripted_carrier() as running:
        yield running


@pytest.fixture
async def relay(carrier: ScriptedCarrier) -> AsyncIterator[CuttingRelay]:
    """A relay in front of it that can cut an answer, after the service has done the work."""
    async with cutting_relay(carrier.address) as running:
        yield running


def through(relay: CuttingRelay, policy: noisegate.CallPolicy = PATIENT) -> Client:
    """A client whose packets travel together, over the relay."""
    return noisegate.connect(relay.address, policy=policy, multiplex=Multiplex())


async def test_datagram_records_are_sealed_again_under_another_counter(
    carrier: ScriptedCarrier, relay: CuttingRelay
) -> None:
    """The answer got lost with the connection: nobody has seen those records, and nothing need be remembered."""
    async with through(relay) as client:
        await datagram(client, 1).encrypt(b"first")
        relay.cuts = 1
        sealed = await asyncio.gather(*(datagram(client, n).encrypt(b"x") for n in (1, 2)))
    assert [each.packet for each in sealed] == [b"2:x", b"1:x"]
    assert len(carrier.streams) == 2
    assert not any(batch.encrypt.request_id for batch in carrier.batches)


async def test_records_are_opened_once_whatever_gets_lost(carrier: ScriptedCarrier, relay: CuttingRelay) -> None:
    """The same request_id and the same bytes bring the same answer again."""
    relay.cuts = 2
    async with through(relay) as client:
        opened = await asyncio.gather(*(datagram(client, n).decrypt(b"cba") for n in range(5)))
    assert [each.plaintext for each in opened] == [b"abc"] * 5
    first, *repeats = [batch.decrypt for batch in carrier.batches]
    assert first.request_id
    assert repeats == [first, first]


async def test_noise_records_are_sealed_once_whatever_gets_lost(carrier: ScriptedCarrier, relay: CuttingRelay) -> None:
    """A counter more would cost the session."""
    async with through(relay) as client:
        session = client.session(sid(1), mode=RecordMode.NOISE)
        relay.cuts = 2
        assert [(await session.encrypt(b"x")).packet for _ in range(3)] == [b"0:x", b"1:x", b"2:x"]
    assert carrier.sealed[sid(1)] == 3


@pytest.mark.parametrize("place", range(1, 9))
async def test_a_cut_anywhere_in_the_traffic_loses_nothing(
    carrier: ScriptedCarrier, relay: CuttingRelay, place: int
) -> None:
    """Both directions, both kinds of session, many batches under way; cut at the answer number `place`, then again."""

    async def cut_before(stream: Stream, request: service.TransportBatch) -> None:
        if len(carrier.batches) in (place, place + 3):
            relay.cuts = 1
        await stream.answer(request)

    carrier.script = cut_before
    async with noisegate.connect(relay.address, policy=PATIENT, multiplex=Multiplex(max_items=5)) as client:
        noise = client.session(sid(99), mode=RecordMode.NOISE)
        in_order = [noise.encrypt(b"%d" % n) for n in range(6)]
        sealing = [datagram(client, n).encrypt(b"x") for n in range(20)]
        opening = [datagram(client, n).decrypt(b"%d" % n) for n in range(20)]
        results = await asyncio.gather(*in_order, *sealing, *opening)
    assert [each.packet for each in results[:6] if isinstance(each, noisegate.Sealed)] == [
        b"%d:%d" % (n, n) for n in range(6)
    ]
    packets = [each.packet for each in results[6:26] if isinstance(each, noisegate.Sealed)]
    assert len(packets) == 20
    assert all(packet.endswith(b":x") for packet in packets)
    assert [each.plaintext for each in results[26:] if isinstance(each, noisegate.Opened)] == [
        (b"%d" % n)[::-1] for n in range(20)
    ]


@pytest.mark.parametrize("refusal", [OVERLOADED, DRAINING])
@pytest.mark.parametrize("whole", ["batch", "stream"])
async def test_what_was_not_done_goes_again(carrier: ScriptedCarrier, refusal: Refusal, whole: str) -> None:
    """After a while, a bounded number of times."""

    async def refuse_twice(stream: Stream, request: service.TransportBatch) -> None:
        if len(carrier.batches) > 2:
            await stream.answer(request)
        else:
            await (stream.refuse(request, refusal) if whole == "batch" else stream.abort(refusal))

    carrier.script = refuse_twice
    async with connect(carrier) as client:
        sealed = await asyncio.gather(*(datagram(client, n).encrypt(b"x") for n in range(3)))
    assert [each.packet for each in sealed] == [b"0:x"] * 3
    assert len(carrier.batches) == 3


@pytest.mark.parametrize("whole", ["batch", "stream"])
async def test_a_service_that_refuses_for_good_is_believed(carrier: ScriptedCarrier, whole: str) -> None:
    """After as many attempts as a unary call has, with the last refusal."""

    async def refuse(stream: Stream, request: service.TransportBatch) -> None:
        await (stream.refuse(request, OVERLOADED) if whole == "batch" else stream.abort(OVERLOADED))

    carrier.script = refuse
    async with connect(carrier) as client:
        with pytest.raises(noisegate.Overloaded):
            await datagram(client, 1).encrypt(b"x")
    assert len(carrier.batches) == PATIENT.attempts


async def test_a_service_that_drains_is_waited_for(carrier: ScriptedCarrier) -> None:
    """As a unary call does it: its sessions come back with it."""

    async def drain_long(stream: Stream, request: service.TransportBatch) -> None:
        await (stream.abort(DRAINING) if len(carrier.batches) < 2 * PATIENT.attempts else stream.answer(request))

    carrier.script = drain_long
    async with connect(carrier) as client:
        assert (await datagram(client, 1).encrypt(b"x")).packet == b"0:x"


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    """When the call's time is over at the latest; and as soon as it is there, the next call is served."""
    async with scripted_carrier() as gone:
        address = gone.address
    policy = noisegate.CallPolicy(packet_deadline=0.3, first_backoff=0.001, max_backoff=0.002)
    async with noisegate.connect(address, policy=policy, multiplex=Multiplex()) as client:
        with pytest.raises(noisegate.ServiceUnavailable):
            await datagram(client, 1).encrypt(b"x")


async def test_draining_moves_new_calls_and_waits_for_the_old_answers(carrier: ScriptedCarrier) -> None:
    """New ones go over another connection at once; the old stream is half-closed and read to its end."""
    held: list[service.TransportBatch] = []
    opened = asyncio.Event()

    async def drain_the_first(stream: Stream, request: service.TransportBatch) -> None:
        if stream.number:
            await stream.answer(request)
            return
        held.append(request)
        opened.set()
        await stream.drain()

    carrier.script = drain_the_first
    carrier.done.clear()
    async with connect(carrier) as client:
        old = asyncio.create_task(datagram(client, 1).decrypt(b"dlo"))
        await asyncio.wait_for(opened.wait(), WAIT)
        # The half-close is what the service sees of it: from here on the client knows.
        await asyncio.wait_for(carrier.streams[0].half_closed.wait(), WAIT)
        new = await datagram(client, 2).encrypt(b"new")
        assert new.packet == b"0:new"
        assert not old.done()
        await carrier.streams[0].answer(held[0])
        assert (await old).plaintext == b"old"
        carrier.done.set()
    assert [number for number, _ in carrier.requests] == [0, 1]


async def test_an_orderly_end_gives_back_what_was_not_done(carrier: ScriptedCarrier) -> None:
    """A service that has drained ends the stream with OK: what has no answer then goes to the next one."""

    async def end_the_first(stream: Stream, request: service.TransportBatch) -> None:
        if stream.number:
            await stream.answer(request)
        stream.over = not stream.number

    carrier.script = end_the_first
    async with connect(carrier) as client:
        assert (await datagram(client, 1).decrypt(b"x")).plaintext == b"x"
    assert [number for number, _ in carrier.requests] == [0, 1]


async def test_small_windows_do_not_lock_up() -> None:
    """1 MiB each way at once and more, through windows of some kB: neither pump waits for the other."""
    options = (
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1_024),
        ("grpc.http2.max_frame_size", 16_384),
    )
    async with scripted_carrier(*options) as carrier:
        channels = Channels(carrier.address, tls=None, insecure=False, options=TINY)
        calls = Calls(channels, PATIENT, bytes)
        calls.together = Multiplexer(
            channels, PATIENT, Multiplex(max_items=1), share=calls.share, request_id=lambda: ""
        )
        async with Client(calls) as client:
            payload = bytes(64 * 1024)
            calls_ = [datagram(client, n).encrypt(payload) for n in range(64)]
            async with asyncio.timeout(WAIT):
                sealed = await asyncio.gather(*calls_)
    assert {len(each.packet) for each in sealed} == {len(payload) + 2}
