"""What the project claims of itself: each a figure of one run against a reference of the same run.

The one place of ids, bounds and words. `must` is what a release has to keep, `aim` what the design should reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["CLAIMS", "Claim"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim."""

    what: str
    reference: str
    must: float
    aim: float
    better: Literal["lower", "higher"] = "lower"

    def met(self, figure: float, bound: float) -> bool:
        """Whether a figure is as good as a bound."""
        return figure <= bound if self.better == "lower" else figure >= bound


_RAW_LOOP: Final = "a raw AEAD loop over as many contexts, a new nonce each, results kept"
_MILLION: Final = "1,000,000 sessions live, 10,000 a second expire"

CLAIMS: Final[dict[str, Claim]] = {
    "batch": Claim(
        what="server CPU for a message of EncryptBatch, 1,000 x 256 B of 1,000 sessions over the network",
        reference=_RAW_LOOP,
        must=2.8,
        aim=2.4,
    ),
    "batch-open": Claim(what="DecryptBatch likewise, windows committed", reference=_RAW_LOOP, must=3.2, aim=2.6),
    "batch-cold": Claim(what="EncryptBatch likewise, no AEAD context cached", reference=_RAW_LOOP, must=3.8, aim=3.0),
    "broadcast": Claim(
        what="server CPU for a session of Broadcast, 256 B to 1,000 sessions", reference=_RAW_LOOP, must=1.8, aim=1.5
    ),
    "stream": Claim(
        what="messages (256 B) per CPU second of the server, batches of 64 through one Transport stream",
        reference="unary Encrypt on the same server",
        must=50,
        aim=80,
        better="higher",
    ),
    "handshake-ik": Claim(
        what="Noise IK responder in HandshakeState: both messages, key generation, split",
        reference="a key generation and 4 X25519 exchanges of the crypto library, keys loaded",
        must=1.35,
        aim=1.2,
    ),
    "resume": Claim(
        what="a resume in the Noise engine: a ticket of ours opened, NNpsk0 responder in HandshakeState, split",
        reference="a full XX handshake likewise",
        must=0.7,
        aim=0.6,
    ),
    "idle-bytes": Claim(
        what="bytes of memory of an idle session, the higher of slope and whole",
        reference="slope: from 200,000 to 1,000,000 sessions; whole: the process less an empty one, at 1,000,000",
        must=1_000,
        aim=550,
    ),
    "stall-ms": Claim(
        what="longest step of the loop in any round, ms of its thread's CPU time", reference=_MILLION, must=5, aim=2
    ),
    "tail": Claim(
        what="p99.9 of Encrypt, one in flight, while 10,000 sessions a second expire",
        reference="the same while none expires, both with 1,000,000 sessions",
        must=2,
        aim=1.3,
    ),
    "scale-1m": Claim(
        what="CPU for an item of EncryptBatch, in process, 1,000 at random of 1,000,000 sessions, contexts cold",
        reference="the same in a service of 1,000 sessions, contexts cold",
        must=1.3,
        aim=1.1,
    ),
    "largest-call-ms": Claim(
        what="longest step of the loop for the largest legal call of any kind, ms of its thread's CPU time",
        reference="the median of each kind's calls, of the kinds the highest",
        must=5,
        aim=3,
    ),
    "match": Claim(
        what="server CPU for a match of 100 players at 60 Hz, a batch each way a tick on one stream, open loop",
        reference="one core",
        must=0.2,
        aim=0.1,
    ),
    "own-cost": Claim(
        what="server CPU of one unary Encrypt (256 B, DATAGRAM) on grpcio",
        reference="a no-op RPC of a bare grpc.aio server with the same channel options",
        must=1.10,
        aim=1.05,
    ),
    "seam": Claim(
        what="one DATAGRAM Encrypt (256 B) through dispatch, in process, bytes to bytes",
        reference="one raw AEAD call",
        must=6,
        aim=4,
    ),
    "telemetry": Claim(
        what="the same with metrics and traces installed, for a caller that samples nothing",
        reference="without",
        must=1.2,
        aim=1.1,
    ),
    "telemetry-unary": Claim(
        what="server CPU of one unary Encrypt (256 B) on grpcio with metrics and traces installed, likewise",
        reference="without",
        must=1.05,
        aim=1.02,
    ),
}
"""By id, in the order of the table."""
