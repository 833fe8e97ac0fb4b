"""A TCP proxy that can hold answers back: the request arrives, the service acts, and its answer waits."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.support.proxy import Proxy, frame_type, read_frame

_DATA: Final = 0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Gate(Proxy):
    """While it is held, nothing comes back."""

    def __init__(self) -> None:
        super().__init__()
        self._open: Final = asyncio.Event()
        self._open.set()
        self._asked: Final = asyncio.Event()

    def hold(self) -> None:
        """From here on answers wait."""
        self._open.clear()
        self._asked.clear()

    async def asked(self) -> None:
        """Wait until a request has come by since `hold`."""
        await self._asked.wait()

    def release(self) -> None:
        """Let answers through, those that wait first."""
        self._open.set()

    async def to_service(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, to know when a request has come."""
        writer.write(await reader.readexactly(len(_PREFACE)))
        while True:
            frame = await read_frame(reader)
            writer.write(frame)
            await writer.drain()
            if frame_type(frame) == _DATA:
                self._asked.set()

    async def to_caller(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes, once it is open."""
        while data := await reader.read(65_536):
            await self._open.wait()
            writer.write(data)
            await writer.drain()
