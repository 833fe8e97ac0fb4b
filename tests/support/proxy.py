"""A TCP proxy to a port of this machine: what every proxy of the tests does, whatever it does to the bytes."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

FRAME_HEADER: Final = 9
"""Bytes of an HTTP/2 frame before its payload: its length in three, its type in the fourth (RFC 9113, section 4.1)."""


class Proxy:
    """Forwards bytes both ways. A connection is cut as soon as one of its ways returns."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.connections = 0
        """Connections taken so far."""
        self.cuts = 0
        """Times that it cut one on purpose."""

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

    def aim(self, port: int) -> None:
        """Forward to this port from now on, for servers that must know the proxy first."""
        self._port = port

    async def to_service(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, for as long as the connection shall last."""
        await _forward(reader, writer)

    async def to_caller(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The other."""
        await _forward(reader, writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.ensure_future(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        # Aborted, not closed: the client must see a dead connection and no orderly end. Here, because a task that is
        # cancelled before its first step never reaches its own `finally`.
        link.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.ensure_future(self.to_service(reader, up_writer)),
            asyncio.ensure_future(self.to_caller(up_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up_writer.transport.abort()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next HTTP/2 frame, whole."""
    header = await reader.readexactly(FRAME_HEADER)
    return header + await reader.readexactly(int.from_bytes(header[:3], "big"))


def frame_type(frame: bytes) -> int:
    """0 for DATA, 1 for HEADERS, and so on (RFC 9113, section 6)."""
    return frame[3]


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
