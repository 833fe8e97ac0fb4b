"""The smallest transport that keeps the seam's contract: it runs a table's methods in this process, bytes to bytes."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from noisegate_server.rpc.call import Call, Caller, Outbox, Reply, Table

LOCAL = Caller(identity="", tenant="local")


async def call(table: Table, method: str, body: bytes, caller: Caller = LOCAL) -> Reply:
    """One unary call; cancelling it leaves what it began running."""
    function = table[method].unary
    assert function is not None
    reply = function(Call(caller), body)
    return reply if isinstance(reply, tuple) else await asyncio.shield(reply)


class Stream(Outbox):
    """One stream; `room` messages fit into its outbox, and while it is full nothing is delivered."""

    def __init__(self, table: Table, method: str, caller: Caller = LOCAL, *, room: float = math.inf) -> None:
        self.sent: deque[bytes] = deque()
        self.final: Reply | None = None
        self._waiting: deque[bytes] = deque()
        self.busy: asyncio.Future[None] | None = None
        """What the method still does for the last message; None when it is done."""
        self._room = room
        function = table[method].stream
        assert function is not None
        self.inbox = function(Call(caller), self)

    def send(self, body: bytes) -> bool:
        self.sent.append(body)
        return len(self.sent) < self._room

    def finish(self, code: int = 0, status: bytes = b"") -> None:
        assert self.final is None, "finish comes once"
        self.final = (code, status)

    def deliver(self, body: bytes) -> None:
        """A message of the caller; waits while the outbox is full or the method is busy."""
        self._waiting.append(body)
        self._hand_on()

    def take(self) -> bytes:
        """The caller takes an answer."""
        was_full, body = len(self.sent) >= self._room, self.sent.popleft()
        if was_full and self.final is None:
            self.inbox.writable()
        self._hand_on()
        return body

    def _hand_on(self) -> None:
        while self._waiting and self.final is None and self.busy is None and len(self.sent) < self._room:
            more = self.inbox.message(self._waiting.popleft())
            if more is not None:
                self.busy = asyncio.ensure_future(more)
                self.busy.add_done_callback(self._done)

    def _done(self, _: asyncio.Future[None]) -> None:
        self.busy = None
        self._hand_on()
