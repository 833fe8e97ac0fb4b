"""Traces across processes: a caller's span, the service's below it, received by a real OTLP receiver."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import noisegate
from noisegate import RotationKind
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
from tests.support.noise_client import Setup, open_datagram
from tests.support.otlp import PROTOCOLS, Received, attributes, receiver
from tests.support.server import ROOT, RunningServer

DEV = ("--dev", "--listen", "127.0.0.1:0")
SERVICE = "noisegate.v1.SessionCryptoService"


@contextmanager
def traced_server(received: Received, **variables: str) -> Iterator[RunningServer]:
    """A service whose spans go to `received`."""
    server = RunningServer(DEV, environment=received.environment | variables)
    try:
        yield server
    finally:
        code = server.stop()
        assert code == 0, server.log()
        assert "defect" not in server.log()


class Caller:
    """A caller with a trace of its own, without the SDK: what any gRPC client of any language sends."""

    def __init__(self, address: str, sampled: bool = True) -> None:
        self.trace_id, self.span_id = secrets.token_bytes(16), secrets.token_bytes(8)
        self.metadata = [
            ("traceparent", f"00-{self.trace_id.hex()}-{self.span_id.hex()}-0{int(sampled)}"),
            ("tracestate", "studio=table7"),
        ]
        self._channel = grpc.insecure_channel(address)
        self._stub = SessionCryptoServiceStub(self._channel)

    def call(self, method: str, request: Any) -> Any:
        """The answer, or the code of the refusal."""
        try:
            return getattr(self._stub, method)(request, timeout=10, metadata=self.metadata)
        except grpc.RpcError as error:
            return error.code()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def is_mine(self, span: Span) -> bool:
        """Whether a span is of this caller's trace."""
        return span.trace_id == self.trace_id


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_trace_spans_caller_and_service(protocol: str) -> None:
    """Parent, kind, names, status, state and resource, over both protocols of OTLP."""
    with receiver(protocol) as received:
        named = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
        with traced_server(received, **named) as server:
            caller = Caller(server.address)
            assert caller.call("GetCapabilities", pb.GetCapabilitiesRequest()).endpoint == server.address
            span = received.span(caller.is_mine)
            caller.close()
        assert (span.parent_span_id, span.kind, span.trace_state) == (
            caller.span_id,
            Span.SPAN_KIND_SERVER,
            "studio=table7",
        )
        assert span.name == f"{SERVICE}/GetCapabilities"
        found = attributes(span.attributes)
        assert found == {"rpc.system.name": "grpc", "rpc.method": span.name, "rpc.status_code": "OK"}
        assert span.status.code == Status.STATUS_CODE_UNSET
        assert 0 < span.start_time_unix_nano < span.end_time_unix_nano
        resource = attributes(received.resources[0].attributes)
        assert resource["service.name"] == "noisegate"
        assert resource["deployment.environment.name"] == "test"
        assert resource["service.version"]
        assert resource["service.instance.id"]


def test_a_refusal_that_is_the_callers_fault_is_no_error_of_the_service() -> None:
    """`grpc.aio` aborts such a call; its span says what the caller was told."""
    with receiver("grpc") as received, traced_server(received) as server:
        caller = Caller(server.address)
        request = pb.EncryptRequest(session_id=os.urandom(24), plaintext=b"to nobody")
        assert caller.call("Encrypt", request) is grpc.StatusCode.NOT_FOUND
        span = received.span(caller.is_mine)
        found = attributes(span.attributes)
        assert found["rpc.status_code"] == "NOT_FOUND"
        assert found["noisegate.error.reason"] == "SESSION_NOT_FOUND"
        assert "error.type" not in found
        assert span.status.code == Status.STATUS_CODE_UNSET
        caller.close()


def test_a_caller_that_does_not_sample_is_not_traced_and_one_without_a_trace_neither() -> None:
    """Unless the sampler of the environment says so: the third call is the first span that comes."""
    with receiver("grpc") as received, traced_server(received) as server:
        quiet, loud = Caller(server.address, sampled=False), Caller(server.address)
        quiet.call("GetCapabilities", pb.GetCapabilitiesRequest())
        with grpc.insecure_channel(server.address) as channel:
            SessionCryptoServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
        loud.call("GetCapabilities", pb.GetCapabilitiesRequest())
        received.span(loud.is_mine)
        assert len(received.spans) == 1
        quiet.close()
        loud.close()


def test_the_standard_sampler_of_the_environment_decides() -> None:
    """parentbased_always_on begins a trace for who has none."""
    with receiver("grpc") as received, traced_server(received, OTEL_TRACES_SAMPLER="parentbased_always_on") as server:
        with grpc.insecure_channel(server.address) as channel:
            SessionCryptoServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
        assert received.span(lambda span: span.name.endswith("/GetCapabilities")).parent_span_id == b""


async def test_what_happens_to_a_session_stands_in_the_spans_that_brought_it_about() -> None:
    """Handshake steps, a rotation and the end, under one name for the session that is not its id."""
    with receiver("grpc") as received, traced_server(received, OTEL_TRACES_SAMPLER="always_on") as server:
        policy = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
        async with noisegate.connect(server.address, policy=policy) as client:
            road = await open_datagram(client, Setup(pattern=noisegate.Pattern.XX))
            await road.to_player((await road.session.rotate(RotationKind.RENEGOTIATE)).to_peer)
            await road.talk()
            await road.session.close()
        spans = received.spans_until(
            lambda spans: any(span.name.endswith("/CloseSession") for span in spans), lambda _: True
        )
        steps = [
            attributes(span.attributes)["noisegate.handshake.step"] for span in spans if span.name.endswith("Handshake")
        ]
        assert steps == ["respond", "proceed"]
        events = {event.name: attributes(event.attributes) for span in spans for event in span.events}
        established = events["noisegate.session.established"]
        assert established["noisegate.pattern"] == "XX"
        assert established["noisegate.mode"] == "DATAGRAM"
        assert established["noisegate.resumed"] is False
        assert events["noisegate.session.rotated"]["noisegate.epoch"] == 1
        assert events["noisegate.session.ended"]["noisegate.termination.reason"] == "CLOSED"
        assert len({event["noisegate.session"] for event in events.values()}) == 1
        everything = b"".join(span.SerializeToString() for span in spans)
        assert road.session.id not in everything
        assert road.session.id.hex().encode() not in everything


def test_a_receiver_that_is_gone_holds_up_neither_calls_nor_the_stop() -> None:
    """What cannot be sent is dropped within the grace."""
    with receiver("grpc") as received:
        gone = received.environment
    server = RunningServer((*DEV, "--grace", "1"), environment=gone | {"OTEL_TRACES_SAMPLER": "always_on"})
    with grpc.insecure_channel(server.address) as channel:
        SessionCryptoServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
    assert server.stop() == 0, server.log()


def run_python(*arguments: str, **variables: str) -> None:
    """Another process, to its end."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_one_trace_goes_through_the_sdk_of_one_process_and_the_service_of_another() -> None:
    """Caller's span, the SDK's client span, the server's span: each below the one before, whatever the call was."""
    with receiver("grpc") as received, traced_server(received) as server:
        run_python("-m", "tests.support.traced_caller", server.address, **received.environment)
        received.span(lambda span: span.name.endswith("/GetCapabilities") and span.kind == Span.SPAN_KIND_SERVER)
        spans = {span.span_id: span for span in received.spans}
        servers = [span for span in spans.values() if span.kind == Span.SPAN_KIND_SERVER]
        for span in servers:
            above = spans[span.parent_span_id]
            assert (above.name, above.kind, above.trace_id) == (span.name, Span.SPAN_KIND_CLIENT, span.trace_id)
            found = attributes(above.attributes)
            assert found["rpc.system.name"] == "grpc"
            assert found["rpc.method"] == span.name
            assert f"{found['server.address']}:{found['server.port']}" == server.address
            caller = spans.get(above.parent_span_id)
            assert (caller is None) is span.name.endswith("/Transport")
            if caller is not None:
                assert caller.name in {"player joins", "packets travel", "without a loop"}
        methods = {span.name.rpartition("/")[2] for span in servers}
        assert {"Handshake", "Decrypt", "Transport", "CloseSession", "GetCapabilities"} <= methods


def test_what_the_caller_is_told_is_an_error_to_the_caller_alone() -> None:
    """A record that does not open: the client's span is an error, the server's is none."""
    with receiver("grpc") as received, traced_server(received) as server:
        run_python("-m", "tests.support.traced_caller", server.address, **received.environment)
        refused = received.spans_until(lambda spans: sum(map(_is_refused, spans)) == 2, _is_refused)
        statuses = {span.kind: span.status.code for span in refused}
        assert statuses == {
            Span.SPAN_KIND_CLIENT: Status.STATUS_CODE_ERROR,
            Span.SPAN_KIND_SERVER: Status.STATUS_CODE_UNSET,
        }
        types = {span.kind: attributes(span.attributes).get("error.type") for span in refused}
        assert types == {Span.SPAN_KIND_CLIENT: "INVALID_ARGUMENT", Span.SPAN_KIND_SERVER: None}


def _is_refused(span: Span) -> bool:
    return attributes(span.attributes).get("noisegate.error.reason") == "DECRYPT_FAILED"


def test_without_opentelemetry_the_sdk_works_and_makes_no_spans() -> None:
    """It is an extra of the SDK's."""
    server = RunningServer(DEV)
    try:
        run_python(
            "-c",
            "import sys\n"
            "sys.modules['opentelemetry'] = None\n"
            "import noisegate\n"
            "from noisegate import _tracing\n"
            "assert not _tracing.INSTALLED\n"
            "with noisegate.connect_sync(sys.argv[1]) as client:\n"
            "    assert client.capabilities().static_key\n",
            server.address,
        )
    finally:
        assert server.stop() == 0
