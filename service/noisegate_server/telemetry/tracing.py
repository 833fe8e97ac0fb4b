"""From the environment to spans on their way: resource, sampler, queue and exporter of OpenTelemetry's SDK.

Imported only where spans are wanted: the exporters take a third of a second to load.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Tracer

from noisegate_server.telemetry.aside import aside
from noisegate_server.telemetry.conventions import SCHEMA_URL
from noisegate_server.telemetry.destinations import GRPC, Destinations
from noisegate_server.telemetry.resource import SCOPE

__all__ = ["Tracing"]


class Tracing:
    """The spans of one process on their way out."""

    def __init__(self, destinations: Destinations, resource: Resource, version: str) -> None:
        """Without OTEL_TRACES_SAMPLER a call has a span where its caller samples its own.

        The SDK's default would begin a trace for every packet of every caller that has none.
        """
        sampler = ParentBased(ALWAYS_OFF) if destinations.sampler is None else None
        self._provider: Final = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(destinations.traces)))
        self.tracer: Final[Tracer] = self._provider.get_tracer(SCOPE, version, schema_url=SCHEMA_URL)

    async def stop(self, seconds: float) -> bool:
        """Send what waits; whether that was done in so many seconds."""
        return await aside(self._provider.shutdown, seconds)


def _exporter(protocol: str | None) -> SpanExporter:
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc  # noqa: PLC0415

        return OverGrpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp  # noqa: PLC0415

    return OverHttp()
