"""Where spans and metrics go, read from the environment variables that every OpenTelemetry SDK has.

What the exporters read themselves is left to them: endpoints, headers, certificates, compression, time-outs, the queue
of spans, the sampler's argument and the resource's attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from noisegate_server.config import ConfigError

__all__ = ["GRPC", "HTTP", "NOWHERE", "Destinations", "SpanRules", "read_destinations"]

Environment = Mapping[str, str]

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_INTERVAL_MS: Final = "60000"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRules:
    """Which calls are worth asking the sampler about."""

    begins: bool
    """Those whose caller has no trace."""
    follows_all: bool
    """Those whose caller has not sampled its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """What the environment asks for."""

    traces: str | None = None
    """The OTLP protocol of spans; None to make none."""
    metrics: str | None = None
    """Likewise."""
    interval: float = 60.0
    """Seconds between two exports of metrics."""
    sampler: str | None = None
    """The name of the sampler; None where the environment leaves it to us."""

    @property
    def rules(self) -> SpanRules:
        """Which calls the sampler has to be asked about."""
        sampler = self.sampler
        if sampler is None:
            return SpanRules(begins=False, follows_all=False)
        return SpanRules(begins=not sampler.endswith("always_off"), follows_all=not sampler.startswith("parentbased_"))


NOWHERE: Final = Destinations()


def read_destinations(environment: Environment) -> Destinations:
    """What the environment asks for: nothing without an endpoint. ConfigError, naming the variable."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Destinations()
    interval = environment.get(_INTERVAL) or _DEFAULT_INTERVAL_MS
    if not interval.isdecimal() or not int(interval):
        raise ConfigError(_INTERVAL, "milliseconds, at least 1")
    return Destinations(
        traces=_protocol(environment, "TRACES"),
        metrics=_protocol(environment, "METRICS"),
        interval=int(interval) / 1000,
        sampler=environment.get(SAMPLER) or None,
    )


def _protocol(environment: Environment, signal: str) -> str | None:
    exporter = environment.get(f"OTEL_{signal}_EXPORTER") or "otlp"
    if exporter not in {"otlp", "none"}:
        raise ConfigError(f"OTEL_{signal}_EXPORTER", "otlp or none; Prometheus has --metrics-listen HOST:PORT")
    prefixes = (f"OTEL_EXPORTER_OTLP_{signal}", "OTEL_EXPORTER_OTLP")
    if exporter == "none" or not any(environment.get(f"{prefix}_ENDPOINT") for prefix in prefixes):
        return None
    for prefix in prefixes:
        if protocol := environment.get(name := f"{prefix}_PROTOCOL"):
            if protocol not in {GRPC, HTTP}:
                raise ConfigError(name, f"{GRPC} or {HTTP}")
            return protocol
    return GRPC
