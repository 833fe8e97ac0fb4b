"""Spans of calls over the real grpcio transport: what it ends by itself, and what it aborts with, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from noisegate_server.rpc.call import Call, Method, Reply
from noisegate_server.rpc.errors import Draining, defect, refusal
from noisegate_server.rpc.policy import Policy
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.telemetry.durations import CallDurations
from noisegate_server.telemetry.observed import observed
from noisegate_server.transport.grpcio import GrpcioTransport
from tests.support.streams import EchoMethod
from tests.unit.telemetry.conftest import Spans

SAMPLED = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),)
Function = Callable[[Call, bytes], Reply | Awaitable[Reply]]


@asynccontextmanager
async def serving(
    spans: Spans, function: Function, unary_seconds: float = 5.0
) -> AsyncIterator[tuple[Any, Any, asyncio.Event]]:
    """(the unary method, the stream, an event that is set once a span has ended)."""
    ended = asyncio.Event()
    spans.on_end = ended.set
    echo = EchoMethod()
    table = {
        "/t.S/Unary": Method(unary=function),
        "/t.S/Stream": Method(stream=echo, client_streaming=True, server_streaming=True),
    }
    transport = GrpcioTransport(policy=Policy(), clock=time.monotonic, credentials=None, unary_seconds=unary_seconds)
    port = transport.bind("127.0.0.1", 0)
    await transport.start(observed(table, CallDurations(), spans.calls(), time.monotonic))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.unary_unary("/t.S/Unary"), channel.stream_stream("/t.S/Stream"), ended
    finally:
        await transport.stop(0)


def attributes_of(span: ReadableSpan) -> tuple[Any, Any, StatusCode]:
    """(status code, type of error, status)."""
    assert span.attributes is not None
    return span.attributes["rpc.status_code"], span.attributes.get("error.type"), span.status.status_code


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((0, b"fine"), ("OK", None, StatusCode.UNSET)),
        (refusal(DecryptFailed()), ("INVALID_ARGUMENT", None, StatusCode.UNSET)),
        (refusal(Draining()), ("UNAVAILABLE", "UNAVAILABLE", StatusCode.ERROR)),
        (defect(""), ("INTERNAL", "INTERNAL", StatusCode.ERROR)),
    ],
    ids=["answered", "refused", "draining", "defect"],
)
async def test_a_call_that_grpcio_aborts_has_the_status_that_its_caller_sees(
    spans: Spans, reply: Reply, expected: Any
) -> None:
    """And its caller's trace."""
    async with serving(spans, lambda *_: reply) as (unary, _, ended):
        call = unary(b"x", metadata=SAMPLED)
        with suppress(grpc.aio.AioRpcError):
            await call
        await ended.wait()
        assert (await call.code()).name == expected[0]
    assert attributes_of(spans.only()) == expected


@pytest.mark.parametrize(
    ("service_seconds", "caller_seconds"), [(0.05, 20.0), (20.0, 0.05)], ids=["the service's", "the caller's"]
)
async def test_a_call_whose_deadline_passes_is_an_error_of_the_service(
    spans: Spans, service_seconds: float, caller_seconds: float
) -> None:
    """Whoever has set it; its awaitable runs on."""
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    async with serving(spans, lambda *_: reply, service_seconds) as (unary, _, ended):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(b"x", timeout=caller_seconds, metadata=SAMPLED)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await ended.wait()
        reply.set_result((0, b"late"))
    assert attributes_of(spans.only()) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", StatusCode.ERROR)


async def test_a_call_that_its_caller_cancels_is_cancelled_and_no_error(spans: Spans) -> None:
    """The service has done nothing wrong."""
    begun = asyncio.Event()
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def function(*_: Any) -> Awaitable[Reply]:
        begun.set()
        return reply

    async with serving(spans, function) as (unary, _, ended):
        call = unary(b"x", metadata=SAMPLED)
        await begun.wait()
        call.cancel()
        await ended.wait()
        reply.set_result((0, b"late"))
    assert attributes_of(spans.only()) == ("CANCELLED", None, StatusCode.UNSET)


async def test_a_stream_that_its_caller_cancels_is_cancelled(spans: Spans) -> None:
    """After what it has carried."""
    async with serving(spans, lambda *_: (0, b"")) as (_, stream, ended):
        call = stream(metadata=SAMPLED)
        await call.write(b"one")
        assert await call.read() == b"one"
        call.cancel()
        await ended.wait()
    span = spans.only()
    assert attributes_of(span) == ("CANCELLED", None, StatusCode.UNSET)
    assert span.attributes is not None
    assert span.attributes["noisegate.stream.received"] == 1


async def test_calls_at_once_have_each_their_own_trace(spans: Spans) -> None:
    """The metadata of one is never taken for another's."""
    async with serving(spans, lambda _, body: (0, body)) as (unary, _, _):
        traces = [f"{number:032x}" for number in range(1, 33)]
        calls = [
            unary(b"x", metadata=(("traceparent", f"00-{trace}-00f067aa0ba902b7-0{number % 2}"),))
            for number, trace in enumerate(traces)
        ]
        plain = [unary(b"x") for _ in range(8)]
        await asyncio.gather(*calls, *plain)
    seen = sorted(f"{span.context.trace_id:032x}" for span in spans.ended if span.context is not None)
    assert seen == traces[1::2]
