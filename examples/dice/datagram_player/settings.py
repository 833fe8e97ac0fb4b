"""What a player brings to a handshake, and what both halves of one need (docs/protocol.md, section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from examples.dice.datagram_player.handshake import CIPHERS, PATTERNS, NoiseHandshake
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.tickets import Identity, Ticket
from examples.dice.datagram_player.wire import (
    FLAG_DATAGRAM,
    FLAG_TICKETS,
    NO_CONNECTION,
    Hello,
    PacketRefusedError,
    Protocol,
    Received,
    with_length,
)

FAILURES: Final = 16
"""So many forged packets end a handshake that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`remote` is needed for IK and NK, `psk` for psk patterns; the offer is best first."""

    offer: tuple[Protocol, ...]
    choice: int = 0
    flags: int = FLAG_DATAGRAM | FLAG_TICKETS
    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)
    prologue: bytes = b""
    connection_id: bytes = NO_CONNECTION
    """Other than zeros lets an initiator choose the id, as a service that initiates does."""
    mtu: int = 1200
    """Bytes of the largest packet that the path takes; larger handshakes and rotations go as fragments."""
    limits: Limits | None = None
    """Of an epoch; the protocol's own if there are none."""
    max_early: int = 0
    """Bytes of early data that our own tickets allow."""


@dataclass(slots=True)
class Own:
    """The settings, and the sources of randomness and of unix time."""

    settings: Settings
    random_bytes: Callable[[int], bytes]
    wall: Callable[[], float]
    _timestamp: int = -1

    def clock_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self.wall() * 1000)

    def hello(self, offer: tuple[Protocol, ...], choice: int, flags: int, ahead_ms: int = 0) -> Hello:
        """A hello with a timestamp that is later than the last one's; or by another's clock, so much ahead of ours."""
        if ahead_ms:
            return Hello(flags, self.clock_ms() + ahead_ms, offer, choice)
        self._timestamp = max(self._timestamp + 1, self.clock_ms())
        return Hello(flags, self._timestamp, offer, choice)

    def can(self, before: Protocol, after: Protocol) -> bool:
        """Whether a RETRY may lead from one protocol of the offer to the other: only where our keys go too."""
        if before.pattern not in PATTERNS or after.pattern not in PATTERNS or after.suite not in CIPHERS:
            return False
        mine, pattern = self.settings, PATTERNS[after.pattern]
        known = (pattern[0] == "N" or mine.static is not None) and (pattern[1] != "K" or mine.remote is not None)
        if "psk" in PATTERNS[before.pattern]:
            return known and "psk" in pattern
        return known and ("psk" not in pattern or mine.psk is not None)

    def noise(self, hello: Hello, encoded: bytes, *, initiator: bool) -> NoiseHandshake:
        """The handshake of a hello, whose bytes are bound."""
        mine = self.settings
        return NoiseHandshake(
            hello.chosen, b"ng1 hello" + encoded + mine.prologue, self.random_bytes,
            initiator=initiator, static=mine.static, remote=mine.remote, psk=mine.psk,
        )  # fmt: skip

    def resume(self, ticket: Ticket, encoded: bytes, *, initiator: bool) -> NoiseHandshake:
        """The handshake of a resume, which binds the ticket too."""
        prologue = b"ng1 resume" + encoded + with_length(ticket.ticket, 2) + self.settings.prologue
        return NoiseHandshake(ticket.protocol, prologue, self.random_bytes, initiator=initiator, psk=ticket.psk)

    def identity(self, noise: NoiseHandshake) -> Identity:
        """The static keys, once the peer's is known; our own and one that was not expected are refused."""
        static, expected = self.settings.static, self.settings.remote
        public = X25519PrivateKey.from_private_bytes(static).public_key().public_bytes_raw() if static else b""
        if noise.remote is not None and (noise.remote == public or expected not in (None, noise.remote)):
            raise PacketRefusedError("static key")
        anonymous = PATTERNS[noise.protocol.pattern][0] == "N"
        return Identity(static=static, remote=noise.remote, anonymous=anonymous)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A handshake or resume that is over: what its session is made of."""

    noise: NoiseHandshake
    flags: int
    connection_id: bytes
    chosen: bool
    """The connection id is ours."""
    identity: Identity
    step_3: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a packet of a handshake gave; `finished` if it was the last that we needed."""

    received: Received
    finished: Finished | None = None
