"""Metrics of a running service that has seen traffic: scraped by Prometheus' parser, received by OTLP."""

from __future__ import annotations

import asyncio
import os

import pytest

import noisegate
from noisegate import Client, NoisegateError, RotationKind
from tests.integration.conftest import DEV, Launch
from tests.support.logs import told
from tests.support.noise_client import Setup, open_datagram, open_noise
from tests.support.otlp import PROTOCOLS, attributes, receiver
from tests.support.scrape import OPTION, metrics_url, scrape, value
from tests.support.server import RunningServer

PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
SERVICE = "noisegate.v1.SessionCryptoService"


async def play(client: Client) -> None:
    """Two handshakes, a rotation, messages both ways, a refusal; one session stays."""
    road = await open_datagram(client, Setup(pattern=noisegate.Pattern.IK))
    await road.talk()
    await road.to_player((await road.session.rotate(RotationKind.RENEGOTIATE)).to_peer)
    await road.talk()
    with pytest.raises(NoisegateError):
        await road.session.decrypt(os.urandom(60))
    session, player = await open_noise(client, Setup(pattern=noisegate.Pattern.XX))
    assert (await session.decrypt(player.seal(b"roll"))).plaintext == b"roll"
    await road.session.close()
    session.detach()


async def test_a_scrape_shows_what_the_service_has_done(launch: Launch) -> None:
    """By method and code, by protocol and outcome, by cause and reason."""
    server = launch(*DEV, *OPTION)
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        await play(client)
    samples = await asyncio.to_thread(scrape, metrics_url(server))
    call = {"rpc_system_name": "grpc", "rpc_method": f"{SERVICE}/Handshake", "rpc_status_code": "OK"}
    calls = "rpc_server_call_duration_seconds"
    assert value(samples, f"{calls}_count", **call) == 3
    assert value(samples, f"{calls}_bucket", **call, le="+Inf") == 3
    assert 0 < value(samples, f"{calls}_sum", **call) < 3
    refused = call | {"rpc_method": f"{SERVICE}/Decrypt", "rpc_status_code": "INVALID_ARGUMENT"}
    assert value(samples, f"{calls}_count", **refused) == 1
    suite = "CHACHA20_POLY1305_X25519"
    for pattern in ("IK", "XX"):
        labels = {"pattern": pattern, "suite": suite, "outcome": "established"}
        assert value(samples, "noisegate_handshakes_total", **labels) == 1
    assert value(samples, "noisegate_rotations_total", kind="renegotiate", cause="caller") == 1
    assert value(samples, "noisegate_refusals_total", reason="DECRYPT_FAILED") == 1
    assert value(samples, "noisegate_sessions_ended_total", reason="closed") == 1
    states = {"handshaking": 0, "established": 1, "rotating": 0, "suspended": 0}
    assert {state: value(samples, "noisegate_sessions", state=state) for state in states} == states
    sealed = value(samples, "noisegate_messages_total", operation="seal")
    opened = value(samples, "noisegate_messages_total", operation="open")
    assert sealed >= 1
    assert opened >= 2
    assert value(samples, "noisegate_plaintext_bytes_total", operation="open") >= 4
    assert value(samples, "noisegate_sessions_limit") == 1_000_000
    assert value(samples, "noisegate_sweeps_total") > 0
    assert value(samples, "process_memory_usage_bytes") > 1e7
    (target,) = samples["target_info"]
    assert dict(target)["service_name"] == "noisegate"
    while not samples["noisegate_event_loop_lag_seconds_count"][frozenset()]:
        samples = await asyncio.to_thread(scrape, metrics_url(server))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_same_numbers_leave_by_otlp(protocol: str) -> None:
    """From time to time, and the last ones at the stop."""
    with receiver(protocol) as received:
        environment = received.environment | {"OTEL_METRIC_EXPORT_INTERVAL": "200"}
        server = RunningServer(DEV, environment=environment)
        try:
            async with noisegate.connect(server.address, policy=PATIENT) as client:
                await asyncio.to_thread(received.metric, "process.uptime")
                await play(client)
        finally:
            assert await asyncio.to_thread(server.stop) == 0, server.log()
        handshakes = received.metrics["noisegate.handshakes"]
        assert handshakes.sum.is_monotonic
        assert {attributes(point.attributes)["pattern"] for point in handshakes.sum.data_points} == {"IK", "XX"}
        calls = received.metrics["rpc.server.call.duration"]
        assert calls.unit == "s"
        counts = {
            attributes(point.attributes)["rpc.method"]: point.count
            for point in calls.histogram.data_points
            if attributes(point.attributes)["rpc.status_code"] == "OK"
        }
        assert counts[f"{SERVICE}/Handshake"] == 3
        ended = received.metrics["noisegate.sessions.ended"].sum.data_points
        assert {attributes(point.attributes)["reason"]: point.as_int for point in ended} == {
            "closed": 1,
            "shutdown": 1,
            "lost": 0,
        }


def test_without_an_option_nobody_listens_and_nothing_is_sent() -> None:
    """The log says where metrics are, if they are anywhere."""
    server = RunningServer(DEV)
    try:
        assert told(server.log(), "listening", what="metrics") == []
    finally:
        assert server.stop() == 0
