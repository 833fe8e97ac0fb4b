"""How the record of an idle session lies in memory (session/record.py packs and unpacks it).

    head ‖ what only some have, as the head says ‖ names ‖ numbers ‖ window ‖ secrets

What many sessions have in common stands apart, in `Shared`, once for all of them. A record never leaves its process, so
it has no version; what does is session/frozen.py's.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

from noisegate_server.session.constants import CONNECTION_ID, HASH, SESSION_ID
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.network import Network
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import Pattern, Suite


class Shared(NamedTuple):
    """What many sessions have in common: no secret, and the same for a whole game as a rule."""

    tenant: str
    mode: RecordMode
    role: Role
    pattern: Pattern
    suite: Suite
    flags: int
    network: Network
    idle_timeout: float
    own_idle_timeout: bool
    lifetime: float
    rotation: LowerLimits
    max_early: int
    early: bool
    anonymous_initiator: bool
    follows_connection_id: bool
    ticket_owed: bool
    ticket_given: bool


class Has:
    """What a record has that not every one has: plain numbers, because an IntFlag's `&` takes as long as a session."""

    REMOTE_STATIC: Final = 1
    H: Final = 2
    """The current epoch's, where it is not the handshake's hash."""
    PROLOGUE: Final = 4
    """Its hash, where it is not that of the empty prologue."""
    ROTATED_AT: Final = 8
    FORMER: Final = 16
    """A connection id that still holds, and until when."""
    MASK: Final = 32
    DUE: Final = 64
    """No bytes: a rotation is due, for whatever reason."""


class Head(NamedTuple):
    """Every record's beginning."""

    expires_at: float
    last_used: float
    lifetime_end: float
    created_at: float
    chain_end_wall: float
    began_at: float
    session_id: bytes
    connection_id: bytes
    """DATAGRAM; zeros otherwise."""
    handshake_hash: bytes
    has: int
    width: int
    """Which of `NUMBERS` the numbers have."""
    peer_id: int
    """Bytes of it, as the next."""
    group: int


class Numbers(NamedTuple):
    """Counters, all as wide as the widest of a record needs."""

    epoch: int = 0
    sealed: int = 0
    """NOISE: messages since the last switch; DATAGRAM has the counter alone."""
    opened: int = 0
    sealed_bytes: int = 0
    """Of the game's plaintexts, under the keys in use."""
    send_counter: int = 0
    receive_counter: int = 0
    """NOISE; DATAGRAM has the window."""
    refused: int = 0
    due_told: int = 0
    """Plus one, as all that may be -1."""
    send_phase: int = 0
    """DATAGRAM, as all that follows."""
    receive_phase: int = 0
    given_epoch: int = 0
    given_counter: int = 0


HEAD: Final = struct.Struct(f">6d{SESSION_ID}s{CONNECTION_ID}s{HASH}s4B")
_ID_AT: Final = struct.calcsize(">6d")
_HAS_AT: Final = HEAD.size - 4
_GLANCE: Final = struct.Struct(f">3d24x{SESSION_ID}s{CONNECTION_ID}s{HASH}x4B")
"""Of the head, what a glance sees."""
TIME: Final = struct.Struct(">d")
FORMER: Final = struct.Struct(f">{CONNECTION_ID}sd")
NUMBERS: Final = tuple(struct.Struct(f">{len(Numbers._fields)}{width}") for width in "BHIQ")
_EPOCHS: Final = tuple(struct.Struct(f">{width}") for width in "BHIQ")
"""The first of the numbers."""
WIDEST: Final = tuple(256 ** (each.size // len(Numbers._fields)) - 1 for each in NUMBERS)
_HASHES: Final = (Has.REMOTE_STATIC, Has.H, Has.PROLOGUE)
_SIZES: Final = {
    Has.REMOTE_STATIC: HASH,
    Has.H: HASH,
    Has.PROLOGUE: HASH,
    Has.ROTATED_AT: TIME.size,
    Has.FORMER: FORMER.size,
}
"""Of what only some records have, in the order in which it lies behind the head."""
NAMES_AT: Final = tuple(HEAD.size + sum(_SIZES[each] for each in _SIZES if has & each) for has in range(256))
"""Where the names begin, by what a record has."""
NO_PROLOGUE: Final = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
"""SHA-256 of nothing: what most callers bind their handshakes to."""


class Some(NamedTuple):
    """What not every record has, as it was read."""

    remote_static: bytes
    h: bytes
    prologue_hash: bytes
    rotated_at: float
    former: tuple[bytes, ...]
    """The connection id before the present one."""
    former_until: float
    end: int
    """Where the names begin."""


class Public(NamedTuple):
    """What stands in a record before the window and the secrets."""

    shared: Shared
    head: Head
    numbers: Numbers


class Glance(NamedTuple):
    """What can be seen of a packed session without unpacking it: enough to find it by, to list it and to end it."""

    session_id: bytes
    tenant: str
    peer_id: str
    group: str
    bound: tuple[bytes, ...]
    """Its connection ids."""
    epoch: int
    ticket_given: bool
    expires_at: float
    """Monotonic seconds, as the next two."""
    last_used: float
    lifetime_end: float
    handle: int
    """The store's, as the next."""
    reference: int = 0
    """Where its record lay when this was seen; 0 where that is not known."""
    shared: Shared | None = None
    """What it has in common with others, where the record is session/record.py's; as the next."""
    shown: bytes = b""
    """All of the record that is no secret, to be read when it is asked for: who ends sessions never does."""

    @property
    def public(self) -> Public:
        """What the record shows. TypeError where it is of another kind."""
        if self.shared is None:
            raise TypeError("a record of another kind")
        head = Head._make(HEAD.unpack_from(self.shown))
        numbers = NUMBERS[head.width]
        return Public(self.shared, head, Numbers._make(numbers.unpack(self.shown[-numbers.size :])))

    @property
    def remote_static(self) -> bytes:
        """The peer's static key; empty for none."""
        has = self.shown[_HAS_AT] if self.shown else 0
        return self.shown[HEAD.size : HEAD.size + HASH] if has & Has.REMOTE_STATIC else b""

    @property
    def is_half_open(self) -> bool:
        """Never: a handshake is not packed."""
        return False

    def connection_ids(self) -> tuple[bytes, ...]:
        """Every connection id that is bound to the session."""
        return self.bound

    def expiry_cause(self, now: float) -> TerminationReason:
        """Why the session is over, given that `expires_at` has passed."""
        return TerminationReason.LIFETIME if now >= self.lifetime_end else TerminationReason.IDLE

    def wipe(self) -> None:
        """There is nothing secret in it: the record is wiped by its store."""


def read_some(head: Head, view: memoryview) -> Some:
    """What comes behind the head. struct.error where the record is too short."""
    at = HEAD.size
    hashes = [b"", head.handshake_hash, NO_PROLOGUE]
    for place, each in enumerate(_HASHES):
        if head.has & each:
            hashes[place] = bytes(view[at : at + HASH])
            at += HASH
    rotated_at, former_until = -math.inf, math.inf
    former: tuple[bytes, ...] = ()
    if head.has & Has.ROTATED_AT:
        (rotated_at,) = TIME.unpack_from(view, at)
        at += TIME.size
    if head.has & Has.FORMER:
        connection_id, former_until = FORMER.unpack_from(view, at)
        former = (connection_id,)
        at += FORMER.size
    remote_static, h, prologue_hash = hashes
    return Some(remote_static, h, prologue_hash, rotated_at, former, former_until, at)


def owner(shared: Shared, record: memoryview) -> tuple[str, bytes]:
    """Tenant and session id of a record."""
    return shared.tenant, bytes(record[_ID_AT : _ID_AT + SESSION_ID])


def expires_at(slot: memoryview, at: int) -> float:
    """When the session of the record that begins there ends by itself (monotonic seconds)."""
    moment: float = TIME.unpack_from(slot, at)[0]
    return moment


def glance(shared: Shared, record: memoryview, handle: int, reference: int = 0) -> Glance:
    """What can be seen of a record: its names and times, no secret."""
    ends_at, last_used, lifetime_end, session_id, connection_id, has, width, peer, group = _GLANCE.unpack_from(record)
    peer_at = NAMES_AT[has]
    group_at = peer_at + peer
    end = group_at + group
    bound: tuple[bytes, ...] = ()
    if shared.mode is RecordMode.DATAGRAM:
        bound = (connection_id,)
        if has & Has.FORMER:
            bound = (connection_id, FORMER.unpack_from(record, peer_at - FORMER.size)[0])
    shown = bytes(record[: end + NUMBERS[width].size])
    return tuple.__new__(  # as the class does it, without the call of Python's in between
        Glance,
        (
            session_id,
            shared.tenant,
            str(shown[peer_at:group_at], "utf-8"),
            str(shown[group_at:end], "utf-8"),
            bound,
            _EPOCHS[width].unpack_from(shown, end)[0],
            shared.ticket_given,
            ends_at,
            last_used,
            lifetime_end,
            handle,
            reference,
            shared,
            shown,
        ),
    )
