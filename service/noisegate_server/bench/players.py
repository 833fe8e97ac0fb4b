"""Players of a service over the network: the other end of each of its sessions, in this process."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.bench.instances import TENANT, begin, make_instance
from noisegate_server.engine import handshake, records
from noisegate_server.session.suites import Pattern

__all__ = ["OVERHEAD", "PAYLOAD", "PREFIX", "Players", "play"]

PAYLOAD: Final = 256
OVERHEAD: Final = 32
"""Bytes that a DATAGRAM record is longer than its plaintext."""
PREFIX: Final = "/noisegate.v1.SessionCryptoService/"


class Players:
    """As many players as there are sessions, and the game's connection to the service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.ids: list[bytes] = []
        """Session ids at the service."""
        self._instance = make_instance()
        self._far_ids: list[bytes] = []
        """The same sessions at the players."""

    async def meet(self, count: int) -> None:
        """Establish `count` DATAGRAM sessions."""
        key = (await self.call("GetCapabilities", pb.GetCapabilitiesRequest())).static_key
        for _ in range(count):
            now, wall = time.monotonic(), time.time()
            begun = begin(self._instance, Pattern.NK, key, now, wall)
            respond = pb.RespondHandshake(
                mode=session_pb2.RECORD_MODE_DATAGRAM, message=begun.to_peer[0], peer_id=begun.session_id.hex()
            )
            answer = await self.call("Handshake", pb.HandshakeRequest(respond=respond))
            handshake.proceed(self._instance, TENANT, begun.session_id, answer.to_peer[0], b"", now, wall)
            self.ids.append(answer.session_id)
            self._far_ids.append(begun.session_id)
        # The first record of each player confirms its session.
        await self.open(self.packets())

    async def call(self, method: str, request: Any) -> Any:
        """A call that must not be refused."""
        answer = await self.raw(method, request.SerializeToString())
        return getattr(pb, f"{method}Response").FromString(answer)

    async def raw(self, method: str, body: bytes) -> bytes:
        """Bytes to bytes."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(PREFIX + method, None, None)
        return await call(body)

    def packets(self, plaintexts: Sequence[bytes] = ()) -> pb.DecryptBatchRequest:
        """A packet of every player: of these plaintexts, else of random ones."""
        now = time.monotonic()
        sealed = [
            records.encrypt(
                self._instance, TENANT, far_id, plaintexts[at] if plaintexts else os.urandom(PAYLOAD), b"", now
            ).ciphertext
            for at, far_id in enumerate(self._far_ids)
        ]
        return pb.DecryptBatchRequest(
            session_ids=b"".join(self.ids), lengths=map(len, sealed), ciphertexts=b"".join(sealed)
        )

    async def open(self, request: pb.DecryptBatchRequest) -> pb.DecryptBatchResponse:
        """Let the service open a packet of every player; RuntimeError where one is refused."""
        answer: pb.DecryptBatchResponse = await self.call("DecryptBatch", request)
        opened = len(request.ciphertexts) - OVERHEAD * len(self.ids)
        if answer.errors or len(answer.plaintexts) != opened or not all(answer.newest):
            raise RuntimeError("a packet was refused")
        return answer

    def read(self, answer: Any, plaintexts: Sequence[bytes], whose: Sequence[int] = ()) -> None:
        """Open what the service has sealed (for players `whose`, else all) as its players do.

        RuntimeError for anything but these plaintexts.
        """
        whose = whose or range(len(self._far_ids))
        if answer.errors or list(answer.lengths) != [len(each) + OVERHEAD for each in plaintexts]:
            raise RuntimeError("a record was refused, or has another length")
        at = 0
        for player, length, counter, plaintext in zip(whose, answer.lengths, answer.counters, plaintexts, strict=True):
            self.read_one(player, answer.ciphertexts[at : at + length], counter, plaintext)
            at += length

    def read_one(self, player: int, record: bytes, counter: int, plaintext: bytes) -> None:
        """Open one record as its player does; RuntimeError for anything but this plaintext."""
        opened = records.decrypt(
            self._instance, TENANT, self._far_ids[player], record, b"",
            ticket=False, now=time.monotonic(), wall=time.time(),
        )  # fmt: skip
        if opened.plaintext != plaintext or opened.counter != counter:
            raise RuntimeError("a record holds something else")


@asynccontextmanager
async def play(address: str, count: int) -> AsyncIterator[Players]:
    """Players of the service at this address."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        players = Players(channel)
        await players.meet(count)
        yield players
