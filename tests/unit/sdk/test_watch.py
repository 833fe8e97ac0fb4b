"""`watch_sessions` of both clients, against a scripted service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager

import grpc
import pytest

import noisegate
from noisegate import Lagged, SessionEvent, SessionEventKind, TerminationReason, Watching
from noisegate.v1 import session_crypto_service_pb2 as service
from noisegate.v1 import session_pb2 as contract
from tests.unit.sdk.scripted_service import SERVICE, SESSION_ID, Refusal

WAIT = 10.0
Rows = dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]
EVENT = service.SessionEvent(
    kind=service.SESSION_EVENT_KIND_ENDED,
    session_id=SESSION_ID,
    peer_id="ann",
    group="table 7",
    epoch=3,
    termination_reason=contract.TERMINATION_REASON_IDLE,
    resumable=True,
)
TOLD = [
    service.WatchSessionsResponse(watching=service.Watching()),
    service.WatchSessionsResponse(event=EVENT),
    service.WatchSessionsResponse(lagged=service.Lagged(missed=7)),
    # What a later contract may say.
    service.WatchSessionsResponse(),
    service.WatchSessionsResponse(event=service.SessionEvent(kind=99)),  # type: ignore[arg-type]  # not of this contract
]
READ = [
    Watching(),
    SessionEvent(
        kind=SessionEventKind.ENDED,
        session_id=SESSION_ID,
        peer_id="ann",
        group="table 7",
        epoch=3,
        termination_reason=TerminationReason.IDLE,
        resumable=True,
    ),
    Lagged(7),
    SessionEvent(
        kind=SessionEventKind.UNKNOWN,
        session_id=b"",
        peer_id="",
        group="",
        epoch=0,
        termination_reason=TerminationReason.NONE,
        resumable=False,
    ),
]
DRAINING = Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry_delay=0.1)


class Watched:
    """A service that tells TOLD to each watcher, and then stays silent or refuses."""

    def __init__(self, *, then: Refusal | None) -> None:
        self.address = ""
        self.requests: list[service.WatchSessionsRequest] = []
        self.then = then
        self.gone = asyncio.Event()

    async def watch(self, body: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        self.requests.append(service.WatchSessionsRequest.FromString(body))
        assert context.time_remaining() is None, "a watch has no deadline"
        for each in TOLD:
            yield each.SerializeToString()
        if self.then is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", self.then.details),))
            await context.abort(self.then.code, "scripted")
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()


@asynccontextmanager
async def watched(*, then: Refusal | None = None) -> AsyncIterator[Watched]:
    """A running service."""
    running = Watched(then=then)
    server = grpc.aio.server()
    rows: Rows = {"WatchSessions": grpc.unary_stream_rpc_method_handler(running.watch)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, rows),))
    running.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield running
    finally:
        await server.stop(None)


async def test_everything_that_is_told_is_read_in_its_order() -> None:
    """As values of the SDK; what only a later contract has is left out or UNKNOWN. Closing it ends the stream."""
    async with watched() as running, noisegate.connect(running.address) as client:
        async with aclosing(client.watch_sessions(peer_id="ann", group="table 7")) as events:
            assert [await anext(events) for _ in READ] == READ
        await asyncio.wait_for(running.gone.wait(), WAIT)
        assert running.requests == [service.WatchSessionsRequest(peer_id="ann", group="table 7")]


async def test_an_end_by_the_service_is_an_error_of_the_sdk_and_is_not_repeated() -> None:
    """Whoever watches decides where to go on."""
    async with watched(then=DRAINING) as running, noisegate.connect(running.address) as client:
        events = client.watch_sessions()
        for expected in READ:
            assert await anext(events) == expected
        with pytest.raises(noisegate.Draining) as ended:
            await anext(events)
        assert ended.value.retry_delay == 0.1
        assert len(running.requests) == 1


async def test_closing_the_client_ends_a_watch() -> None:
    """With ClientClosed, as it ends every other call."""
    async with watched() as running:
        client = noisegate.connect(running.address)
        events = client.watch_sessions()
        assert [await anext(events) for _ in READ] == READ
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(noisegate.ClientClosed):
            await waiting


@contextmanager
def threaded(*, then: Refusal | None = None) -> Iterator[tuple[str, threading.Event]]:
    """The same on threads: its address, and what is set once a watcher is gone."""
    gone = threading.Event()

    def watch(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(gone.set)
        yield from (each.SerializeToString() for each in TOLD)
        if then is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", then.details),))
            context.abort(then.code, "scripted")
        gone.wait(WAIT)

    rows: Rows = {"WatchSessions": grpc.unary_stream_rpc_method_handler(watch)}
    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, rows),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", gone
        finally:
            server.stop(None).wait(WAIT)


def test_the_blocking_client_reads_the_same() -> None:
    """And a caller that stops reading is gone at once, not when its client is closed."""
    with threaded() as (address, gone), noisegate.connect_sync(address) as client:
        events = client.watch_sessions(peer_id="ann")
        assert [next(events) for _ in READ] == READ
        events.close()
        assert gone.wait(WAIT)


def test_the_blocking_client_is_told_of_the_end() -> None:
    """By the same error."""
    with (
        threaded(then=DRAINING) as (address, _),
        noisegate.connect_sync(address) as client,
        pytest.raises(noisegate.Draining),
    ):
        list(client.watch_sessions())
