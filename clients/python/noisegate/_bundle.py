"""Calls of many sessions that travel as one batch, and what each of them is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from grpc import StatusCode

from noisegate.v1 import session_crypto_service_pb2 as service

from ._model import Opened, Sealed
from ._packing import Text, from_decrypt_batch, from_encrypt_batch, to_decrypt_batch, to_encrypt_batch
from .errors import DeadlineExceeded, NoisegateError


class Kind(Enum):
    """What may stand together in one batch."""

    SEAL = auto()
    """DATAGRAM: whoever seals again gets another counter, so a repeat needs no request_id and nothing kept for it."""
    SEAL_IN_TURN = auto()
    """NOISE: the counter travels with nobody. Sealed once, by a request_id."""
    OPEN = auto()
    """Opened once, by a request_id: a second time it would be a replay."""


Result = asyncio.Future[Sealed | Opened]


class Waiting:
    """One call that waits for its result."""

    __slots__ = ("deadline", "result", "text")

    def __init__(self, text: Text, result: Result, deadline: float) -> None:
        self.text = text
        self.result = result
        self.deadline = deadline

    @property
    def size(self) -> int:
        """Bytes that count against a batch's limit."""
        return len(self.text.body) + len(self.text.associated_data)

    def fail(self, error: NoisegateError) -> None:
        """End the call, unless it has ended."""
        if not self.result.done():
            self.result.set_exception(error)


class Bundle:
    """One batch, from its first call to its answer. Deadlines are the event loop's seconds."""

    __slots__ = ("_body", "_calls", "_loop", "_timer", "attempts", "kind", "refused", "size")

    def __init__(self, kind: Kind, loop: asyncio.AbstractEventLoop) -> None:
        self.kind: Final = kind
        self.size = 0
        """Bytes of plaintexts or records and of associated data."""
        self.attempts = 0
        """How often it was sent or refused in vain."""
        self.refused: NoisegateError | None = None
        """Why the last attempt was in vain; what a call is told when its time is over."""
        self._calls: list[Waiting] = []
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._body: service.TransportRequest | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Waiting) -> None:
        """One more, before it is sent."""
        self._calls.append(call)
        self.size += call.size
        if self._timer is None:
            self._timer = self._loop.call_at(call.deadline, self._expire)

    @property
    def wanted(self) -> bool:
        """Whether a call still waits for it."""
        return any(not call.result.done() for call in self._calls)

    def request(self, correlation_id: int, request_id: Callable[[], str]) -> bytes:
        """A message that carries it; several of them one behind the other are one message too.

        A repeat has the same request_id and the same items, where it has one at all.
        """
        if self._body is None or self.kind is Kind.SEAL:
            # What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so the session.
            self._calls = [call for call in self._calls if not call.result.done()]
            self._body = self._made(request_id)
        self._body.batches[0].correlation_id = correlation_id
        return self._body.SerializeToString()

    def _made(self, request_id: Callable[[], str]) -> service.TransportRequest:
        texts = [call.text for call in self._calls]
        match self.kind:
            case Kind.SEAL:
                return _alone(service.TransportBatch(encrypt=to_encrypt_batch(texts)))
            case Kind.SEAL_IN_TURN:
                return _alone(service.TransportBatch(encrypt=to_encrypt_batch(texts, request_id())))
            case Kind.OPEN:
                return _alone(service.TransportBatch(decrypt=to_decrypt_batch(texts, request_id())))

    def settle(self, answer: service.TransportAnswer) -> None:
        """Hand out the results."""
        results: list[Sealed | NoisegateError] | list[Opened | NoisegateError]
        try:
            if self.kind is Kind.OPEN:
                results = from_decrypt_batch(answer.decrypt, [call.text.session_id for call in self._calls])
            else:
                results = from_encrypt_batch(answer.encrypt, len(self._calls))
        except NoisegateError as error:
            self.fail(error)
            return
        for call, result in zip(self._calls, results, strict=True):
            if isinstance(result, NoisegateError):
                call.fail(result)
            elif not call.result.done():
                call.result.set_result(result)
        self._stop_timer()

    def fail(self, error: NoisegateError) -> None:
        """End every call that still waits."""
        for call in self._calls:
            call.fail(error)
        self._stop_timer()

    def _expire(self) -> None:
        """End the calls whose time is over, the oldest first, and look again when the next one's is."""
        now = self._loop.time()
        self._timer = None
        for call in self._calls:
            if call.deadline > now:
                self._timer = self._loop.call_at(call.deadline, self._expire)
                return
            call.fail(self.refused or DeadlineExceeded(StatusCode.DEADLINE_EXCEEDED, message="no answer in time"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _alone(batch: service.TransportBatch) -> service.TransportRequest:
    return service.TransportRequest(batches=[batch])
