"""What the service allows and the defaults that it fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from noisegate_server.session.constants import HALF_OPEN_S, TICKET_LIFETIME_S
from noisegate_server.session.hello import Flags
from noisegate_server.session.limits import NOT_LOWERED, LowerLimits, RotationLimits, limits_for
from noisegate_server.session.network import Network
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import SUITES, Pattern, Suite

_PATTERNS = (
    Pattern.XX,
    Pattern.IK,
    Pattern.NK,
    Pattern.XXPSK3,
    Pattern.IKPSK1,
    Pattern.IKPSK2,
    Pattern.NKPSK0,
    Pattern.NKPSK2,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy for all tenants."""

    # The hybrid first: it costs 1.6 kB a message and 0.3 ms at both ends together, so a player that offers it pays for
    # it knowingly. Anywhere else it would never be chosen where a player offers a classical suite too, as all will.
    suites: tuple[Suite, ...] = (
        Suite.MLKEM1024_X25519_CHACHA20_POLY1305,
        Suite.CHACHA20_POLY1305_X25519,
        Suite.AES256_GCM_X25519,
    )
    """Allowed suites, preferred first."""
    patterns: tuple[Pattern, ...] = _PATTERNS
    """Allowed patterns of Handshake, preferred first."""
    flags: Flags = Flags.DATAGRAM | Flags.TICKETS | Flags.PAD | Flags.MASK | Flags.RATCHET
    """Flags of a hello that the service grants."""
    handshake_timeout: float = HALF_OPEN_S
    """Seconds until an unfinished handshake is given up."""
    idle_timeout: float = 600.0
    """Seconds without a record until a session ends, unless the caller set its own."""
    lifetime: float = 86_400.0
    """Seconds from its handshake until a session ends, unless the caller set its own."""
    ticket_lifetime: float = float(TICKET_LIFETIME_S)
    """Seconds for which a ticket can be used."""
    chain_lifetime: float = 7 * 86_400.0
    """Seconds from a full handshake for which its tickets, and theirs in turn, can be used."""
    max_early: int = 0
    """Bytes of early data that a ticket may allow; 0 for none."""
    clock_skew: float = 30.0
    """Seconds by which a hello's timestamp may differ from our clock."""
    limits: RotationLimits = field(default_factory=RotationLimits)
    tenant_limits: Mapping[tuple[str, RecordMode], LowerLimits] = field(default_factory=dict)
    """What a tenant's sessions of a mode have lower than `limits`."""

    def preference(self) -> tuple[tuple[Pattern, Suite], ...]:
        """Every protocol that Handshake runs, preferred first: by suite, then by pattern."""
        return tuple((pattern, suite) for suite in self.suites for pattern in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller wants for one session; zero and false mean: the policy's default."""

    idle_timeout: float = 0.0
    network: Network = Network.WIFI
    lifetime: float = 0.0
    pad: bool = False
    mask: bool = False
    tickets: bool = False
    ratchet: bool = False
    max_early: int = 0
    """Bytes of early data that the session's tickets allow; the policy may allow fewer."""
    rotation: LowerLimits = NOT_LOWERED
    """Limits of rotation that the session has lower than its tenant."""


def tenant_limits(policy: Policy, tenant: str, mode: RecordMode, suite: Suite) -> RotationLimits:
    """The limits of rotation that a session of the tenant can lower further."""
    lower = policy.tenant_limits.get((tenant, mode), NOT_LOWERED)
    return limits_for(policy.limits, mode=mode, cipher=SUITES[suite].cipher, lower=(lower,))


def limits_of(policy: Policy, session: Session) -> RotationLimits:
    """Those of a session, whatever it was made of: a handshake, a ticket, a blob. A policy stricter now holds."""
    return tenant_limits(policy, session.tenant, session.mode, session.suite).lowered(session.rotation)
