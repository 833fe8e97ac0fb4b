"""A match: one service and its players, every one of another kind, made twice over from the same random bytes."""

from __future__ import annotations

from typing import Any

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.rpc.call import Caller
from tests.support.engine_table import Service
from tests.support.rpc_table import error_info

NK = session_pb2.Protocol(pattern=session_pb2.PATTERN_NK, suite=session_pb2.SUITE_CHACHA20_POLY1305_X25519)
OTHER = Caller(identity="spiffe://game.example/other", tenant="spiffe://game.example/other")
DATAGRAM, NOISE = session_pb2.RECORD_MODE_DATAGRAM, session_pb2.RECORD_MODE_NOISE
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"mask": True},
    {"pad": True},
    {"ratchet": True},
    {"rotation": session_pb2.RotationLimits(soft_messages=2, soft_bytes=60, hard_bytes=90)},
)
"""Options of the DATAGRAM players; one in NOISE mode follows them."""


class Match:
    """A service, `near`, and one for all players, `far`; session i of the one is session i of the other."""

    def __init__(self, name: str = "match") -> None:
        """Two of the same name are twins."""
        self.near, self.far = Service(name=f"{name} near"), Service(name=f"{name} far")
        pairs = [self.meet(mode=DATAGRAM, options=session_pb2.SessionOptions(**kind)) for kind in KINDS]
        pairs.append(self.meet(mode=NOISE))
        self.ids = [near for near, _ in pairs]
        self.far_ids = [far for _, far in pairs]
        self.ids += [self._half_open(), self._closed(), self._foreign(), bytes(24)]
        """Those of the players, then of sessions that cannot be used: no handshake, ended, another's, unknown."""

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.near.clock.now += seconds
        self.far.clock.now += seconds

    def packet(self, player: int, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """What a player seals for the service."""
        request = pb.EncryptRequest(
            session_id=self.far_ids[player], plaintext=plaintext, associated_data=associated_data
        )
        return bytes(self.far.call("Encrypt", request).ciphertext)

    def alone(self, method: str, request: Any) -> Any:
        """What a call of its own gives: the response, or (code, reason, metadata)."""
        code, body = self.near.raw(method, request.SerializeToString())
        if code:
            info = error_info((code, body))
            return code, info.reason, dict(info.metadata)
        return getattr(pb, f"{method}Response").FromString(body)

    def states(self) -> list[Any]:
        """How every session is seen from outside."""
        return [self.alone("GetSession", pb.GetSessionRequest(session_id=each)) for each in self.ids]

    def meet(self, caller: Caller | None = None, **fields: Any) -> tuple[bytes, bytes]:
        """One more session by NK: its ids at `near` and at `far`."""
        callers = {} if caller is None else {"caller": caller}
        key = self.near.call("GetCapabilities", pb.GetCapabilitiesRequest(), **callers).static_key
        initiate = pb.InitiateHandshake(protocol=NK, remote_static_key=key, **fields)
        begun = self.far.call("Handshake", pb.HandshakeRequest(initiate=initiate))
        is_noise = fields["mode"] == NOISE
        respond = pb.RespondHandshake(
            mode=fields["mode"],
            protocol=NK if is_noise else None,
            message=begun.to_peer[0],
            group="match",
            options=fields.get("options"),
        )
        answer = self.near.call("Handshake", pb.HandshakeRequest(respond=respond), **callers)
        proceed = pb.ProceedHandshake(session_id=begun.session_id, message=answer.to_peer[0])
        self.far.call("Handshake", pb.HandshakeRequest(proceed=proceed))
        return answer.session_id, begun.session_id

    def _half_open(self) -> bytes:
        initiate = pb.InitiateHandshake(
            protocol=NK, mode=DATAGRAM, remote_static_key=self.far.call(
                "GetCapabilities", pb.GetCapabilitiesRequest()
            ).static_key,
        )  # fmt: skip
        return bytes(self.near.call("Handshake", pb.HandshakeRequest(initiate=initiate)).session_id)

    def _closed(self) -> bytes:
        session_id, _ = self.meet(mode=DATAGRAM)
        self.near.call("CloseSession", pb.CloseSessionRequest(session_id=session_id))
        return session_id

    def _foreign(self) -> bytes:
        return self.meet(OTHER, mode=DATAGRAM)[0]
