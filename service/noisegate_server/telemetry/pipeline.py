"""The telemetry of one running instance: what the composition root makes, asks to watch its tables, and stops.

Where the environment and the configuration ask for nothing, nothing is installed: tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from noisegate_server.config import Config, ConfigError, HostPort
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.call import Table, Unary
from noisegate_server.telemetry.destinations import Destinations
from noisegate_server.telemetry.durations import CallDurations
from noisegate_server.telemetry.loop_lag import LoopLag
from noisegate_server.telemetry.metrics import Sources, snapshot
from noisegate_server.telemetry.observed import observed, timed

if TYPE_CHECKING:
    from noisegate_server.telemetry.metric_export import MetricExport
    from noisegate_server.telemetry.prometheus import Scraped
    from noisegate_server.telemetry.spans import CallSpans
    from noisegate_server.telemetry.tracing import Tracing

__all__ = ["Telemetry"]

_SESSION_KEY: Final = 32

Clock = Callable[[], float]


class Telemetry:
    """Of one instance."""

    def __init__(
        self,
        destinations: Destinations,
        config: Config,
        parts: Parts,
        *,
        clock: Clock,
        wall: Clock,
        random_bytes: Callable[[int], bytes],
        certificates: Mapping[str, tuple[float, float]],
    ) -> None:
        """`certificates`: begin and end of each that is in use, by name; read anew for each snapshot."""
        self._destinations: Final = destinations
        self._config: Final = config
        self._clock: Final = clock
        self._lag: Final = LoopLag()
        self._sources: Final = Sources(
            parts=parts,
            durations=CallDurations(),
            batches=CallDurations(),
            lag=self._lag.histogram,
            max_sessions=config.max_sessions,
            max_handshakes=config.max_handshakes,
            certificates=certificates,
            wall=wall,
            started_wall=wall(),
        )
        self._counts: Final = destinations.metrics is not None or config.metrics_address is not None
        self._tracing: Tracing | None = None
        self._spans: CallSpans | None = None
        self._export: MetricExport | None = None
        self._scraped: Scraped | None = None
        self.metrics_bound: HostPort | None = None
        """Where Prometheus is answered, once it listens."""
        if destinations.traces is not None:
            self._trace(parts, random_bytes)

    def watch(self, table: Table) -> Table:
        """The table that a transport shall serve in the place of this one."""
        if self._spans is None and not self._counts:
            return table
        return observed(table, self._sources.durations, self._spans, self._clock)

    def carry(self, name: str, function: Unary) -> Unary:
        """The unary method that a stream shall carry in the place of this one."""
        return timed(name, function, self._sources.batches, self._clock) if self._counts else function

    async def start(self) -> None:
        """Begin to send and to listen. ConfigError where the address is of no use."""
        if self._destinations.metrics is not None:
            self._send_metrics(self._destinations.metrics)
        if self._config.metrics_address is not None:
            await self._listen(self._config.metrics_address)
        if self._counts:
            self._lag.start()

    async def stop(self, seconds: float) -> None:
        """Send what waits, for so many seconds at most."""
        until = self._clock() + seconds
        self._lag.stop()
        if self._export is not None:
            await self._export.stop(seconds)
        if self._tracing is not None:
            await self._tracing.stop(max(0.0, until - self._clock()))
        if self._scraped is not None:
            await self._scraped.stop()

    # What follows is imported only where somebody wants it: an exporter takes a third of a second to load.

    def _trace(self, parts: Parts, random_bytes: Callable[[int], bytes]) -> None:
        from noisegate_server.telemetry.resource import resource_of  # noqa: PLC0415
        from noisegate_server.telemetry.spans import CallSpans, SessionEvents  # noqa: PLC0415
        from noisegate_server.telemetry.tracing import Tracing  # noqa: PLC0415

        resource = resource_of(version=parts.version, instance=parts.instance)
        self._tracing = Tracing(self._destinations, resource, parts.version)
        session_key = random_bytes(_SESSION_KEY)
        self._spans = CallSpans(self._tracing.tracer, self._destinations.rules, session_key)
        parts.events.observe = SessionEvents(session_key)

    def _send_metrics(self, protocol: str) -> None:
        from noisegate_server.telemetry.metric_export import MetricExport, metrics_data  # noqa: PLC0415
        from noisegate_server.telemetry.resource import resource_of  # noqa: PLC0415

        sources = self._sources
        parts = sources.parts
        resource = resource_of(version=parts.version, instance=parts.instance)
        self._export = MetricExport(
            protocol,
            lambda: metrics_data(
                snapshot(sources), resource, version=parts.version, started=sources.started_wall, now=sources.wall()
            ),
            self._destinations.interval,
        )
        self._export.start()

    async def _listen(self, address: HostPort) -> None:
        from noisegate_server.telemetry.prometheus import Scraped  # noqa: PLC0415
        from noisegate_server.telemetry.resource import resource_of  # noqa: PLC0415

        sources = self._sources
        resource = resource_of(version=sources.parts.version, instance=sources.parts.instance)
        self._scraped = Scraped(
            lambda: snapshot(sources), {key: str(value) for key, value in resource.attributes.items()}
        )
        try:
            port = await self._scraped.start(address.host, address.port)
        except OSError:
            raise ConfigError(
                "--metrics-listen", "cannot listen there: is the port taken, is the address this machine's?"
            ) from None
        self.metrics_bound = HostPort(host=address.host, port=port)
