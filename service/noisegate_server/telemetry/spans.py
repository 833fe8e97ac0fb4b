"""Server spans: which calls have one, what stands in it, and what happened to a session while it was served.

A span costs more than most calls, so the caller's sampled flag is read before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from google.rpc import error_details_pb2, status_pb2
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from noisegate_server.engine.events import EventKind, Subject
from noisegate_server.rpc.call import Call, Reply
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.telemetry import conventions as names
from noisegate_server.telemetry.destinations import SpanRules
from noisegate_server.telemetry.requests import described

__all__ = ["CallSpan", "CallSpans", "SessionEvents", "SessionNames"]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_FLAG: Final = slice(54, 55)
"""Of a traceparent, version(2)-trace id(32)-parent id(16)-flags(2), the digit whose lowest bit is the sampled flag."""
_SAMPLED: Final = frozenset("13579bdf")


class CallSpans:
    """Begins the spans of calls."""

    __slots__ = ("_begins", "_follows_all", "_session", "_tracer")

    def __init__(self, tracer: Tracer, rules: SpanRules, session_key: bytes) -> None:
        """`session_key`: random, under which sessions are named in spans."""
        self._tracer: Final = tracer
        self._begins: Final = rules.begins
        self._follows_all: Final = rules.follows_all
        self._session: Final = SessionNames(session_key)

    def wanted(self, call: Call) -> bool:
        """Whether this call may have a span that somebody sees. A traceparent that is none is not sampled."""
        parent = call.header("traceparent")
        if not parent:
            return self._begins
        return self._follows_all or parent[_FLAG] in _SAMPLED

    def begin(self, name: str, call: Call, body: bytes) -> CallSpan:
        """The span of a call, child of its caller's. `name`: the method's full name; `body`: empty for a stream."""
        attributes: dict[str, str | int] = {names.RPC_SYSTEM_NAME: names.GRPC, names.RPC_METHOD: name}
        if call.caller.address:
            attributes[names.NETWORK_PEER_ADDRESS] = call.caller.address
        span = self._tracer.start_span(
            name, _PROPAGATOR.extract(call.metadata()), kind=SpanKind.SERVER, attributes=attributes
        )
        if body and span.is_recording():
            for key, value in described(name, body, self._session).items():
                span.set_attribute(key, value)
        return CallSpan(span)


class CallSpan:
    """The span of one call."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @contextmanager
    def current(self) -> Iterator[None]:
        """What happens meanwhile, and in tasks that begin meanwhile, belongs to the span."""
        token = otel.attach(trace.set_span_in_context(self._span))
        try:
            yield
        finally:
            otel.detach(token)

    def carried(self, received: int, sent: int) -> None:
        """How many messages a stream has carried."""
        self._span.set_attribute("noisegate.stream.received", received)
        self._span.set_attribute("noisegate.stream.sent", sent)

    def end(self, reply: Reply) -> None:
        """The call has ended with this."""
        code, payload = reply
        span = self._span
        code_name = names.CODES.get(code, str(code))
        span.set_attribute(names.RPC_STATUS_CODE, code_name)
        if code in names.SERVER_ERRORS:
            span.set_attribute(names.ERROR_TYPE, code_name)
            span.set_status(Status(StatusCode.ERROR))
        if code and (reason := _reason(payload)):
            span.set_attribute("noisegate.error.reason", reason)
        span.end()


class SessionNames:
    """Names sessions in spans: by a keyed hash, since whoever sees spans needs no ids. New keys, new names."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, session_id: bytes) -> str:
        """16 hex digits."""
        return blake2b(session_id, key=self._key, digest_size=8).hexdigest()


class SessionEvents:
    """Writes what happens to a session into the span of the call that brings it about."""

    __slots__ = ("_session",)

    def __init__(self, session_key: bytes) -> None:
        self._session: Final = SessionNames(session_key)

    def __call__(self, kind: EventKind, session: Subject, reason: str) -> None:
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event(f"noisegate.session.{kind.name.lower()}", self._attributes(kind, session, reason))

    def _attributes(self, kind: EventKind, session: Subject, reason: str) -> Mapping[str, str | int]:
        attributes: dict[str, str | int] = {"noisegate.session": self._session(session.session_id)}
        if isinstance(session, Session) and session.records is not None:
            attributes["noisegate.epoch"] = session.records.epoch
        if kind is EventKind.ESTABLISHED and isinstance(session, Session):
            attributes |= {
                "noisegate.mode": RecordMode(session.mode).name,
                "noisegate.pattern": Pattern(session.pattern).name,
                "noisegate.suite": Suite(session.suite).name,
                "noisegate.resumed": session.pattern is Pattern.NNPSK0,
            }
        if reason:
            attributes["noisegate.termination.reason"] = reason
        return attributes


def _reason(status: bytes) -> str:
    """The ErrorInfo's reason of a refusal; empty where it has none."""
    for detail in status_pb2.Status.FromString(status).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason: str = info.reason
            return reason
    return ""
