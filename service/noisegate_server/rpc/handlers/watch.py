"""WatchSessions: a stream of what happens to the tenant's sessions, and what becomes of a caller that reads slowly.

While the outbox has no room events wait here, at most QUEUE of them. Of what comes on top only the number is kept, in
the place in which it would have stood; nobody else waits for a slow watcher.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from google.protobuf.message import DecodeError

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.events import SessionEvent, Watch
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.call import Call, Inbox, Outbox
from noisegate_server.rpc.convert import events as convert
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.errors import Draining

__all__ = ["QUEUE", "watch_sessions"]

QUEUE: Final = 1_024


class _Watcher(Inbox):
    """One stream."""

    __slots__ = ("_full", "_outbox", "_parts", "_tenant", "_waiting", "_watch")

    def __init__(self, parts: Parts, tenant: str, outbox: Outbox) -> None:
        self._parts = parts
        self._tenant = tenant
        self._outbox = outbox
        self._watch: Watch | None = None
        self._full = False
        self._waiting: deque[SessionEvent | int] = deque()
        """Events, and in the place of those that were missed their number: one entry more than QUEUE at most."""

    def message(self, body: bytes) -> None:
        """The one request."""
        if self._watch is not None:
            raise DecodeError
        request = pb.WatchSessionsRequest.FromString(body)
        peer_id, group = fields.name(request.peer_id, "peer_id"), fields.name(request.group, "group")
        watch = Watch(self._tenant, peer_id, group, self._tell)
        self._parts.events.join(watch)
        self._watch = watch
        self._send(convert.WATCHING)

    def half_closed(self) -> None:
        if self._watch is None:
            raise DecodeError

    def writable(self) -> None:
        self._full = False
        while self._waiting and not self._full:
            each = self._waiting.popleft()
            self._send(convert.lagged(each) if isinstance(each, int) else convert.event(each))

    def draining(self) -> None:
        raise Draining

    def cancelled(self) -> None:
        self._waiting.clear()
        if self._watch is not None:
            self._parts.events.leave(self._watch)
            # Its `tell` is this object's: without a cycle both go at once.
            self._watch = None

    def _tell(self, event: SessionEvent) -> None:
        waiting = self._waiting
        if not self._full:
            self._send(convert.event(event))
        elif len(waiting) < QUEUE:
            waiting.append(event)
        elif isinstance(missed := waiting[-1], int):
            waiting[-1] = missed + 1
        else:
            waiting.append(1)

    def _send(self, body: bytes) -> None:
        self._full = not self._outbox.send(body)


def watch_sessions(parts: Parts, call: Call, outbox: Outbox) -> Inbox:
    """The stream's inbox; the watch is in place once its request has come."""
    return _Watcher(parts, call.caller.tenant, outbox)
