"""Wraps a table of methods: each call is timed, and is a span where its caller wants one.

What is measured lies between the transport's call and the reply: gRPC's own work around it is not in there. A stream is
one call from its first byte to its last, whatever it carries.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from noisegate_server.rpc.call import Call, Code, Inbox, Method, Outbox, Reply, Stream, Table, Unary
from noisegate_server.telemetry.durations import CallDurations

if TYPE_CHECKING:
    from noisegate_server.telemetry.spans import CallSpan, CallSpans

__all__ = ["observed", "timed"]

Clock = Callable[[], float]


def observed(table: Table, durations: CallDurations, spans: CallSpans | None, clock: Clock) -> Table:
    """The same table, watched. `clock`: monotonic seconds; `spans`: None where nobody receives any."""
    return {name: _method(name.removeprefix("/"), row, durations, spans, clock) for name, row in table.items()}


def _method(name: str, row: Method, durations: CallDurations, spans: CallSpans | None, clock: Clock) -> Method:
    if row.unary is not None:
        return replace(row, unary=_unary(name, row.unary, durations, spans, clock))
    if row.stream is not None:
        return replace(row, stream=_stream(name, row.stream, durations, spans, clock))
    return row


def _unary(name: str, function: Unary, durations: CallDurations, spans: CallSpans | None, clock: Clock) -> Unary:
    succeeded = durations.of(name, Code.OK)
    bounds, buckets = succeeded.bounds, succeeded.buckets
    wanted = None if spans is None else spans.wanted

    def watched(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
        began = clock()
        if wanted is not None and spans is not None and wanted(call):
            span = spans.begin(name, call, body)
            with span.current():
                reply = function(call, body)
        else:
            span = None
            reply = function(call, body)
        if not isinstance(reply, tuple):
            return _Waiting(name, call, durations, span, clock, began).follow(reply)
        seconds = clock() - began
        if reply[0]:
            durations.of(name, reply[0]).record(seconds)
        else:
            # As `record`, without its call.
            buckets[bisect_left(bounds, seconds)] += 1
            succeeded.sum += seconds
        if span is not None:
            span.end(reply)
        return reply

    return watched


def timed(name: str, function: Unary, durations: CallDurations, clock: Clock) -> Unary:
    """A unary method as a stream carries it: no call of its own, so only how long it took."""
    name = name.removeprefix("/")

    def watched(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
        began = clock()
        reply = function(call, body)
        if isinstance(reply, tuple):
            durations.of(name, reply[0]).record(clock() - began)
            return reply

        def done(running: asyncio.Future[Reply]) -> None:
            if not running.cancelled() and running.exception() is None:
                durations.of(name, running.result()[0]).record(clock() - began)

        running = asyncio.ensure_future(reply)
        running.add_done_callback(done)
        return running

    return watched


class _Waiting:
    """A call that has to wait: it ends with its reply or, before that, with what the transport says."""

    __slots__ = ("_began", "_call", "_clock", "_durations", "_ended", "_name", "_span")

    def __init__(
        self, name: str, call: Call, durations: CallDurations, span: CallSpan | None, clock: Clock, began: float
    ) -> None:
        self._name = name
        self._call = call
        self._durations = durations
        self._span = span
        self._clock = clock
        self._began = began
        self._ended = False

    def follow(self, reply: Awaitable[Reply]) -> asyncio.Future[Reply]:
        """The same reply, as a future."""
        self._call.on_abandoned = partial(self.end, status=b"")
        running = asyncio.ensure_future(reply)
        running.add_done_callback(self._done)
        return running

    def end(self, code: int, status: bytes) -> None:
        """Once: what the transport has told the caller is how the call ended, whatever comes later."""
        if self._ended:
            return
        self._ended = True
        self._call.on_abandoned = None
        self._durations.of(self._name, code).record(self._clock() - self._began)
        if self._span is not None:
            self._span.end((code, status))

    def _done(self, running: asyncio.Future[Reply]) -> None:
        if running.cancelled():
            self.end(Code.CANCELLED, b"")
        elif running.exception() is not None:
            self.end(Code.INTERNAL, b"")
        else:
            self.end(*running.result())


def _stream(name: str, function: Stream, durations: CallDurations, spans: CallSpans | None, clock: Clock) -> Stream:
    def watched(call: Call, outbox: Outbox) -> Inbox:
        span = spans.begin(name, call, b"") if spans is not None and spans.wanted(call) else None
        stream = _Stream(name, call, outbox, durations, span, clock)
        if span is None:
            stream.inbox = function(call, stream)
        else:
            with span.current():
                stream.inbox = function(call, stream)
        return stream

    return watched


class _Stream(Inbox):
    """Both ends of one stream: the transport's Inbox and the method's Outbox."""

    __slots__ = (
        "_began", "_call", "_clock", "_durations", "_ended", "_name", "_outbox", "_received", "_sent", "_span", "inbox",
    )  # fmt: skip

    inbox: Inbox

    def __init__(
        self,
        name: str,
        call: Call,
        outbox: Outbox,
        durations: CallDurations,
        span: CallSpan | None,
        clock: Clock,
    ) -> None:
        self._name = name
        self._call = call
        self._outbox = outbox
        self._durations = durations
        self._span = span
        self._clock = clock
        self._began: Final = clock()
        self._received = 0
        self._sent = 0
        self._ended = False

    def message(self, body: bytes) -> Awaitable[None] | None:
        self._received += 1
        if self._span is None:
            return self.inbox.message(body)
        with self._span.current():
            more = self.inbox.message(body)
        return None if more is None else self._rest(more, self._span)

    async def _rest(self, more: Awaitable[None], span: CallSpan) -> None:
        with span.current():
            await more

    def half_closed(self) -> None:
        self.inbox.half_closed()

    def writable(self) -> None:
        self.inbox.writable()

    def draining(self) -> None:
        self.inbox.draining()

    def cancelled(self) -> None:
        self.inbox.cancelled()
        self._end(self._call.lost(self._clock()), b"")

    def send(self, body: bytes) -> bool:
        self._sent += 1
        return self._outbox.send(body)

    def finish(self, code: int = 0, status: bytes = b"") -> None:
        self._end(code, status)
        self._outbox.finish(code, status)

    def _end(self, code: int, status: bytes) -> None:
        if not self._ended:
            self._ended = True
            self._durations.of(self._name, code).record(self._clock() - self._began)
            if self._span is not None:
                self._span.carried(self._received, self._sent)
                self._span.end((code, status))
