"""The grpcio transport over real sockets on loopback, with a table of its own."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from noisegate_server.rpc.call import Call, Code, Method, Reply
from noisegate_server.rpc.errors import Draining, defect, refusal
from noisegate_server.rpc.health import SERVICE
from noisegate_server.rpc.policy import Policy
from noisegate_server.rpc.running import Running
from noisegate_server.transport.grpcio import GrpcioTransport
from tests.support.streams import EchoMethod

Function = Callable[[Call, bytes], Reply | Awaitable[Reply]]


class Fixture:
    """A transport, its port and a channel to it."""

    def __init__(self, transport: GrpcioTransport, channel: Any, echo: EchoMethod, running: Running) -> None:
        # Any: the published types want serialisers, of which raw bytes have none.
        self.transport = transport
        self.echo = echo
        self.running = running
        self.unary = channel.unary_unary("/t.S/Unary")
        self.stream = channel.stream_stream("/t.S/Stream")
        self.channel = channel


@asynccontextmanager
async def serving(
    function: Function | None = None,
    *,
    unary_seconds: float = 5.0,
    defects: list[tuple[str, Exception]] | None = None,
) -> AsyncIterator[Fixture]:
    """A running transport with one unary method and one stream; what its adapter stumbled over goes to `defects`."""
    echo = EchoMethod()
    seen = [] if defects is None else defects
    running = Running()
    transport = GrpcioTransport(
        policy=Policy(),
        clock=time.monotonic,
        credentials=None,
        running=running,
        unary_seconds=unary_seconds,
        reflected=(SERVICE,),
        on_defect=lambda where, error: seen.append((where, error)),
    )
    port = transport.bind("127.0.0.1", 0)
    table = {
        "/t.S/Unary": Method(unary=function or (lambda _, body: (0, body))),
        "/t.S/Stream": Method(stream=echo, client_streaming=True, server_streaming=True),
    }
    await transport.start(table)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Fixture(transport, channel, echo, running)
    finally:
        await transport.stop(0)
    assert defects is not None or not seen, seen


async def refused(call: Awaitable[bytes]) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def trailing_metadata(error: grpc.aio.AioRpcError) -> dict[str, str | bytes]:
    """Keys to values; each comes once."""
    pairs: Any = error.trailing_metadata()
    return dict(pairs)


async def test_bytes_go_through_and_back() -> None:
    """Without a look at them: these are no protobuf."""
    async with serving() as server:
        assert await server.unary(b"\xff\x00") == b"\xff\x00"
        assert await server.unary(b"") == b""


async def test_a_refusal_has_its_message_and_its_details() -> None:
    """What SDKs read: the code, grpc-message, grpc-status-details-bin, and gRPC's own push-back."""
    reply = refusal(Draining())
    assert reply is not None
    async with serving(lambda _call, _body: reply) as server:
        error = await refused(server.unary(b""))
    trailing = trailing_metadata(error)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the service is stopping; go to another instance"
    assert trailing["grpc-status-details-bin"] == reply[1]
    assert trailing["grpc-retry-pushback-ms"] == "100"


@pytest.mark.parametrize("code", [code for code in Code if code])
async def test_every_code_arrives_as_itself(code: Code) -> None:
    """Our enum and gRPC's are the same numbers."""
    async with serving(lambda _call, _body: (code, b"")) as server:
        assert (await refused(server.unary(b""))).code().value[0] == code


def _aborted() -> list[grpc.aio.AbortError]:
    """Those that are there; other tests' may have been kept by whatever looked at them."""
    return [each for each in gc.get_objects() if isinstance(each, grpc.aio.AbortError)]


async def test_a_refusal_leaves_nothing_for_the_garbage_collector() -> None:
    """The exception by which gRPC ends a call or a stream goes with it, and so does all that hangs on it."""
    reply = refusal(Draining())
    assert reply is not None
    gc.collect()
    gc.disable()
    before = _aborted()
    try:
        async with serving(lambda _call, _body: reply) as server:
            await refused(server.unary(b""))
            stream = server.stream()
            await stream.write(b"first")
            assert await stream.read() == b"first"
            server.transport.drain()
            await refused(stream.read())
        server.echo.calls.clear()
        left = [each for each in _aborted() if all(each is not one for one in before)]
    finally:
        gc.enable()
    assert left == []


@pytest.mark.parametrize("sends", ["nothing", "its end"])
async def test_a_caller_that_sends_no_message_is_left_to_its_own_deadline(sends: str) -> None:
    """gRPC waits for the message itself; the call ends when its caller said it would."""
    async with serving() as server:
        call = server.channel.stream_unary("/t.S/Unary")(iter([]) if sends == "its end" else None, timeout=0.2)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_unknown_method_is_unimplemented() -> None:
    """That is gRPC's word for it, and it needs no ErrorInfo."""
    async with serving() as server:
        error = await refused(server.channel.unary_unary("/t.S/Nope")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_call_knows_its_caller_deadline_and_metadata() -> None:
    """The deadline is capped where the caller set none or a later one; an earlier one stands."""
    seen: list[Call] = []

    def look(call: Call, _: bytes) -> Reply:
        seen.append(call)
        return 0, call.metadata()["x-here"].encode()

    async with serving(look) as server:
        before = time.monotonic()
        for timeout in (None, 60.0, 2.0):
            assert await server.unary(b"", timeout=timeout, metadata=(("x-here", "yes"),)) == b"yes"
        after = time.monotonic()
    assert [call.caller.tenant for call in seen] == ["local"] * 3
    assert seen[0].caller is seen[1].caller
    for call, seconds in zip(seen, (5.0, 5.0, 2.0), strict=True):
        # gRPC rounds a timeout on its way.
        assert before + seconds - 0.5 < call.deadline < after + seconds + 0.5


async def test_a_call_that_waits_is_answered() -> None:
    """The seam's second shape of a reply."""

    async def later(body: bytes) -> Reply:
        await asyncio.sleep(0)
        return (0, body) if body else (int(Code.NOT_FOUND), b"")

    async with serving(lambda _, body: later(body)) as server:
        assert await server.unary(b"x") == b"x"
        assert (await refused(server.unary(b""))).code() is grpc.StatusCode.NOT_FOUND


async def test_a_call_that_waits_too_long_is_cut_but_runs_to_its_end() -> None:
    """Our own cap holds where the caller set no deadline; what it began is finished before the server is gone."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def wait() -> Reply:
        await gate.wait()
        done.set()
        return 0, b""

    async with serving(lambda _call, _body: wait(), unary_seconds=0.05) as server:
        assert (await refused(server.unary(b""))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not done.is_set()
        stopping = asyncio.ensure_future(server.transport.stop(5))
        gate.set()
        await stopping
        assert done.is_set()


async def test_a_cancelled_call_that_waits_runs_to_its_end() -> None:
    """The caller is gone; the operation is not."""
    started, gate, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait() -> Reply:
        started.set()
        await gate.wait()
        done.set()
        return 0, b""

    async with serving(lambda _call, _body: wait()) as server:
        call = server.unary(b"")
        await asyncio.wait_for(started.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not done.is_set()
        gate.set()
        await asyncio.wait_for(done.wait(), 5)


async def test_a_stop_waits_for_what_a_method_has_begun() -> None:
    """What goes on behind a stream that is gone as well as behind a call."""
    async with serving() as server:
        gate: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        server.running.begin(gate)
        stopping = asyncio.ensure_future(server.transport.stop(5))
        done, _ = await asyncio.wait([stopping], timeout=0.1)
        assert not done
        gate.set_result((0, b""))
        await stopping
        assert not len(server.running)


@pytest.mark.parametrize("shape", ["unary", "waits", "its status", "stream"])
async def test_a_defect_of_the_adapter_reaches_no_caller_as_text(shape: str) -> None:
    """INTERNAL in the catalogue's words, and the owner hears of it; gRPC would send the exception's own text."""
    defects: list[tuple[str, Exception]] = []

    async def broken_later() -> Reply:
        await asyncio.sleep(0)
        raise ValueError("hunter2")

    def broken(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
        if shape == "waits":
            return broken_later()
        if shape == "its status":
            return Code.NOT_FOUND, b"hunter2, which is no status"
        raise ValueError("hunter2")

    async with serving(broken, defects=defects) as server:
        if shape == "stream":
            server.echo.breaks = ValueError("hunter2")
            call = server.stream()
            assert await call.code() is grpc.StatusCode.INTERNAL
            details, trailing = await call.details(), dict(await call.trailing_metadata())
        else:
            error = await refused(server.unary(b"x"))
            assert error.code() is grpc.StatusCode.INTERNAL
            details, trailing = error.details(), trailing_metadata(error)
    assert (details, trailing["grpc-status-details-bin"]) == ("a defect of the service", defect("")[1])
    assert [where for where, _ in defects] == ["transport"]


async def test_a_stream_goes_both_ways_and_ends_well() -> None:
    """Over real HTTP/2, through the pump."""
    async with serving() as server:
        call = server.stream()
        await call.write(b"1")
        assert await call.read() == b"1"
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        assert server.echo.heard == ["message 1", "half_closed"]


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_a_stream_that_its_caller_gives_up_is_cancelled_not_half_closed(how: str) -> None:
    """grpc.aio reports the end of input first; a method must not take that for a proper end."""
    async with serving() as server:
        call = server.stream(timeout=0.3 if how == "deadline" else None)
        await call.write(b"1")
        assert await call.read() == b"1"
        heard = server.echo.heard
        if how == "cancelled":
            call.cancel()
        await asyncio.wait_for(server.echo.ended.wait(), 5)
        assert heard == ["message 1", "cancelled"]


async def test_draining_is_passed_on_to_open_streams() -> None:
    """Each ends with what its method says."""
    async with serving() as server:
        call = server.stream()
        await call.write(b"1")
        assert await call.read() == b"1"
        server.transport.drain()
        assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_message_above_the_backstop_is_refused_by_grpc() -> None:
    """Two MiB for all shapes, so that the largest batch fits; the table's own limits are lower."""
    async with serving() as server:
        assert len(await server.unary(bytes(2_000_000))) == 2_000_000
        error = await refused(server.unary(bytes(2 * 1024 * 1024 + 1)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_above_its_limit_is_refused_by_grpc() -> None:
    """No call starts for it."""
    async with serving() as server:
        error = await refused(server.unary(b"", metadata=(("x", "y" * 20_000),)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_reflection_lists_the_service() -> None:
    """So that grpcurl and its like work without the proto files."""
    async with serving() as server:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        assert SERVICE in {service.name for service in answer.list_services_response.service}


async def test_a_taken_port_is_an_os_error() -> None:
    """Not a line of grpcio's own."""
    async with serving():
        first = GrpcioTransport(policy=Policy(), clock=time.monotonic, credentials=None)
        port = first.bind("127.0.0.1", 0)
        second = GrpcioTransport(policy=Policy(), clock=time.monotonic, credentials=None)
        with pytest.raises(OSError, match="cannot listen"):
            second.bind("127.0.0.1", port)
        await first.stop(0)
        await second.stop(0)


@pytest.mark.parametrize("turns", range(8))
async def test_a_stream_that_is_refused_while_it_is_cut_is_no_defect(turns: int) -> None:
    """A second signal cuts what the first one has just told to go: then there is nobody to be refused, and no error."""
    seen: list[tuple[str, Exception]] = []
    async with serving(defects=seen) as server:
        calls = [server.stream() for _ in range(20)]
        for call in calls:
            await call.write(b"1")
            assert await call.read() == b"1"
        server.transport.drain()
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.transport.stop(0)
        for call in calls:
            assert await call.code() is not grpc.StatusCode.OK
    assert seen == []
