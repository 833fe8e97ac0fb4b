"""The words of the contract as Python values: enums with the contract's numbers, frozen records for answers.

Numbers and meanings are those of proto/noisegate/v1; a test compares them. Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class RecordMode(IntEnum):
    """How records travel between the player and noisegate (docs/protocol.md, section 1)."""

    NOISE = 1
    """Bare Noise messages of any Noise library, over an ordered transport (TCP, WebSocket)."""
    DATAGRAM = 2
    """The packets of docs/protocol.md section 2, over a transport that may lose, repeat and reorder (UDP)."""


class Role(IntEnum):
    """The part that noisegate plays in a handshake."""

    INITIATOR = 1
    RESPONDER = 2


class Pattern(IntEnum):
    """A Noise handshake pattern (Noise revision 34, section 7)."""

    XX = 1
    IK = 2
    NK = 3
    XXPSK3 = 4
    IKPSK1 = 5
    IKPSK2 = 6
    NKPSK0 = 7
    NKPSK2 = 8
    NNPSK0 = 9


class Suite(IntEnum):
    """Key agreement, AEAD and hash."""

    CHACHA20_POLY1305_X25519 = 1
    """25519_ChaChaPoly_SHA256."""
    AES256_GCM_X25519 = 2
    """25519_AESGCM_SHA256."""
    MLKEM1024_X25519_CHACHA20_POLY1305 = 3
    """25519+MLKEM1024_ChaChaPoly_SHA256: hybrid, post-quantum; the pattern runs with the modifier hfs."""


class SessionState(IntEnum):
    """Where a session is in its life. A number of a later contract reads as UNKNOWN."""

    UNKNOWN = 0
    HANDSHAKING = 1
    ESTABLISHED = 2
    ROTATING = 3
    SUSPENDED = 4
    TERMINATED = 5

    @classmethod
    def _missing_(cls, value: object) -> SessionState:
        return cls.UNKNOWN


class TerminationReason(IntEnum):
    """Why a session ended; NONE while it lives. A number of a later contract reads as UNKNOWN."""

    UNKNOWN = -1
    NONE = 0
    CLOSED = 1
    PEER_CLOSED = 2
    IDLE = 3
    LIFETIME = 4
    HANDSHAKE_FAILED = 5
    HANDSHAKE_TIMEOUT = 6
    EXHAUSTED = 7
    SHUTDOWN = 8
    REVOKED = 9
    LOST = 10

    @classmethod
    def _missing_(cls, value: object) -> TerminationReason:
        return cls.UNKNOWN


class ControlKind(IntEnum):
    """What a record of the player was, when it was nothing for the game."""

    ROTATION = 1
    TICKET = 2
    KEEP_ALIVE = 3
    CONNECTION_ID = 4
    CLOSE = 5
    UNKNOWN = 6

    @classmethod
    def _missing_(cls, value: object) -> ControlKind:
        return cls.UNKNOWN


class EarlyData(IntEnum):
    """What became of the early data of a resume."""

    NONE = 0
    """There was none, or another answer has told of it."""
    ACCEPTED = 1
    """It was delivered, once. Until a first record opens, whoever has recorded it may have sent it."""
    REJECTED = 2
    """It was dropped: whoever sent it sends it again, as a record."""

    @classmethod
    def _missing_(cls, value: object) -> EarlyData:
        return cls.NONE


class Network(IntEnum):
    """The network that a player is on: a profile of keep-alive, idle timeout and padding. Never of the suite."""

    UNKNOWN = 0
    """Of a session that has ended, or a number of a later contract. In an option: as WIFI."""
    WIFI = 1
    """Cheap and mostly on: a keep-alive each 20 s, ends after 10 min without a record."""
    CELLULAR = 2
    """Dear and asleep half of the time: a keep-alive each 60 s, no padding, ends after 30 min without a record."""
    NONE = 3
    """None at present: the session is suspended."""

    @classmethod
    def _missing_(cls, value: object) -> Network:
        return cls.UNKNOWN


class RotationKind(IntEnum):
    """How keys are changed."""

    REKEY = 1
    """One direction moves to the next key of its chain: no round trip, no fresh secret."""
    RENEGOTIATE = 2
    """A new key agreement inside the session."""


class RetryReason(IntEnum):
    """Why a player has to begin anew. A number of a later contract reads as UNKNOWN."""

    UNKNOWN = 0
    CHOOSE = 1
    """Another protocol of the same offer, or fewer flags."""
    CLOCK = 2
    """Its clock: the RETRY carries the service's time."""

    @classmethod
    def _missing_(cls, value: object) -> RetryReason:
        return cls.UNKNOWN


class Direction(IntEnum):
    """One of the two directions of a session, seen from noisegate."""

    SEND = 1
    RECEIVE = 2


@dataclass(frozen=True, slots=True)
class Protocol:
    """A pattern and a suite: together one Noise protocol."""

    pattern: Pattern
    suite: Suite = Suite.CHACHA20_POLY1305_X25519


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportedProtocol:
    """A protocol that the service runs. Numbers of a later contract are kept as they are."""

    pattern: int
    suite: int
    name: str
    """The canonical Noise name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """When an epoch's keys must change, counted for what the service seals. Zero means: the service's or tenant's own.

    A session can have lower limits than those, never higher ones. Past a soft limit answers say `rotation_due`, and a
    DATAGRAM session rotates by itself; past a hard one `encrypt` raises RekeyRequired until a rotation is through.
    """

    soft_age: float = 0
    """Seconds, at least 10, as the next. DATAGRAM: 120 by default; NOISE: none."""
    hard_age: float = 0
    """DATAGRAM: 180 by default; NOISE: none."""
    soft_messages: int = 0
    """Records: 2^20 by default."""
    hard_messages: int = 0
    """At least 2,048; no data is sealed from 1,024 below it on. DATAGRAM: 2^23 by default; NOISE: none."""
    soft_bytes: int = 0
    """Of plaintexts: 2^36 by default."""
    hard_bytes: int = 0
    """DATAGRAM: 2^39 by default; NOISE: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a caller may set for one session. Zero and false mean: the service's default."""

    idle_timeout: float = 0
    """Seconds, 1 to 86,400: the session ends when nothing was sealed or opened for this long."""
    lifetime: float = 0
    """Seconds, 1 to 604,800: the session ends this long after it was established."""
    pad: bool = False
    """DATAGRAM, initiating: pad records to size classes. No security boundary."""
    mask: bool = False
    """DATAGRAM, initiating: mask epoch, phase and counter in the header. No security boundary."""
    tickets: bool = False
    """DATAGRAM, initiating: ask the player's side for resumption tickets."""
    ratchet: bool = False
    """A key for every message. DATAGRAM, initiating: the hello asks for it. NOISE: Rekey() (Noise revision 34, section
    11.3) of each direction after each of its messages; the player must do the same, and nothing on the wire says so."""
    max_early_data_bytes: int = 0
    """Early data that the session's tickets allow; at most what `Capabilities` says."""
    rotation: RotationLimits = RotationLimits()
    """When keys must change."""
    network: Network = Network.WIFI
    """The one that the player is on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What is known once a handshake has finished."""

    remote_static_key: bytes
    """The player's static public key: 32 bytes, or empty where the pattern has none (NK, NN)."""
    handshake_hash: bytes
    """32 bytes, equal at both ends, different for each session: channel binding (Noise revision 34, section 11.2)."""
    protocol_name: str
    """The canonical Noise name, for display."""
    expires_in: float
    """Seconds that the session lived on, if it was used, when the service answered."""
    overhead_bytes: int
    """How much longer a record is than its plaintext, without padding; more for a moment after a restore."""
    keep_alive: float = 0
    """Seconds: the player should send something, a keep-alive where there is nothing else, at least this often."""
    idle_timeout: float = 0
    """Seconds: the session ends when nothing was sealed or opened for this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the service can do."""

    protocol_version: int
    """The version of the player's protocol."""
    server_version: str
    """For display."""
    endpoint: str
    """HOST:PORT of the instance that answered."""
    static_key: bytes
    """The public key with which the service answers this caller's players: 32 bytes."""
    protocols: tuple[SupportedProtocol, ...]
    """The service's preferred one first."""
    modes: tuple[int, ...]
    """RecordMode numbers."""
    max_plaintext_bytes: int
    """Of one `encrypt` in NOISE mode."""
    max_datagram_plaintext_bytes: int
    """Of one `encrypt` in DATAGRAM mode."""
    max_request_bytes: int
    """Of a whole request."""
    max_early_data_bytes: int
    """The most early data that a ticket may allow; 0 for none."""
    max_batch_items: int
    """Of one call of a batch; the client makes as many calls as there have to be."""
    max_batch_bytes: int
    """Likewise: what is to be sealed or opened, and associated data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A plaintext of the game, sealed for the player."""

    packet: bytes
    """The record."""
    to_peer: tuple[bytes, ...]
    """What must go to the player besides, in this order, each on its own."""
    counter: int
    """The record's counter; never used twice under one key."""
    epoch: int
    """The record's key epoch."""
    rotation_due: bool
    """A soft limit is passed: `session.rotate()` soon."""

    @property
    def messages(self) -> tuple[bytes, ...]:
        """All that must go to the player, the record last."""
        return (*self.to_peer, self.packet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A record of the player, opened. Exactly one of `plaintext` and `control` is not None."""

    session_id: bytes
    """24 bytes: the session that the record belongs to."""
    plaintext: bytes | None = field(repr=False)
    """What the player wrote; may be empty. Secret. None: nothing for the game, see `control`."""
    control: ControlKind | None
    """What it was, when it was nothing for the game."""
    to_peer: tuple[bytes, ...]
    """What must go to the player, in this order, each on its own."""
    counter: int
    """The record's counter."""
    epoch: int
    """The record's key epoch."""
    early: bool
    """The handshake is not yet confirmed by the player: what it says may be a replay."""
    newest: bool
    """DATAGRAM: the newest record so far. Only then follow the player to the address that it came from."""
    rotation_due: bool
    """A soft limit is passed: `session.rotate()` soon."""
    answered: bytes = b""
    """A keep-alive that answers one of ours: `NetworkChange.token` of the question. Otherwise empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How far a change of keys is."""

    to_peer: tuple[bytes, ...]
    """For the player. DATAGRAM: as they are. NOISE: inside the session, as the game's own data."""
    state: SessionState
    """ROTATING while the player has yet to do something, ESTABLISHED when it is over."""
    epoch: int
    """The epoch under which noisegate seals now."""
    counter: int
    """REKEY: the first counter under the new key."""
    ready_to_switch: bool
    """RENEGOTIATE in NOISE mode: the new handshake is finished, both directions may be switched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A resumption ticket, sealed for the player; the caller never sees its key."""

    to_peer: tuple[bytes, ...]
    """One record for the player."""
    expires_in: float
    """Seconds for which it can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as its owner may see it: never a key."""

    session_id: bytes
    """24 bytes."""
    state: SessionState
    termination_reason: TerminationReason
    mode: RecordMode | None
    """None for a session that has ended, or for a number of a later contract."""
    role: Role | None
    """None for a session that has ended, or for a number of a later contract."""
    peer_id: str
    """The player, as the caller named it."""
    group: str
    """The match, room or table, as the caller named it."""
    established: Established | None
    """None until the handshake has finished, and for a session that has ended."""
    epoch: int
    """0 after the handshake, one more after each renegotiation."""
    sealed: int
    """Records sealed in this epoch."""
    opened: int
    """Records opened in this epoch."""
    refused: int
    """Records refused in this session's life."""
    age: float
    """Seconds since the session began."""
    idle: float
    """Seconds since the last record was sealed or opened."""
    connection_id: bytes
    """DATAGRAM: what the player's packets carry, 8 bytes."""
    endpoint: str
    """HOST:PORT for all later calls of this session."""
    network: Network = Network.UNKNOWN
    """The one that the player is on."""
    suspended_by_service: bool = False
    """SUSPENDED by the service itself: the first call brings it back. Otherwise `client.restore` does."""
    early: bool = False
    """It began with early data that the player has not confirmed yet by a record."""
