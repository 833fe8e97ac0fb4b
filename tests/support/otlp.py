"""An OTLP receiver: what a collector is to the service, over gRPC and over HTTP, with a memory that a test can ask."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOCOLS: Final = ("grpc", "http/protobuf")
_PATIENCE: Final = 20.0


def attributes(pairs: Any) -> dict[str, Any]:
    """OTLP's key-values as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Received:
    """Everything that has come."""

    def __init__(self, endpoint: str, protocol: str) -> None:
        self.endpoint = endpoint
        self.spans: list[Span] = []
        self.metrics: dict[str, Metric] = {}
        """By name, the newest of each."""
        self.resources: list[Resource] = []
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        """What sends a process's telemetry here."""
        self._news = threading.Condition()

    def take_spans(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        """As the TraceService's Export."""
        with self._news:
            for resource_spans in request.resource_spans:
                self.resources.append(resource_spans.resource)
                for scope_spans in resource_spans.scope_spans:
                    self.spans += scope_spans.spans
            self._news.notify_all()

    def take_metrics(self, request: metrics_service_pb2.ExportMetricsServiceRequest) -> None:
        """As the MetricsService's Export."""
        with self._news:
            for resource_metrics in request.resource_metrics:
                self.resources.append(resource_metrics.resource)
                for scope_metrics in resource_metrics.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in scope_metrics.metrics}
            self._news.notify_all()

    def span(self, wanted: Callable[[Span], bool]) -> Span:
        """The first span that is wanted, as soon as it has come."""
        return self.spans_until(lambda spans: any(map(wanted, spans)), wanted)[0]

    def spans_until(self, enough: Callable[[list[Span]], bool], wanted: Callable[[Span], bool]) -> list[Span]:
        """The wanted ones of all spans, once there are enough."""
        with self._news:
            assert self._news.wait_for(lambda: enough(self.spans), _PATIENCE), [span.name for span in self.spans]
            return [span for span in self.spans if wanted(span)]

    def metric(self, name: str, wanted: Callable[[Metric], bool] = lambda _: True) -> Metric:
        """A metric, as soon as it has come as wanted."""
        with self._news:
            assert self._news.wait_for(lambda: name in self.metrics and wanted(self.metrics[name]), _PATIENCE), (
                self.metrics.keys()
            )
            return self.metrics[name]


@contextmanager
def receiver(protocol: str) -> Iterator[Received]:
    """A receiver on loopback that speaks one of PROTOCOLS."""
    with (_over_grpc if protocol == "grpc" else _over_http)(protocol) as received:
        yield received


@contextmanager
def _over_grpc(protocol: str) -> Iterator[Received]:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    received = Received(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", protocol)

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # the contract's name
            received.take_spans(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802  # likewise
            received.take_metrics(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()

    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()


@contextmanager
def _over_http(protocol: str) -> Iterator[Received]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                received.take_spans(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            else:
                received.take_metrics(metrics_service_pb2.ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(f"http://127.0.0.1:{server.server_port}", protocol)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
