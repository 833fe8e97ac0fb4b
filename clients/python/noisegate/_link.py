"""One Transport stream over a connection of its own: two pumps, neither of which waits for the other.

A caller that writes only while it is not reading can lock up with a service that does the same as soon as both
directions are full. Here answers are always read, whatever the writing pump waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc.aio import AioRpcError

from noisegate.v1 import session_crypto_service_pb2 as service

from ._bundle import Bundle
from ._packing import CODES
from ._tracing import NOT_TRACED, Traced
from ._whole import Whole
from .errors import ClientClosed, NoisegateError, ServiceUnavailable, from_rpc_error, from_status

MAX_UNANSWERED: Final = 32
"""Batches that one stream has under way, as many as may wait at the service; more wait here, and grow together."""

JOINED_BYTES: Final = 256 * 1024
"""From here on a message takes no further batch: with the longest one it is still below the service's limit."""

Batch = Bundle | Whole
RawStream = grpc.aio.StreamStreamCall[bytes, bytes]
RawStreams = grpc.aio.StreamStreamMultiCallable[bytes, bytes]

_LOST: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.CANCELLED, StatusCode.UNKNOWN})
"""How gRPC's own end of a stream reads, depending on which pump noticed first that the connection is gone."""


class Owner(Protocol):
    """Who has batches for a link and takes back what it could not deliver."""

    def take(self, link: Link) -> Batch | None:
        """The next batch that is due; None for none at present."""

    def answered(self) -> None:
        """The service answers: it is well."""

    def refused(self, batch: Batch, error: NoisegateError) -> None:
        """The service refused a whole batch."""

    def draining(self, link: Link) -> None:
        """The service is about to stop: this link takes nothing more."""

    def ended(self, link: Link, unanswered: list[Batch], error: NoisegateError) -> None:
        """The stream is over."""


class Link:
    """One stream. Belongs to the event loop in which it was made."""

    def __init__(
        self,
        owner: Owner,
        channel: grpc.aio.Channel,
        call: RawStream,
        request_id: Callable[[], str],
        traced: Traced = NOT_TRACED,
    ) -> None:
        self._traced = traced
        self._owner = owner
        self._channel = channel
        self._call = call
        self._request_id = request_id
        self._unanswered: dict[int, Batch] = {}
        self._number = 0
        self._wake: Final = asyncio.Event()
        self._draining = False
        self._closing = False
        self._writing: Final = asyncio.create_task(self._write(), name="noisegate write pump")
        self._reading: Final = asyncio.create_task(self._read(), name="noisegate read pump")

    @property
    def unanswered(self) -> int:
        """Batches under way."""
        return len(self._unanswered)

    def wake(self) -> None:
        """There may be something to take."""
        self._wake.set()

    async def close(self) -> None:
        """End it at once; what is under way ends with ClientClosed."""
        self._closing = True
        for pump in (self._reading, self._writing):
            pump.cancel()
        await asyncio.gather(self._reading, self._writing, return_exceptions=True)
        for batch in self._unanswered.values():
            batch.fail(ClientClosed())
        self._traced.end(None)
        await self._channel.close(grace=None)

    async def _write(self) -> None:
        try:
            while not self._draining:
                while body := self._next():
                    await self._call.write(body)
                self._wake.clear()
                await self._wake.wait()
            # The service ends the stream once everything that it has read is answered.
            await self._call.done_writing()
        except (AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError, asyncio.CancelledError):
            # The reading pump knows how the stream ended. A cancellation is always our own, and kept as an exception it
            # would keep the frames below it, and so the connection, until the next collection of garbage.
            return

    def _next(self) -> bytes:
        """The batches that are due, as one message: it costs both sides hardly more than one of them alone."""
        bodies = []
        size = 0
        while size < JOINED_BYTES and len(self._unanswered) < MAX_UNANSWERED:
            batch = self._owner.take(self)
            if batch is None:
                break
            self._number += 1
            self._unanswered[self._number] = batch
            bodies.append(batch.request(self._number, self._request_id))
            size += len(bodies[-1])
        return b"".join(bodies)

    async def _read(self) -> None:
        error = await self._read_all()
        if self._closing:
            return
        unanswered = list(self._unanswered.values())
        self._unanswered.clear()
        self._traced.end(None if self._draining else error)
        self._owner.ended(self, unanswered, error)
        self._call.cancel()
        self._writing.cancel()
        await asyncio.gather(self._writing)
        await self._channel.close(grace=None)

    async def _read_all(self) -> NoisegateError:
        """Take every answer; how the stream ended."""
        try:
            while isinstance(body := await self._call.read(), bytes):
                self._take(service.TransportResponse.FromString(body))
        except AioRpcError as failure:
            return _why(from_rpc_error(failure))
        except DecodeError:
            return NoisegateError(StatusCode.INTERNAL, message="the answer is not a TransportResponse")
        except asyncio.CancelledError:
            # Ours, or how grpc.aio tells of a stream that the other end has cancelled.
            pass
        return ServiceUnavailable(StatusCode.UNAVAILABLE, message="the service ended the stream")

    def _take(self, response: service.TransportResponse) -> None:
        for answer in response.answers:
            self._settle(answer)
        if response.HasField("draining"):
            self._draining = True
            self._owner.draining(self)
        self.wake()

    def _settle(self, answer: service.TransportAnswer) -> None:
        batch = self._unanswered.pop(answer.correlation_id, None)
        if batch is None:
            return
        if answer.WhichOneof("answer") == "refused":
            code = CODES.get(answer.refused.code, StatusCode.UNKNOWN)
            self._owner.refused(batch, from_status(code, "", answer.refused.status))
            return
        self._owner.answered()
        batch.settle(answer)


def _why(error: NoisegateError) -> NoisegateError:
    """A connection that is gone is one thing, however gRPC names it."""
    if error.reason or error.code not in _LOST:
        return error
    return ServiceUnavailable(StatusCode.UNAVAILABLE, "", error.message, retry_delay=error.retry_delay)
