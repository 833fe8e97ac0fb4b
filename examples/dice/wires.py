"""Ordered connections that carry Noise messages, and how the game frames them. No crypto: both ends use this file.

One Noise message is one WebSocket frame; over TCP each has its length in two bytes before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

RESUME: Final = 9
"""In the place of a pattern: the number of NNpsk0, which a resume runs."""
GAME, TICKET, REKEY, RENEGOTIATE, SWITCH = b"G", b"T", b"K", b"R", b"S"
"""What a plaintext of a NOISE session begins with: a game message; the next record is a ticket; from the next record on
the key is another; a handshake message of a renegotiation; from the next record on its keys hold.
"""


class WireLostError(ConnectionError):
    """The connection is gone."""


class Wire(Protocol):
    """Messages in order, until the connection is lost."""

    async def send(self, message: bytes) -> None:
        """Sends one message. WireLostError."""

    async def receive(self) -> bytes:
        """The next message. WireLostError."""

    async def close(self) -> None:
        """Ends the connection; it may be gone already."""


class TcpWire:
    """A TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, message: bytes) -> None:
        try:
            self._writer.write(len(message).to_bytes(2, "big") + message)
            await self._writer.drain()
        except OSError as error:
            raise WireLostError from error

    async def receive(self) -> bytes:
        try:
            length = int.from_bytes(await self._reader.readexactly(2), "big")
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise WireLostError from error

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class WebSocketWire:
    """A WebSocket connection, of either side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise WireLostError from error

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise WireLostError from error

    async def close(self) -> None:
        await self._connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The first frame of a connection: pattern(1), suite(1), ticket_len(2), ticket, Noise message 1."""

    pattern: int
    suite: int
    message: bytes
    ticket: bytes = b""

    def encode(self) -> bytes:
        """The frame."""
        return bytes([self.pattern, self.suite]) + len(self.ticket).to_bytes(2, "big") + self.ticket + self.message

    @classmethod
    def decode(cls, frame: bytes) -> Opening:
        """The opening in this frame; ValueError if it is too short for one."""
        end = 4 + int.from_bytes(frame[2:4], "big")
        if len(frame) < end or len(frame) < 4:
            raise ValueError("no opening frame")
        return cls(pattern=frame[0], suite=frame[1], ticket=frame[4:end], message=frame[end:])
