"""What a million sessions cost a service and those who call it, and what the largest calls cost the others.

`idle-bytes`, `stall-ms`, `tail` and `scale-1m` are taken from one process: a million sessions take minutes to install.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.crowd import PAYLOAD
from noisegate_server.bench.crowd_server import EXPIRE_PER_SECOND, EXPIRE_SECONDS
from noisegate_server.bench.measure import Taken, from_pairs

__all__ = ["Million", "measure_largest"]

_MILLION: Final = 1_000_000
_FEW: Final = 200_000
_ROUNDS: Final = 9
"""Many, since p99.9 of one round rests on some five calls."""
_CALLS: Final = 9
_ITEMS: Final = 1_024
_LARGEST: Final = 1_280
_HOT: Final = 64
_SERVICE: Final = "/noisegate.v1.SessionCryptoService/"


class Service:
    """The process with the sessions."""

    def __init__(self) -> None:
        command = (sys.executable, "-m", "noisegate_server.bench.crowd_server")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self._heard()
        self.address: str = said["address"]
        self.empty: int = said["empty"]
        """Bytes of memory before the first session."""

    def _heard(self) -> dict[str, Any]:
        """The next line that the process says."""
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("the service has ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def _ask(self, what: str) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("no standard input")
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._heard()

    async def ask(self, what: str) -> dict[str, Any]:
        """Say a line, and hear what the service says to it."""
        return await asyncio.to_thread(self._ask, what)

    async def ids(self) -> list[bytes]:
        """Of 1,024 sessions in use."""
        return [bytes.fromhex(each) for each in (await self.ask("ids"))["ids"]]

    def channel(self) -> grpc.aio.Channel:
        """A connection to it."""
        return grpc.aio.insecure_channel(self.address, options=[("grpc.max_receive_message_length", 8 << 20)])

    def close(self) -> None:
        """All is in memory, and to end a million sessions in good order takes longer than to measure them."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


async def _call(channel: grpc.aio.Channel, method: str, request: Any) -> Any:
    """A call that must not be refused."""
    multi: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SERVICE + method, None, None)
    return getattr(pb, f"{method}Response").FromString(await multi(request.SerializeToString()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """Some seconds with sessions that expire, and some without."""

    longest_ms: float
    """The longest step while they expire."""
    expiring_ms: float
    """p99.9 of Encrypt meanwhile."""
    quiet_ms: float
    """p99.9 of Encrypt while none does."""


class Million:
    """The service with a million sessions, once a row has asked for it."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._few = self._full = 0
        self._rounds: list[_Round] = []

    def close(self) -> None:
        """End the service."""
        if self._service is not None:
            self._service.close()
            self._service = None

    async def _started(self) -> Service:
        if self._service is None:
            self._service = await asyncio.to_thread(Service)
            self._few = (await self._service.ask(f"install {_FEW}"))["resident"]
            self._full = (await self._service.ask(f"install {_MILLION}"))["resident"]
        return self._service

    async def measure_idle(self) -> Taken:
        """Bytes of an idle session."""
        empty = (await self._started()).empty
        slope = (self._full - self._few) / (_MILLION - _FEW)
        whole = (self._full - empty) / _MILLION
        return Taken(
            ratio=max(slope, whole),
            low=min(slope, whole),
            high=max(slope, whole),
            detail=f"slope {slope:.0f} B, whole {whole:.0f} B",
        )

    async def measure_stall(self) -> Taken:
        """Longest step of the loop in each round of some seconds."""
        longest = [each.longest_ms for each in await self._taken()]
        return Taken(
            ratio=max(longest),
            low=min(longest),
            high=max(longest),
            detail=", ".join(f"{each:.1f}" for each in longest) + " ms",
        )

    async def measure_tail(self) -> Taken:
        """p99.9 of Encrypt while sessions expire / while none do, in turn."""
        rounds = await self._taken()
        ratios = [each.expiring_ms / each.quiet_ms for each in rounds]
        expiring = statistics.median(each.expiring_ms for each in rounds)
        quiet = statistics.median(each.quiet_ms for each in rounds)
        return Taken(
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            detail=f"{expiring:.2f} ms / {quiet:.2f} ms",
        )

    async def measure_scale(self) -> Taken:
        """CPU of an item of EncryptBatch with so many sessions / with 1,000."""
        said = await (await self._started()).ask("scale")
        taken, at_rest = from_pairs(said["rounds"]), from_pairs(said["at_rest"])
        detail = f"{taken.detail}; at rest {at_rest.ratio:.2f}, {at_rest.detail}"
        return Taken(ratio=taken.ratio, low=taken.low, high=taken.high, detail=detail)

    async def _taken(self) -> list[_Round]:
        """The rounds of `stall-ms` and `tail`, which are the same."""
        if not self._rounds:
            service = await self._started()
            ids = (await service.ids())[:_HOT]
            async with service.channel() as channel:
                for number in range(_ROUNDS):
                    self._rounds.append(await _round(service, channel, ids, quiet_first=bool(number % 2)))
        return self._rounds


async def _round(service: Service, channel: grpc.aio.Channel, ids: list[bytes], *, quiet_first: bool) -> _Round:
    quiet = 0.0
    if quiet_first:
        quiet = await _p999(channel, ids)
    before = (await service.ask("expire"))["sessions"]
    expiring = await _p999(channel, ids)
    longest_ms = (await service.ask("steps"))["longest_ms"]
    # Sweeps run up to a second behind.
    await asyncio.sleep(3.0)
    live = (await service.ask("steps"))["sessions"]
    if live != _MILLION or before - live != EXPIRE_SECONDS * EXPIRE_PER_SECOND:
        raise RuntimeError(f"{before - live} sessions have expired, {live} live")
    if not quiet_first:
        quiet = await _p999(channel, ids)
    return _Round(longest_ms=longest_ms, expiring_ms=expiring, quiet_ms=quiet)


async def _p999(channel: grpc.aio.Channel, ids: list[bytes]) -> float:
    """Milliseconds that one in a thousand calls of Encrypt exceeds, one after the other, of sessions in use."""
    await _latencies(channel, ids, 0.3)
    found = sorted(await _latencies(channel, ids, EXPIRE_SECONDS - 1.0))
    return found[int(len(found) * 0.999)]


async def _latencies(channel: grpc.aio.Channel, ids: list[bytes], seconds: float) -> list[float]:
    body = os.urandom(PAYLOAD)
    found: list[float] = []
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        request = pb.EncryptRequest(session_id=ids[len(found) % len(ids)], plaintext=body)
        answer = await _call(channel, "Encrypt", request)
        found.append((time.monotonic() - began) * 1_000)
        if len(answer.ciphertext) != PAYLOAD + 32:
            raise RuntimeError("a record of another length")
    return found


async def measure_largest() -> Taken:
    """How long the largest calls hold the loop: of each kind the median, of the kinds the highest."""
    service = await asyncio.to_thread(Service)
    try:
        await service.ask("install 2000")
        ids = b"".join(await service.ids())
        requests = {
            "EncryptBatch": pb.EncryptBatchRequest(
                session_ids=ids, lengths=[_LARGEST] * _ITEMS, plaintexts=os.urandom(_ITEMS * _LARGEST)
            ),
            "Broadcast": pb.BroadcastRequest(session_ids=ids, plaintext=os.urandom(_LARGEST)),
            "ListSessions": pb.ListSessionsRequest(page_size=1_000),
        }
        steps: dict[str, list[float]] = {f"{name}, {how}": [] for name in requests for how in ("idle", "hot")}
        async with service.channel() as channel:
            for _ in range(_CALLS):
                for name, request in requests.items():
                    await service.ask("rest")
                    for how in ("idle", "hot"):
                        answer = await _call(channel, name, request)
                        if getattr(answer, "errors", ()):
                            raise RuntimeError(f"{name}: {len(answer.errors)} items were refused: {answer.errors[0]}")
                        steps[f"{name}, {how}"].append((await service.ask("steps"))["longest_ms"])
    finally:
        service.close()
    kinds = {kind: statistics.median(each) for kind, each in steps.items()}
    worst = max(kinds, key=lambda kind: kinds[kind])
    return Taken(
        ratio=kinds[worst],
        low=min(steps[worst]),
        high=max(steps[worst]),
        detail="; ".join(f"{kind} {each:.1f}" for kind, each in kinds.items()),
    )
