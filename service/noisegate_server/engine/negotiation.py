"""Which protocol a handshake runs: what the policy allows, and the choice out of a hello's offer.

docs/protocol.md, section 2. The choice is computed here from the offer and our own order, whatever the hello says, and
the prologue binds offer and choice: nobody between can make either side settle for less.
"""

from __future__ import annotations

from typing import NamedTuple

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
from noisegate_server.session.packets import Retry, RetryChoice, RetryPuzzle, clock_challenge, retry_echo
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


class Accepted(NamedTuple):
    """What holds for a session whose hello was taken."""

    pattern: Pattern
    suite: Suite
    flags: Flags
    timestamp_ms: int


def accept(policy: Policy, data: bytes, wall: float, *, refusing: bytes | None) -> Accepted | Retry:
    """What a player's hello asks for, or the RETRY that sends the player elsewhere; no key is used for either.

    The protocol is computed from the offer and our own order. `refusing`: DATAGRAM, the packet that a RETRY would
    refuse; None in NOISE mode, which has no RETRY: there it is PolicyRejected or ClockSkew. PolicyRejected in both
    where nothing is shared, HandshakeFailed where it is no hello of this mode.
    """
    try:
        hello = decode_hello(data)
    except MalformedHello:
        raise HandshakeFailed from None
    if bool(hello.flags & Flags.DATAGRAM) is (refusing is None):
        raise HandshakeFailed
    right = choose(hello.offer, policy.preference())
    if right is None:
        raise PolicyRejected("the hello offers no protocol that this service allows")
    flags = Flags(hello.flags & _KNOWN_FLAGS)
    granted = policy.flags | Flags.DATAGRAM
    # The choice before the clock: who follows both RETRYs comes with the right clock last, while it is still right.
    if right != hello.choice or flags & ~granted:
        if refusing is None:
            raise PolicyRejected("the hello's choice or flags are not what this service chooses or grants")
        return RetryChoice(echo=retry_echo(refusing), choice=right, flags=granted & _KNOWN_FLAGS)
    if abs(hello.timestamp_ms / 1000 - wall) > policy.clock_skew:
        if refusing is None:
            raise ClockSkew("the player's clock is too far from the service's")
        return RetryPuzzle(echo=retry_echo(refusing), challenge=clock_challenge(int(wall * 1000)))
    pattern, suite = hello.chosen
    return Accepted(Pattern(pattern), Suite(suite), flags, hello.timestamp_ms)


def bound_prologue(hello: bytes | None, prologue: bytes, field: str) -> bytes:
    """The Noise prologue; InvalidField (`field`) where the caller's begins like one of ours."""
    try:
        return hello_prologue(hello, prologue)
    except CallerPrologueReserved as error:
        raise InvalidField(field, str(error)) from None
