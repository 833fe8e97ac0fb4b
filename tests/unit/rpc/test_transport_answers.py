"""When answers leave a Transport stream, and which of them together."""

from __future__ import annotations

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


async def test_an_answer_that_was_waited_for_leaves_at_once() -> None:
    """It does not gather with those of a message that is being served."""
    carrier = Carrier()
    stream = carrier.open()
    stream.deliver(encrypt(1))
    carrier.reply = (0, b"")
    carrier.seconds = limits.PAUSE_SECONDS
    stream.deliver(encrypt(2, 3, 4))
    carrier.waiting[0].set_result((0, b""))
    await settle()
    assert leaving(stream) == [[1], [2, 3, 4]]


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
