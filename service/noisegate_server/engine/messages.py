"""A handshake's state for a protocol of ours, and the messages that it writes."""

from __future__ import annotations

from noisegate_server.engine.negotiation import ANONYMOUS
from noisegate_server.engine.parts import Parts
from noisegate_server.noise import HandshakeState, KeyPair, MessageTooLong, NoiseError, ProtocolName
from noisegate_server.noise.primitives import BytesLike
from noisegate_server.session.constants import MAX_NOISE_MESSAGE
from noisegate_server.session.errors import HandshakeFailed, MessageTooLarge
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite


def begin(
    parts: Parts,
    protocol: tuple[Pattern, Suite],
    *,
    identity: KeyPair,
    psk: BytesLike,
    prologue: bytes,
    initiator: bool,
    remote_static: bytes | None = None,
) -> HandshakeState:
    """A HandshakeState before its first message. `psk`: 32 bytes, or empty for a pattern without one."""
    return HandshakeState(
        ProtocolName.parse(NOISE_NAMES[protocol]),
        initiator=initiator,
        prologue=prologue,
        s=None if initiator and protocol[0] in ANONYMOUS else identity,
        rs=remote_static,
        psks=(psk,) if psk else (),
        random_bytes=parts.random_bytes,
    )


def write(handshake: HandshakeState, payload: BytesLike, field: str) -> bytes:
    """The next message. MessageTooLarge, naming `field`, and HandshakeFailed; after either the handshake is over."""
    try:
        return handshake.write_message(payload)
    except MessageTooLong:
        handshake.wipe()
        raise MessageTooLarge(field, MAX_NOISE_MESSAGE) from None
    except NoiseError:
        # A remote key that is no usable point: it came from the caller, or from the player in message 1.
        raise HandshakeFailed from None
