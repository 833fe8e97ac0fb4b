"""`batch`, `batch-open`, `batch-cold`, `broadcast`: server CPU of one message of a batch of 1,000 / a raw AEAD loop.

Over the network, on grpcio, against the service as it is shipped: 1,000 DATAGRAM sessions of as many players, 256 bytes
a message, one call in flight. Before the figure is taken and after it, every record of a batch is opened by its player.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.measure import Taken, in_turn, process_cpu_ns
from noisegate_server.bench.players import PAYLOAD, play
from noisegate_server.bench.processes import SERVICE, pin, process

SESSIONS = 1_000
CALLS = 20
ROUNDS = 11
_COLD = (sys.executable, "-m", "noisegate_server.bench.cold_server")


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


async def _rounds(pid: int, call: Callable[[], Awaitable[None]], reference: Callable[[], float]) -> Taken:
    async def cost() -> float:
        before = process_cpu_ns(pid)
        await call()
        return (process_cpu_ns(pid) - before) / SESSIONS

    async def raw() -> float:
        return reference()

    return await in_turn(cost, raw, ROUNDS, CALLS)


async def _sealing(method: str, request: Any, plaintexts: Sequence[bytes], command: Sequence[str] = SERVICE) -> Taken:
    """A row of EncryptBatch or Broadcast."""
    pin(os.getpid(), 1)
    with process(*command) as (pid, address):
        async with play(address, SESSIONS) as players:
            request.session_ids = b"".join(players.ids)
            body = request.SerializeToString()
            response = getattr(pb, f"{method}Response")
            answers: list[bytes] = []

            async def call() -> None:
                answers.append(await players.raw(method, body))

            with raw_loop() as loop:
                await call()
                players.read(response.FromString(answers[-1]), plaintexts)
                taken = await _rounds(pid, call, lambda: loop("seal"))
            players.read(response.FromString(answers[-1]), plaintexts)
    seen: set[tuple[int, int]] = set()
    for answer in map(response.FromString, answers):
        seen.update(enumerate(answer.counters))
    if len(seen) != len(answers) * SESSIONS:
        raise RuntimeError("a counter was used twice, or a record is missing")
    return taken


async def measure_batch() -> Taken:
    """Take `batch`."""
    return await _batch(SERVICE)


async def measure_cold() -> Taken:
    """Take `batch-cold`."""
    return await _batch(_COLD)


async def _batch(command: Sequence[str]) -> Taken:
    plaintexts = [os.urandom(PAYLOAD) for _ in range(SESSIONS)]
    request = pb.EncryptBatchRequest(lengths=[PAYLOAD] * SESSIONS, plaintexts=b"".join(plaintexts))
    return await _sealing("EncryptBatch", request, plaintexts, command)


async def measure_broadcast() -> Taken:
    """Take `broadcast`."""
    plaintext = os.urandom(PAYLOAD)
    return await _sealing("Broadcast", pb.BroadcastRequest(plaintext=plaintext), [plaintext] * SESSIONS)


async def measure_open() -> Taken:
    """Take `batch-open`."""
    pin(os.getpid(), 1)
    with process(*SERVICE) as (pid, address):
        async with play(address, SESSIONS) as players:
            bodies = [players.packets().SerializeToString() for _ in range(CALLS * ROUNDS + 1)]
            answers: list[bytes] = []

            async def call() -> None:
                answers.append(await players.raw("DecryptBatch", bodies[len(answers)]))

            with raw_loop() as loop:
                await call()
                taken = await _rounds(pid, call, lambda: loop("open"))
            for answer in map(pb.DecryptBatchResponse.FromString, answers):
                if answer.errors or len(answer.plaintexts) != PAYLOAD * SESSIONS or not all(answer.newest):
                    raise RuntimeError("a packet was refused")
            plaintexts = [os.urandom(PAYLOAD) for _ in range(SESSIONS)]
            packets = players.packets(plaintexts)
            first, again = await players.open(packets), await players.call("DecryptBatch", packets)
            if first.plaintexts != b"".join(plaintexts) or len(again.errors) != SESSIONS:
                raise RuntimeError("a packet holds something else, or was opened twice")
    return taken
