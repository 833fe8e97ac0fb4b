"""The real table over a real engine, with a clock and entropy of the test's own; and a player with `noiseprotocol`."""

from __future__ import annotations

import hashlib
from typing import Any

from noise.connection import Keypair, NoiseConnection

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.parts import Parts, make_parts
from noisegate_server.engine.policy import Policy
from noisegate_server.rpc.call import Call, Caller, Reply
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.ticket import TicketKey, TicketKeys
from noisegate_server.store.base import StoreLimits
from noisegate_server.store.vault import Vault
from noisegate_server.trust.identity import Identities
from tests.support.in_process import LOCAL
from tests.support.rpc_table import Clock

XX = session_pb2.Protocol(pattern=session_pb2.PATTERN_XX, suite=session_pb2.SUITE_CHACHA20_POLY1305_X25519)


class Entropy:
    """Bytes that differ each time and are the same in each run."""

    def __init__(self, name: str = "test") -> None:
        self._name = name
        self._drawn = 0

    def __call__(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(b"%s entropy %d" % (self._name.encode(), self._drawn)).digest(count)


def raise_defect(method: str, error: Exception) -> None:
    """In tests a defect fails where it happens."""
    raise error


class Service:
    """One instance, called with messages."""

    def __init__(self, limits: StoreLimits | None = None, name: str = "test", vault: Vault | None = None) -> None:
        """Two of the same name draw the same random bytes."""
        self.clock = Clock()
        entropy = Entropy(name)
        self.parts: Parts = make_parts(
            instance=b"inst",
            endpoint="here:1",
            version="test",
            identities=Identities({}, generate=entropy),
            ticket_keys=TicketKeys(current=TicketKey(key_id=bytes(8), key=bytes(range(32)))),
            policy=Policy(),
            random_bytes=entropy,
            started_wall=1.8e9 + self.clock.now,
            limits=limits,
            vault=vault,
        )
        self.rpc = Rpc(parts=self.parts, clock=self.clock, wall=lambda: 1.8e9 + self.clock.now, on_defect=raise_defect)
        self.table = build_table(self.rpc)

    def raw(self, method: str, body: bytes, caller: Caller = LOCAL) -> Reply:
        """Bytes to reply."""
        function = self.table[SERVICE_PREFIX + method].unary
        assert function is not None
        reply = function(Call(caller), body)
        assert isinstance(reply, tuple)
        return reply

    def refused(self, method: str, request: Any, caller: Caller = LOCAL) -> Reply:
        """A reply that must be a refusal."""
        reply = self.raw(method, request.SerializeToString(), caller)
        assert reply[0] != 0
        return reply

    def call(self, method: str, request: Any, caller: Caller = LOCAL) -> Any:
        """A response that must not be a refusal."""
        code, body = self.raw(method, request.SerializeToString(), caller)
        assert code == 0, body
        return getattr(pb, f"{method}Response").FromString(body)

    def session(self, caller: Caller = LOCAL, **fields: Any) -> tuple[bytes, NoiseConnection]:
        """An established NOISE session by XX and the player's end of it."""
        player = NoiseConnection.from_name(b"Noise_XX_25519_ChaChaPoly_SHA256")
        player.set_as_initiator()
        player.set_keypair_from_private_bytes(Keypair.STATIC, bytes(range(1, 33)))
        player.start_handshake()
        respond = pb.RespondHandshake(
            mode=session_pb2.RECORD_MODE_NOISE, protocol=XX, message=bytes(player.write_message()), **fields
        )
        answer = self.call("Handshake", pb.HandshakeRequest(respond=respond), caller)
        player.read_message(answer.to_peer[0])
        proceed = pb.ProceedHandshake(session_id=answer.session_id, message=bytes(player.write_message()))
        done = self.call("Handshake", pb.HandshakeRequest(proceed=proceed), caller)
        assert done.HasField("established")
        return done.session_id, player
