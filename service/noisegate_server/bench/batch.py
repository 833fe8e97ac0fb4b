"""`batch`, `batch-open`, `batch-cold`, `broadcast`: server CPU of one message of a batch of 1,000 / a raw AEAD loop.

Over the network, on grpcio, against the service as it is shipped: 1,000 DATAGRAM sessions of as many players, 256 bytes
a message, one call in flight. Before the figure is taken and after it, every record of a batch is opened by its player.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.bench.measure import STRAY, Figure, figure, process_cpu_ns
from noisegate_server.bench.own_cost import pin, process
from noisegate_server.bench.seam import TENANT, make_bench_parts
from noisegate_server.engine import handshake, records
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite

SESSIONS = 1_000
PAYLOAD = 256
CALLS = 20
ROUNDS = 11
RECORD = PAYLOAD + 32
_SERVICE = "/noisegate.v1.SessionCryptoService/"
_SERVE = ("serve", "--dev", "--listen", "127.0.0.1:0")
_REFERENCE = "a raw AEAD loop over as many contexts, a new nonce each, results kept"


@dataclass(slots=True)
class Match:
    """The players' sessions with the service, and a connection to it."""

    players: Parts
    """An instance in this process that has the other end of each session."""
    channel: grpc.aio.Channel
    ids: list[bytes] = field(default_factory=list)
    """At the service."""
    far_ids: list[bytes] = field(default_factory=list)
    """The same sessions at the players."""

    async def meet(self) -> None:
        """Establish all of them."""
        key = (await self.call("GetCapabilities", pb.GetCapabilitiesRequest())).static_key
        for _ in range(SESSIONS):
            now, wall = time.monotonic(), time.time()
            initiation = handshake.Initiation(
                mode=RecordMode.DATAGRAM, pattern=Pattern.NK, suite=Suite.CHACHA20_POLY1305_X25519, offer=(),
                remote_static_key=key, psk=b"", prologue=b"", payload=b"", peer_id="", group="g", options=Options(),
            )  # fmt: skip
            begun = handshake.initiate(self.players, TENANT, initiation, now, wall)
            respond = pb.RespondHandshake(
                mode=session_pb2.RECORD_MODE_DATAGRAM, message=begun.to_peer[0], peer_id=begun.session_id.hex()
            )
            answer = await self.call("Handshake", pb.HandshakeRequest(respond=respond))
            handshake.proceed(self.players, TENANT, begun.session_id, answer.to_peer[0], b"", now, wall)
            self.ids.append(answer.session_id)
            self.far_ids.append(begun.session_id)
        # The first record of each player confirms its session.
        await self.open(self.packets())

    async def call(self, method: str, request: Any) -> Any:
        """A call that must not be refused."""
        answer = await self.raw(method, request.SerializeToString())
        return getattr(pb, f"{method}Response").FromString(answer)

    async def raw(self, method: str, body: bytes) -> bytes:
        """Bytes to bytes."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(_SERVICE + method, None, None)
        return await call(body)

    def packets(self) -> pb.DecryptBatchRequest:
        """A packet of every player."""
        now = time.monotonic()
        sealed = [
            records.encrypt(self.players, TENANT, each, os.urandom(PAYLOAD), b"", now).ciphertext
            for each in self.far_ids
        ]
        return pb.DecryptBatchRequest(
            session_ids=b"".join(self.ids), lengths=map(len, sealed), ciphertexts=b"".join(sealed)
        )

    async def open(self, request: pb.DecryptBatchRequest) -> pb.DecryptBatchResponse:
        """Open a packet of every player; RuntimeError where one is refused."""
        answer: pb.DecryptBatchResponse = await self.call("DecryptBatch", request)
        if (
            answer.errors
            or len(answer.plaintexts) != len(request.ciphertexts) - 32 * SESSIONS
            or not all(answer.newest)
        ):
            raise RuntimeError("a packet was refused")
        return answer

    def read(self, answer: Any, plaintexts: list[bytes], whose: range = range(SESSIONS)) -> None:
        """Open what the service has sealed, as its players do; RuntimeError for anything but these plaintexts."""
        if answer.errors or set(answer.lengths) != {RECORD} or len(answer.lengths) != len(whose):
            raise RuntimeError("a record was refused, or has another length")
        now, wall = time.monotonic(), time.time()
        far_ids = [self.far_ids[each] for each in whose]
        for index, (far_id, plaintext) in enumerate(zip(far_ids, plaintexts, strict=True)):
            record = answer.ciphertexts[index * RECORD : (index + 1) * RECORD]
            opened = records.decrypt(self.players, TENANT, far_id, record, b"", ticket=False, now=now, wall=wall)
            if opened.plaintext != plaintext or opened.counter != answer.counters[index]:
                raise RuntimeError("a record holds something else")


@asynccontextmanager
async def match(*command: str) -> AsyncIterator[tuple[Match, int]]:
    """A service and its players; and its process id."""
    with process(*command) as (pid, address):
        async with grpc.aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
            found = Match(make_bench_parts(), channel)
            await found.meet()
            yield found, pid


@contextmanager
def raw_loop() -> Iterator[Callable[[str], float]]:
    """The reference on core 0: (seal or open) -> CPU nanoseconds of one."""
    command = (sys.executable, "-m", "noisegate_server.bench.raw_loop", str(SESSIONS), str(PAYLOAD))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop:
        if loop.stdin is None or loop.stdout is None:
            raise RuntimeError("no pipes")
        pin(loop.pid, 0)
        incoming, outgoing = loop.stdout, loop.stdin

        def measure(what: str) -> float:
            outgoing.write(what + "\n")
            outgoing.flush()
            return float(incoming.readline())

        measure("seal")
        yield measure
        outgoing.close()


async def _rounds(
    pid: int, call: Callable[[], Awaitable[None]], reference: Callable[[], float]
) -> tuple[list[float], float, float]:
    """As `in_turn`, but subject and reference take turns call by call: what disturbs one then disturbs the other."""

    async def cost() -> float:
        before = process_cpu_ns(pid)
        await call()
        return (process_cpu_ns(pid) - before) / SESSIONS

    rounds = []
    for _ in range(ROUNDS):
        above = below = 0.0
        for number in range(CALLS):
            if number % 2:
                below += reference()
                above += await cost()
            else:
                above += await cost()
                below += reference()
        rounds.append((above / CALLS, below / CALLS))
    usual = statistics.median(below for _, below in rounds)
    kept = [(above, below) for above, below in rounds if abs(below / usual - 1) <= STRAY]
    ratios = [above / below for above, below in kept]
    return ratios, statistics.median(above for above, _ in kept), statistics.median(below for _, below in kept)


async def _sealing(what: str, method: str, request: Any, plaintexts: list[bytes], row: dict[str, Any]) -> Figure:
    """A row of EncryptBatch or Broadcast."""
    pin(os.getpid(), 1)
    command = (sys.executable, "-m", *row.pop("server", ("noisegate_server", *_SERVE)))
    async with match(*command) as (found, pid):
        request.session_ids = b"".join(found.ids)
        body = request.SerializeToString()
        response = getattr(pb, f"{method}Response")
        answers: list[bytes] = []

        async def call() -> None:
            answers.append(await found.raw(method, body))

        with raw_loop() as loop:
            await call()
            found.read(response.FromString(answers[-1]), plaintexts)
            taken = await _rounds(pid, call, lambda: loop("seal"))
        found.read(response.FromString(answers[-1]), plaintexts)
    counters = {response.FromString(answer).counters[0] for answer in answers}
    if len(counters) != CALLS * ROUNDS + 1:
        raise RuntimeError("a counter was used twice")
    return figure(*taken, what=what, reference=_REFERENCE, **row)


async def measure_batch() -> Figure:
    """Take `batch`."""
    return await _batch(
        "EncryptBatch of 1,000 x 256 B, 1,000 sessions, server CPU per message", id="batch", must=2.8, aim=2.4
    )


async def measure_cold() -> Figure:
    """Take `batch-cold`."""
    what = "EncryptBatch likewise, no AEAD context cached"
    return await _batch(what, id="batch-cold", must=3.8, aim=3.0, server=("noisegate_server.bench.cold_server",))


async def _batch(what: str, **row: Any) -> Figure:
    plaintexts = [os.urandom(PAYLOAD) for _ in range(SESSIONS)]
    request = pb.EncryptBatchRequest(lengths=[PAYLOAD] * SESSIONS, plaintexts=b"".join(plaintexts))
    return await _sealing(what, "EncryptBatch", request, plaintexts, row)


async def measure_broadcast() -> Figure:
    """Take `broadcast`."""
    plaintext = os.urandom(PAYLOAD)
    what = "Broadcast of 256 B to 1,000 sessions, server CPU per session"
    row = {"id": "broadcast", "must": 1.8, "aim": 1.5}
    return await _sealing(what, "Broadcast", pb.BroadcastRequest(plaintext=plaintext), [plaintext] * SESSIONS, row)


async def measure_open() -> Figure:
    """Take `batch-open`."""
    pin(os.getpid(), 1)
    async with match(sys.executable, "-m", "noisegate_server", *_SERVE) as (found, pid):
        bodies = [found.packets().SerializeToString() for _ in range(CALLS * ROUNDS + 1)]
        answers: list[bytes] = []

        async def call() -> None:
            answers.append(await found.raw("DecryptBatch", bodies[len(answers)]))

        with raw_loop() as loop:
            await call()
            taken = await _rounds(pid, call, lambda: loop("open"))
        for answer in map(pb.DecryptBatchResponse.FromString, answers):
            if answer.errors or len(answer.plaintexts) != PAYLOAD * SESSIONS or not all(answer.newest):
                raise RuntimeError("a packet was refused")
        packets = found.packets()
        first, again = await found.open(packets), await found.call("DecryptBatch", packets)
        if len(first.plaintexts) != PAYLOAD * SESSIONS or len(again.errors) != SESSIONS:
            raise RuntimeError("a packet was opened twice")
    return figure(
        *taken,
        id="batch-open",
        what="DecryptBatch of 1,000 x 256 B, 1,000 sessions, windows committed, server CPU per message",
        reference=_REFERENCE,
        must=3.2,
        aim=2.6,
    )  # fmt: skip
