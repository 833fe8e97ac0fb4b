"""The telemetry of one running instance: what the composition root makes, asks to watch its tables, and stops.

Where the environment and the configuration ask for nothing, nothing is installed: tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.call import Table
from noisegate_server.telemetry.destinations import Destinations
from noisegate_server.telemetry.durations import CallDurations
from noisegate_server.telemetry.observed import observed

if TYPE_CHECKING:
    from noisegate_server.telemetry.spans import CallSpans
    from noisegate_server.telemetry.tracing import Tracing

__all__ = ["Telemetry"]

_SESSION_KEY: Final = 32


class Telemetry:
    """Of one instance."""

    def __init__(
        self,
        destinations: Destinations,
        parts: Parts,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._clock: Final = clock
        self._durations: Final = CallDurations()
        self._tracing: Tracing | None = None
        self._spans: CallSpans | None = None
        if destinations.traces is not None:
            # Not before somebody wants spans: see there.
            from noisegate_server.telemetry.spans import CallSpans, SessionEvents  # noqa: PLC0415
            from noisegate_server.telemetry.tracing import Tracing, resource_of  # noqa: PLC0415

            resource = resource_of(version=parts.version, instance=parts.instance)
            self._tracing = Tracing(destinations, resource, parts.version)
            session_key = random_bytes(_SESSION_KEY)
            self._spans = CallSpans(self._tracing.tracer, destinations.rules, session_key)
            parts.events.observe = SessionEvents(session_key)

    def watch(self, table: Table) -> Table:
        """The table that a transport shall serve in the place of this one."""
        if self._spans is None:
            return table
        return observed(table, self._durations, self._spans, self._clock)

    async def stop(self, seconds: float) -> None:
        """Send what waits, for so many seconds at most."""
        if self._tracing is not None:
            await self._tracing.stop(seconds)
