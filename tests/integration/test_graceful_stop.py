"""SIGTERM: what runs is finished, what comes is refused, watchers are told, and the exit is clean."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import noisegate
from noisegate import RecordMode
from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.integration.conftest import DEV, Launch
from tests.integration.raw import SERVICE, aio_method, trailers
from tests.support import logs
from tests.support.noise_client import Setup, open_noise
from tests.support.server import RunningServer

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def _exit_code(server: RunningServer, seconds: float = 15.0) -> int:
    return await asyncio.to_thread(server.wait, seconds)


async def test_a_stop_under_load_loses_no_answer(launch: Launch) -> None:
    """Twelve callers seal without a pause: each gets answers until it is refused as UNAVAILABLE, and nothing else."""
    server = launch()
    async with noisegate.connect(server.address) as client, grpc.aio.insecure_channel(server.address) as channel:
        session, player = await open_noise(client, Setup())
        lock = asyncio.Lock()
        counters: list[int] = []
        warm = asyncio.Event()
        call = aio_method(channel, "Encrypt")
        request = pb.EncryptRequest(session_id=session.id, plaintext=b"x").SerializeToString()

        async def seal_on() -> grpc.aio.AioRpcError:
            while True:
                try:
                    answer = await call(request, timeout=10)
                except grpc.aio.AioRpcError as error:
                    return error
                async with lock:
                    counters.append(pb.EncryptResponse.FromString(answer).counter)
                    if len(counters) > 200:
                        warm.set()

        callers = [asyncio.ensure_future(seal_on()) for _ in range(12)]
        await warm.wait()
        server.signal(signal.SIGTERM)
        for error in await asyncio.gather(*callers):
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        # Every counter that was consumed was also answered: nothing that ran was cut off.
        assert sorted(counters) == list(range(len(counters)))
    assert await _exit_code(server) == 0
    log = server.log()
    assert "stopped" in log
    assert "defect" not in log
    assert player.established


async def _read_on(watch: Any, seen: list[int]) -> None:
    while True:
        seen.append((await watch.read()).status)


@pytest.mark.parametrize(("service", "told"), [(SERVICE, [SERVING, NOT_SERVING]), ("", [SERVING])])
async def test_watchers_are_told_before_the_end(launch: Launch, service: str, told: list[int]) -> None:
    """Readiness turns to NOT_SERVING; liveness holds; both streams end with UNAVAILABLE and a hint to retry."""
    server = launch()
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        seen = [(await watch.read()).status]
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await _read_on(watch, seen)
        assert seen == told
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert trailers(ended.value)["grpc-retry-pushback-ms"] == "100"
    assert await _exit_code(server) == 0


class _Stream:
    """An open reflection stream: the longest-running call that a server has."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._requests: asyncio.Queue[reflection_pb2.ServerReflectionRequest | None] = asyncio.Queue()
        stub: Any = reflection_pb2_grpc.ServerReflectionStub
        self._call = stub(channel).ServerReflectionInfo(self._all())

    async def _all(self) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def ask(self) -> int:
        """How many services there are."""
        self._requests.put_nowait(reflection_pb2.ServerReflectionRequest(list_services=""))
        return len((await self._call.read()).list_services_response.service)

    async def finish(self) -> grpc.StatusCode:
        """Half-closes; how the call ended."""
        self._requests.put_nowait(None)
        return await self.code()

    async def code(self) -> grpc.StatusCode:
        """How the call ended."""
        code: grpc.StatusCode = await self._call.code()
        return code


async def _draining(channel: grpc.aio.Channel, server: RunningServer) -> None:
    """Sends SIGTERM and returns when the server has taken note of it."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == SERVING
    server.signal(signal.SIGTERM)
    assert (await watch.read()).status == NOT_SERVING


async def test_a_running_call_is_finished_and_new_ones_are_refused(launch: Launch) -> None:
    """Within the grace a call that runs is served to its end; a new one is UNAVAILABLE; then the process ends."""
    server = launch(*DEV, "--grace", "60")
    async with (
        grpc.aio.insecure_channel(server.address) as channel,
        noisegate.connect(server.address, policy=noisegate.CallPolicy(attempts=1)) as client,
    ):
        stream = _Stream(channel)
        services = await stream.ask()
        assert (await client.capabilities()).protocol_version == 1
        await _draining(channel, server)
        with pytest.raises(noisegate.NoisegateError) as refused:
            await client.capabilities()
        assert refused.value.code is grpc.StatusCode.UNAVAILABLE
        assert server.running
        assert await stream.ask() == services
        assert await stream.finish() is grpc.StatusCode.OK
        assert await _exit_code(server) == 0


async def test_the_grace_is_the_longest_that_a_stop_takes(launch: Launch) -> None:
    """A call that does not end is cut when the grace is over."""
    server = launch(*DEV, "--grace", "0.2")
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = _Stream(channel)
        await stream.ask()
        server.signal(signal.SIGTERM)
        assert await _exit_code(server) == 0
        assert await stream.code() is not grpc.StatusCode.OK


async def test_a_second_signal_cuts_the_grace_short(launch: Launch) -> None:
    """An operator in a hurry does not have to use SIGKILL."""
    server = launch(*DEV, "--grace", "300")
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = _Stream(channel)
        await stream.ask()
        await _draining(channel, server)
        assert server.running
        server.signal(signal.SIGTERM)
        assert await _exit_code(server) == 0
        assert await stream.code() is not grpc.StatusCode.OK


@pytest.mark.parametrize("grace", ["0.2", "300"])
async def test_a_call_that_does_not_end_costs_no_session(launch: Launch, tmp_path: Path, grace: str) -> None:
    """Sessions have time of their own to leave: after the calls' grace, and after a second signal that cuts it."""
    options = ["--listen", "127.0.0.1:0", "--grace", grace, "--state-file", str(tmp_path / "state")]
    for name in ("identity", "blob-key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(os.urandom(32).hex())
        options += [f"--{name}", str(tmp_path / name)]
    before = launch(*options)
    async with noisegate.connect(before.address) as client, grpc.aio.insecure_channel(before.address) as channel:
        session, player = await open_noise(client, Setup())
        endless = _Stream(channel)
        await endless.ask()
        await _draining(channel, before)
        if grace == "300":
            before.signal(signal.SIGTERM)
        assert await _exit_code(before) == 0
        assert await endless.code() is not grpc.StatusCode.OK
    (line,) = logs.told(before.log(), "sessions suspended: their first calls bring them back")
    assert line["count"] == 1
    async with noisegate.connect(launch(*options).address) as client:
        sealed = await client.session(session.id, mode=RecordMode.NOISE).encrypt(b"welcome")
    assert player.open(sealed.packet) == b"welcome"


async def test_after_a_restart_old_sessions_are_unknown(launch: Launch) -> None:
    """Sessions live in memory: the next process does not know the ids of the last one, and says just that."""
    first = launch()
    async with noisegate.connect(first.address) as client:
        session, _ = await open_noise(client, Setup())
    assert first.stop() == 0
    second = launch()
    async with noisegate.connect(second.address) as client:
        with pytest.raises(noisegate.SessionNotFound):
            await client.session(session.id).encrypt(b"x")
