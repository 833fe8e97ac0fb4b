"""Encrypt and Decrypt of many sessions as batches on one stream: what `connect(..., multiplex=...)` turns on."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as service

from ._bundle import Kind, Waiting
from ._calls import SERVICE, CallPolicy
from ._channels import MAX_CHANNELS, Channels
from ._line import Line
from ._link import Link, RawStreams
from ._model import Opened, RecordMode, Sealed
from ._packing import Text
from ._tracing import begin_stream
from ._whole import Whole
from .errors import ClientClosed

_PATH: Final = f"/{SERVICE}/Transport"
MAX_BATCH_ITEMS: Final = 1_024
MAX_BATCH_BYTES: Final = 1_310_720
"""The contract's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplex:
    """How calls of many sessions travel together."""

    tick: float = 0.0
    """Seconds for which a batch collects calls; at most 0.1. 0: those of one turn of the event loop."""
    max_items: int = 256
    """Calls in one batch, 1 to 1,024; a full one goes at once."""
    max_bytes: int = 256 * 1024
    """Bytes of its plaintexts or records, 1 to 1,310,720; a longer call goes alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.tick <= 0.1:
            raise ValueError("tick must be 0 to 0.1 seconds")
        if not 1 <= self.max_items <= MAX_BATCH_ITEMS or not 1 <= self.max_bytes <= MAX_BATCH_BYTES:
            raise ValueError(f"max_items must be 1 to {MAX_BATCH_ITEMS}, max_bytes 1 to {MAX_BATCH_BYTES}")


class Multiplexer:
    """One line for each endpoint, made when first needed. Belongs to the event loop that first uses it."""

    def __init__(
        self,
        channels: Channels,
        policy: CallPolicy,
        options: Multiplex,
        *,
        share: Callable[[], float],
        request_id: Callable[[], str],
    ) -> None:
        self._channels = channels
        self._policy = policy
        self._options = options
        self._share = share
        self._request_id = request_id
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._retiring: set[asyncio.Task[None]] = set()

    async def encrypt(self, endpoint: str, mode: RecordMode | None, text: Text) -> Sealed:
        """Seal with the next batch. Raises NoisegateError."""
        kind = Kind.SEAL if mode is RecordMode.DATAGRAM else Kind.SEAL_IN_TURN
        sealed = await self._enter(endpoint, kind, text)
        if not isinstance(sealed, Sealed):
            raise TypeError("an answer of another kind")
        return sealed

    async def decrypt(self, endpoint: str, text: Text) -> Opened:
        """Open with the next batch. Raises NoisegateError."""
        opened = await self._enter(endpoint, Kind.OPEN, text)
        if not isinstance(opened, Opened):
            raise TypeError("an answer of another kind")
        return opened

    async def carry(self, endpoint: str, batch: service.TransportBatch) -> service.TransportAnswer:
        """A batch that is complete already. Raises NoisegateError."""
        if self._channels.closed:
            raise ClientClosed
        loop = asyncio.get_running_loop()
        line = self._line(endpoint)
        whole = Whole(batch, loop.time() + self._policy.control_deadline, loop)
        line.carry(whole)
        return await whole.result

    async def close(self) -> None:
        """End every stream; calls that wait end with ClientClosed."""
        lines, self._lines = list(self._lines.values()), OrderedDict()
        for line in lines:
            await line.close()
        await asyncio.gather(*self._retiring)

    def _enter(self, endpoint: str, kind: Kind, text: Text) -> asyncio.Future[Sealed | Opened]:
        if self._channels.closed:
            raise ClientClosed
        # What is no bytes fails here, where it harms nobody else's call; what is mutable is copied.
        text = Text(*(b"".join((part,)) for part in text))
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Sealed | Opened] = loop.create_future()
        self._line(endpoint).add(kind, Waiting(text, result, loop.time() + self._policy.packet_deadline))
        return result

    def _line(self, endpoint: str) -> Line:
        line = self._lines.get(endpoint)
        if line is None:
            self._channels.check(endpoint)
            options = self._options
            line = self._lines[endpoint] = Line(
                lambda line: self._link(endpoint, line),
                self._policy,
                self._share,
                tick=options.tick,
                max_items=options.max_items,
                max_bytes=options.max_bytes,
            )
            if len(self._lines) > MAX_CHANNELS:
                self._retire(line)
        else:
            self._lines.move_to_end(endpoint)
        return line

    def _retire(self, new: Line) -> None:
        """Close the connection that nobody has used for the longest time."""
        idle = next((address for address, line in self._lines.items() if line.idle and line is not new), None)
        if idle is not None:
            closing = asyncio.create_task(self._lines.pop(idle).close())
            self._retiring.add(closing)
            closing.add_done_callback(self._retiring.discard)

    def _link(self, endpoint: str, line: Line) -> Link:
        channel = self._channels.own(endpoint)
        method: RawStreams = channel.stream_stream(_PATH, request_serializer=None, response_deserializer=None)
        traced = begin_stream(_PATH, endpoint or self._channels.target, shared=True)
        return Link(line, channel, method(metadata=traced.metadata), self._request_id, traced)
