"""Spans that stay in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from noisegate_server.telemetry.destinations import SpanRules
from noisegate_server.telemetry.spans import CallSpans

KEY = bytes(range(32))


class Spans:
    """A tracer and what it has made."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.on_end: Callable[[], None] = lambda: None
        """Called when a span has ended."""
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        provider.add_span_processor(_Told(self))
        self.tracer = provider.get_tracer("test")

    def calls(self, *, begins: bool = False, follows_all: bool = False) -> CallSpans:
        """What makes the spans of calls."""
        return CallSpans(self.tracer, SpanRules(begins=begins, follows_all=follows_all), KEY)

    @property
    def ended(self) -> list[ReadableSpan]:
        """The spans that have ended, in this order."""
        return list(self._exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        """The one span that has ended."""
        (span,) = self.ended
        return span


class _Told(SpanProcessor):
    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.on_end()


@pytest.fixture
def spans() -> Spans:
    """None made yet."""
    return Spans()
