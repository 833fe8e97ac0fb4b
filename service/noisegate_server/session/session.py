"""A session: who it belongs to, where it is in its life, and the records that it seals and opens.

The store keeps it; a use case borrows it for one synchronous call and keeps no reference. Its moves through life follow
the table in `session.state` and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisegate_server.noise import HandshakeState
from noisegate_server.noise.primitives import wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.attempts import Attempts
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.grace import forget
from noisegate_server.session.hello import Flags, Hello
from noisegate_server.session.limits import NOT_LOWERED, LowerLimits
from noisegate_server.session.network import KEEP_ALIVES, PROFILES, Network
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.state import (
    RecordMode,
    Role,
    SessionInput,
    SessionState,
    TerminationReason,
    transition,
)
from noisegate_server.session.suites import Pattern, Suite

if TYPE_CHECKING:
    from noisegate_server.session.fast_path import OpenPath, SealPath

Records = NoiseRecords | DatagramRecords


@dataclass(slots=True, kw_only=True, repr=False)
class Opening:
    """A handshake or resume that has begun: what is needed to read the peer's next message."""

    handshake: HandshakeState
    failures: int = 0
    """DATAGRAM: packets that failed against it."""
    connection_id: bytes = b""
    """DATAGRAM: the session's connection id, once it is known."""
    resumes: bool = False
    """A resume, whose packets are RESUME's."""
    early_sent: bool = False
    """Initiator of a resume: message 1 had early data."""
    timestamp_ms: int | None = None
    """Responder: the hello's, while the static key that it goes with has not come (XX)."""
    attempts: Attempts | None = None
    """DATAGRAM initiator: `handshake`, which is the first of them, and those that a RETRY brought about."""

    def wipe(self) -> None:
        self.handshake.wipe()
        if self.attempts is not None:
            self.attempts.wipe()


class _Touched:
    """What every packet touches of a session, side by side in memory: a batch finds each of its sessions cold."""

    __slots__ = ("expires_at", "last_used", "open_path", "seal_path", "tenant")

    expires_at: float
    """When the session ends unless it is used before (monotonic seconds)."""
    last_used: float
    open_path: OpenPath | None
    """How a batch opens for it, once that was worked out; its records know when that holds no more."""
    seal_path: SealPath | None
    """Likewise, how it seals."""
    tenant: str


class Session(_Touched):
    """One session of one tenant."""

    __slots__ = (
        "aeads",
        "anonymous_initiator",
        "chain_end_wall",
        "created_at",
        "due_told",
        "early",
        "expiry_second",
        "export",
        "flags",
        "follows_connection_id",
        "group",
        "handle",
        "handshake_hash",
        "idle_second",
        "idle_timeout",
        "lifetime",
        "lifetime_end",
        "max_early",
        "mode",
        "network",
        "opening",
        "own_idle_timeout",
        "pattern",
        "peer_id",
        "prologue_hash",
        "records",
        "refused",
        "remote_static",
        "role",
        "rotation",
        "rotation_cause",
        "session_id",
        "state",
        "suite",
        "tend_at",
        "tend_second",
        "ticket_given",
        "ticket_owed",
    )

    def __init__(
        self,
        *,
        session_id: bytes,
        tenant: str,
        peer_id: str,
        group: str,
        mode: RecordMode,
        role: Role,
        pattern: Pattern,
        suite: Suite,
        flags: int,
        prologue_hash: bytes,
        opening: Opening | None,
        idle_timeout: float,
        lifetime: float,
        handshake_timeout: float,
        chain_end_wall: float,
        aeads: AeadCache,
        now: float,
        max_early: int = 0,
        rotation: LowerLimits = NOT_LOWERED,
    ) -> None:
        self.session_id = session_id
        self.tenant = tenant
        self.peer_id, self.group = peer_id, group
        self.mode = mode
        self.role = role
        self.pattern, self.suite = pattern, suite
        self.flags = flags
        """The hello's flags that hold for this session."""
        self.prologue_hash = prologue_hash
        """SHA-256 of the caller's prologue: a ticket of this session resumes only under the same one."""
        self.opening = opening
        self.records: Records | None = None
        self.seal_path = self.open_path = None
        self.state = SessionState.HANDSHAKING
        self.handle = -1
        """The store's; -1 outside it."""
        self.created_at = self.last_used = now
        self.idle_timeout = idle_timeout
        self.lifetime = lifetime
        self.lifetime_end = self.expires_at = now + handshake_timeout
        self.chain_end_wall = chain_end_wall
        """When the last ticket of this chain of resumes ends (unix seconds)."""
        self.rotation = rotation
        """What the caller wants lower than the service's limits of rotation, and the tenant's."""
        self.max_early = max_early
        """How many bytes of early data its tickets allow."""
        self.network = Network.WIFI
        """The one that the player is on."""
        self.own_idle_timeout = False
        """The caller has set `idle_timeout`: no network changes it."""
        self.early = False
        """It began with early data, and no record of the peer has confirmed it yet."""
        self.remote_static = self.handshake_hash = b""
        self.anonymous_initiator = False
        self.export = bytearray()
        self.ticket_owed = False
        """A ticket goes to the peer as soon as its first record has opened."""
        self.ticket_given = False
        """The peer has a ticket of this session: once it has ended, a resume may bring it back."""
        self.follows_connection_id = False
        """DATAGRAM: the peer has chosen the connection id, and may give a new one."""
        self.refused = 0
        self.tend_at = math.inf
        self.expiry_second = self.idle_second = self.tend_second = 0
        """The store's, as `tend_at`: see `StoredSession`."""
        self.rotation_cause = ""
        """Why it rotates, in the engine's words; empty where it does not."""
        self.due_told = -1
        """The last epoch of which watchers were told that a rotation is due."""
        self.aeads = aeads

    def __repr__(self) -> str:
        return f"Session({self.session_id.hex()}, {self.state.name})"

    @property
    def is_half_open(self) -> bool:
        """The handshake has not finished."""
        return self.state is SessionState.HANDSHAKING

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id under which the peer's packets may come, 8 bytes each."""
        if self.records is not None:
            return self.records.connection_ids()
        if self.opening is not None and self.opening.connection_id:
            return (self.opening.connection_id,)
        return ()

    def take_over(self, hello: Hello) -> None:
        """Initiator: the peer has answered the attempt with this hello, whose protocol and flags are the session's."""
        self.pattern, self.suite = Pattern(hello.chosen[0]), Suite(hello.chosen[1])
        self.flags = hello.flags

    def establish(self, records: Records, *, handshake_hash: bytes, export: bytearray, now: float) -> None:
        """The handshake has finished."""
        self.state = transition(self.state, SessionInput.HANDSHAKE_FINISHED)
        if self.opening is not None:
            self.opening.wipe()
            self.opening = None
        self.records = records
        self.handshake_hash = handshake_hash
        self.export = export
        self.lifetime_end = now + self.lifetime
        self.touch(now)

    def join(self, network: Network, idle_timeout: float) -> None:
        """The player is on this network. `idle_timeout`: the service's, in seconds; it counts from the next `touch`."""
        profile = PROFILES[network]
        self.network = network
        if not self.own_idle_timeout:
            # Usually the one object that all sessions have, which a batch then need not fetch for each.
            self.idle_timeout = idle_timeout if profile.patience == 1 else idle_timeout * profile.patience
        if isinstance(self.records, DatagramRecords):
            self.records.padded = profile.pads and bool(self.flags & Flags.PAD)
            self.records.leave_fast_path()

    @property
    def keep_alive(self) -> float:
        """After how many seconds of silence the player should send something."""
        return min(PROFILES[self.network].keep_alive, self.idle_timeout / KEEP_ALIVES)

    def touch(self, now: float) -> None:
        """The session was used: its idle time begins anew."""
        self.last_used = now
        self.expires_at = min(now + self.idle_timeout, self.lifetime_end)

    def forget(self, now: float) -> float:
        """Wipe keys that outlive their use and are over; when there will be some again, infinity for never."""
        records = self.records
        if not isinstance(records, DatagramRecords):
            return math.inf
        forget(records, now, self.aeads)
        records.reschedule()
        return records.wipe_at

    def settle(self) -> None:
        """Bring the state in line with the records: rotating or not."""
        rotating = self.records is not None and self.records.rotating
        if rotating and self.state is SessionState.ESTABLISHED:
            self.state = transition(self.state, SessionInput.ROTATION_BEGAN)
        elif not rotating and self.state is SessionState.ROTATING:
            self.state = transition(self.state, SessionInput.ROTATION_FINISHED)

    def expiry_cause(self, now: float) -> TerminationReason:
        """Why the session is over, given that `expires_at` has passed."""
        if self.is_half_open:
            return TerminationReason.HANDSHAKE_TIMEOUT
        return TerminationReason.LIFETIME if now >= self.lifetime_end else TerminationReason.IDLE

    def wipe(self) -> None:
        """End the session: wipe every secret that it holds. The store calls it, once."""
        self.state = transition(self.state, SessionInput.END)
        if self.opening is not None:
            self.opening.wipe()
            self.opening = None
        if self.records is not None:
            self.records.wipe(self.aeads)
            self.records = None
        wipe(self.export)
