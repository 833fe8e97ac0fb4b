"""Where telemetry goes, from the standard environment variables alone."""

from __future__ import annotations

import pytest

from noisegate_server.config import ConfigError
from noisegate_server.telemetry.destinations import GRPC, HTTP, NOWHERE, read_destinations

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}


def test_without_an_endpoint_nothing_is_sent() -> None:
    """Whatever else is set."""
    assert read_destinations({}) == NOWHERE
    assert read_destinations({"OTEL_EXPORTER_OTLP_PROTOCOL": HTTP, "OTEL_TRACES_EXPORTER": "otlp"}).traces is None


def test_the_sdk_can_be_switched_off() -> None:
    """As the specification has it, in any case of letters."""
    assert read_destinations(ENDPOINT | {"OTEL_SDK_DISABLED": "True"}) == NOWHERE


def test_one_endpoint_is_for_both_signals_over_grpc() -> None:
    """Unless the environment says otherwise."""
    found = read_destinations(ENDPOINT)
    assert (found.traces, found.metrics, found.interval) == (GRPC, GRPC, 60.0)


def test_each_signal_can_have_its_own_endpoint_and_protocol() -> None:
    """The variable with the signal's name comes first."""
    found = read_destinations(
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces",
            "OTEL_EXPORTER_OTLP_PROTOCOL": GRPC,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
            "OTEL_METRIC_EXPORT_INTERVAL": "1500",
        }
    )
    assert (found.traces, found.metrics, found.interval) == (HTTP, None, 1.5)


def test_a_signal_can_be_left_out() -> None:
    """`none` is an exporter's name."""
    found = read_destinations(ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"})
    assert (found.traces, found.metrics) == (GRPC, None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "udp"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "a minute"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(variable: str, value: str) -> None:
    """A typing error must not silently send nothing."""
    with pytest.raises(ConfigError, match=variable):
        read_destinations(ENDPOINT | {variable: value})


@pytest.mark.parametrize(
    ("sampler", "begins", "follows_all"),
    [
        (None, False, False),
        ("parentbased_always_on", True, False),
        ("parentbased_always_off", False, False),
        ("parentbased_traceidratio", True, False),
        ("always_on", True, True),
        ("traceidratio", True, True),
        ("always_off", False, True),
    ],
)
def test_the_sampler_decides_which_calls_it_is_asked_about(
    sampler: str | None, begins: bool, follows_all: bool
) -> None:
    """Without one, calls of traced callers alone; a span that nobody sees is not built."""
    environment = ENDPOINT if sampler is None else ENDPOINT | {"OTEL_TRACES_SAMPLER": sampler}
    rules = read_destinations(environment).rules
    assert (rules.begins, rules.follows_all) == (begins, follows_all)
