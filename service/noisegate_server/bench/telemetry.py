"""`telemetry` and `telemetry-unary`: what metrics and traces cost a call whose caller samples nothing, on over off.

On is what an operator installs: Prometheus, metrics by OTLP, and an exporter of spans to which nothing has to go.
"""

from __future__ import annotations

import os
import time
from typing import Final

from opentelemetry.trace import NoOpTracer

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.instances import TENANT
from noisegate_server.bench.measure import Taken, in_turn, own_cpu_ns
from noisegate_server.bench.own_cost import Encrypts
from noisegate_server.bench.players import PAYLOAD, play
from noisegate_server.bench.processes import SERVICE, pin, process
from noisegate_server.bench.seam import datagram_session
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.telemetry.destinations import Destinations
from noisegate_server.telemetry.durations import CallDurations
from noisegate_server.telemetry.observed import observed
from noisegate_server.telemetry.spans import CallSpans

__all__ = ["measure_seam", "measure_unary"]

_COUNT: Final = 10_000
_ROUNDS: Final = 21
_UNSAMPLED: Final = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"}

_SESSIONS: Final = 64
_CALLS: Final = 3_000
_UNARY_ROUNDS: Final = 21
_NOBODY: Final = "http://127.0.0.1:9"
"""Where no collector listens: what little there is to send is dropped."""
_ON: Final = (
    "env",
    f"OTEL_EXPORTER_OTLP_ENDPOINT={_NOBODY}",
    *SERVICE,
    "--metrics-listen",
    "127.0.0.1:0",
)


async def measure_seam() -> Taken:
    """One DATAGRAM Encrypt through dispatch."""
    parts, session_id = datagram_session()
    table = build_table(Rpc(parts=parts, clock=time.monotonic, wall=time.time))
    spans = CallSpans(NoOpTracer(), Destinations().rules, os.urandom(32))
    watched = observed(table, CallDurations(), spans, time.monotonic)
    on, off = (each[SERVICE_PREFIX + "Encrypt"].unary for each in (watched, table))
    if on is None or off is None:
        raise RuntimeError("Encrypt is unary")
    call = Call(Caller(identity="", tenant=TENANT), metadata=lambda: _UNSAMPLED)
    body = pb.EncryptRequest(session_id=session_id, plaintext=os.urandom(PAYLOAD)).SerializeToString()
    kept: list[object] = []

    def with_telemetry(count: int) -> None:
        kept[:] = [on(call, body) for _ in range(count)]

    def without(count: int) -> None:
        kept[:] = [off(call, body) for _ in range(count)]

    async def subject() -> float:
        return own_cpu_ns(with_telemetry, _COUNT)

    async def reference() -> float:
        return own_cpu_ns(without, _COUNT)

    return await in_turn(subject, reference, _ROUNDS)


async def measure_unary() -> Taken:
    """One unary Encrypt on grpcio, the server's CPU."""
    pin(os.getpid(), 1)
    with process(*_ON) as (on_pid, on_address), process(*SERVICE) as (off_pid, off_address):
        async with play(on_address, _SESSIONS) as on_players, play(off_address, _SESSIONS) as off_players:
            on, off = Encrypts(on_address, on_players), Encrypts(off_address, off_players)
            await on.cost(on_pid, _CALLS // 3)
            await off.cost(off_pid, _CALLS // 3)
            taken = await in_turn(lambda: on.cost(on_pid, _CALLS), lambda: off.cost(off_pid, _CALLS), _UNARY_ROUNDS)
            await on.close()
            await off.close()
    return taken
