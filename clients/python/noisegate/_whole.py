"""A batch that was one call from the beginning, on its way over a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpc import StatusCode

from noisegate.v1 import session_crypto_service_pb2 as service

from .errors import DeadlineExceeded, NoisegateError


class Whole:
    """A batch of `Client.encrypt_batch`, `decrypt_batch` or `broadcast`. Its deadline is the event loop's seconds."""

    __slots__ = ("_message", "_timer", "attempts", "refused", "result")

    def __init__(self, batch: service.TransportBatch, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self.attempts = 0
        """How often it was sent or refused in vain."""
        self.refused: NoisegateError | None = None
        """Why the last attempt was in vain; what its caller is told when its time is over."""
        self.result: asyncio.Future[service.TransportAnswer] = loop.create_future()
        self._message = service.TransportRequest(batches=[batch])
        self._timer = loop.call_at(deadline, self._expire)

    @property
    def wanted(self) -> bool:
        """Whether its caller still waits for it."""
        return not self.result.done()

    def request(self, correlation_id: int, _: Callable[[], str]) -> bytes:
        """As `Bundle.request`; a repeat has the same bytes."""
        self._message.batches[0].correlation_id = correlation_id
        return self._message.SerializeToString()

    def settle(self, answer: service.TransportAnswer) -> None:
        """Hand out the answer."""
        self._timer.cancel()
        if self.wanted:
            self.result.set_result(answer)

    def fail(self, error: NoisegateError) -> None:
        """End the call, unless it has ended."""
        self._timer.cancel()
        if self.wanted:
            self.result.set_exception(error)

    def _expire(self) -> None:
        self.fail(self.refused or DeadlineExceeded(StatusCode.DEADLINE_EXCEEDED, message="no answer in time"))
