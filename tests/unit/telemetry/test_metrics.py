"""The catalogue of metrics, and the two forms in which they leave."""

from __future__ import annotations

import asyncio
import re

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from noisegate_server.engine.counts import Cause, Counts, HandshakeKind, Outcome, RotationKind
from noisegate_server.rpc.call import Code
from noisegate_server.session.errors import DecryptFailed, SessionNotFound
from noisegate_server.session.state import TerminationReason
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.telemetry.durations import CALL_BOUNDS, CallDurations, Histogram
from noisegate_server.telemetry.families import Buckets, Family, Kind, Snapshot
from noisegate_server.telemetry.loop_lag import LoopLag
from noisegate_server.telemetry.metric_export import metrics_data
from noisegate_server.telemetry.metrics import METRICS, Sources, snapshot
from noisegate_server.telemetry.prometheus import Scraped, exposition
from tests.support.engine import Clock, Engine
from tests.support.otlp import attributes
from tests.support.server import ROOT

NUMBERS = Family(name="noisegate.things", kind=Kind.COUNTER, unit="{thing}", description="Things.")
SIZES = Family(name="noisegate.sizes", kind=Kind.GAUGE, unit="By", description="Sizes.")
TIMES = Family(name="rpc.server.call.duration", kind=Kind.HISTOGRAM, unit="s", description="Times.")
SNAPSHOT: Snapshot = [
    (NUMBERS, [({"kind": "a"}, 3), ({"kind": 'b"\n'}, 4)]),
    (SIZES, [({}, 1.5)]),
    (TIMES, [({"rpc.method": "p.S/M"}, Buckets(bounds=(0.1, 1.0), counts=(2, 1, 1), sum=4.5))]),
]


@pytest.fixture
def sources() -> Sources:
    """An instance that has counted one of everything."""
    engine = Engine(Clock())
    counts: Counts = engine.parts.counts
    counts.handshakes[HandshakeKind(Pattern.IK, Suite.CHACHA20_POLY1305_X25519), Outcome.ESTABLISHED] += 1
    counts.handshakes[HandshakeKind(), Outcome.FAILED] += 1
    counts.resumes[Outcome.FELL_BACK] += 1
    counts.early[True] += 1
    counts.rotations[RotationKind.REKEY, Cause.CALLER] += 1
    counts.ended[TerminationReason.IDLE] += 1
    counts.refusals.update([DecryptFailed, SessionNotFound, ZeroDivisionError])
    durations = CallDurations()
    durations.of("p.S/M", Code.OK).record(0.002)
    durations.of("p.S/M", Code.UNAVAILABLE).record(0.2)
    durations.of("p.S/M", Code.NOT_FOUND).record(0.2)
    return Sources(
        parts=engine.parts,
        durations=durations,
        batches=durations,
        lag=LoopLag().histogram,
        max_sessions=100,
        max_handshakes=10,
        certificates={"server": (0.0, 1e9)},
        wall=lambda: engine.clock.wall + 90,
        started_wall=engine.clock.wall,
    )


def found(sources: Sources, name: str) -> dict[tuple[tuple[str, str], ...], object]:
    """The points of a metric by their attributes."""
    points = next(points for family, points in snapshot(sources) if family.name == name)
    return {tuple(attributes.items()): value for attributes, value in points}


def test_every_metric_of_the_catalogue_has_a_point_once_something_has_happened(sources: Sources) -> None:
    """And no two have one name."""
    assert [family.name for family, _ in snapshot(sources)] == [metric.family.name for metric in METRICS]
    assert len({metric.family.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_.]+", metric.family.name)
        assert metric.family.unit in {"s", "By"} or re.fullmatch(r"\{[a-z]+\}", metric.family.unit)


def test_only_known_words_stand_in_attributes(sources: Sources) -> None:
    """So that nobody adds an id, a player or a tenant by the way."""
    known = {
        "cause", "certificate", "cpu.mode", "error.type", "key", "kind", "operation", "outcome", "pattern", "reason",
        "rpc.method", "rpc.status_code", "rpc.system.name", "state", "suite",
    }  # fmt: skip
    assert {key for _, points in snapshot(sources) for attributes, _ in points for key in attributes} == known


def test_a_call_has_an_error_type_where_the_server_is_to_blame(sources: Sources) -> None:
    """As in spans."""
    errors = {
        dict(key)["rpc.status_code"]: dict(key).get("error.type") for key in found(sources, "rpc.server.call.duration")
    }
    assert errors == {"OK": None, "UNAVAILABLE": "UNAVAILABLE", "NOT_FOUND": None}


def test_refusals_have_the_reasons_of_the_catalogue_of_errors(sources: Sources) -> None:
    """What is in no catalogue is a defect."""
    assert found(sources, "noisegate.refusals") == {
        (("reason", "DECRYPT_FAILED"),): 1,
        (("reason", "SESSION_NOT_FOUND"),): 1,
        (("reason", "INTERNAL"),): 1,
    }


def test_keys_are_as_old_as_their_files_or_the_process(sources: Sources) -> None:
    """Never younger than nothing, whatever the clock does."""
    sources.parts.blob_ring.since += 1_000
    assert found(sources, "noisegate.key.age") == {(("key", "ticket"),): 90, (("key", "blob"),): 0}


def test_a_histogram_counts_its_bounds_as_part_of_their_bucket() -> None:
    """As Prometheus' `le` has it."""
    histogram = Histogram(CALL_BOUNDS)
    for value in (0.0, CALL_BOUNDS[0], CALL_BOUNDS[0] * 1.01, CALL_BOUNDS[-1], CALL_BOUNDS[-1] * 2):
        histogram.record(value)
    assert (histogram.buckets[:2], histogram.buckets[-2:]) == ([2, 1], [1, 1])
    assert histogram.count == 5


async def test_the_lag_of_a_loop_that_is_held_up_is_seen() -> None:
    """By a timer that comes late; a stopped one comes no more."""
    lag, later = LoopLag(), asyncio.Event()
    lag.start()
    loop = asyncio.get_running_loop()
    loop.call_later(0.15, later.set)
    held_until = loop.time() + 0.2
    while loop.time() < held_until:
        pass
    await later.wait()
    lag.stop()
    assert sum(lag.histogram.buckets[8:]) >= 1
    assert lag.histogram.sum >= 0.05


def test_prometheus_reads_names_units_and_cumulative_buckets() -> None:
    """By its own parser."""
    text, content_type = exposition(SNAPSHOT, {"service.name": "noisegate"}, "")
    assert content_type.startswith("text/plain")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    times = "rpc_server_call_duration_seconds"
    method = ("rpc_method", "p.S/M")
    assert samples == {
        ("target_info", (("service_name", "noisegate"),)): 1,
        ("noisegate_things_total", (("kind", "a"),)): 3,
        ("noisegate_things_total", (("kind", 'b"\n'),)): 4,
        ("noisegate_sizes_bytes", ()): 1.5,
        (f"{times}_bucket", (("le", "0.1"), method)): 2,
        (f"{times}_bucket", (("le", "1.0"), method)): 3,
        (f"{times}_bucket", (("le", "+Inf"), method)): 4,
        (f"{times}_count", (method,)): 4,
        (f"{times}_sum", (method,)): 4.5,
    }


def test_otlp_has_the_same_numbers() -> None:
    """Cumulative, monotonic where they only grow, in the resource's name."""
    data = metrics_data(SNAPSHOT, Resource({"service.name": "noisegate"}), version="1", started=10.0, now=20.5)
    (resource_metrics,) = encode_metrics(data).resource_metrics
    assert attributes(resource_metrics.resource.attributes) == {"service.name": "noisegate"}
    numbers, sizes, times = resource_metrics.scope_metrics[0].metrics
    assert numbers.sum.is_monotonic
    assert [point.as_int for point in numbers.sum.data_points] == [3, 4]
    assert sizes.gauge.data_points[0].as_double == 1.5
    (point,) = times.histogram.data_points
    assert (list(point.bucket_counts), list(point.explicit_bounds), point.count, point.sum) == (
        [2, 1, 1],
        [0.1, 1.0],
        4,
        4.5,
    )
    assert (point.start_time_unix_nano, point.time_unix_nano) == (10_000_000_000, 20_500_000_000)
    assert not point.HasField("min")


class Asked:
    """A listener, and questions to it byte by byte."""

    def __init__(self) -> None:
        self.scraped = Scraped(lambda: SNAPSHOT, {})
        self.port = 0

    async def ask(self, request: bytes) -> bytes:
        """All that it answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics HTTP/1.1", b"200"),
        (b"GET /metrics?x=1 HTTP/1.0", b"200"),
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/../secrets HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"\x16\x03\x01", b"404"),
    ],
)
async def test_the_listener_has_one_page(request_line: bytes, status: bytes) -> None:
    """And closes after each answer."""
    asked = Asked()
    asked.port = await asked.scraped.start("127.0.0.1", 0)
    try:
        answer = await asked.ask(request_line + b"\r\nHost: x\r\naccept: text/plain\r\n\r\n")
    finally:
        await asked.scraped.stop()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert f"Content-Length: {len(body)}".encode() in head
    assert (b"noisegate_things_total" in body) is (status == b"200")


async def test_an_address_of_ipv6_is_one_of_ipv4_too() -> None:
    """As of gRPC's listeners: a pod of both families has one of each, and one wildcard for both."""
    asked = Asked()
    asked.port = await asked.scraped.start("::ffff:127.0.0.1", 0)
    try:
        assert b"200 OK" in await asked.ask(b"GET /metrics HTTP/1.1\r\n\r\n")
    finally:
        await asked.scraped.stop()


async def test_who_asks_for_openmetrics_gets_it() -> None:
    """Prometheus does."""
    asked = Asked()
    asked.port = await asked.scraped.start("127.0.0.1", 0)
    try:
        answer = await asked.ask(b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n")
    finally:
        await asked.scraped.stop()
    assert b"application/openmetrics-text" in answer
    assert answer.endswith(b"# EOF\n")


@pytest.mark.parametrize("request_bytes", [b"", b"GET /metrics", b"x" * 40_000 + b"\r\n\r\n"])
async def test_who_does_not_ask_properly_gets_nothing(request_bytes: bytes) -> None:
    """A connection that ends, and one that has no end of its head; neither stops the listener."""
    asked = Asked()
    asked.port = await asked.scraped.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(request_bytes)
        writer.write_eof()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            """As good as nothing."""
        writer.close()
        assert b"200 OK" in await asked.ask(b"GET /metrics HTTP/1.1\r\n\r\n")
    finally:
        await asked.scraped.stop()


def test_the_documentation_lists_every_metric_as_it_is(sources: Sources) -> None:
    """Name, kind, unit, attributes and meaning, in the order of a scrape."""
    text = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| `([^`]+)` \| ([^|]*)\| (.+) \|$", text, re.MULTILINE)
    expected = []
    for family, points in snapshot(sources):
        keys = list(dict.fromkeys(key for attributes, _ in points for key in attributes))
        expected.append((family.name, family.kind.value, family.unit, ", ".join(keys), family.description))
    assert [(name, kind, unit, keys.strip(), what) for name, kind, unit, keys, what in table] == expected
