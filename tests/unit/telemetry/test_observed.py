"""The table with spans and durations around it: what each way to end a call leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Call, Caller, Code, Method, Reply, Unary
from noisegate_server.rpc.errors import RULES, CallerForbidden, Draining, defect, refusal
from noisegate_server.session.errors import DecryptFailed, Overloaded, SessionNotFound
from noisegate_server.telemetry.conventions import SERVER_ERRORS
from noisegate_server.telemetry.durations import CallDurations
from noisegate_server.telemetry.observed import observed, timed
from noisegate_server.telemetry.spans import SessionNames
from tests.support.in_process import Stream
from tests.support.rpc_table import Clock, error_info
from tests.support.streams import EchoMethod
from tests.unit.telemetry.conftest import KEY, Spans

METHOD = "/noisegate.v1.SessionCryptoService/Encrypt"
NAME = METHOD[1:]
TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7
SAMPLED = f"00-{TRACE:032x}-{PARENT:016x}-01"
UNSAMPLED = SAMPLED[:-1] + "0"
BODY = pb.EncryptRequest(session_id=bytes(range(24)), plaintext=b"a secret of the game").SerializeToString()


def call(traceparent: str = "", address: str = "") -> Call:
    """A call with this context."""
    metadata = {"traceparent": traceparent} if traceparent else {}
    return Call(Caller(identity="", tenant="t", address=address), metadata=lambda: metadata)


def watched(function: Unary, spans: Any, clock: Clock | None = None) -> tuple[Unary, CallDurations]:
    """One method, watched, and what was measured."""
    durations = CallDurations()
    row = observed({METHOD: Method(unary=function)}, durations, spans, clock or Clock())[METHOD]
    assert row.unary is not None
    return row.unary, durations


def counts(durations: CallDurations) -> dict[str, int]:
    """Calls by the name of their code."""
    return {Code(code).name: histogram.count for _, code, histogram in durations if histogram.count}


def test_a_call_of_a_traced_caller_is_a_child_of_its_span(spans: Spans) -> None:
    """Names and values as the conventions have them."""
    serve, durations = watched(lambda _, body: (0, body), spans.calls())
    assert serve(call(SAMPLED, address="ipv4:10.0.0.7:4000"), BODY) == (0, BODY)
    span = spans.only()
    assert (span.name, span.kind, span.status.status_code) == (NAME, SpanKind.SERVER, StatusCode.UNSET)
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.parent.span_id) == (TRACE, PARENT)
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": NAME,
        "rpc.status_code": "OK",
        "network.peer.address": "ipv4:10.0.0.7:4000",
        "noisegate.session": SessionNames(KEY)(bytes(range(24))),
    }
    assert counts(durations) == {"OK": 1}


@pytest.mark.parametrize("traceparent", ["", UNSAMPLED, "00-what-is-this-zz"])
def test_a_call_that_nobody_traces_has_no_span_and_is_measured(spans: Spans, traceparent: str) -> None:
    """The sampled flag is read before anything is built."""
    serve, durations = watched(lambda _, body: (0, body), spans.calls())
    serve(call(traceparent), BODY)
    assert spans.ended == []
    assert counts(durations) == {"OK": 1}


def test_a_sampler_that_begins_traces_is_asked_about_calls_without_one(spans: Spans) -> None:
    """OTEL_TRACES_SAMPLER=parentbased_always_on, say."""
    serve, _ = watched(lambda _, body: (0, body), spans.calls(begins=True))
    serve(call(), BODY)
    assert spans.only().parent is None


@pytest.mark.parametrize(
    ("error", "code", "is_error"),
    [
        (SessionNotFound(), Code.NOT_FOUND, False),
        (DecryptFailed(), Code.INVALID_ARGUMENT, False),
        (CallerForbidden("m"), Code.PERMISSION_DENIED, False),
        (Overloaded("full"), Code.UNAVAILABLE, True),
        (Draining(), Code.UNAVAILABLE, True),
    ],
)
def test_a_rich_refusal_has_its_own_code(spans: Spans, error: Exception, code: Code, is_error: bool) -> None:
    """Only what is the server's fault is an error; else every cheat would page the night watch."""
    reply = refusal(error)
    assert reply is not None
    serve, durations = watched(lambda *_: reply, spans.calls())
    assert serve(call(SAMPLED), BODY) == reply
    span = spans.only()
    assert span.attributes is not None
    assert span.attributes["rpc.status_code"] == code.name
    assert span.attributes["noisegate.error.reason"] == error_info(reply).reason
    assert span.attributes.get("error.type") == (code.name if is_error else None)
    assert span.status.status_code is (StatusCode.ERROR if is_error else StatusCode.UNSET)
    assert counts(durations) == {code.name: 1}


def test_the_codes_of_every_refusal_are_the_players_or_callers_fault_but_for_three() -> None:
    """What the conventions count against the server: no refusal of the catalogue does but that there is no room."""
    assert {kind for kind, rule in RULES.items() if rule.code in SERVER_ERRORS} == {Overloaded, Draining}
    assert defect("")[0] in SERVER_ERRORS


async def test_a_call_that_waits_ends_with_its_reply(spans: Spans) -> None:
    """And what happens in its task belongs to the span."""
    seen = []
    clock = Clock()

    async def later() -> Reply:
        await asyncio.sleep(0)
        seen.append(trace.get_current_span().get_span_context().trace_id)
        clock.now += 0.3
        return 0, b"done"

    serve, durations = watched(lambda *_: asyncio.ensure_future(later()), spans.calls(), clock)
    reply = serve(call(SAMPLED), BODY)
    assert not isinstance(reply, tuple)
    assert spans.ended == []
    assert await reply == (0, b"done")
    await asyncio.sleep(0)
    assert seen == [TRACE]
    assert spans.only().status.status_code is StatusCode.UNSET
    assert counts(durations) == {"OK": 1}
    assert [histogram.sum for *_, histogram in durations] == [pytest.approx(0.3)]


@pytest.mark.parametrize("code", [Code.DEADLINE_EXCEEDED, Code.CANCELLED])
async def test_a_call_that_its_transport_has_left_ended_so(spans: Spans, code: Code) -> None:
    """Its reply still comes, and changes nothing any more."""
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    serve, durations = watched(lambda *_: reply, spans.calls())
    left = call(SAMPLED)
    running: Any = serve(left, BODY)
    left.abandon(code)
    reply.set_result((0, b"late"))
    assert await running == (0, b"late")
    await asyncio.sleep(0)
    span = spans.only()
    assert span.attributes is not None
    assert span.attributes["rpc.status_code"] == code.name
    assert counts(durations) == {code.name: 1}


async def test_a_task_that_breaks_is_internal(spans: Spans) -> None:
    """Though no method of the table lets it come to that."""

    async def broken() -> Reply:
        raise ZeroDivisionError

    serve, durations = watched(lambda *_: broken(), spans.calls())
    running: Any = serve(call(SAMPLED), BODY)
    with pytest.raises(ZeroDivisionError):
        await running
    await asyncio.sleep(0)
    assert spans.only().status.status_code is StatusCode.ERROR
    assert counts(durations) == {"INTERNAL": 1}


def test_a_call_that_nobody_watches_may_be_abandoned_too() -> None:
    """A transport need not know."""
    Call(Caller(identity="", tenant="t")).abandon(Code.CANCELLED)


def test_what_happens_meanwhile_belongs_to_the_span_and_nothing_after_it(spans: Spans) -> None:
    """The current span of the process is what it was before."""
    seen = []

    def function(_: Call, body: bytes) -> Reply | Awaitable[Reply]:
        seen.append(trace.get_current_span().get_span_context().trace_id)
        return 0, body

    serve, _ = watched(function, spans.calls())
    serve(call(SAMPLED), BODY)
    assert seen == [TRACE]
    assert trace.get_current_span().get_span_context().trace_id == 0


async def test_a_message_of_a_stream_that_needs_time_belongs_to_the_span(spans: Spans) -> None:
    """To its end, which the transport waits for."""
    current: list[Any] = []

    async def rest() -> None:
        await asyncio.sleep(0)
        current.append(trace.get_current_span())

    method = EchoMethod()
    method.slow[b"slow"] = rest()
    row = Method(stream=method, joined_bytes=7)
    table = observed({METHOD: row}, CallDurations(), spans.calls(begins=True), Clock())
    assert table[METHOD].joined_bytes == 7
    stream = Stream(table, METHOD)
    stream.deliver(b"slow")
    assert stream.busy is not None
    await stream.busy
    stream.inbox.half_closed()
    span = spans.only()
    assert [each.get_span_context() for each in current] == [span.context]


def test_a_stream_is_one_span_that_counts_its_messages(spans: Spans) -> None:
    """From its first byte to its last."""
    clock, durations = Clock(), CallDurations()
    row = Method(stream=EchoMethod(), client_streaming=True, server_streaming=True)
    table = observed({METHOD: row}, durations, spans.calls(begins=True), clock)
    stream = Stream(table, METHOD)
    stream.deliver(b"one")
    stream.deliver(b"two")
    clock.now += 5
    stream.inbox.half_closed()
    assert list(stream.sent) == [b"one", b"two"]
    assert stream.final == (0, b"")
    span = spans.only()
    assert span.attributes is not None
    assert (span.attributes["noisegate.stream.received"], span.attributes["noisegate.stream.sent"]) == (2, 2)
    assert span.attributes["rpc.status_code"] == "OK"
    assert [histogram.sum for *_, histogram in durations] == [5]


async def test_what_a_stream_carries_is_timed_by_its_code_and_is_no_call() -> None:
    """At once or later; what is cancelled has no code."""
    clock, durations = Clock(), CallDurations()
    later: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    never: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    replies: list[Any] = [(0, b""), (5, b""), later, never]
    carried = timed(METHOD, lambda *_: replies.pop(0), durations, clock)
    assert [carried(call(), b"") for _ in range(2)] == [(0, b""), (5, b"")]
    waiting = [carried(call(), b"") for _ in range(2)]
    clock.now += 2
    later.set_result((0, b"late"))
    never.cancel()
    await asyncio.wait([each for each in waiting if isinstance(each, asyncio.Future)])
    await asyncio.sleep(0)
    assert counts(durations) == {"OK": 2, "NOT_FOUND": 1}
    assert {name for name, *_ in durations} == {NAME}
    assert sum(histogram.sum for *_, histogram in durations) == 2


@pytest.mark.parametrize(("deadline", "code"), [(2_000.0, "CANCELLED"), (1_000.0, "DEADLINE_EXCEEDED")])
def test_a_stream_that_is_gone_was_cancelled_or_too_late(spans: Spans, deadline: float, code: str) -> None:
    """The seam has one word for both; the deadline tells them apart."""
    durations = CallDurations()
    table = observed({METHOD: Method(stream=EchoMethod())}, durations, spans.calls(follows_all=True), Clock(1_000.0))
    function = table[METHOD].stream
    assert function is not None
    outbox = Stream({METHOD: Method(stream=EchoMethod())}, METHOD)
    inbox = function(Call(Caller(identity="", tenant="t"), deadline, lambda: {"traceparent": SAMPLED}), outbox)
    inbox.cancelled()
    span = spans.only()
    assert span.attributes is not None
    assert span.attributes["rpc.status_code"] == code
    assert counts(durations) == {code: 1}
