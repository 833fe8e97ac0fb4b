"""`own-cost`: server CPU of one unary Encrypt of 256 bytes on grpcio / of a no-op RPC on the same kind of server.

The service runs as it is shipped (uvloop, SCHED_BATCH, its collector settings); the reference is grpc.aio as it is.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.load import Load
from noisegate_server.bench.measure import Taken, in_turn, process_cpu_ns
from noisegate_server.bench.noop_server import METHOD as NO_OP
from noisegate_server.bench.players import OVERHEAD, PAYLOAD, PREFIX, Players, play
from noisegate_server.bench.processes import SERVICE, pin, process

_SESSIONS: Final = 64
_CALLS: Final = 3_000
_ROUNDS: Final = 11


class Encrypts:
    """Unary Encrypt for every player's session in turn; what comes back is checked."""

    def __init__(self, address: str, players: Players) -> None:
        self._players = players
        self._plaintexts = [os.urandom(PAYLOAD) for _ in players.ids]
        bodies = [
            pb.EncryptRequest(session_id=each, plaintext=plaintext).SerializeToString()
            for each, plaintext in zip(players.ids, self._plaintexts, strict=True)
        ]
        self._load = Load(address, PREFIX + "Encrypt", bodies)
        self._counters: set[tuple[int, int]] = set()
        self.close = self._load.close

    async def cost(self, pid: int, calls: int) -> float:
        """CPU nanoseconds of the server for one call.

        RuntimeError where a counter came twice, or the last record of a session is not what its player expects.
        """
        before = process_cpu_ns(pid)
        answers = await self._load.run(calls)
        spent = process_cpu_ns(pid) - before
        last: dict[int, pb.EncryptResponse] = {}
        for player, body in answers:
            answer = last[player] = pb.EncryptResponse.FromString(body)
            if len(answer.ciphertext) != PAYLOAD + OVERHEAD or (player, answer.counter) in self._counters:
                raise RuntimeError("a record of another length, or a counter that was used twice")
            self._counters.add((player, answer.counter))
        for player, answer in last.items():
            self._players.read_one(player, answer.ciphertext, answer.counter, self._plaintexts[player])
        return spent / calls


async def measure() -> Taken:
    """Take the figure."""
    answer = pb.EncryptResponse(ciphertext=bytes(PAYLOAD + OVERHEAD), counter=5_000).ByteSize()
    pin(os.getpid(), 1)
    with (
        process(*SERVICE) as (pid, address),
        process(sys.executable, "-m", "noisegate_server.bench.noop_server", str(answer)) as (no_op_pid, no_op_address),
    ):
        async with play(address, _SESSIONS) as players:
            encrypts = Encrypts(address, players)
            nothing = Load(no_op_address, NO_OP, [os.urandom(PAYLOAD + 30)])

            async def no_op(calls: int = _CALLS) -> float:
                before = process_cpu_ns(no_op_pid)
                answers = await nothing.run(calls)
                spent = process_cpu_ns(no_op_pid) - before
                if {len(body) for _, body in answers} != {answer}:
                    raise RuntimeError("an answer of another length")
                return spent / calls

            await encrypts.cost(pid, _CALLS // 3)
            await no_op(_CALLS // 3)
            taken = await in_turn(lambda: encrypts.cost(pid, _CALLS), no_op, _ROUNDS)
            await encrypts.close()
            await nothing.close()
    return taken
