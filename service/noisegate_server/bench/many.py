"""`idle-bytes`, `stall-ms`, `tail`, `largest-call-ms`: what a million sessions cost a service and those who call it."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.crowd import EXPIRE_PER_SECOND, EXPIRE_SECONDS, PAYLOAD
from noisegate_server.bench.measure import Taken

MILLION: Final = 1_000_000
FEW: Final = 200_000
_ROUNDS: Final = 3
_CALLS: Final = 9
_ITEMS: Final = 1_024
_LARGEST: Final = 1_280
_HOT: Final = 64
_SERVICE: Final = "/noisegate.v1.SessionCryptoService/"


async def _start(what: str, sessions: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "noisegate_server.bench.crowd",
        what,
        str(sessions),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )


async def _heard(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line that the process says."""
    if process.stdout is None:
        raise RuntimeError("no standard output")
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the service has ended")
    said: dict[str, Any] = json.loads(line)
    return said


class Service:
    """The process with the sessions, and a connection to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: grpc.aio.Channel, ids: list[bytes]) -> None:
        self.process = process
        self.channel = channel
        self.ids = ids
        """Of 1,024 sessions."""

    async def ask(self, what: str) -> dict[str, Any]:
        """Say a line, and hear what the service says to it."""
        if self.process.stdin is None:
            raise RuntimeError("no standard input")
        self.process.stdin.write(f"{what}\n".encode())
        return await _heard(self.process)

    async def call(self, method: str, request: Any) -> Any:
        """A call that must not be refused."""
        multi: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(_SERVICE + method, None, None)
        return getattr(pb, f"{method}Response").FromString(await multi(request.SerializeToString()))


@asynccontextmanager
async def _serving(sessions: int) -> AsyncIterator[Service]:
    process = await _start("serve", sessions)
    try:
        said = await _heard(process)
        async with grpc.aio.insecure_channel(
            said["address"], options=[("grpc.max_receive_message_length", 8 << 20)]
        ) as channel:
            yield Service(process, channel, [bytes.fromhex(each) for each in said["ids"]])
    finally:
        # All is in memory, and to end a million sessions in good order takes longer than to measure them.
        process.kill()
        await process.wait()


async def measure_idle() -> Taken:
    """Bytes of an idle session, from two processes."""
    full, empty = {}, {}
    for sessions in (FEW, MILLION):
        process = await _start("idle", sessions)
        said = await _heard(process)
        await process.wait()
        full[sessions], empty[sessions] = said["full"], said["empty"]
    slope = (full[MILLION] - full[FEW]) / (MILLION - FEW)
    whole = (full[MILLION] - empty[MILLION]) / MILLION
    return Taken(
        ratio=max(slope, whole),
        low=min(slope, whole),
        high=max(slope, whole),
        detail=f"slope {slope:.0f} B, whole {whole:.0f} B",
    )


async def measure_stall() -> Taken:
    """Longest step of the loop in each round of some seconds."""
    longest = []
    async with _serving(MILLION) as service:
        for _ in range(_ROUNDS):
            before = (await service.ask("expire"))["sessions"]
            await asyncio.sleep(EXPIRE_SECONDS + 1.0)
            said = await service.ask("steps")
            if before - said["sessions"] < EXPIRE_SECONDS * EXPIRE_PER_SECOND * 0.9 or said["sessions"] < MILLION:
                raise RuntimeError(f"{before - said['sessions']} sessions have expired, {said['sessions']} live")
            longest.append(said["longest_ms"])
    return Taken(
        ratio=max(longest),
        low=min(longest),
        high=max(longest),
        detail=f"median {statistics.median(longest):.1f} ms",
    )


async def measure_largest() -> Taken:
    """How long the largest calls hold the loop: of each kind the median, of the kinds the highest."""
    async with _serving(2_000) as service:
        ids = b"".join(service.ids)
        requests = {
            "EncryptBatch": pb.EncryptBatchRequest(
                session_ids=ids, lengths=[_LARGEST] * _ITEMS, plaintexts=os.urandom(_ITEMS * _LARGEST)
            ),
            "Broadcast": pb.BroadcastRequest(session_ids=ids, plaintext=os.urandom(_LARGEST)),
            "ListSessions": pb.ListSessionsRequest(page_size=1_000),
        }
        steps: dict[str, list[float]] = {f"{name}, {how}": [] for name in requests for how in ("idle", "hot")}
        for _ in range(_CALLS):
            for name, request in requests.items():
                await service.ask("rest")
                for how in ("idle", "hot"):
                    answer = await service.call(name, request)
                    if getattr(answer, "errors", ()):
                        raise RuntimeError(f"{name}: {len(answer.errors)} items were refused: {answer.errors[0]}")
                    steps[f"{name}, {how}"].append((await service.ask("steps"))["longest_ms"])
    kinds = {kind: statistics.median(each) for kind, each in steps.items()}
    worst = max(kinds, key=lambda kind: kinds[kind])
    return Taken(
        ratio=kinds[worst],
        low=min(steps[worst]),
        high=max(steps[worst]),
        detail="; ".join(f"{kind} {each:.1f}" for kind, each in kinds.items()),
    )


async def _latencies(service: Service, seconds: float) -> list[float]:
    """Milliseconds of one Encrypt after the other, of sessions in use."""
    body = os.urandom(PAYLOAD)
    found, number, until = [], 0, time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        request = pb.EncryptRequest(session_id=service.ids[number % _HOT], plaintext=body)
        answer = await service.call("Encrypt", request)
        found.append((time.monotonic() - began) * 1_000)
        if len(answer.ciphertext) != PAYLOAD + 32:
            raise RuntimeError("a record of another length")
        number += 1
    return found


async def measure_tail() -> Taken:
    """p99.9 of Encrypt while sessions expire / while none do, in turn."""
    ratios, subject, reference = [], [], []
    async with _serving(MILLION) as service:
        for number in range(_ROUNDS):
            taken = {}
            for expiring in (True, False) if number % 2 else (False, True):
                # Both after the same work: only the expiry differs.
                await service.ask("expire")
                if not expiring:
                    await asyncio.sleep(EXPIRE_SECONDS + 1.0)
                await _latencies(service, 0.3)
                found = sorted(await _latencies(service, EXPIRE_SECONDS - 1.0))
                taken[expiring] = found[int(len(found) * 0.999)]
            subject.append(taken[True])
            reference.append(taken[False])
            ratios.append(taken[True] / taken[False])
    return Taken(
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        detail=f"{statistics.median(subject):.2f} ms / {statistics.median(reference):.2f} ms",
    )
