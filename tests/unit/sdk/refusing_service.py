"""An HTTP/2 server that refuses streams before anything is processed: as much of RFC 9113 as grpc.aio needs of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from google.protobuf.message import Message

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
ACK = END_STREAM = 0x01
END_HEADERS = 0x04
REFUSED_STREAM = (7).to_bytes(4, "big")

# HPACK (RFC 7541): `:status 200` is entry 8 of the static table, `content-type` entry 31; the rest in plain letters.
RESPONSE = b"\x88\x0f\x10\x10application/grpc"
TRAILERS = b"\x00\x0bgrpc-status\x010"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class RefusingService:
    """Refuses `refusals` streams, then answers every call with `answer`."""

    def __init__(self, refusals: int, answer: Message) -> None:
        self.address = ""
        self.refusals = refusals
        self.streams = 0
        self.bodies: list[bytes] = []
        """Of the requests that were processed, with gRPC's own five bytes before each."""
        body = answer.SerializeToString()
        self._answer = b"\0" + len(body).to_bytes(4, "big") + body
        self.tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin a connection."""
        self.tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused: set[int] = set()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(len(PREFACE))
            writer.write(frame(SETTINGS, 0, 0))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind in (SETTINGS, PING) and not flags & ACK:
                    writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
                elif kind == HEADERS:
                    self.streams += 1
                    if self.refusals:
                        self.refusals -= 1
                        refused.add(stream)
                        writer.write(frame(RST_STREAM, 0, stream, REFUSED_STREAM))
                elif kind == DATA and flags & END_STREAM and stream not in refused:
                    self.bodies.append(payload)
                    writer.write(
                        frame(HEADERS, END_HEADERS, stream, RESPONSE)
                        + frame(DATA, 0, stream, self._answer)
                        + frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS)
                    )
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def refusing_service(refusals: int, answer: Message) -> AsyncIterator[RefusingService]:
    """A running server on 127.0.0.1; `address` says where."""
    refusing = RefusingService(refusals, answer)
    server = await asyncio.start_server(refusing.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    refusing.address = f"{host}:{port}"
    try:
        yield refusing
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*refusing.tasks)
