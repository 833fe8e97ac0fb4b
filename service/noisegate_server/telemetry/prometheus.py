"""Metrics as Prometheus reads them: the text, and the listener that gives it.

Names follow OpenTelemetry's rules for Prometheus: underscores, the unit as a suffix, _total for what only grows, and
the resource as target_info.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from noisegate_server.telemetry.families import Attributes, Buckets, Family, Kind, Point, Snapshot

__all__ = ["Scraped", "exposition"]

_SECONDS_TO_ASK: Final = 5.0
_MOST_BYTES: Final = 16 * 1024
_MOST_AT_ONCE: Final = 16
_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes"}
_PLAIN: Final = "text/plain; charset=utf-8"


class _Families(Collector):
    """What prometheus_client takes for a registry."""

    def __init__(self, snapshot: Snapshot, target: Mapping[str, str]) -> None:
        self._snapshot = snapshot
        self._target = target

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("target", "The process.", {_label(key): value for key, value in self._target.items()})
        for family, points in self._snapshot:
            name = _label(family.name) + _SUFFIXES.get(family.unit, "")
            yield _histogram(name, family, points) if family.kind is Kind.HISTOGRAM else _numbers(name, family, points)


def exposition(snapshot: Snapshot, target: Mapping[str, str], accept: str) -> tuple[bytes, str]:
    """The text and its content type. `target`: the resource's attributes; `accept`: the header of who asks."""
    encode, content_type = choose_encoder(accept)
    return encode(_Families(snapshot, target)), content_type


def _label(name: str) -> str:
    return name.replace(".", "_")


def _named(attributes: Attributes) -> dict[str, str]:
    return {_label(key): value for key, value in attributes.items()}


def _numbers(name: str, family: Family, points: Sequence[Point]) -> Metric:
    is_counter = family.kind is Kind.COUNTER
    found: Metric = (CounterMetricFamily if is_counter else GaugeMetricFamily)(name, family.description)
    for attributes, value in points:
        if not isinstance(value, Buckets):
            found.add_sample(f"{name}_total" if is_counter else name, _named(attributes), value)
    return found


def _bound(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]  # untyped in the library
    return text


def _histogram(name: str, family: Family, points: Sequence[Point]) -> Metric:
    found = HistogramMetricFamily(name, family.description)
    for attributes, value in points:
        if isinstance(value, Buckets):
            labels, count = _named(attributes), 0
            for bound, inside in zip((*value.bounds, float("inf")), value.counts, strict=True):
                count += inside
                found.add_sample(f"{name}_bucket", {**labels, "le": _bound(bound)}, count)
            found.add_sample(f"{name}_count", labels, count)
            found.add_sample(f"{name}_sum", labels, value.sum)
    return found


class Scraped:
    """A listener that answers `GET /metrics` and nothing else, one request a connection."""

    def __init__(self, read: Callable[[], Snapshot], target: Mapping[str, str]) -> None:
        """`read`: called on the loop, so that numbers are of one moment; the text is made beside it."""
        self._read: Final = read
        self._target: Final = target
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. OSError where that is not possible."""
        if ":" in host:
            # asyncio's own sockets of IPv6 take no IPv4; gRPC's do, and an address of one pod is of both.
            listening = socket.create_server(
                (host, port), family=socket.AF_INET6, dualstack_ipv6=socket.has_dualstack_ipv6()
            )
            self._server = await asyncio.start_server(self._serve, sock=listening, limit=_MOST_BYTES)
        else:
            self._server = await asyncio.start_server(self._serve, host, port, limit=_MOST_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > _MOST_AT_ONCE:
                status, body, content_type = "503 Service Unavailable", b"", _PLAIN
            else:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS_TO_ASK)
                status, body, content_type = await self._answer(head.decode("latin-1"))
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode("latin-1")
            )
            writer.write(body)
            await asyncio.wait_for(writer.drain(), _SECONDS_TO_ASK)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            """Who asks like that gets nothing."""
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, head: str) -> tuple[str, bytes, str]:
        """(status, body, content type)."""
        request, *headers = head.split("\r\n")
        method, _, rest = request.partition(" ")
        if rest.partition(" ")[0].partition("?")[0] != "/metrics":
            return "404 Not Found", b"GET /metrics\n", _PLAIN
        if method != "GET":
            return "405 Method Not Allowed", b"GET /metrics\n", _PLAIN
        pairs = (header.partition(":") for header in headers)
        accept = next((value.strip() for name, _, value in pairs if name.lower() == "accept"), "")
        body, content_type = await asyncio.to_thread(exposition, self._read(), self._target, accept)
        return "200 OK", body, content_type
