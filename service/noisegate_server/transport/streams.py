"""Carries one stream between a socket that is awaited and a method that is called.

Two tasks at most: the one that serves the stream writes, and one of its own reads. The queue between the method and the
writer is the outbox. While it is full nothing is read from that stream, so a caller that does not take its answers
stops being heard, and HTTP/2's own flow control pushes back to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from noisegate_server.rpc.call import Call, Code, Inbox, Outbox, Reply, Stream

__all__ = ["HIGH_BYTES", "HIGH_MESSAGES", "Pump", "Read", "Write"]

HIGH_MESSAGES: Final = 64
HIGH_BYTES: Final = 1024 * 1024
"""The outbox is full from either on, and has room again at half of both."""

Read = Callable[[], Awaitable[bytes | None]]
"""The next message; None when the caller has half-closed. Raises ConnectionError when the stream is gone."""
Write = Callable[[bytes], Awaitable[None]]
"""Sends a message; returns when the transport has taken it. Raises ConnectionError when the stream is gone."""


class Pump(Outbox):
    """One stream. `run` serves it from its first byte to its last and calls the method's Inbox in order.

    `cancelled()` comes once at most, last, and only for a stream that its method has not finished; after `finish` the
    method hears nothing more.
    """

    __slots__ = (
        "_answer", "_bytes", "_full", "_inbox", "_joined_bytes", "_lost", "_queue", "_read", "_room", "_work", "_write",
    )  # fmt: skip

    def __init__(self, read: Read, write: Write, *, joined_bytes: int = 0) -> None:
        self._read = read
        self._write = write
        self._joined_bytes = joined_bytes
        self._inbox: Inbox | None = None
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._full = False
        self._lost = False
        self._answer: Reply | None = None
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def send(self, body: bytes) -> bool:
        """Queue a message; what comes after `finish` is dropped."""
        if self._answer is not None or self._lost:
            return False
        self._queue.append(body)
        self._bytes += len(body)
        if len(self._queue) >= HIGH_MESSAGES or self._bytes >= HIGH_BYTES:
            self._full = True
            self._room.clear()
        self._work.set()
        return not self._full

    def finish(self, code: int = 0, status: bytes = b"") -> None:
        """End the stream once what is queued has gone."""
        if self._answer is None:
            self._answer = (code, status)
            self._work.set()

    def draining(self) -> None:
        """Tell the method that the server is about to stop."""
        if self._inbox is not None and self._answer is None and not self._lost:
            self._inbox.draining()

    async def run(self, method: Stream, call: Call) -> Reply:
        """Serve the stream; returns how it ended. Cancelling this is how a transport says that the stream is gone."""
        inbox = self._inbox = method(call, self)
        reading = asyncio.ensure_future(self._receive(inbox))
        try:
            return await self._send_all(inbox)
        except ConnectionError:
            return Code.CANCELLED, b""
        finally:
            self._lost = True
            reading.cancel()
            self._inbox = None
            if self._answer is None:
                inbox.cancelled()

    async def _send_all(self, inbox: Inbox) -> Reply:
        while True:
            while self._queue:
                await self._write(self._next())
                if self._full and len(self._queue) <= HIGH_MESSAGES // 2 and self._bytes <= HIGH_BYTES // 2:
                    self._full = False
                    self._room.set()
                    if self._answer is None:
                        inbox.writable()
            if self._answer is not None:
                return self._answer
            if self._lost:
                raise ConnectionResetError
            self._work.clear()
            await self._work.wait()

    def _next(self) -> bytes:
        """What has gathered, as one message where the method allows it: the way down is dear, however short it is."""
        queue = self._queue
        body = queue.popleft()
        size = len(body)
        if queue and size + len(queue[0]) <= self._joined_bytes:
            bodies = [body]
            while queue and size + len(queue[0]) <= self._joined_bytes:
                bodies.append(queue.popleft())
                size += len(bodies[-1])
            body = b"".join(bodies)
        self._bytes -= size
        return body

    async def _receive(self, inbox: Inbox) -> None:
        try:
            while self._answer is None:
                if self._full:
                    await self._room.wait()
                body = await self._read()
                if self._answer is not None or self._lost:
                    return
                if body is None:
                    inbox.half_closed()
                    return
                more = inbox.message(body)
                if more is not None:
                    await more
        except ConnectionError:
            self._lost = True
            self._work.set()
