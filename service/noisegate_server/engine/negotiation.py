"""Which protocol a handshake runs: what the policy allows, and the choice out of a hello's offer.

docs/protocol.md, section 2. The choice is computed here from the offer and our own order, whatever the hello says, and
the prologue binds offer and choice: nobody between can make either side settle for less.
"""

from __future__ import annotations

from noisegate_server.engine.policy import Policy
from noisegate_server.session.errors import (
    ClockSkew,
    HandshakeFailed,
    InvalidField,
    PolicyRejected,
    UnsupportedProtocol,
)
from noisegate_server.session.hello import (
    CallerPrologueReserved,
    Flags,
    MalformedHello,
    choose,
    decode_hello,
    hello_prologue,
)
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite

ANONYMOUS = frozenset({Pattern.NK, Pattern.NKPSK0, Pattern.NKPSK2})
"""Patterns whose initiator has no static key."""
LEARNS_REMOTE = frozenset({Pattern.XX, Pattern.XXPSK3, Pattern.NNPSK0})
"""Patterns whose initiator does not know the responder's static key beforehand."""
WITH_PSK = frozenset({Pattern.XXPSK3, Pattern.IKPSK1, Pattern.IKPSK2, Pattern.NKPSK0, Pattern.NKPSK2})
"""Patterns of Handshake that take the caller's pre-shared key."""
_KNOWN_FLAGS = Flags.RATCHET | Flags.MASK | Flags.PAD | Flags.TICKETS | Flags.DATAGRAM


def allowed(policy: Policy, pattern: int, suite: int) -> tuple[Pattern, Suite]:
    """The protocol of two numbers. UnsupportedProtocol, PolicyRejected."""
    try:
        pair = Pattern(pattern), Suite(suite)
    except ValueError:
        raise UnsupportedProtocol(tuple(NOISE_NAMES[known] for known in policy.preference())) from None
    if pair[0] is Pattern.NNPSK0:
        raise UnsupportedProtocol(tuple(NOISE_NAMES[known] for known in policy.preference()))
    if pair not in policy.preference():
        raise PolicyRejected(f"{NOISE_NAMES[pair]} is below this service's policy")
    return pair


def check_psk(pattern: Pattern, psk: bytes) -> None:
    """InvalidField unless a psk pattern has a PSK, and no other has one."""
    if (pattern in WITH_PSK) is not bool(psk):
        raise InvalidField("psk", "32 bytes for a psk pattern, empty otherwise")


def accept(policy: Policy, data: bytes, wall: float, *, datagram: bool) -> tuple[Pattern, Suite, Flags, int]:
    """The protocol, flags and timestamp of a player's hello; the first computed from its offer and our own order."""
    try:
        hello = decode_hello(data)
    except MalformedHello:
        raise HandshakeFailed from None
    if bool(hello.flags & Flags.DATAGRAM) is not datagram:
        raise HandshakeFailed
    if abs(hello.timestamp_ms / 1000 - wall) > policy.clock_skew:
        raise ClockSkew("the player's clock is too far from the service's")
    preference = policy.preference()
    right = choose(hello.offer, preference)
    if right is None or right != hello.choice:
        raise PolicyRejected("the hello's choice is not what this service chooses from its offer")
    flags = Flags(hello.flags & _KNOWN_FLAGS)
    if flags & ~policy.flags & ~Flags.DATAGRAM:
        raise PolicyRejected("the hello asks for a flag that this service does not grant")
    pattern, suite = hello.chosen
    return Pattern(pattern), Suite(suite), flags, hello.timestamp_ms


def bound_prologue(hello: bytes | None, prologue: bytes, field: str) -> bytes:
    """The Noise prologue; InvalidField (`field`) where the caller's begins like one of ours."""
    try:
        return hello_prologue(hello, prologue)
    except CallerPrologueReserved as error:
        raise InvalidField(field, str(error)) from None
