"""Probes without TLS beside a listener that demands certificates: health there, and nothing else."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

import noisegate
from noisegate import health
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
from tests.integration.conftest import Launch
from tests.integration.raw import SERVICE
from tests.support.certificates import Authority
from tests.support.logs import listening
from tests.support.server import RunningServer, run_command

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def probed(launch: Launch, tmp_path: Path) -> tuple[RunningServer, str]:
    """A server with mutual TLS, and where its health is answered without."""
    authority = Authority()
    identity = tmp_path / "identity"
    identity.touch(mode=0o600)
    identity.write_text("42" * 32)
    server = launch(
        *("--listen", "127.0.0.1:0", "--identity", str(identity), "--health-listen", "127.0.0.1:0", "--drain", "1"),
        *authority.write_server_files(tmp_path),
        tls=authority.tls(authority.caller("spiffe://game.example/match")),
    )
    return server, listening(server.log(), "probes")


async def test_liveness_and_readiness_are_told_without_a_certificate(probed: tuple[RunningServer, str]) -> None:
    """Each by its name, as a kubelet's grpc probe asks; a name of something else is unknown."""
    _, address = probed
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="noisegate.v1.AdminService"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_nothing_else_is_served_there(probed: tuple[RunningServer, str]) -> None:
    """No method of the service, and no reflection."""
    _, address = probed
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SessionCryptoServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        stub: Any = reflection_pb2_grpc
        # Without a message: a write into a stream that has ended meanwhile would fail as INTERNAL.
        assert await stub.ServerReflectionStub(channel).ServerReflectionInfo().code() is grpc.StatusCode.UNIMPLEMENTED


async def test_at_a_stop_readiness_ends_first(probed: tuple[RunningServer, str]) -> None:
    """So that no more callers are sent, while nobody kills a process that is still at work."""
    server, address = probed
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        server.signal(signal.SIGTERM)
        assert (await watch.read()).status == NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
        watch.cancel()
    assert server.wait() == 0


async def test_the_sdk_asks_with_a_certificate_and_without(probed: tuple[RunningServer, str]) -> None:
    """Without TLS only where that was said; a name that is not served is the service's refusal."""
    server, address = probed
    assert await health.is_serving(address, insecure=True)
    assert await health.is_serving(address, service="", insecure=True)
    with pytest.raises(noisegate.NoisegateError):
        await health.is_serving(address, service="noisegate.v1.AdminService", insecure=True)
    with pytest.raises(noisegate.ServiceUnavailable):
        await health.is_serving(server.address, insecure=True)
    with pytest.raises(noisegate.InsecureTarget):
        await health.is_serving("noisegate.example:7445")


def test_the_command_says_by_its_exit_code_whether_calls_are_taken(probed: tuple[RunningServer, str]) -> None:
    """And says who did not answer."""
    _, address = probed
    asked = run_command("health", "--target", address)
    assert (asked.returncode, asked.stdout) == (0, "serving\n")
    nobody = run_command("health", "--target", "127.0.0.1:1", "--timeout", "1")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "127.0.0.1:1" in nobody.stderr
