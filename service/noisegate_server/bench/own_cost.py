"""`own-cost`: server CPU of one unary Encrypt of 256 bytes on grpcio / of a no-op RPC on the same kind of server.

The service runs as it is shipped (uvloop, SCHED_BATCH, its collector settings); the reference is grpc.aio as it is.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc.aio

import noisegate
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.bench.measure import Figure, figure, in_turn, process_cpu_ns
from noisegate_server.bench.noop_server import METHOD as NO_OP
from noisegate_server.noise import HandshakeState, KeyPair, ProtocolName
from noisegate_server.session.hello import Flags, Hello, encode_hello, hello_prologue
from noisegate_server.session.packets import HandshakeStep1, encode_handshake

PAYLOAD = 256
_ENCRYPT = "/noisegate.v1.SessionCryptoService/Encrypt"
_SESSIONS = 64
_CHANNELS = 4
_IN_FLIGHT = 64
_CALLS = 3_000
_ROUNDS = 11


@contextmanager
def process(*command: str) -> Iterator[tuple[int, str]]:
    """A server process on core 0 that says `... listening on HOST:PORT`: its pid and that address."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if server.stdout is None:
            raise RuntimeError("no standard output")
        address = server.stdout.readline().rsplit(" ", 1)[-1].strip()
        if not address:
            raise RuntimeError(f"{command} did not start")
        pin(server.pid, 0)
        yield server.pid, address
    finally:
        server.terminate()
        server.wait(15)
        if server.stdout is not None:
            server.stdout.close()


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    cores = sorted(os.sched_getaffinity(pid))
    for task in os.listdir(f"/proc/{pid}/task"):
        # A thread may have ended since it was listed.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {cores[core % len(cores)]})


async def _bodies(address: str) -> list[bytes]:
    """Encrypt requests for as many DATAGRAM sessions of as many players."""
    bodies = []
    async with noisegate.connect(address) as client:
        server_key = (await client.capabilities()).static_key
        for number in range(_SESSIONS):
            hello = encode_hello(
                Hello(
                    flags=Flags.DATAGRAM,
                    timestamp_ms=int(time.time() * 1000),
                    offer=((session_pb2.PATTERN_NK, session_pb2.SUITE_CHACHA20_POLY1305_X25519),),
                    choice=0,
                )
            )
            player = HandshakeState(
                ProtocolName.parse("Noise_NK_25519_ChaChaPoly_SHA256"),
                initiator=True,
                prologue=hello_prologue(hello, b""),
                s=KeyPair.generate(os.urandom),
                rs=server_key,
                random_bytes=os.urandom,
            )
            packet = encode_handshake(HandshakeStep1(hello=hello, message=player.write_message(b"")))
            session = await client.respond(
                mode=noisegate.RecordMode.DATAGRAM, message=packet, peer_id=f"player {number}"
            )
            session.detach()
            request = pb.EncryptRequest(session_id=session.id, plaintext=os.urandom(PAYLOAD))
            bodies.append(request.SerializeToString())
    return bodies


class Load:
    """Calls of one raw-bytes method from a fixed number of callers, counted and checked."""

    def __init__(self, address: str, method: str, bodies: list[bytes], answer_bytes: range) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
            for _ in range(_CHANNELS)
        ]
        self._calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(method, None, None) for channel in self._channels
        ]
        self._bodies = bodies
        self._answer_bytes = answer_bytes

    async def run(self, count: int) -> None:
        """Make `count` calls; RuntimeError for an answer of another length."""
        left = iter(range(count))

        async def caller(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
            for number in left:
                answer = await call(self._bodies[number % len(self._bodies)])
                if len(answer) not in self._answer_bytes:
                    raise RuntimeError(f"an answer of {len(answer)} bytes")

        await asyncio.gather(*(caller(self._calls[n % _CHANNELS]) for n in range(_IN_FLIGHT)))

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close(None)


async def measure() -> Figure:
    """Take the figure."""
    answer = pb.EncryptResponse(ciphertext=bytes(PAYLOAD + 32), counter=5_000).ByteSize()
    pin(os.getpid(), 1)
    with (
        process(sys.executable, "-m", "noisegate_server", "serve", "--dev", "--listen", "127.0.0.1:0") as service,
        process(sys.executable, "-m", "noisegate_server.bench.noop_server", str(answer)) as no_op,
    ):
        encrypt = Load(service[1], _ENCRYPT, await _bodies(service[1]), range(answer - 3, answer + 2))
        nothing = Load(no_op[1], NO_OP, [os.urandom(PAYLOAD + 30)], range(answer, answer + 1))

        async def cost(load: Load, pid: int) -> float:
            before = process_cpu_ns(pid)
            await load.run(_CALLS)
            return (process_cpu_ns(pid) - before) / _CALLS

        await encrypt.run(_CALLS // 3)
        await nothing.run(_CALLS // 3)
        ratios, above, below = await in_turn(
            lambda: cost(encrypt, service[0]), lambda: cost(nothing, no_op[0]), _ROUNDS
        )
        await encrypt.close()
        await nothing.close()
    return figure(
        ratios, above, below,
        id="own-cost",
        what="server CPU of one unary Encrypt (256 B, DATAGRAM) on grpcio",
        reference="a no-op RPC of a bare grpc.aio server with the same channel options",
        must=1.10,
        aim=1.05,
    )  # fmt: skip
