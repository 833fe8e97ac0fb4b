"""Metrics by OTLP, from time to time: our own integers as the data points of OpenTelemetry's exporter.

Not through the SDK's instruments: it has no histogram that can be read from elsewhere, and its own is too dear for
every call. Imported only where metrics are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from noisegate_server.telemetry.aside import aside
from noisegate_server.telemetry.conventions import SCHEMA_URL
from noisegate_server.telemetry.destinations import GRPC
from noisegate_server.telemetry.families import Buckets, Kind, Point, Snapshot
from noisegate_server.telemetry.resource import SCOPE

__all__ = ["MetricExport", "metrics_data"]

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_NANO: Final = 1_000_000_000


def metrics_data(snapshot: Snapshot, resource: Resource, *, version: str, started: float, now: float) -> MetricsData:
    """A snapshot as OTLP has it. `started` and `now`: Unix seconds."""
    times = int(started * _NANO), int(now * _NANO)
    metrics = [
        Metric(
            name=family.name, description=family.description, unit=family.unit, data=_data(family.kind, points, times)
        )
        for family, points in snapshot
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, version, SCHEMA_URL), metrics, SCHEMA_URL)
    return MetricsData([ResourceMetrics(resource, [scope], resource.schema_url)])


def _data(kind: Kind, points: Sequence[Point], times: tuple[int, int]) -> Any:
    if kind is Kind.HISTOGRAM:
        histograms = [
            _histogram(attributes, value, times) for attributes, value in points if isinstance(value, Buckets)
        ]
        return Histogram(histograms, _CUMULATIVE)
    numbers = [
        NumberDataPoint(attributes, *times, value) for attributes, value in points if not isinstance(value, Buckets)
    ]
    return Gauge(numbers) if kind is Kind.GAUGE else Sum(numbers, _CUMULATIVE, is_monotonic=True)


def _histogram(attributes: Any, value: Buckets, times: tuple[int, int]) -> HistogramDataPoint:
    # The least and the greatest are optional in OTLP; to keep them would cost each call two comparisons.
    unknown: Any = None
    return HistogramDataPoint(
        attributes, *times, sum(value.counts), value.sum, value.counts, value.bounds, unknown, unknown
    )


class MetricExport:
    """Sends what `read` gives."""

    def __init__(self, protocol: str, read: Callable[[], MetricsData], interval: float) -> None:
        """`interval`: seconds between two."""
        self._exporter: Final = _exporter(protocol)
        self._read: Final = read
        self._interval: Final = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on."""
        self._task = asyncio.create_task(self._run(), name="metrics")

    async def stop(self, seconds: float) -> None:
        """Send the last numbers, for so many seconds at most."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        data = self._read()

        def finish() -> None:
            self._exporter.export(data)
            self._exporter.shutdown()

        await aside(finish, seconds)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            data = self._read()
            await aside(lambda data=data: self._exporter.export(data), None)  # type: ignore[misc]  # bound at once


def _exporter(protocol: str) -> MetricExporter:
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc  # noqa: PLC0415

        return OverGrpc()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp  # noqa: PLC0415

    return OverHttp()
