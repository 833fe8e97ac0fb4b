"""When answers leave a Transport stream, and which of them together."""

from __future__ import annotations

import asyncio
import gc

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from tests.support.carrier import ANSWER, LARGE, Carrier, encrypt, ending, is_told_to_go, leaving, settle


async def test_answers_to_the_batches_of_one_message_leave_as_one() -> None:
    """Where others ran in between, too: not a part of them before each pause."""
    carrier = Carrier((0, ANSWER.SerializeToString()))
    carrier.seconds = limits.PAUSE_SECONDS
    stream = carrier.open()
    stream.deliver(encrypt(1, 2, 3))
    assert (len(carrier.called), leaving(stream)) == (1, [])
    await settle()
    assert leaving(stream) == [[1, 2, 3]]
    stream.deliver(encrypt(4))
    assert leaving(stream) == [[4]], "who is alone waits for nobody"


async def test_answers_of_a_long_message_do_not_wait_for_its_last() -> None:
    """They leave when the first of them has waited for as long as it may."""
    carrier = Carrier((0, ANSWER.SerializeToString()))
    carrier.seconds = limits.PAUSE_SECONDS
    stream = carrier.open()
    stream.deliver(encrypt(1, 2, 3, 4, 5, 6))
    await settle()
    assert leaving(stream) == [[1, 2, 3, 4], [5, 6]]


def test_answers_that_are_too_long_together_leave_one_by_one() -> None:
    """No message is longer than what a client takes."""
    carrier = Carrier((0, LARGE.SerializeToString()))
    stream = carrier.open()
    stream.deliver(encrypt(1, 2, 3))
    assert leaving(stream) == [[1], [2], [3]]
    carrier.reply = (0, ANSWER.SerializeToString())
    stream.deliver(encrypt(4, 5))
    assert leaving(stream) == [[4, 5]]


async def test_answers_leave_in_the_order_in_which_they_were_ready() -> None:
    """One that had to wait is not sent before those that have gathered by then."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    carrier.reply = (0, b"")
    carrier.seconds = limits.PAUSE_SECONDS
    stream.deliver(encrypt(2, 3, 4))
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert leaving(stream) == [[2], [1], [3, 4]]


async def test_answers_do_not_wait_where_others_run_for_long() -> None:
    """As long as these took last, the next pause may take."""
    carrier = Carrier((0, ANSWER.SerializeToString()))
    carrier.seconds = limits.PAUSE_SECONDS
    stream = carrier.open()
    stream.deliver(encrypt(1, 2))
    await asyncio.sleep(0)
    carrier.now += limits.GATHER_SECONDS
    await settle()
    assert leaving(stream) == [[1, 2]]
    stream.deliver(encrypt(3, 4, 5))
    assert leaving(stream) == [[3]]
    await settle()
    assert leaving(stream) == [[4, 5]], "they have not taken long any more"


async def test_an_answer_as_long_as_a_message_may_be_waits_for_none() -> None:
    """Nothing else would have room beside it."""
    longest = pb.EncryptBatchResponse(ciphertexts=bytes(limits.MAX_JOINED_BYTES))
    carrier = Carrier((0, longest.SerializeToString()))
    stream = carrier.open(room=1)
    stream.deliver(encrypt(1, 2))
    assert len(carrier.called) == 1
    assert leaving(stream) == [[1]]
    await settle()
    assert leaving(stream) == [[2]]


async def test_what_has_gathered_is_gone_with_its_stream() -> None:
    """Answers may be plaintexts, and a batch that runs on holds its stream."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    carrier.reply = (0, b"a plaintext")
    carrier.seconds = limits.PAUSE_SECONDS
    stream.deliver(encrypt(2, 3))

    def kept() -> bool:
        lists = [each for each in gc.get_objects() if isinstance(each, list)]
        return any(isinstance(item, bytes) and b"a plaintext" in item for each in lists for item in each)

    assert kept()
    stream.inbox.cancelled()
    assert (kept(), len(carrier.running)) == (False, 1)
    await settle()
    assert leaving(stream) == []


async def test_what_was_answered_before_a_draining_stream_ends_by_itself_has_left() -> None:
    """In the middle of a message: what gathers leaves before the end."""
    carrier = Carrier((0, b""), drain_seconds=0)
    carrier.seconds = limits.PAUSE_SECONDS
    stream = carrier.open()
    stream.inbox.draining()
    stream.deliver(encrypt(1, 2, 3))
    assert (is_told_to_go(stream), leaving(stream)) == (True, [])
    await settle()
    assert ending(stream) == (0, b"")
    (numbers,) = leaving(stream)
    assert numbers == list(range(1, len(carrier.called) + 1))
    assert numbers != [1, 2, 3]
