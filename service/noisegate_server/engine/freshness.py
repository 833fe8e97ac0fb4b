"""A hello is taken once: its timestamp is checked as soon as the static key beside it is authenticated.

docs/protocol.md, section 2: in IK with message 1, in XX with message 3; where the initiator has no static key, never.
"""

from __future__ import annotations

from noisegate_server.engine.parts import Parts
from noisegate_server.noise import HandshakeState
from noisegate_server.session.errors import StaleHandshake


def require_new(parts: Parts, tenant: str, handshake: HandshakeState, timestamp_ms: int | None) -> None:
    """StaleHandshake, and the handshake is over, where its key has shown this timestamp or a later one before.

    `timestamp_ms` is None where there was no hello. Nothing is remembered yet.
    """
    static = handshake.rs
    if timestamp_ms is None or static is None or parts.timestamps.is_new(tenant, static, timestamp_ms):
        return
    handshake.wipe()
    raise StaleHandshake("the hello's timestamp is not above the last one of this player")


def remember(parts: Parts, tenant: str, handshake: HandshakeState, timestamp_ms: int | None) -> None:
    """The handshake has gone through: from now on its key must show a later timestamp."""
    if timestamp_ms is not None and handshake.rs is not None:
        parts.timestamps.accept(tenant, handshake.rs, timestamp_ms)
