"""Spans of calls, where OpenTelemetry's API is installed (`noisegate[otel]`); nothing at all where it is not.

A call has one span, whatever its repeats, and its context goes along with each of them, so that what the service did is
below it. Names are the stable ones of OpenTelemetry's RPC conventions. Where the program has set up no SDK of
OpenTelemetry, the API passes the context on and records nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from grpc import StatusCode

from .errors import NoisegateError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

try:
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

__all__ = ["INSTALLED", "NOT_TRACED", "Metadata", "Traced", "begin_stream", "tracing"]

Metadata = tuple[tuple[str, str], ...]

_SCOPE: Final = "noisegate"


class Traced(Protocol):
    """What a call, or a stream, has of its span."""

    @property
    def metadata(self) -> Metadata:
        """What tells the service of it."""

    def repeated(self, error: NoisegateError, delay: float) -> None:
        """An attempt has ended so; the next one comes after so many seconds."""

    def end(self, error: NoisegateError | None) -> None:
        """It is over, well or with this. Once."""


class _NotTraced:
    """Nobody wants to know."""

    __slots__ = ()

    metadata: Metadata = ()

    def repeated(self, error: NoisegateError, delay: float) -> None:
        """Nobody is told."""

    def end(self, error: NoisegateError | None) -> None:
        """Likewise."""


class _Traced:
    """A span of OpenTelemetry's."""

    __slots__ = ("_span", "metadata")

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        self.metadata: Metadata = tuple(carrier.items())

    def repeated(self, error: NoisegateError, delay: float) -> None:
        """An event for each."""
        if self._span.is_recording():
            self._span.add_event(
                "noisegate.repeat", {"rpc.status_code": error.code.name, "noisegate.repeat.delay": delay}
            )

    def end(self, error: NoisegateError | None) -> None:
        """To a caller every code but OK is an error."""
        span = self._span
        if not span.is_recording():
            return
        code = (StatusCode.OK if error is None else error.code).name
        span.set_attribute("rpc.status_code", code)
        if error is not None:
            span.set_attribute("error.type", code)
            if error.reason:
                span.set_attribute("noisegate.error.reason", error.reason)
            span.set_status(trace.StatusCode.ERROR)
        span.end()


NOT_TRACED: Final[Traced] = _NotTraced()


@contextmanager
def tracing(path: str, address: str) -> Iterator[Traced]:
    """The span of a call, for as long as it takes; only where INSTALLED. `path`: /package.Service/Method."""
    traced = _begin(path, address)
    try:
        yield traced
    except NoisegateError as error:
        traced.end(error)
        raise
    except BaseException:
        # Whoever called waits no longer.
        traced.end(NoisegateError(StatusCode.CANCELLED))
        raise
    traced.end(None)


def begin_stream(path: str, address: str, *, shared: bool = False) -> Traced:
    """The span of a stream, which ends when it is told to; one that many callers share has a trace of its own."""
    if not INSTALLED:
        return NOT_TRACED
    return _begin(path, address, Context() if shared else None)


def _begin(path: str, address: str, context: Context | None = None) -> _Traced:
    """`address`: HOST:PORT, or another target of gRPC's, which is left out."""
    name = path.removeprefix("/")
    host, _, port = address.rpartition(":")
    attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": name}
    if host and port.isdecimal():
        attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
    tracer = trace.get_tracer(_SCOPE)
    return _Traced(tracer.start_span(name, context, kind=trace.SpanKind.CLIENT, attributes=attributes))
