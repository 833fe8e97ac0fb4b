"""The batches for one endpoint: which calls go together, when they go, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from grpc import StatusCode

from ._bundle import Bundle, Kind, Waiting
from ._calls import CallPolicy
from ._link import Batch, Link
from ._whole import Whole
from .errors import ClientClosed, NoisegateError

MAX_FAILURES: Final = 16
"""In a row; from here on the back-off no longer grows, whatever its policy."""

OpenLink = Callable[["Line"], Link]


class Line:
    """Collects calls into batches for one endpoint, over one stream at a time. Belongs to one event loop.

    While a stream that drains is read to its end, another one takes what is new.
    """

    def __init__(
        self,
        open_link: OpenLink,
        policy: CallPolicy,
        share: Callable[[], float],
        *,
        tick: float,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self._open_link = open_link
        self._policy = policy
        self._share = share
        self._tick = tick
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._loop: Final = asyncio.get_running_loop()
        self._filling: dict[Kind, Bundle] = {}
        self._ready: deque[Batch] = deque()
        self._due = False
        self._ticking: asyncio.Handle | None = None
        self._pausing: asyncio.TimerHandle | None = None
        self._later: dict[Batch, asyncio.TimerHandle] = {}
        self._failures = 0
        self._link: Link | None = None
        self._links: set[Link] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing waits for an answer."""
        return not self._ready and not self._later and not any(link.unanswered for link in self._links)

    def add(self, kind: Kind, call: Waiting) -> None:
        """Let a call go with the next batch of its kind."""
        bundle = self._filling.get(kind)
        if bundle is None or bundle.size + call.size > self._max_bytes:
            bundle = self._filling[kind] = Bundle(kind, self._loop)
            self._ready.append(bundle)
        bundle.add(call)
        if len(bundle) >= self._max_items or bundle.size >= self._max_bytes:
            del self._filling[kind]
            self._go()
        elif self._ticking is None and not self._due:
            self._ticking = (
                self._loop.call_later(self._tick, self._go) if self._tick else self._loop.call_soon(self._go)
            )

    def carry(self, batch: Whole) -> None:
        """Let a batch go that is complete already; it waits for no tick."""
        self._ready.append(batch)
        self._go()

    async def close(self) -> None:
        """End every stream; calls that wait end with ClientClosed."""
        for handle in (self._ticking, self._pausing, *self._later.values()):
            if handle is not None:
                handle.cancel()
        for batch in (*self._ready, *self._later):
            batch.fail(ClientClosed())
        self._ready.clear()
        self._later.clear()
        # Let go, not only closed: a connection lasts as long as somebody holds its stream.
        links, self._links, self._link = self._links, set(), None
        for link in links:
            await link.close()

    # --- what a link asks and tells ----------------------------------------------------------------------------------

    def take(self, link: Link) -> Batch | None:
        """The oldest batch that is due and that somebody still waits for."""
        while link is self._link and self._due and self._ready:
            batch = self._ready.popleft()
            if isinstance(batch, Bundle) and self._filling.get(batch.kind) is batch:
                del self._filling[batch.kind]
            if batch.wanted:
                return batch
        self._due = self._due and bool(self._ready)
        return None

    def answered(self) -> None:
        """The service answers."""
        self._failures = 0

    def refused(self, batch: Batch, error: NoisegateError) -> None:
        """It did nothing for this batch; where that may change, the batch goes again after a while."""
        delay = self._policy.delay(batch.attempts, self._share(), error.retry_delay)
        if not self._goes_again(batch, error):
            return

        self._later[batch] = self._loop.call_later(delay, self._again, batch)

    def draining(self, link: Link) -> None:
        """What is new goes over another connection."""
        if link is self._link:
            self._link = None
        if self._due:
            self._go()

    def ended(self, link: Link, unanswered: list[Batch], error: NoisegateError) -> None:
        """Batches without an answer go again, in their order and before newer ones; after a while, if it failed."""
        self._links.discard(link)
        if link is self._link:
            self._link = None
        self._ready.extendleft([batch for batch in reversed(unanswered) if self._goes_again(batch, error)])
        if error.code is not StatusCode.UNAVAILABLE:
            for batch in self._ready:
                batch.fail(error)
            self._ready.clear()
            self._filling.clear()
        for batch in self._ready:
            batch.refused = error
        self._due = False
        if not self._ready:
            return
        if self._link is not None:
            self._go()
        elif self._pausing is None:
            delay = self._policy.delay(self._failures, self._share(), error.retry_delay)
            self._failures = min(self._failures + 1, MAX_FAILURES)
            self._pausing = self._loop.call_later(delay, self._resume)

    def _again(self, batch: Batch) -> None:
        del self._later[batch]
        self._ready.append(batch)
        self._go()

    def _goes_again(self, batch: Batch, error: NoisegateError) -> bool:
        batch.attempts += self._policy.counts(error)
        batch.refused = error
        if error.code is not StatusCode.UNAVAILABLE or batch.attempts >= self._policy.attempts:
            batch.fail(error)
            return False
        return batch.wanted

    def _resume(self) -> None:
        self._pausing = None
        self._go()

    def _go(self) -> None:
        """What is there goes now, as far as the stream takes it."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self._due = True
        if self._pausing is not None:
            return
        if self._link is None:
            self._link = self._open_link(self)
            self._links.add(self._link)
        self._link.wake()
