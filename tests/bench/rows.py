"""`handshake-snow`, `handshake-flynn`, `noop-tonic`, `noop-grpc-go`: other projects' libraries in the same run.

Around each stands a small program of ours, in a folder beside this file. All do the same work: a Noise responder from
its making to its two ciphers; a gRPC server's answer of as many bytes as a record has, to a request of raw bytes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.claims import Claim
from noisegate_server.bench.handshakes import Responder
from noisegate_server.bench.load import Load
from noisegate_server.bench.measure import Taken, in_turn, process_cpu_ns
from noisegate_server.bench.noop_server import METHOD as NO_OP
from noisegate_server.bench.own_cost import Encrypts
from noisegate_server.bench.players import OVERHEAD, PAYLOAD, Players, play
from noisegate_server.bench.processes import SERVICE, pin, process
from noisegate_server.bench.run import Row
from tests.support.go_program import go_build
from tests.support.rust_program import CACHE, cargo_build

PEERS: Final = Path(__file__).parent / "peers"
IK: Final = "Noise_IK_25519_ChaChaPoly_SHA256"
XX: Final = "Noise_XX_25519_ChaChaPoly_SHA256"
_HANDSHAKES: Final = 20
_TURNS: Final = 5
_SESSIONS: Final = 1_000
_BATCHES: Final = 20
_CALLS: Final = 2_000
_ROUNDS: Final = 11


def build(name: str) -> Path:
    """The program of a folder, built outside of the checkout. NotAvailable where a tool or a package is missing."""
    folder = PEERS / name
    if (folder / "Cargo.toml").exists():
        return cargo_build(folder)
    CACHE.mkdir(parents=True, exist_ok=True)
    return go_build(folder, CACHE / f"bench-{name}")


class NoisePeer:
    """A program that plays both ends of handshakes, of which the responders' work is measured."""

    def __init__(self, program: subprocess.Popen[str], protocol: str) -> None:
        self._program = program
        self._protocol = protocol

    async def cost(self) -> float:
        """CPU nanoseconds of one responder. The program itself checks that both ends agree."""
        self._ask(f"prepare {self._protocol} {_HANDSHAKES}")
        spent = self._spent("respond")
        if self._protocol == XX:
            self._ask("continue")
        spent += self._spent("finish")
        self._ask("check")
        return spent / _HANDSHAKES

    def _spent(self, request: str) -> int:
        # Both are on one core: when the answer is here, the program is off it and its account complete.
        before = process_cpu_ns(self._program.pid)
        self._ask(request)
        return process_cpu_ns(self._program.pid) - before

    def _ask(self, request: str) -> None:
        if self._program.stdin is None or self._program.stdout is None:
            raise RuntimeError("no pipes")
        self._program.stdin.write(request + "\n")
        self._program.stdin.flush()
        if self._program.stdout.readline() != "ok\n":
            raise RuntimeError(f"{request}: the program has failed")


@contextmanager
def _noise_peer(name: str, protocol: str) -> Iterator[NoisePeer]:
    with subprocess.Popen([build(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        pin(program.pid, 1)
        yield NoisePeer(program, protocol)


async def measure_handshake(name: str, protocol: str) -> Taken:
    """Our responder's work beside the peer's."""
    pin(os.getpid(), 1)
    ours = Responder(protocol)
    with _noise_peer(name, protocol) as theirs:
        await ours.cost()
        await theirs.cost()
        return await in_turn(ours.cost, theirs.cost, _ROUNDS, _TURNS)


class _Batches:
    """EncryptBatch for all players, the same plaintexts each time."""

    def __init__(self, players: Players, pid: int) -> None:
        self._players = players
        self._pid = pid
        self._plaintexts = [os.urandom(PAYLOAD) for _ in players.ids]
        self._request = pb.EncryptBatchRequest(
            session_ids=b"".join(players.ids),
            lengths=map(len, self._plaintexts),
            plaintexts=b"".join(self._plaintexts),
        ).SerializeToString()
        self._counters: set[tuple[int, int]] = set()
        self._records = 0

    async def cost(self) -> float:
        """CPU nanoseconds of the service for one message; RuntimeError for what a player cannot read."""
        before = process_cpu_ns(self._pid)
        bodies = [await self._players.raw("EncryptBatch", self._request) for _ in range(_BATCHES)]
        spent = process_cpu_ns(self._pid) - before
        answers = [pb.EncryptBatchResponse.FromString(body) for body in bodies]
        self._players.read(answers[-1], self._plaintexts)
        for answer in answers:
            self._counters.update(enumerate(answer.counters))
            self._records += len(self._plaintexts)
        if len(self._counters) != self._records:
            raise RuntimeError("a counter was used twice, or a record is missing")
        return spent / _BATCHES / len(self._plaintexts)


async def measure_noop(name: str) -> Taken:
    """A message of our batch beside an empty call there, and for orientation our unary call."""
    size = pb.EncryptResponse(ciphertext=bytes(PAYLOAD + OVERHEAD), counter=5_000).ByteSize()
    program = build(name)
    pin(os.getpid(), 1)
    with process(*SERVICE) as (pid, address), process(str(program), str(size)) as (no_op_pid, no_op_address):
        async with play(address, _SESSIONS) as players:
            batches, unary = _Batches(players, pid), Encrypts(address, players)
            nothing = Load(no_op_address, NO_OP, [os.urandom(PAYLOAD + 30)])
            unary_ns = []

            async def no_op() -> float:
                unary_ns.append(await unary.cost(pid, _CALLS))
                before = process_cpu_ns(no_op_pid)
                answers = await nothing.run(_CALLS)
                spent = process_cpu_ns(no_op_pid) - before
                if {len(body) for _, body in answers} != {size}:
                    raise RuntimeError("an answer of another length")
                return spent / _CALLS

            await no_op()
            taken = await in_turn(batches.cost, no_op, _ROUNDS)
            await unary.close()
            await nothing.close()
    return replace(taken, detail=f"{taken.detail}; our unary Encrypt: {statistics.median(unary_ns) / 1e3:.0f} us")


def _handshake(peer: str, folder: str, protocol: str, must: float, aim: float) -> Row:
    pattern = protocol.split("_")[1]
    claim = Claim(
        what=f"Noise {pattern} responder in HandshakeState, from its making to split, key generation included",
        reference=f"the same of {peer}",
        must=must,
        aim=aim,
    )
    return Row(claim, partial(measure_handshake, folder, protocol))


def _noop(peer: str, folder: str) -> Row:
    claim = Claim(
        what="server CPU for a message of EncryptBatch, 1,000 x 256 B of 1,000 sessions, on grpcio",
        reference=f"an empty unary call of {peer}, on one thread, with as many bytes, load of 64 calls at a time",
        must=1.0,
        aim=0.5,
    )
    return Row(claim, partial(measure_noop, folder))


PEER_ROWS: Final[dict[str, Row]] = {
    "handshake-snow": _handshake("snow 0.10.0 (Rust)", "snow", IK, 0.85, 0.7),
    "handshake-snow-xx": _handshake("snow 0.10.0 (Rust)", "snow", XX, 1.0, 0.85),
    # Go's X25519 is assembly throughout: to be near it is what can be kept.
    "handshake-flynn": _handshake("flynn/noise 1.1.0 (Go)", "flynn", IK, 1.3, 1.0),
    "handshake-flynn-xx": _handshake("flynn/noise 1.1.0 (Go)", "flynn", XX, 1.3, 1.0),
    "noop-tonic": _noop("tonic 0.14.9 (Rust)", "tonic"),
    "noop-grpc-go": _noop("grpc-go 1.85.0", "grpc_go"),
}
"""By id, behind those of `noisegate bench`."""
