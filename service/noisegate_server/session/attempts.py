"""What a Noise initiator of DATAGRAM mode keeps of its first packets (docs/protocol.md, section 2, "Choice").

A RETRY is authenticated by nothing, so the attempt that it refuses stays alive beside the one that follows it: either
may be answered. What makes another message 1 is kept here until the handshake is over, and wiped with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from noisegate_server.noise import HandshakeState
from noisegate_server.noise.primitives import wipe
from noisegate_server.session.hello import Hello
from noisegate_server.session.packets import RetryReason


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Attempt:
    """A first packet of ours."""

    handshake: HandshakeState
    """After message 1."""
    hello: Hello
    echo: bytes
    """What a RETRY to this packet carries, 8 bytes."""


@dataclass(slots=True, kw_only=True, repr=False)
class Attempts:
    """Every first packet of one handshake, at most three: as begun, elsewhere, and by another clock."""

    remote_static: bytes
    """The peer's static key as the caller named it, 32 bytes, or empty: no attempt may end with another one."""
    psk: bytearray
    prologue: bytes
    """The caller's."""
    payload: bytearray
    """Of message 1."""
    made: list[Attempt] = field(default_factory=list)
    followed: list[RetryReason] = field(default_factory=list)
    """Each reason is followed once."""

    def refused_by(self, echo: bytes) -> Attempt | None:
        """The attempt to which a RETRY with this echo is the answer."""
        return next((attempt for attempt in self.made if attempt.echo == echo), None)

    def wipe(self) -> None:
        """Wipe the secrets of all attempts."""
        for attempt in self.made:
            attempt.handshake.wipe()
        wipe(self.psk)
        wipe(self.payload)
