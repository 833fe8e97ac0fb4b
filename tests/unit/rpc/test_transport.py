"""Transport over the in-process transport: what it hands on, what waits, what it refuses, how it ends."""

from __future__ import annotations

import asyncio

import pytest

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Code
from noisegate_server.rpc.errors import refusal
from noisegate_server.session.errors import SessionNotFound
from tests.support.carrier import ANSWER, LARGE, OTHER, Carrier, encrypt, ending, is_told_to_go, read, settle
from tests.support.in_process import LOCAL
from tests.support.rpc_table import only, reason


def why(answer: pb.TransportAnswer) -> str:
    """The reason of a refused batch."""
    assert answer.WhichOneof("answer") == "refused"
    return reason((answer.refused.code, answer.refused.status))


@pytest.mark.parametrize(
    ("field", "name", "request_type", "response"),
    [
        ("encrypt", "EncryptBatch", pb.EncryptBatchRequest, ANSWER),
        ("decrypt", "DecryptBatch", pb.DecryptBatchRequest, pb.DecryptBatchResponse(plaintexts=b"opened")),
        ("broadcast", "Broadcast", pb.BroadcastRequest, pb.BroadcastResponse(ciphertexts=b"all")),
    ],
)
def test_each_batch_is_the_call_of_its_method(field: str, name: str, request_type: type, response: object) -> None:
    """With the caller of the stream and the very bytes of its request; the answer has the request's number."""
    carrier = Carrier((0, response.SerializeToString()))  # type: ignore[attr-defined]
    stream = carrier.open()
    batch = request_type(session_ids=bytes(24), request_id="r")
    carried = pb.TransportBatch(correlation_id=5, **{field: batch})
    stream.deliver(pb.TransportRequest(batches=[carried]).SerializeToString())
    assert read(stream) == [pb.TransportAnswer(correlation_id=5, **{field: response})]  # type: ignore[arg-type]
    ((called, caller, body),) = carrier.called
    assert (called, caller, body) == (name, LOCAL, batch.SerializeToString())


def test_a_refused_batch_leaves_the_stream_open() -> None:
    """It is answered with the bytes of its own call's refusal, and the next one is served."""
    refused = refusal(SessionNotFound())
    assert refused is not None
    carrier = Carrier(refused)
    stream = carrier.open()
    stream.deliver(encrypt(1))
    stream.deliver(encrypt(2))
    answers = read(stream)
    assert [(each.correlation_id, each.refused.status) for each in answers] == [(1, refused[1]), (2, refused[1])]
    assert stream.final is None


def test_an_envelope_without_a_batch_is_refused_by_its_number() -> None:
    """As one of a later contract would be; nothing is called."""
    carrier = Carrier((0, b""))
    stream = carrier.open()
    stream.deliver(pb.TransportRequest(batches=[pb.TransportBatch(correlation_id=9)]).SerializeToString())
    (answer,) = read(stream)
    assert (answer.correlation_id, why(answer)) == (9, "INVALID_REQUEST")
    assert carrier.called == []


def test_a_message_that_cannot_be_read_ends_the_stream() -> None:
    """Nobody knows which batch it was."""
    carrier = Carrier((0, b""))
    stream = carrier.open()
    stream.deliver(b"\x0a\x05abc")
    assert stream.final is not None
    assert reason(stream.final) == "INVALID_REQUEST"
    assert len(carrier.transports) == 0


async def test_answers_overtake_a_batch_that_waits() -> None:
    """In the order in which they are done."""
    carrier = Carrier()
    stream = carrier.open()
    for correlation in (1, 2, 3):
        stream.deliver(encrypt(correlation))
    for number in (1, 2, 0):
        carrier.waiting[number].set_result((0, ANSWER.SerializeToString()))
        await settle()
    assert [each.correlation_id for each in read(stream)] == [2, 3, 1]


async def test_only_so_many_batches_wait_and_one_more_is_refused() -> None:
    """It was not done, so it may come again; and room is made by an answer."""
    carrier = Carrier()
    stream = carrier.open()
    for correlation in range(limits.MAX_WAITING_BATCHES + 1):
        stream.deliver(encrypt(correlation))
    (answer,) = read(stream)
    assert (answer.correlation_id, why(answer)) == (limits.MAX_WAITING_BATCHES, "OVERLOADED")
    assert len(carrier.called) == limits.MAX_WAITING_BATCHES
    carrier.waiting[0].set_result((0, b""))
    await settle()
    stream.deliver(encrypt(99))
    assert len(carrier.called) == limits.MAX_WAITING_BATCHES + 1
    stream.inbox.cancelled()
    await settle()


async def test_a_caller_that_reads_nothing_is_not_heard() -> None:
    """Its batches stay with the transport while the outbox is full."""
    carrier = Carrier((0, b""))
    stream = carrier.open(room=2)
    for correlation in range(5):
        stream.deliver(encrypt(correlation))
    assert len(carrier.called) == 2
    assert [each.correlation_id for each in read(stream)] == [0, 1, 2, 3, 4]


def test_the_batches_of_one_message_are_served_in_their_order() -> None:
    """Each has an answer of its own."""
    carrier = Carrier((0, ANSWER.SerializeToString()))
    stream = carrier.open()
    stream.deliver(encrypt(*range(limits.MAX_CARRIED_BATCHES)))
    answers = read(stream)
    assert answers == [pb.TransportAnswer(correlation_id=n, encrypt=ANSWER) for n in range(limits.MAX_CARRIED_BATCHES)]


def test_too_many_batches_in_one_message_end_the_stream() -> None:
    """None of them is served: it would be the one that the caller did not get an answer for."""
    carrier = Carrier((0, b""))
    stream = carrier.open()
    stream.deliver(encrypt(*range(limits.MAX_CARRIED_BATCHES + 1)))
    assert stream.final is not None
    assert reason(stream.final) == "INVALID_REQUEST"
    assert (carrier.called, len(carrier.transports)) == ([], 0)


async def test_others_run_between_the_batches_of_a_long_message() -> None:
    """And what comes behind it on its stream waits for its end."""
    carrier = Carrier((0, b""))
    carrier.seconds = limits.PAUSE_SECONDS
    stream = carrier.open()
    stream.deliver(encrypt(1, 2, 3))
    stream.deliver(encrypt(4))
    assert len(carrier.called) == 1
    others = []
    while stream.busy is not None:
        await asyncio.sleep(0)
        others.append(len(carrier.called))
    assert set(others) == {1, 2, 3, 4}
    assert [each.correlation_id for each in read(stream)] == [1, 2, 3, 4]


async def test_a_message_goes_on_when_the_caller_has_taken_answers() -> None:
    """A full outbox holds up the rest of a message as it does the next one."""
    carrier = Carrier((0, LARGE.SerializeToString()))
    stream = carrier.open(room=2)
    stream.deliver(encrypt(1, 2, 3, 4))
    await settle()
    assert len(carrier.called) == 3, "the third has shown that the second leaves alone"
    answers: list[pb.TransportAnswer] = []
    for _ in range(4):
        answers += pb.TransportResponse.FromString(stream.take()).answers
        await settle()
    assert [each.correlation_id for each in answers] == [1, 2, 3, 4]


async def test_two_batches_with_one_request_id_are_answered_both() -> None:
    """A repeat on the same stream waits for the same result."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    carrier.again = carrier.waiting[0]
    stream.deliver(encrypt(2))
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert [each.correlation_id for each in read(stream)] == [1, 2]


async def test_a_half_closed_stream_ends_when_all_is_answered() -> None:
    """Well, and after the last answer."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    stream.inbox.half_closed()
    assert ending(stream) is None
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert ([each.correlation_id for each in read(stream)], ending(stream)) == ([1], (0, b""))
    assert len(carrier.transports) == 0


async def test_a_cancelled_stream_lets_its_batches_run_to_their_end() -> None:
    """As behind a cancelled unary call; nobody hears of it, and the stream's place is free."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    await settle()
    stream.inbox.cancelled()
    await settle()
    assert not carrier.waiting[0].cancelled()
    assert len(carrier.running) == 1, "a stop waits for it"
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert (list(stream.sent), stream.final, len(carrier.transports)) == ([], None, 0)
    assert len(carrier.running) == 0


async def test_a_draining_service_says_so_and_answers_what_it_has_read() -> None:
    """Then the caller's half-close ends the stream."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    stream.inbox.draining()
    assert is_told_to_go(stream)
    stream.inbox.half_closed()
    assert ending(stream) is None
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert ([each.correlation_id for each in read(stream)], ending(stream)) == ([1], (0, b""))


async def test_a_draining_stream_whose_caller_says_nothing_ends_by_itself() -> None:
    """So that a caller that does not know the word cannot hold up a stop."""
    carrier = Carrier((0, b""), drain_seconds=0)
    stream = carrier.open()
    stream.inbox.draining()
    assert ending(stream) is None
    await settle()
    assert (is_told_to_go(stream), ending(stream)) == (True, (0, b""))
    assert len(carrier.transports) == 0


async def test_a_batch_that_takes_too_long_is_told_so() -> None:
    """As a unary call is; what it began runs on, and its answer is dropped."""
    carrier = Carrier(answer_seconds=0)
    stream = carrier.open()
    stream.deliver(encrypt(1))
    await settle()
    (answer,) = read(stream)
    assert (answer.correlation_id, answer.refused.code) == (1, Code.DEADLINE_EXCEEDED)
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert not stream.sent


def test_a_tenant_has_only_so_many_streams() -> None:
    """Another tenant has its own, and one that ends makes room."""
    carrier = Carrier((0, b""))
    streams = [carrier.open() for _ in range(limits.MAX_TRANSPORTS_PER_TENANT)]
    refused = carrier.open()
    assert refused.final is not None
    assert reason(refused.final) == "SESSION_QUOTA"
    assert carrier.open(OTHER).final is None
    streams[0].inbox.half_closed()
    assert carrier.open().final is None


def test_a_caller_without_the_right_gets_no_stream() -> None:
    """The right to Transport, beside that to the methods that it carries."""
    carrier = Carrier((0, b""), policy=only("/test.Service/Other"))
    stream = carrier.open()
    assert stream.final is not None
    assert reason(stream.final) == "CALLER_FORBIDDEN"
    assert len(carrier.transports) == 0
