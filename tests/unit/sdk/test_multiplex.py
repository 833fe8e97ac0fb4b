"""Packets of many sessions that travel together: how they are gathered, what each call gets, how calls end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

import noisegate
from noisegate import Client, Multiplex, RecordMode, Sealed
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_carrier import BAD, Rows, ScriptedCarrier, Stream, items, scripted_carrier
from tests.unit.sdk.scripted_service import SERVICE, Refusal, scripted_service

WAIT = 10.0
PATIENT = noisegate.CallPolicy(packet_deadline=WAIT, first_backoff=0.001, max_backoff=0.002)


def sid(number: int) -> bytes:
    """The id of a session."""
    return number.to_bytes(24, "big")


def datagram(client: Client, number: int) -> noisegate.Session:
    """A handle of a session of the carrier's."""
    return client.session(sid(number), mode=RecordMode.DATAGRAM)


@pytest.fixture
async def carrier() -> AsyncIterator[ScriptedCarrier]:
    """A running service."""
    async with scripted_carrier() as running:
        yield running


def connect(carrier: ScriptedCarrier, **options: float) -> Client:
    """A client whose packets travel together."""
    return noisegate.connect(carrier.address, policy=PATIENT, multiplex=Multiplex(**options))  # type: ignore[arg-type]


async def test_calls_of_one_turn_are_one_batch(carrier: ScriptedCarrier) -> None:
    """Of all sessions; each call gets its own result, as if it had been alone."""
    async with connect(carrier) as client:
        sealed = await asyncio.gather(*(datagram(client, n).encrypt(b"hi %d" % n, b"ad") for n in range(100)))
        opened = await asyncio.gather(*(datagram(client, n).decrypt(b"cba") for n in range(100)))
    assert [each.packet for each in sealed] == [b"0:hi %d" % n for n in range(100)]
    assert [(each.session_id, each.plaintext) for each in opened] == [(sid(n), b"abc") for n in range(100)]
    sealing, opening = carrier.batches
    assert list(items(sealing.encrypt, sealing.encrypt.plaintexts)) == [(sid(n), b"hi %d" % n) for n in range(100)]
    assert sealing.encrypt.associated_data == b"ad" * 100
    assert not sealing.encrypt.request_id, "whoever seals again gets another counter"
    assert opening.decrypt.request_id, "whoever opens again is refused"


async def test_the_order_within_a_session_is_kept(carrier: ScriptedCarrier) -> None:
    """However many sessions stand between, and over several batches."""
    async with connect(carrier, max_items=7) as client:
        sessions = [datagram(client, n) for n in range(3)]
        calls = [sessions[n % 3].encrypt(b"%d" % n) for n in range(60)]
        sealed = await asyncio.gather(*calls)
    assert [each.counter for each in sealed] == [n // 3 for n in range(60)]
    assert [len(batch.encrypt.lengths) for batch in carrier.batches] == [7] * 8 + [4]


async def test_batches_that_are_due_together_are_one_message(carrier: ScriptedCarrier) -> None:
    """Each is a batch of its own all the same; what is long goes in several, none of which the service would refuse."""
    async with connect(carrier, max_items=7) as client:
        await asyncio.gather(*(datagram(client, n).encrypt(b"x") for n in range(70)))
        assert (len(carrier.batches), carrier.messages) == (10, 1)
        long = bytes(100_000)
        await asyncio.gather(*(datagram(client, n).encrypt(long) for n in range(14)))
    assert [len(batch.encrypt.lengths) for batch in carrier.batches[10:]] == [2] * 7
    assert carrier.messages == 1 + 4


async def test_a_tick_gathers_the_calls_of_several_turns(carrier: ScriptedCarrier) -> None:
    """And a full batch does not wait for it."""
    async with connect(carrier, tick=0.1, max_items=4) as client:
        tasks = []
        for n in range(6):
            tasks.append(asyncio.create_task(datagram(client, n).encrypt(b"x")))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    assert [len(batch.encrypt.lengths) for batch in carrier.batches] == [4, 2]


async def test_a_batch_has_a_limit_of_bytes(carrier: ScriptedCarrier) -> None:
    """A call that is longer than the limit goes alone."""
    async with connect(carrier, max_bytes=100) as client:
        sizes = (60, 60, 40, 300, 10, 10)
        await asyncio.gather(*(datagram(client, n).encrypt(bytes(size)) for n, size in enumerate(sizes)))
    assert [list(batch.encrypt.lengths) for batch in carrier.batches] == [[60], [60, 40], [300], [10, 10]]


async def test_a_refused_packet_fails_its_own_call_alone(carrier: ScriptedCarrier) -> None:
    """With the exception of a call of its own; the handle knows that its session has ended."""
    async with connect(carrier) as client:
        sessions = [datagram(client, n) for n in range(3)]
        first, second, third = await asyncio.gather(
            sessions[0].encrypt(b"a"), sessions[1].encrypt(BAD), sessions[2].encrypt(b"c"), return_exceptions=True
        )
        await sessions[0].decrypt(b"r")
        with pytest.raises(noisegate.ReplayDetected):
            await sessions[0].decrypt(b"r")
    assert isinstance(first, noisegate.Sealed)
    assert isinstance(third, noisegate.Sealed)
    assert isinstance(second, noisegate.SessionClosed)
    assert (second.code, second.cause, second.message) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CLOSED",
        "scripted",
    )
    assert [session.ended for session in sessions] == [False, True, False]


async def test_a_noise_session_has_one_call_of_a_direction_under_way(carrier: ScriptedCarrier) -> None:
    """So each batch has one of its records; both directions side by side, and sealed by a request_id."""
    async with connect(carrier) as client:
        session = client.session(sid(1), mode=RecordMode.NOISE)
        sealed = await asyncio.gather(*(session.encrypt(b"%d" % n) for n in range(5)))
        await session.decrypt(b"x")
    assert [each.packet for each in sealed] == [b"%d:%d" % (n, n) for n in range(5)]
    assert [len(batch.encrypt.lengths) for batch in carrier.batches] == [1] * 5 + [0]
    assert len({batch.encrypt.request_id for batch in carrier.batches[:5]} - {""}) == 5


async def test_answers_may_overtake_each_other(carrier: ScriptedCarrier) -> None:
    """A batch that waits at the service holds up no other."""
    held: list[service.TransportBatch] = []
    holding = asyncio.Event()

    async def hold_the_first(stream: Stream, request: service.TransportBatch) -> None:
        if not held:
            held.append(request)
            holding.set()
            return
        await stream.answer(request)

    carrier.script = hold_the_first
    async with connect(carrier) as client:
        slow = asyncio.create_task(datagram(client, 1).encrypt(b"slow"))
        await holding.wait()
        assert (await datagram(client, 2).encrypt(b"quick")).packet == b"0:quick"
        assert not slow.done()
        await carrier.streams[0].answer(held[0])
        assert (await slow).packet == b"0:slow"


async def test_each_endpoint_has_its_own_stream(carrier: ScriptedCarrier) -> None:
    """A session's batches go to where it lives."""
    async with scripted_carrier() as other, connect(carrier) as client:
        here, there = datagram(client, 1), client.session(sid(2), endpoint=other.address, mode=RecordMode.DATAGRAM)
        await asyncio.gather(here.encrypt(b"a"), there.encrypt(b"b"), here.encrypt(b"c"))
    assert [batch.encrypt.plaintexts for batch in (*carrier.batches, *other.batches)] == [b"ac", b"b"]


async def test_an_endpoint_that_would_leave_plaintext_is_refused(carrier: ScriptedCarrier) -> None:
    """As in unary calls: the service cannot talk a client out of TLS."""
    async with connect(carrier) as client:
        session = client.session(sid(1), endpoint="noisegate.example:7443", mode=RecordMode.DATAGRAM)
        with pytest.raises(noisegate.InsecureTarget):
            await session.encrypt(b"x")


async def test_what_a_batch_cannot_carry_goes_by_itself() -> None:
    """An id of another length, which would shift those behind it, and a ticket for us."""
    async with scripted_service() as scripted:
        scripted.answer("Encrypt", service.EncryptResponse(ciphertext=b"alone"))
        scripted.answer("Decrypt", service.DecryptResponse(plaintext=b"ticket"))
        async with noisegate.connect(scripted.address, policy=PATIENT, multiplex=Multiplex()) as client:
            assert (await client.session(b"short").encrypt(b"x")).packet == b"alone"
            assert (await client.session(sid(1)).decrypt(b"x", ticket=True)).plaintext == b"ticket"


async def test_a_call_that_is_cancelled_before_its_batch_goes_is_not_sent(carrier: ScriptedCarrier) -> None:
    """In NOISE mode that would cost a counter; the others of its batch go."""
    async with connect(carrier, tick=0.05) as client:
        tasks = [asyncio.create_task(datagram(client, n).encrypt(b"%d" % n)) for n in range(3)]
        alone = asyncio.create_task(client.session(sid(9)).encrypt(b"alone"))
        await asyncio.sleep(0)
        tasks[1].cancel()
        alone.cancel()
        await asyncio.gather(*tasks, alone, return_exceptions=True)
    assert [batch.encrypt.plaintexts for batch in carrier.batches] == [b"02"]


async def test_a_call_whose_time_is_over_fails_alone(carrier: ScriptedCarrier) -> None:
    """It says that nothing is known; a late answer is dropped, and the stream goes on."""
    late: list[service.TransportBatch] = []

    async def answer_late(stream: Stream, request: service.TransportBatch) -> None:
        late.append(request)
        if len(late) > 1:
            for each in late:
                await stream.answer(each)

    carrier.script = answer_late
    policy = noisegate.CallPolicy(packet_deadline=0.3)
    async with noisegate.connect(carrier.address, policy=policy, multiplex=Multiplex()) as client:
        with pytest.raises(noisegate.DeadlineExceeded):
            await datagram(client, 1).encrypt(b"x")
        assert (await datagram(client, 2).encrypt(b"y")).packet == b"0:y"
    assert len(carrier.streams) == 1


async def test_a_closed_client_ends_its_calls(carrier: ScriptedCarrier) -> None:
    """Those that wait, and those that come later; nothing is left running."""
    holding = asyncio.Event()

    async def hold(stream: Stream, request: service.TransportBatch) -> None:
        if len(carrier.batches) == 10:
            holding.set()

    carrier.script = hold
    client = connect(carrier, max_items=1)
    calls = [asyncio.create_task(datagram(client, n).encrypt(b"x")) for n in range(50)]
    await holding.wait()
    await client.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {noisegate.ClientClosed}
    with pytest.raises(noisegate.ClientClosed):
        await datagram(client, 1).encrypt(b"x")
    await client.close()


@pytest.mark.parametrize(
    ("refusal", "raised"),
    [
        (Refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), noisegate.InvalidRequest),
        (Refusal(grpc.StatusCode.PERMISSION_DENIED, "CALLER_FORBIDDEN"), noisegate.CallerForbidden),
        (Refusal(grpc.StatusCode.INTERNAL, "INTERNAL"), noisegate.InternalError),
    ],
)
@pytest.mark.parametrize("whole", ["batch", "stream"])
async def test_a_refusal_of_all_is_raised_by_each(
    carrier: ScriptedCarrier, refusal: Refusal, raised: type[Exception], whole: str
) -> None:
    """Of a batch or of the stream; the next call may be luckier."""
    refused: list[service.TransportBatch] = []

    async def refuse_once(stream: Stream, request: service.TransportBatch) -> None:
        if refused:
            await stream.answer(request)
            return
        refused.append(request)
        await (stream.refuse(request, refusal) if whole == "batch" else stream.abort(refusal))

    carrier.script = refuse_once
    async with connect(carrier) as client:
        calls = [datagram(client, n).encrypt(b"x") for n in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {raised}
        assert (await datagram(client, 1).encrypt(b"y")).packet == b"0:y"


async def test_an_older_service_says_that_it_has_no_such_method() -> None:
    """It is told to the caller, who asked for it."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with noisegate.connect(f"127.0.0.1:{port}", policy=PATIENT, multiplex=Multiplex()) as client:
        with pytest.raises(noisegate.Unimplemented):
            await datagram(client, 1).encrypt(b"x")
    await server.stop(None)


@pytest.mark.parametrize(
    "options", [{"tick": -1}, {"tick": 1}, {"max_items": 0}, {"max_items": 2_000}, {"max_bytes": 0}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    """With the range in the text."""
    with pytest.raises(ValueError, match="must be"):
        Multiplex(**options)  # type: ignore[arg-type]


def test_threads_share_the_batches_of_a_blocking_client() -> None:
    """Each waits for its own answer. The service runs on threads here: grpc.aio wants one event loop to a process."""
    carrier = ScriptedCarrier()

    def transport(requests: Iterator[bytes], _: object) -> Iterator[bytes]:
        for body in requests:
            for batch in service.TransportRequest.FromString(body).batches:
                carrier.requests.append((0, batch))
                yield service.TransportResponse(answers=[carrier.work(batch)]).SerializeToString()

    def seal(session: noisegate.SyncSession) -> bytes:
        return session.encrypt(b"x").packet

    rows: Rows = {"Transport": grpc.stream_stream_rpc_method_handler(transport)}
    with ThreadPoolExecutor(8) as threads, ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, rows),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        multiplex = Multiplex(tick=0.02)
        with noisegate.connect_sync(f"127.0.0.1:{port}", policy=PATIENT, multiplex=multiplex) as client:
            sessions = [client.session(sid(n), mode=RecordMode.DATAGRAM) for n in range(40)]
            assert list(threads.map(seal, sessions)) == [b"0:x"] * 40
        server.stop(None).wait(WAIT)
    assert len(carrier.batches) < 40


@pytest.mark.parametrize("wrong", ["text", None, 5])
async def test_a_call_with_something_else_than_bytes_fails_alone(carrier: ScriptedCarrier, wrong: Any) -> None:
    """As it does without the multiplexer; calls beside it and after it have their results."""
    async with connect(carrier) as client:
        first, bad, associated = await asyncio.gather(
            datagram(client, 1).encrypt(b"a"),
            datagram(client, 2).encrypt(wrong),
            datagram(client, 3).encrypt(b"x", wrong),
            return_exceptions=True,
        )
        assert isinstance(first, Sealed)
        assert isinstance(bad, TypeError)
        assert isinstance(associated, TypeError)
        assert (await datagram(client, 1).encrypt(b"b")).packet == b"1:b"


async def test_a_buffer_that_changes_while_its_call_waits_is_sealed_as_it_was(carrier: ScriptedCarrier) -> None:
    """The batch has the bytes of the moment of the call."""
    async with connect(carrier) as client:
        buffer = bytearray(b"before")
        waiting = asyncio.ensure_future(datagram(client, 1).encrypt(buffer))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        buffer[:] = b"behind"
        assert (await waiting).packet == b"0:before"
