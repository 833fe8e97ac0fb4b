"""A TCP proxy that can swallow an answer: the request arrives, the service acts, and the connection breaks."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.support.proxy import Proxy, frame_type, read_frame

_HEADERS: Final = 1
"""A gRPC answer begins with a HEADERS frame."""


class AnswerCutter(Proxy):
    """Once armed, it drops the next answer from its first frame on, and the connection."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0

    def swallow(self, answers: int = 1) -> None:
        """Drop the next answers, each with its connection."""
        self._left = answers

    async def to_caller(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Frame by frame, to know where an answer begins."""
        while True:
            frame = await read_frame(reader)
            if frame_type(frame) == _HEADERS and self._left:
                self._left -= 1
                self.cuts += 1
                return
            writer.write(frame)
            await writer.drain()
