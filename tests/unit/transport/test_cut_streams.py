"""What a Transport stream has begun and nobody waits for any more, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.suspend import put_away
from noisegate_server.rpc.policy import LOCAL, Policy
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.transport.grpcio import GrpcioTransport
from tests.support.engines import TENANT, Engines, establish
from tests.support.slow_vault import SlowVault


async def test_a_stop_waits_for_a_batch_behind_a_cut_stream(engines: Engines) -> None:
    """It is served to its end: half of it would be a counter that is spent and a session that is on its way."""
    vault = SlowVault()
    vault.gate.set()
    end = establish(engines, responder=engines.make(vault=vault)).responder
    parts, clock = end.engine.parts, engines.clock
    await put_away(parts, [end.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.gate.clear()
    vault.asking.clear()

    policy = Policy(tenants={LOCAL: TENANT})
    rpc = Rpc(parts=parts, clock=lambda: clock.now, wall=lambda: clock.wall, policy=policy)
    transport = GrpcioTransport(policy=policy, clock=time.monotonic, credentials=None, running=rpc.running)
    port = transport.bind("127.0.0.1", 0)
    await transport.start(build_table(rpc))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: Any = channel.stream_stream(f"{SERVICE_PREFIX}Transport")
        stream = method()
        batch = pb.EncryptBatchRequest(session_ids=end.session_id, lengths=[2], plaintexts=b"hi")
        carried = pb.TransportBatch(correlation_id=1, encrypt=batch)
        await stream.write(pb.TransportRequest(batches=[carried]).SerializeToString())
        await asyncio.wait_for(vault.asking.wait(), 10)
        stream.cancel()
        stopping = asyncio.ensure_future(transport.stop(10))
        await asyncio.wait([stopping], timeout=0.2)
        assert not stopping.done()
        assert len(rpc.running) == 1
        vault.gate.set()
        await stopping
        assert len(rpc.running) == 0
        # The plaintext, and the word to the player that its session is back.
        assert (parts.store.counts().suspended, end.datagrams.sealed) == (0, 2)
