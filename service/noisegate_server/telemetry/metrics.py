"""Every metric of the service, as data: what it is called, and where its numbers are read.

Nothing is counted here. Where no number has come to be yet, there is no point, but for the gauges and for what an alert
waits for the first of: Prometheus sees no increase in a series that begins with 1. No attribute holds an id, a key, a
player or a tenant: tenants are as many as a policy, or a certificate authority, makes them, and their names are those
of customers. An instance is one shard; which one it is, the resource says (service.instance.id) or the scrape.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noisegate_server.engine.counts import HandshakeKind
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.errors import RULES, reason_name
from noisegate_server.session.state import TerminationReason
from noisegate_server.telemetry import conventions as names
from noisegate_server.telemetry.durations import CallDurations, Histogram
from noisegate_server.telemetry.families import Buckets, Family, Kind, Point, Snapshot

__all__ = ["METRICS", "Metric", "Sources", "snapshot"]

_UNKNOWN: Final = "unknown"
_DEFECT: Final = "INTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers are."""

    parts: Parts
    durations: CallDurations
    batches: CallDurations
    """Of what streams carry."""
    lag: Histogram
    """Of the event loop."""
    max_sessions: int
    max_handshakes: int
    certificates: Mapping[str, tuple[float, float]]
    """Begin and end of each, unix seconds."""
    wall: Callable[[], float]
    started_wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One family and how to read it."""

    family: Family
    read: Callable[[Sources], Iterable[Point]]


def snapshot(sources: Sources) -> Snapshot:
    """All metrics as they are now."""
    taken = [(metric.family, list(metric.read(sources))) for metric in METRICS]
    return [(family, points) for family, points in taken if points]


def _counter(name: str, unit: str, description: str, read: Callable[[Sources], Iterable[Point]]) -> Metric:
    return Metric(family=Family(name=name, kind=Kind.COUNTER, unit=unit, description=description), read=read)


def _gauge(name: str, unit: str, description: str, read: Callable[[Sources], Iterable[Point]]) -> Metric:
    return Metric(family=Family(name=name, kind=Kind.GAUGE, unit=unit, description=description), read=read)


def _histogram(name: str, description: str, read: Callable[[Sources], Iterable[Point]]) -> Metric:
    return Metric(family=Family(name=name, kind=Kind.HISTOGRAM, unit="s", description=description), read=read)


# --- how each is read ------------------------------------------------------------------------------------------------


def _one(read: Callable[[Sources], float]) -> Callable[[Sources], Iterable[Point]]:
    """A metric without attributes."""
    return lambda sources: [({}, read(sources))]


def _buckets(histogram: Histogram) -> Buckets:
    return Buckets(bounds=histogram.bounds, counts=tuple(histogram.buckets), sum=histogram.sum)


def _durations(durations: CallDurations) -> Iterator[Point]:
    for method, code, histogram in durations:
        if any(histogram.buckets):
            code_name = names.CODES.get(code, str(code))
            attributes = {
                names.RPC_SYSTEM_NAME: names.GRPC,
                names.RPC_METHOD: method,
                names.RPC_STATUS_CODE: code_name,
            }
            if code in names.SERVER_ERRORS:
                attributes[names.ERROR_TYPE] = code_name
            yield attributes, _buckets(histogram)


def _calls(sources: Sources) -> Iterator[Point]:
    return _durations(sources.durations)


def _batches(sources: Sources) -> Iterator[Point]:
    return _durations(sources.batches)


def _sessions(sources: Sources) -> Iterator[Point]:
    held, rotating = sources.parts.store.counts(), sources.parts.counts.rotating
    yield {"state": "handshaking"}, held.half_open
    yield {"state": "established"}, held.sessions - held.half_open - rotating
    yield {"state": "rotating"}, rotating
    yield {"state": "suspended"}, held.suspended


def _handshakes(sources: Sources) -> Iterator[Point]:
    for (kind, outcome), count in sources.parts.counts.handshakes.items():
        yield {**_protocol(kind), "outcome": str(outcome)}, count


def _protocol(kind: HandshakeKind) -> dict[str, str]:
    return {
        "pattern": _UNKNOWN if kind.pattern is None else kind.pattern.name,
        "suite": _UNKNOWN if kind.suite is None else kind.suite.name,
    }


def _messages(sources: Sources) -> Iterator[Point]:
    counts = sources.parts.counts
    yield {"operation": "seal"}, counts.sealed
    yield {"operation": "open"}, counts.opened


def _plaintext(sources: Sources) -> Iterator[Point]:
    counts = sources.parts.counts
    yield {"operation": "seal"}, counts.sealed_bytes
    yield {"operation": "open"}, counts.opened_bytes


def _rotations(sources: Sources) -> Iterator[Point]:
    for (kind, cause), count in sources.parts.counts.rotations.items():
        yield {"kind": kind.value, "cause": cause.value}, count


def _resumes(sources: Sources) -> Iterator[Point]:
    for outcome, count in sources.parts.counts.resumes.items():
        yield {"outcome": str(outcome)}, count


def _early(sources: Sources) -> Iterator[Point]:
    for accepted, count in sources.parts.counts.early.items():
        yield {"outcome": "accepted" if accepted else "rejected"}, count


def _ended(sources: Sources) -> Iterator[Point]:
    for reason, count in ({TerminationReason.LOST: 0} | sources.parts.counts.ended).items():
        yield {"reason": reason.name.lower()}, count


def _refusals(sources: Sources) -> Iterator[Point]:
    by_reason = {_DEFECT: 0}
    for kind, count in sources.parts.counts.refusals.items():
        rule = RULES.get(kind)
        reason = _DEFECT if rule is None else reason_name(rule.reason)
        by_reason[reason] = by_reason.get(reason, 0) + count
    for reason, count in by_reason.items():
        yield {"reason": reason}, count


def _key_ages(sources: Sources) -> Iterator[Point]:
    parts, now = sources.parts, sources.wall()
    yield {"key": "ticket"}, max(0.0, now - parts.ticket_ring.since)
    yield {"key": "blob"}, max(0.0, now - parts.blob_ring.since)


def _begins(sources: Sources) -> Iterator[Point]:
    for name, (begin, _) in sources.certificates.items():
        yield {"certificate": name}, begin


def _ends(sources: Sources) -> Iterator[Point]:
    for name, (_, end) in sources.certificates.items():
        yield {"certificate": name}, end


def _lag(sources: Sources) -> Iterator[Point]:
    yield {}, _buckets(sources.lag)


def _cpu(_: Sources) -> Iterator[Point]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield {"cpu.mode": "user"}, used.ru_utime
    yield {"cpu.mode": "system"}, used.ru_stime


def _memory(_: Sources) -> Iterator[Point]:
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        yield {}, pages * resource.getpagesize()


METRICS: Final = (
    _histogram(names.CALL_DURATION, "Duration of calls between the transport and the reply.", _calls),
    _histogram("noisegate.batch.duration", "Duration of the batches that Transport streams carry.", _batches),
    _gauge("noisegate.sessions", "{session}", "Sessions by state, suspended ones included.", _sessions),
    _gauge(
        "noisegate.sessions.packed",
        "{session}",
        "Those in memory that are idle, and packed.",
        _one(lambda sources: sources.parts.store.counts().packed),
    ),
    _gauge("noisegate.sessions.limit", "{session}", "The cap of sessions.", _one(lambda sources: sources.max_sessions)),
    _gauge(
        "noisegate.handshakes.limit",
        "{handshake}",
        "The cap of unfinished handshakes.",
        _one(lambda sources: sources.max_handshakes),
    ),
    _counter("noisegate.sessions.ended", "{session}", "Established sessions that ended, by reason.", _ended),
    _counter(
        "noisegate.sessions.suspended",
        "{session}",
        "Sessions that left memory.",
        _one(lambda sources: sources.parts.counts.suspended),
    ),
    _counter(
        "noisegate.sessions.restored",
        "{session}",
        "Sessions that came back.",
        _one(lambda sources: sources.parts.counts.restored),
    ),
    _counter("noisegate.handshakes", "{handshake}", "Handshakes by protocol and outcome.", _handshakes),
    _counter("noisegate.resumes", "{resume}", "Resumes by outcome.", _resumes),
    _counter(
        "noisegate.ticket.replays",
        "{ticket}",
        "Tickets that came again after they were used.",
        _one(lambda sources: sources.parts.counts.ticket_replays),
    ),
    _counter("noisegate.early_data", "{message}", "Early data by what became of it.", _early),
    _counter("noisegate.messages", "{message}", "Messages of the game, sealed and opened.", _messages),
    _counter("noisegate.plaintext", "By", "Bytes of those messages.", _plaintext),
    _counter("noisegate.rotations", "{rotation}", "Rotations that are done, by kind and cause.", _rotations),
    _counter("noisegate.refusals", "{refusal}", "Refused calls and items of batches, by reason.", _refusals),
    _counter(
        "noisegate.sweeps",
        "{sweep}",
        "Slices of looking for what is over.",
        _one(lambda sources: sources.parts.counts.sweeps),
    ),
    _counter(
        "noisegate.sweep.entries",
        "{entry}",
        "Entries that sweeps have looked at.",
        _one(lambda sources: sources.parts.store.looked_at),
    ),
    _counter(
        "noisegate.sweep.wiped",
        "{session}",
        "How often sweeps had a session wipe keys that outlived their use.",
        _one(lambda sources: sources.parts.store.wiped),
    ),
    _gauge("noisegate.key.age", "s", "Age of the sealing keys in use, since they were first seen.", _key_ages),
    _gauge("noisegate.tls.certificate.not_before", "s", "When a certificate became valid, as Unix time.", _begins),
    _gauge("noisegate.tls.certificate.not_after", "s", "When it ends, as Unix time.", _ends),
    _histogram("noisegate.event_loop.lag", "How late the event loop comes to what is due.", _lag),
    _counter("process.cpu.time", "s", "CPU time by mode.", _cpu),
    _gauge("process.memory.usage", "By", "Resident memory.", _memory),
    _gauge(
        "process.uptime",
        "s",
        "Time since the start.",
        _one(lambda sources: max(0.0, sources.wall() - sources.started_wall)),
    ),
)
"""In the order in which a scrape shows them."""
