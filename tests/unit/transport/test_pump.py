"""The pump between an awaited socket and a called method: order, backpressure, and every way in which a stream ends."""

from __future__ import annotations

import asyncio
import math

import pytest

from noisegate_server.rpc.call import Call, Code, Reply
from noisegate_server.transport.streams import HIGH_MESSAGES, Pump
from tests.support.in_process import LOCAL
from tests.support.streams import EchoMethod


class Socket:
    """Both directions of a stream that tests drive by hand."""

    def __init__(self, joined_bytes: int = 0) -> None:
        self.incoming: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.written: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False
        self.method = EchoMethod()
        self.pump = Pump(self.read, self.write, joined_bytes=joined_bytes)

    async def read(self) -> bytes | None:
        body = await self.incoming.get()
        if isinstance(body, Exception):
            raise body
        return body

    async def write(self, body: bytes) -> None:
        await self.open.wait()
        if self.broken:
            raise ConnectionResetError
        self.written.append(body)

    def serve(self) -> asyncio.Task[Reply]:
        return asyncio.ensure_future(self.pump.run(self.method, Call(LOCAL, math.inf)))


async def settle() -> None:
    """Let every task run as far as it can; there is no I/O here, so a bounded number of turns is enough."""
    for _ in range(4 * HIGH_MESSAGES):
        await asyncio.sleep(0)


async def cancel(task: asyncio.Task[Reply]) -> None:
    """Cancels it, and waits until it is."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_messages_keep_their_order_and_the_end_comes_last() -> None:
    """The stream ends with what the method said, after all that it sent."""
    socket = Socket()
    for body in (b"1", b"2", None):
        socket.incoming.put_nowait(body)
    assert await socket.serve() == (0, b"")
    assert socket.written == [b"1", b"2"]
    assert socket.method.heard == ["message 1", "message 2", "half_closed"]


@pytest.mark.parametrize(("joined_bytes", "written"), [(0, [b"1", b"22", b"333", b"4"]), (5, [b"1", b"22333", b"4"])])
async def test_what_gathers_behind_a_write_goes_as_one_message(joined_bytes: int, written: list[bytes]) -> None:
    """Where the method allows it, and no longer than it allows; a longer one goes alone."""
    socket = Socket(joined_bytes)
    socket.open.clear()
    serving = socket.serve()
    for body in (b"1", b"22", b"333", b"4"):
        socket.incoming.put_nowait(body)
        await settle()
    socket.incoming.put_nowait(None)
    socket.open.set()
    assert await serving == (0, b"")
    assert socket.written == written


@pytest.mark.parametrize("end", ["done", "gone"])
async def test_a_message_that_needs_time_holds_up_the_next_one(end: str) -> None:
    """Of its own stream; where that is gone, it is given up."""
    socket = Socket()
    slow = asyncio.get_running_loop().create_future()
    socket.method.slow[b"slow"] = slow
    for body in (b"slow", b"next"):
        socket.incoming.put_nowait(body)
    serving = socket.serve()
    await settle()
    assert socket.method.heard == ["message slow"]
    if end == "done":
        slow.set_result(None)
        await settle()
        assert socket.method.heard == ["message slow", "message next"]
    await cancel(serving)
    assert slow.cancelled() is (end == "gone")
    assert socket.method.heard[-1] == "cancelled"


async def test_a_caller_that_takes_nothing_is_not_heard() -> None:
    """Once the outbox is full nothing is read, and half of it must drain before more is."""
    socket = Socket()
    socket.open.clear()
    for _ in range(2 * HIGH_MESSAGES):
        socket.incoming.put_nowait(b"x")
    serving = socket.serve()
    await settle()
    # One message is with the writer, the outbox holds as many as it may; nothing else was read.
    read = 2 * HIGH_MESSAGES - socket.incoming.qsize()
    assert read <= HIGH_MESSAGES + 2
    assert socket.method.heard[-1] == "full"
    socket.open.set()
    await settle()
    assert len(socket.written) == 2 * HIGH_MESSAGES
    assert "writable" in socket.method.heard
    await cancel(serving)


@pytest.mark.parametrize("blocked", ["reading", "writing", "waiting for room"])
async def test_a_cancelled_stream_says_so_once_wherever_it_waits(blocked: str) -> None:
    """Cancellation is the last thing that a method hears."""
    socket = Socket()
    if blocked != "reading":
        socket.open.clear()
    for _ in range({"reading": 1, "writing": 1, "waiting for room": 2 * HIGH_MESSAGES}[blocked]):
        socket.incoming.put_nowait(b"x")
    serving = socket.serve()
    await settle()
    await cancel(serving)
    socket.incoming.put_nowait(b"late")
    socket.open.set()
    await settle()
    assert socket.method.heard.count("cancelled") == 1
    assert socket.method.heard[-1] == "cancelled"
    assert "message late" not in socket.method.heard


async def test_a_message_that_races_with_a_cancellation_does_not_follow_it() -> None:
    """What comes in the same turn is delivered before, or not at all."""
    for first, heard in (("message", ["message x", "cancelled"]), ("cancellation", ["cancelled"])):
        socket = Socket()
        serving = socket.serve()
        await settle()
        if first == "cancellation":
            serving.cancel()
        socket.incoming.put_nowait(b"x")
        await cancel(serving)
        await settle()
        assert socket.method.heard == heard


@pytest.mark.parametrize("side", ["read", "write"])
async def test_a_lost_connection_is_a_cancelled_stream(side: str) -> None:
    """Whether reading or writing notices it first."""
    socket = Socket()
    if side == "read":
        socket.incoming.put_nowait(ConnectionResetError())
    else:
        socket.broken = True
        socket.incoming.put_nowait(b"x")
    assert await socket.serve() == (Code.CANCELLED, b"")
    assert socket.method.heard[-1] == "cancelled"
    assert socket.method.heard.count("cancelled") == 1


async def test_a_finished_method_hears_nothing_more() -> None:
    """Not that its stream was cancelled, and not what the caller still sent."""
    socket = Socket()
    socket.open.clear()
    socket.incoming.put_nowait(b"1")
    socket.incoming.put_nowait(None)
    serving = socket.serve()
    await settle()
    assert socket.method.heard == ["message 1", "half_closed"]
    socket.pump.draining()
    await cancel(serving)
    assert socket.method.heard == ["message 1", "half_closed"]


async def test_draining_reaches_the_method() -> None:
    """Which then ends its stream as it sees fit, here with UNAVAILABLE."""
    socket = Socket()
    serving = socket.serve()
    await settle()
    socket.pump.draining()
    assert await serving == (Code.UNAVAILABLE, b"")
    assert socket.method.heard == ["draining"]
    socket.pump.draining()
    assert socket.method.heard == ["draining"]


async def test_sending_after_the_end_is_dropped() -> None:
    """A late answer must neither come through nor fail."""
    socket = Socket()
    socket.incoming.put_nowait(None)
    assert await socket.serve() == (0, b"")
    assert socket.pump.send(b"late") is False
    socket.pump.finish(3, b"")
    assert socket.written == []
