"""One session as bytes: a fixed layout, for packing idle sessions and, sealed, for what outlives a process.

    fields, version first ‖ window ‖ secrets; always SESSION_RECORD bytes

Only a session at rest has such a form: established, with one epoch, nothing under way and no
passed or skipped keys. The secrets
stand together at the end, so that they go from buffer to buffer without a copy that nobody can wipe.

The tenant is not in it. A tenant's name has no small bound (a SPIFFE id), and whoever keeps records knows it already:
a store keeps them by tenant, and a sealed record has it as associated data, where a swapped one is found out. AEAD
contexts are not in it either, nor a store's handle, nor limits, which are the policy's of the day.

Times are the monotonic seconds of the process that packed it; only the end of the ticket chain is unix time.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import CONNECTION_ID, HASH, KEY, MAX_PHASES, SESSION_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.hello import Flags
from noisegate_server.session.limits import RotationLimits, limits_for
from noisegate_server.session.noise_records import NoiseRecords, Stream
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.ratchet import Ratchet, RatchetReceiver, RatchetSender
from noisegate_server.session.replay import PACKED_WINDOW, ReplayWindow
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role, SessionState
from noisegate_server.session.suites import SUITES, Pattern, Suite

VERSION: Final = 2
_NAME: Final = 64
"""Bytes of a peer id and of a group at most (contract, InitiateHandshake.peer_id)."""


class _Fields(NamedTuple):
    """What is no secret, in the order of the layout."""

    version: int
    session_id: bytes
    peer_id: bytes
    group: bytes
    mode: int
    role: int
    pattern: int
    suite: int
    flags: int
    has_remote_static: bool
    anonymous_initiator: bool
    follows_connection_id: bool
    ticket_owed: bool
    ticket_given: bool
    created_at: float
    last_used: float
    idle_timeout: float
    lifetime: float
    lifetime_end: float
    expires_at: float
    chain_end_wall: float
    refused: int
    handshake_hash: bytes
    prologue_hash: bytes
    remote_static: bytes
    epoch: int = 0
    h: bytes = b""
    sealed: int = 0
    """NOISE: messages since the last switch; DATAGRAM has the counter alone."""
    opened: int = 0
    send_counter: int = 0
    receive_counter: int = 0
    """NOISE; DATAGRAM has the window."""
    send_phase: int = 0
    """DATAGRAM, as all that follows."""
    receive_phase: int = 0
    began_at: float = 0.0
    rotated_at: float = 0.0
    has_mask: bool = False
    connection_id: bytes = b""
    has_former: bool = False
    former_connection_id: bytes = b""
    sealed_bytes: int = 0
    """Both modes: of the game's plaintexts, under the keys in use."""


_FIELDS: Final = struct.Struct(
    f">B{SESSION_ID}s{1 + _NAME}p{1 + _NAME}p5B5?7dQ{HASH}s{HASH}s{KEY}sI{HASH}s4Q"
    f"2B2d?{CONNECTION_ID}s?{CONNECTION_ID}sQ"
)
_SECRETS_AT: Final = _FIELDS.size + PACKED_WINDOW
_SEND, _RECEIVE, _ROOT, _EXPORT, _MASK, _SEND_NEXT, _RECEIVE_NEXT = _SECRETS = range(7)
"""The secrets, 32 bytes each; zeros where there is none. With the ratchet a direction has a chain value and, last in
the record, the secret of its next phase."""
SESSION_RECORD: Final = _SECRETS_AT + len(_SECRETS) * KEY
"""Bytes of every record: 805."""


class RecordRefused(ValueError):
    """Bytes that are no session record of this version."""


def packable(session: Session) -> bool:
    """Whether `session` is at rest, so that `pack` keeps all of it."""
    records = session.records
    if session.state is not SessionState.ESTABLISHED or records is None:
        return False
    if isinstance(records, NoiseRecords):
        return not records.rotating
    under_way = (records.previous, records.next, records.begun, records.answered, records.reminder.record)
    return (
        all(each is None for each in under_way)
        and not records.wants_rotation
        and not records.last_step
        and not _late_keys(records.current.receiver)
        and records.current.confirmed
        and not records.held
        and not records.current.receive_tail
    )


def _late_keys(receiver: PhaseReceiver | RatchetReceiver) -> bool:
    """Whether keys are kept for records that are late. What was derived ahead follows from what a record has."""
    return bool(receiver.skipped if isinstance(receiver, RatchetReceiver) else receiver.passed)


def pack(session: Session) -> bytearray:
    """The record of a session at rest: SESSION_RECORD bytes, full of secrets, which the caller wipes in the end.

    ValueError where it is not `packable`. From here on the record is the session: wipe the object, which also drops its
    AEAD contexts. Were both used, they would seal under the same counters.
    """
    records = session.records
    if records is None or not packable(session):
        raise ValueError("the session is not at rest")
    packed = bytearray(SESSION_RECORD)
    secrets = {_EXPORT: session.export}
    if isinstance(records, NoiseRecords):
        fields = _noise_fields(session, records)
        secrets |= {_SEND: records.send.key, _RECEIVE: records.receive.key, _ROOT: records.root}
    else:
        fields = _datagram_fields(session, records)
        epoch = records.current
        secrets |= {_ROOT: epoch.root, **_direction_secrets(epoch)}
        if records.mask_key is not None:
            secrets[_MASK] = records.mask_key
        packed[_FIELDS.size : _SECRETS_AT] = epoch.window.pack()
    _FIELDS.pack_into(packed, 0, *fields)
    for number, secret in secrets.items():
        packed[_secret_at(number)] = secret
    return packed


def unpack(record: bytes | bytearray | memoryview, *, tenant: str, aeads: AeadCache, limits: RotationLimits) -> Session:
    """The session of a record that `pack` made; RecordRefused for anything else.

    The record stays the caller's, to wipe. The session has no handle: that is its store's.
    """
    view = memoryview(record)
    if len(view) != SESSION_RECORD or view[0] != VERSION:
        raise RecordRefused("length or version")
    fields = _Fields._make(_FIELDS.unpack_from(view))
    try:
        session = _session(fields, tenant, aeads)
        window = ReplayWindow.unpack(bytes(view[_FIELDS.size : _SECRETS_AT]))
    except ValueError:
        raise RecordRefused("fields") from None
    if max(fields.send_phase, fields.receive_phase) >= MAX_PHASES:
        raise RecordRefused("fields")
    secrets = [bytearray(view[_secret_at(number)]) for number in _SECRETS]
    if session.mode is RecordMode.NOISE:
        session.records = _noise_records(fields, session, secrets, limits)
    else:
        session.records = _datagram_records(fields, session, secrets, window, limits)
    session.export = secrets[_EXPORT]
    return session


def _direction_secrets(epoch: Epoch) -> dict[int, bytearray]:
    sender, receiver = epoch.sender, epoch.receiver
    if isinstance(sender, PhaseSender) and isinstance(receiver, PhaseReceiver):
        return {_SEND: sender.secret, _RECEIVE: receiver.secret}
    if isinstance(sender, RatchetSender) and isinstance(receiver, RatchetReceiver):
        sends, receives = sender.ratchet, receiver.ratchet
        return {
            _SEND: sends.chain,
            _SEND_NEXT: sends.following,
            _RECEIVE: receives.chain,
            _RECEIVE_NEXT: receives.following,
        }
    raise ValueError("both directions have the ratchet, or neither")


def _secret_at(number: int) -> slice:
    at = _SECRETS_AT + number * KEY
    return slice(at, at + KEY)


def _fields(session: Session) -> _Fields:
    return _Fields(
        version=VERSION,
        session_id=session.session_id,
        peer_id=_name(session.peer_id),
        group=_name(session.group),
        mode=session.mode,
        role=session.role,
        pattern=session.pattern,
        suite=session.suite,
        flags=session.flags,
        has_remote_static=bool(session.remote_static),
        anonymous_initiator=session.anonymous_initiator,
        follows_connection_id=session.follows_connection_id,
        ticket_owed=session.ticket_owed,
        ticket_given=session.ticket_given,
        created_at=session.created_at,
        last_used=session.last_used,
        idle_timeout=session.idle_timeout,
        lifetime=session.lifetime,
        lifetime_end=session.lifetime_end,
        expires_at=session.expires_at,
        chain_end_wall=session.chain_end_wall,
        refused=session.refused,
        handshake_hash=session.handshake_hash,
        prologue_hash=session.prologue_hash,
        remote_static=session.remote_static,
    )


def _name(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > _NAME:
        # struct would cut it without a word.
        raise ValueError(f"peer_id, group: at most {_NAME} bytes")
    return encoded


def _noise_fields(session: Session, records: NoiseRecords) -> _Fields:
    return _fields(session)._replace(
        epoch=records.epoch,
        h=records.h,
        sealed=records.sealed,
        opened=records.opened,
        sealed_bytes=records.sealed_bytes,
        began_at=records.began_at,
        send_counter=records.send.n,
        receive_counter=records.receive.n,
    )


def _datagram_fields(session: Session, records: DatagramRecords) -> _Fields:
    epoch = records.current
    former = records.former_connection_ids
    return _fields(session)._replace(
        epoch=epoch.number,
        h=epoch.h,
        opened=epoch.opened,
        send_counter=epoch.send_counter,
        send_phase=0 if records.ratchet else epoch.sender.phase,
        receive_phase=0 if records.ratchet else epoch.receiver.phase,
        sealed_bytes=epoch.sent_bytes,
        began_at=epoch.began_at,
        rotated_at=records.rotated_at,
        has_mask=records.mask_key is not None,
        connection_id=records.connection_id,
        has_former=bool(former),
        former_connection_id=former[0] if former else b"",
    )


def _session(fields: _Fields, tenant: str, aeads: AeadCache) -> Session:
    """The session without its records; ValueError for a number or a name that no session has."""
    session = Session(
        session_id=fields.session_id,
        tenant=tenant,
        peer_id=fields.peer_id.decode(),
        group=fields.group.decode(),
        mode=RecordMode(fields.mode),
        role=Role(fields.role),
        pattern=Pattern(fields.pattern),
        suite=Suite(fields.suite),
        flags=Flags(fields.flags),
        prologue_hash=fields.prologue_hash,
        opening=None,
        idle_timeout=fields.idle_timeout,
        lifetime=fields.lifetime,
        handshake_timeout=0.0,
        chain_end_wall=fields.chain_end_wall,
        aeads=aeads,
        now=fields.created_at,
    )
    session.state = SessionState.ESTABLISHED
    session.last_used = fields.last_used
    session.lifetime_end = fields.lifetime_end
    session.expires_at = fields.expires_at
    session.refused = fields.refused
    session.handshake_hash = fields.handshake_hash
    session.remote_static = fields.remote_static if fields.has_remote_static else b""
    session.anonymous_initiator = fields.anonymous_initiator
    session.follows_connection_id = fields.follows_connection_id
    session.ticket_owed = fields.ticket_owed
    session.ticket_given = fields.ticket_given
    return session


def _noise_records(fields: _Fields, session: Session, secrets: list[bytearray], limits: RotationLimits) -> NoiseRecords:
    aeads = session.aeads
    send, receive = Stream(secrets[_SEND], aeads), Stream(secrets[_RECEIVE], aeads)
    send.n, receive.n = fields.send_counter, fields.receive_counter
    records = NoiseRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        send=send,
        receive=receive,
        ratchet=bool(session.flags & Flags.RATCHET),
        root=secrets[_ROOT],
        h=fields.h,
        limits=limits_for(limits, mode=session.mode, cipher=SUITES[session.suite].cipher),
        now=fields.began_at,
    )
    records.epoch = fields.epoch
    records.sealed = fields.sealed
    records.sealed_bytes = fields.sealed_bytes
    records.opened = fields.opened
    return records


def _datagram_records(
    fields: _Fields, session: Session, secrets: list[bytearray], window: ReplayWindow, limits: RotationLimits
) -> DatagramRecords:
    ratchet = bool(session.flags & Flags.RATCHET)
    sender, receiver = _ratchets(fields, secrets, window) if ratchet else _phases(fields, secrets, session.aeads)
    epoch = Epoch(
        number=fields.epoch,
        h=fields.h,
        root=secrets[_ROOT],
        sender=sender,
        receiver=receiver,
        now=fields.began_at,
        confirmed=True,
    )
    epoch.send_counter = fields.send_counter
    epoch.sent_bytes = fields.sealed_bytes
    epoch.opened = fields.opened
    epoch.window = window
    records = DatagramRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        connection_id=fields.connection_id,
        mask_key=secrets[_MASK] if fields.has_mask else None,
        padded=bool(session.flags & Flags.PAD),
        ratchet=ratchet,
        initiator=session.role is Role.INITIATOR,
        epoch=epoch,
        limits=limits,
    )
    records.former_connection_ids = (fields.former_connection_id,) if fields.has_former else ()
    records.rotated_at = fields.rotated_at
    return records


def _phases(fields: _Fields, secrets: list[bytearray], aeads: AeadCache) -> tuple[PhaseSender, PhaseReceiver]:
    sender, receiver = PhaseSender(secrets[_SEND], aeads), PhaseReceiver(secrets[_RECEIVE], aeads)
    sender.phase, receiver.phase = fields.send_phase, fields.receive_phase
    return sender, receiver


def _ratchets(fields: _Fields, secrets: list[bytearray], window: ReplayWindow) -> tuple[RatchetSender, RatchetReceiver]:
    sends = Ratchet(at=fields.send_counter, chain=secrets[_SEND], following=secrets[_SEND_NEXT])
    receives = Ratchet(at=window.highest + 1, chain=secrets[_RECEIVE], following=secrets[_RECEIVE_NEXT])
    return RatchetSender(sends), RatchetReceiver(receives)
