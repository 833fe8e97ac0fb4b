"""A TCP proxy that cuts a connection at a chosen DATA frame: before it, in the middle of it, or behind it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tests.support.proxy import Proxy, frame_type, read_frame

_DATA: Final = 0
"""What messages travel in."""
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


class StreamCutter(Proxy):
    """Cuts at each of `places`, once."""

    def __init__(self, port: int, *places: Place) -> None:
        super().__init__(port)
        self._places = {(place.way, place.number): place.part for place in places}
        self._seen = dict.fromkeys(Way, 0)

    async def to_service(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, behind what every connection begins with."""
        writer.write(await reader.readexactly(len(_PREFACE)))
        await self._forward(Way.TO_SERVICE, reader, writer)

    async def to_caller(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Likewise."""
        await self._forward(Way.TO_CALLER, reader, writer)

    async def _forward(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await read_frame(reader)
            if frame_type(frame) == _DATA:
                self._seen[way] += 1
                part = self._places.pop((way, self._seen[way]), None)
                if part is not None:
                    self.cuts += 1
                    length = {Part.NOTHING: 0, Part.HALF: len(frame) // 2, Part.ALL: len(frame)}[part]
                    writer.write(frame[:length])
                    await writer.drain()
                    return
            writer.write(frame)
            await writer.drain()
