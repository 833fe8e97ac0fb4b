"""A streaming method for tests: it echoes, remembers what it was told, and can be made to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from types import MappingProxyType

from noisegate_server.rpc.call import Call, Inbox, Outbox


class Echo(Inbox):
    """Sends back what comes, ends when the caller does, and keeps a list of all that it heard."""

    def __init__(
        self,
        outbox: Outbox,
        heard: list[str],
        ended: asyncio.Event | None = None,
        slow: Mapping[bytes, Awaitable[None]] = MappingProxyType({}),
    ) -> None:
        self.slow = slow
        self.outbox = outbox
        self.heard = heard
        self.ended = ended or asyncio.Event()

    def message(self, body: bytes) -> Awaitable[None] | None:
        self.heard.append(f"message {body[:8].decode()}")
        if not self.outbox.send(body):
            self.heard.append("full")
        return self.slow.get(body)

    def half_closed(self) -> None:
        self.heard.append("half_closed")
        self.ended.set()
        self.outbox.finish()

    def writable(self) -> None:
        self.heard.append("writable")

    def draining(self) -> None:
        self.heard.append("draining")
        self.outbox.finish(14, b"")

    def cancelled(self) -> None:
        self.heard.append("cancelled")
        self.ended.set()


class EchoMethod:
    """The seam's function; `heard` is what the newest stream was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ended = asyncio.Event()
        """Set when the newest stream's caller is done with it."""
        self.calls: list[Call] = []
        self.slow: dict[bytes, Awaitable[None]] = {}
        """What a message with this body still needs."""
        self.breaks: Exception | None = None
        """Raised instead of a stream."""

    def __call__(self, call: Call, outbox: Outbox) -> Inbox:
        self.calls.append(call)
        if self.breaks is not None:
            raise self.breaks
        self.heard = []
        self.ended = asyncio.Event()
        return Echo(outbox, self.heard, self.ended, self.slow)
