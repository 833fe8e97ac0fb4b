"""Batches that a game makes itself, on the stream on which its packets travel together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

import noisegate
from noisegate import Multiplex, RecordMode
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_carrier import BAD, ScriptedCarrier, Stream, scripted_carrier
from tests.unit.sdk.scripted_service import Refusal, cutting_relay
from tests.unit.sdk.test_multiplex import PATIENT, WAIT, connect, datagram, sid


@pytest.fixture
async def carrier() -> AsyncIterator[ScriptedCarrier]:
    """A running service."""
    async with scripted_carrier() as running:
        yield running


def packets(results: list[noisegate.Sealed | noisegate.NoisegateError]) -> list[bytes | type]:
    """What was sealed, or the type of the refusal."""
    return [each.packet if isinstance(each, noisegate.Sealed) else type(each) for each in results]


async def test_a_batch_of_the_games_own_is_one_batch_of_the_stream(carrier: ScriptedCarrier) -> None:
    """Of each kind, with a result for each item, and without a wait for the tick of single packets."""
    async with connect(carrier, tick=0.1) as client:
        room = [datagram(client, n) for n in range(3)]
        single = asyncio.ensure_future(room[0].encrypt(b"single"))
        sealed = await client.encrypt_batch([(room[0], b"a"), (room[1], BAD), (room[2], b"c")])
        assert packets(sealed) == [b"1:a", noisegate.SessionClosed, b"0:c"]
        assert (await single).packet == b"0:single"
        assert room[1].ended
        assert packets(await client.broadcast([room[0], room[2]], b"all")) == [b"2:all", b"1:all"]
        opened = await client.decrypt_batch([(room[0], b"cba"), (room[2], b"fed"), (room[0], b"cba")])
        assert [each.plaintext if isinstance(each, noisegate.Opened) else type(each) for each in opened] == [
            b"abc", b"def", noisegate.ReplayDetected,
        ]  # fmt: skip
    assert [batch.WhichOneof("batch") for batch in carrier.batches] == ["encrypt"] * 2 + ["broadcast", "decrypt"]


@pytest.mark.parametrize("mode", [RecordMode.DATAGRAM, RecordMode.NOISE])
async def test_a_batch_whose_answer_was_lost_goes_again(carrier: ScriptedCarrier, mode: RecordMode) -> None:
    """DATAGRAM plaintexts are sealed anew; what must happen once has a request_id."""
    async with (
        cutting_relay(carrier.address) as relay,
        noisegate.connect(relay.address, policy=PATIENT, multiplex=Multiplex()) as client,
    ):
        room = [client.session(sid(n), mode=mode) for n in range(2)]
        first = 1 if mode is RecordMode.DATAGRAM else 0
        relay.cuts = 1
        assert packets(await client.broadcast(room, b"x")) == [b"%d:x" % first] * 2
        relay.cuts = 1
        assert packets(await client.encrypt_batch([(room[0], b"y")])) == [b"%d:y" % (3 if first else 1)]
        relay.cuts = 1
        (opened,) = await client.decrypt_batch([(room[0], b"cba")])
        assert isinstance(opened, noisegate.Opened)


async def test_a_refused_batch_is_refused_for_each_of_its_items(carrier: ScriptedCarrier) -> None:
    """Where it may be luckier later it goes again, otherwise at once."""
    refusals = [
        Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED"), Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    ]  # fmt: skip

    async def refuse(stream: Stream, batch: service.TransportBatch) -> None:
        await stream.refuse(batch, refusals[len(carrier.batches) - 1])

    carrier.script = refuse
    async with connect(carrier) as client:
        results = await client.broadcast([datagram(client, n) for n in range(2)], b"x")
    assert packets(results) == [noisegate.InvalidRequest] * 2
    assert len(carrier.batches) == 2


async def test_a_batch_without_an_answer_ends_with_its_deadline_or_its_client(carrier: ScriptedCarrier) -> None:
    """The deadline is that of a batch's own call, not that of a packet."""
    holding = asyncio.Event()

    async def hold(stream: Stream, batch: service.TransportBatch) -> None:
        holding.set()

    carrier.script = hold
    policy = noisegate.CallPolicy(packet_deadline=WAIT, control_deadline=0.2)
    async with noisegate.connect(carrier.address, policy=policy, multiplex=Multiplex()) as client:
        session = datagram(client, 1)
        assert packets(await client.broadcast([session], b"x")) == [noisegate.DeadlineExceeded]
    holding.clear()
    client = connect(carrier)
    waiting = asyncio.ensure_future(client.broadcast([datagram(client, 1)], b"x"))
    await holding.wait()
    await client.close()
    assert packets(await waiting) == [noisegate.ClientClosed]
    assert packets(await client.broadcast([datagram(client, 1)], b"x")) == [noisegate.ClientClosed]
