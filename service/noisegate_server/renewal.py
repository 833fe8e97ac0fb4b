"""Files that change while the service runs: what they hold is taken over; what is of no use leaves all as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

from noisegate_server.config import ConfigError
from noisegate_server.telemetry.logs import LOG

__all__ = ["Renewal", "Source"]

_LOOK_SECONDS: Final = 1.0
"""Between two looks at whether a file has changed."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """A file, or several that belong together."""

    @property
    def option(self) -> str:
        """What names it."""

    def read(self) -> T_co:
        """What it holds. ConfigError."""

    def has_changed(self) -> bool:
        """Whether it is not what was read last."""


class _Watched(Generic[T]):
    def __init__(self, source: Source[T], take: Callable[[T], str]) -> None:
        self.source: Final = source
        self._take: Final = take

    def renew(self) -> None:
        try:
            told = self._take(self.source.read())
        except ConfigError as error:
            LOG.error("what was read before stays in use", option=error.option, remedy=error.remedy)
        else:
            LOG.info("read again", option=self.source.option, told=told)


class Renewal:
    """All sources of one instance."""

    def __init__(self) -> None:
        self._watched: Final[list[_Watched[Any]]] = []
        self._look_at = 0.0

    def watch(self, source: Source[T], take: Callable[[T], str]) -> None:
        """From now on give `take` what the source holds when it has changed; the log has what `take` answers."""
        self._watched.append(_Watched(source, take))

    def look(self, now: float) -> None:
        """Take over what has changed, at most once a second. `now`: monotonic seconds."""
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._renew(each for each in self._watched if each.source.has_changed())

    def renew_all(self) -> None:
        """Take over everything, changed or not."""
        self._renew(self._watched)

    def _renew(self, watched: Iterable[_Watched[Any]]) -> None:
        for each in watched:
            each.renew()
