"""A Transport over the in-process transport, whose methods are scripted."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Caller, Method, Reply, Table, Unary
from noisegate_server.rpc.handlers.transport import BATCHES, Transports
from noisegate_server.rpc.policy import Policy
from noisegate_server.rpc.running import Running
from noisegate_server.rpc.streams import guarded
from tests.support.in_process import LOCAL, Stream
from tests.support.rpc_table import make_rpc

METHOD = "/test.Service/Transport"
ANSWER = pb.EncryptBatchResponse(ciphertexts=b"sealed", lengths=[6])
LARGE = pb.EncryptBatchResponse(ciphertexts=bytes(limits.MAX_JOINED_BYTES // 2))
"""Two of these are more than one message may be."""
OTHER = Caller(identity="spiffe://game.example/other", tenant="other")


class Carrier:
    """A table with one Transport whose methods are scripted, and what they were called with."""

    def __init__(self, reply: Reply | None = None, policy: Policy | None = None, **seconds: float) -> None:
        self.called: list[tuple[str, Caller, bytes]] = []
        self.waiting: list[asyncio.Future[Reply]] = []
        """A future for each call while there was no `reply`."""
        self.again: asyncio.Future[Reply] | None = None
        """What further calls get in place of a new one."""
        self.reply = reply
        self.now = 0.0
        self.seconds = 0.0
        """How long each call of a method takes."""
        self.running = Running()
        methods = {name: self._method(name) for name in BATCHES}
        self.transports = Transports(methods, lambda: self.now, self.running, **seconds)
        rpc = make_rpc(policy=policy or Policy())
        stream = guarded(METHOD, rpc, self.transports.start)
        self.table: Table = {METHOD: Method(stream=stream, client_streaming=True, server_streaming=True)}

    def _method(self, name: str) -> Unary:
        def unary(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
            self.called.append((name, call.caller, body))
            self.now += self.seconds
            if self.reply is not None:
                return self.reply
            if self.again is not None:
                return self.again
            future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            return future

        return unary

    def open(self, caller: Caller = LOCAL, room: float = math.inf) -> Stream:
        return Stream(self.table, METHOD, caller, room=room)


def encrypt(*correlations: int) -> bytes:
    """A message with a batch of one for each."""
    batch = pb.EncryptBatchRequest(session_ids=bytes(24), lengths=[1], plaintexts=b"p")
    batches = [pb.TransportBatch(correlation_id=each, encrypt=batch) for each in correlations]
    return pb.TransportRequest(batches=batches).SerializeToString()


def read(stream: Stream) -> list[pb.TransportAnswer]:
    """Every answer so far."""
    answers: list[pb.TransportAnswer] = []
    while stream.sent:
        answers += pb.TransportResponse.FromString(stream.take()).answers
    return answers


def is_told_to_go(stream: Stream) -> bool:
    """Whether the next message says that the service drains."""
    return pb.TransportResponse.FromString(stream.take()) == pb.TransportResponse(draining=pb.TransportDraining())


def ending(stream: Stream) -> Reply | None:
    """How the stream has ended by now."""
    return stream.final


async def settle() -> None:
    """Let every task run as far as it can; there is no I/O here."""
    for _ in range(8):
        await asyncio.sleep(0)


def leaving(stream: Stream) -> list[list[int]]:
    """The numbers of the answers in each message so far."""
    messages = [pb.TransportResponse.FromString(stream.take()) for _ in range(len(stream.sent))]
    return [[each.correlation_id for each in message.answers] for message in messages]
