"""A TCP proxy that can swallow an answer: the request arrives, the service acts, and the connection breaks."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

_FRAME_HEADER: Final = 9
_HEADERS: Final = 1
"""HTTP/2's HEADERS frame (RFC 9113, section 6.2): a gRPC answer begins with one."""


class AnswerCutter:
    """Forwards bytes both ways. Once armed, it drops the next answer from its first frame on, and the connection."""

    def __init__(self) -> None:
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._left = 0
        self.cuts = 0
        """Answers swallowed so far."""
        self.connections = 0
        """Connections taken so far."""

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
        """Forward to this port of this machine. Apart from the start, for servers that must know the proxy first."""
        self._port = port

    def swallow(self, answers: int = 1) -> None:
        """Drop the next answers, each with its connection."""
        self._left = answers

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.ensure_future(self._serve(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        # Aborted, not closed: the client must see a dead connection and no orderly end. Here, because a task that is
        # cancelled before its first step never reaches its own `finally`.
        link.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.ensure_future(_forward(reader, upstream_writer)),
            asyncio.ensure_future(self._answers(upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            upstream_writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, to know where an answer begins; returns when the connection shall be cut."""
        while True:
            header = await reader.readexactly(_FRAME_HEADER)
            if header[3] == _HEADERS and self._left:
                self._left -= 1
                self.cuts += 1
                return
            writer.write(header + await reader.readexactly(int.from_bytes(header[:3], "big")))
            await writer.drain()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
