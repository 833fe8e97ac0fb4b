"""What a gRPC server owes its callers besides the contract: health, reflection, deadlines, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import noisegate
from noisegate import Client
from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.integration.raw import DETAILS, SERVICE, aio_method, bytes_method, trailers
from tests.support.noise_client import Setup, open_datagram, open_noise
from tests.support.server import RunningServer

_reflection: Any = reflection_pb2_grpc.ServerReflectionStub
"""Its published types know blocking channels alone."""


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    """A bare channel."""
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_says_serving(channel: grpc.aio.Channel, service: str) -> None:
    """Liveness and readiness, by Check and by Watch."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


async def test_health_of_an_unknown_service(channel: grpc.aio.Channel) -> None:
    """Check says NOT_FOUND, Watch says SERVICE_UNKNOWN and stays open, as grpc.health.v1 asks."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="chess")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert not watch.done()
    watch.cancel()


async def test_reflection_names_the_service_and_its_methods(channel: grpc.aio.Channel) -> None:
    """grpcurl and its kin need no proto file."""
    stub = _reflection(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert SERVICE in [each.name for each in answers[0].list_services_response.service]
    files = answers[1].file_descriptor_response.file_descriptor_proto
    assert any(b"noisegate/v1/session_crypto_service.proto" in each for each in files)


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    """Of our service, of another one, and with a path that is none."""
    for path in (f"/{SERVICE}/Guess", "/chess.v1.Board/Move", f"/{SERVICE.lower()}/encrypt", "/"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await bytes_method(channel, path)(b"", timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_frame_over_the_transports_limit_is_refused_by_it(channel: grpc.aio.Channel, client: Client) -> None:
    """Three mebibytes never reach us; the connection goes on."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await aio_method(channel, "Encrypt")(bytes(3 * 1024 * 1024), timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert DETAILS not in trailers(refused.value)
    assert (await client.capabilities()).protocol_version == 1


async def test_too_much_metadata_is_refused(channel: grpc.aio.Channel) -> None:
    """Twenty kibibytes are over the hard limit; the next call is answered."""
    call = aio_method(channel, "GetCapabilities")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"", metadata=(("x-filler", "f" * 20_480),), timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert pb.GetCapabilitiesResponse.FromString(await call(b"", timeout=10)).protocol_version == 1


async def test_hurried_callers_burn_counters_and_nothing_else(channel: grpc.aio.Channel, client: Client) -> None:
    """A deadline of a millisecond passes or not: no counter comes twice, and the next patient call is answered."""
    road = await open_datagram(client, Setup(), tickets=False)
    await road.talk()
    before = (await road.session.describe()).sealed
    request = pb.EncryptRequest(session_id=road.session.id, plaintext=b"hurry").SerializeToString()
    call = aio_method(channel, "Encrypt")
    ends = await asyncio.gather(*(call(request, timeout=0.001) for _ in range(300)), return_exceptions=True)
    packets = []
    for end in ends:
        if isinstance(end, grpc.aio.AioRpcError):
            assert end.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            assert isinstance(end, bytes)
            packets.append(pb.EncryptResponse.FromString(end))
    counters = [each.counter for each in packets]
    assert len(set(counters)) == len(counters)
    assert len(packets) < len(ends)
    last = await road.session.encrypt(b"patient")
    assert before + len(packets) <= last.counter <= before + len(ends)
    assert await road.to_player([*(each.ciphertext for each in packets), last.packet]) == [
        *[b"hurry"] * len(packets),
        b"patient",
    ]
    await road.session.close()


async def test_callers_that_cancel_leave_the_service_well(channel: grpc.aio.Channel, client: Client) -> None:
    """Cancelled after every number of steps of the client's loop; the session goes on, in step with itself."""
    road = await open_datagram(client, Setup(), tickets=False)
    request = pb.EncryptRequest(session_id=road.session.id, plaintext=b"x").SerializeToString()
    call = aio_method(channel, "Encrypt")
    for steps in range(60):
        running: Any = call(request, timeout=10)
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
    await road.talk()
    sealed = await road.session.encrypt(b"after")
    assert sealed.counter <= 62
    assert await road.to_player(sealed.messages) == [b"after"]
    await road.session.close()


@pytest.mark.parametrize("ids", [False, True])
async def test_a_thousand_calls_at_once_get_a_thousand_counters(
    channel: grpc.aio.Channel, client: Client, ids: bool
) -> None:
    """One session, no order among the calls: every counter comes once and every record opens."""
    road = await open_datagram(client, Setup(), tickets=False)
    first = (await road.session.describe()).sealed
    call = aio_method(channel, "Encrypt")

    async def seal(number: int) -> pb.EncryptResponse:
        request = pb.EncryptRequest(
            session_id=road.session.id, plaintext=b"%d" % number, request_id=f"r{number}" if ids else ""
        )
        return pb.EncryptResponse.FromString(await call(request.SerializeToString(), timeout=30))

    sealed = await asyncio.gather(*(seal(number) for number in range(1_000)))
    assert sorted(each.counter for each in sealed) == list(range(first, first + 1_000))
    ordered = sorted(sealed, key=lambda each: each.counter)
    read = await road.to_player([each.ciphertext for each in ordered])
    assert sorted(read, key=int) == [b"%d" % number for number in range(1_000)]
    await road.session.close()


async def test_a_noise_session_refuses_nothing_to_calls_that_overlap(client: Client) -> None:
    """The SDK keeps one call of each direction in flight, so that order is what the game made it."""
    session, player = await open_noise(client, Setup())
    sealed = await asyncio.gather(*(session.encrypt(b"%d" % number) for number in range(100)))
    assert [player.open(each.packet) for each in sealed] == [b"%d" % number for number in range(100)]
    opened = await asyncio.gather(*(session.decrypt(player.seal(b"%d" % number)) for number in range(100)))
    assert [each.plaintext for each in opened] == [b"%d" % number for number in range(100)]
    await session.close()


async def test_a_caller_that_stops_reading_does_not_hold_up_others(server: RunningServer, client: Client) -> None:
    """A connection that sends half a request and then nothing keeps its own socket, and no one else's call."""
    host, port = server.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        await writer.drain()
        assert await reader.read(9)
        for _ in range(20):
            assert (await client.capabilities()).protocol_version == 1
    finally:
        writer.close()
        await writer.wait_closed()


async def test_garbage_on_the_socket_ends_that_connection_alone(server: RunningServer, client: Client) -> None:
    """HTTP/1, TLS and noise are answered by closing, and by nothing else."""
    host, port = server.address.rsplit(":", 1)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(512), bytes(4_096)):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        await writer.drain()
        async with asyncio.timeout(10):
            try:
                while await reader.read(4_096):
                    pass
            except ConnectionResetError:
                pass
        writer.close()
    assert isinstance(await client.capabilities(), noisegate.Capabilities)
