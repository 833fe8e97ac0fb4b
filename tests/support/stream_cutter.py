"""A TCP proxy that cuts a connection at a chosen DATA frame: before it, in the middle of it, or behind it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Final, Self

_FRAME_HEADER: Final = 9
_DATA: Final = 0
"""HTTP/2's DATA frame (RFC 9113, section 6.1): what messages travel in."""
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Way(Enum):
    """Where a frame goes."""

    TO_SERVICE = auto()
    TO_CALLER = auto()


class Part(Enum):
    """How much of the frame still gets through."""

    NOTHING = auto()
    HALF = auto()
    ALL = auto()


@dataclass(frozen=True, kw_only=True)
class Place:
    """The frame at which a connection is cut."""

    way: Way
    number: int
    """Counted from 1, over all connections."""
    part: Part


class StreamCutter:
    """Forwards frames both ways to a port of this machine, and cuts at each of `places`, once."""

    def __init__(self, port: int, *places: Place) -> None:
        self._port = port
        self._places = {(place.way, place.number): place.part for place in places}
        self._seen = dict.fromkeys(Way, 0)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.cuts = 0
        """Connections cut so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    @property
    def address(self) -> str:
        """HOST:PORT that a client connects to."""
        if self._server is None:
            raise RuntimeError("the proxy is not running")
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.ensure_future(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        # As in tests.support.proxy: a dead connection, no orderly end, however early the task is cancelled.
        link.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.ensure_future(self._forward(Way.TO_SERVICE, reader, up_writer)),
            asyncio.ensure_future(self._forward(Way.TO_CALLER, up_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up_writer.transport.abort()

    async def _forward(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame; returns when the connection shall be cut."""
        if way is Way.TO_SERVICE:
            writer.write(await reader.readexactly(len(_PREFACE)))
        while True:
            header = await reader.readexactly(_FRAME_HEADER)
            frame = header + await reader.readexactly(int.from_bytes(header[:3], "big"))
            part = Part.ALL
            if header[3] == _DATA:
                self._seen[way] += 1
                cut = self._places.pop((way, self._seen[way]), None)
                if cut is not None:
                    self.cuts += 1
                    part = cut
                    length = {Part.NOTHING: 0, Part.HALF: len(frame) // 2, Part.ALL: len(frame)}[part]
                    writer.write(frame[:length])
                    await writer.drain()
                    return
            writer.write(frame)
            await writer.drain()
