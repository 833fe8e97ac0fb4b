"""`seam`: one DATAGRAM Encrypt of 256 bytes through dispatch, in process, bytes to bytes / one raw AEAD call."""

from __future__ import annotations

import os
import struct
import time

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.bench.instances import TENANT, begin, make_instance, respond
from noisegate_server.bench.measure import Taken, in_turn, own_cpu_ns
from noisegate_server.bench.players import OVERHEAD, PAYLOAD
from noisegate_server.engine import handshake
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.call import Call, Caller
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.suites import Pattern

_COUNT = 20_000
_ROUNDS = 9


def datagram_session() -> tuple[Parts, bytes]:
    """A service that has played an NK initiator against another one, and the id of its session."""
    near, far = make_instance(), make_instance()
    now, wall = time.monotonic(), time.time()
    first = begin(near, Pattern.NK, far.identities.key_for(TENANT).public, now, wall)
    second = respond(far, first.to_peer[0], "player", now, wall)
    handshake.proceed(near, TENANT, first.session_id, second.to_peer[0], b"", now, wall)
    return near, first.session_id


async def measure() -> Taken:
    """Take the figure; asserts that every answer is a record of the right length."""
    parts, session_id = datagram_session()
    table = build_table(Rpc(parts=parts, clock=time.monotonic, wall=time.time))
    encrypt = table[SERVICE_PREFIX + "Encrypt"].unary
    if encrypt is None:
        raise RuntimeError("Encrypt is unary")
    call = Call(Caller(identity="", tenant=TENANT))
    body = pb.EncryptRequest(session_id=session_id, plaintext=os.urandom(PAYLOAD)).SerializeToString()
    counters = set()
    for _ in range(1_000):
        reply = encrypt(call, body)
        if not isinstance(reply, tuple) or reply[0]:
            raise RuntimeError("Encrypt was refused")
        answer = pb.EncryptResponse.FromString(reply[1])
        if len(answer.ciphertext) != PAYLOAD + OVERHEAD:
            raise RuntimeError("a record of the wrong length")
        counters.add(answer.counter)
    if len(counters) != 1_000:
        raise RuntimeError("a counter was used twice")

    context = ChaCha20Poly1305(os.urandom(32))
    nonce = struct.Struct("<4xQ").pack
    plaintext, header = os.urandom(PAYLOAD + 1), os.urandom(15)
    kept: list[object] = []

    def raw(count: int) -> None:
        kept[:] = [context.encrypt(nonce(n), plaintext, header) for n in range(count)]

    def through(count: int) -> None:
        kept[:] = [encrypt(call, body) for _ in range(count)]

    async def subject() -> float:
        return own_cpu_ns(through, _COUNT)

    async def reference() -> float:
        return own_cpu_ns(raw, _COUNT)

    return await in_turn(subject, reference, _ROUNDS)
