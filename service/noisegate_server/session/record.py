"""An idle session as bytes, there and back: what a store keeps of it in memory until it is used again.

Only a session at rest has such a form: established, with one epoch, nothing under way and no passed or skipped keys.
The secrets stand together at its end, so that they go from buffer to buffer without a copy that nobody can wipe. How it
lies in memory: session/record_layout.py.

AEAD contexts are not in a record, nor a store's handle, nor limits, which are the policy's of the day, nor what holds
for a second or two only and is over before a session counts as idle: when another rotate-1 may be read, when the peer
was last told of a salted epoch. Times are monotonic seconds; only the end of the ticket chain is unix time.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import KEY, RESERVED_COUNTERS
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.hello import Flags
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.network import PROFILES
from noisegate_server.session.noise_records import NoiseRecords, Stream
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.ratchet import Ratchet, RatchetReceiver, RatchetSender
from noisegate_server.session.record_layout import (
    FORMER,
    HEAD,
    NO_PROLOGUE,
    NUMBERS,
    TIME,
    WIDEST,
    Has,
    Head,
    Numbers,
    Shared,
    Some,
    read_some,
)
from noisegate_server.session.replay import ReplayWindow
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role, SessionState
from noisegate_server.session.suites import SUITES

_NAME: Final = 64
"""Bytes of a peer id and of a group at most (contract, InitiateHandshake.peer_id)."""


_RATCHET: Final = int(Flags.RATCHET)
_PAD: Final = int(Flags.PAD)


class RecordRefused(ValueError):
    """Bytes that are no record of a session."""

    def __init__(self) -> None:
        super().__init__("no record of a session")


def packable(session: Session) -> bool:
    """Whether `session` is at rest, so that `pack` keeps all of it."""
    records = session.records
    if session.state is not SessionState.ESTABLISHED or records is None:
        return False
    if isinstance(records, NoiseRecords):
        return not records.rotating and records.reserve == RESERVED_COUNTERS
    under_way = (records.previous, records.next, records.begun, records.answered, records.reminder.record)
    return (
        all(each is None for each in under_way)
        and not records.wants_rotation
        and not records.last_step
        and records.given_timer is None
        and records.current.receiver.kept_until == math.inf
        and records.current.confirmed
        and not records.held
        and not records.current.receive_tail
    )


def pack(session: Session) -> tuple[Shared, bytearray]:
    """What the session shares with others, and its record: full of secrets, which the caller wipes in the end.

    ValueError where it is not `packable`. From here on the record is the session: wipe the object, which also drops its
    AEAD contexts. Were both used, they would seal under the same counters.
    """
    records = session.records
    if records is None or not packable(session):
        raise ValueError("the session is not at rest")
    if isinstance(records, NoiseRecords):
        numbers, secrets, window = _of_noise(session, records)
        h, mask, connection_id, began_at = records.h, None, b"", records.began_at
    else:
        epoch = records.current
        numbers, secrets, window = _of_datagrams(session, records)
        h, mask, connection_id, began_at = epoch.h, records.mask_key, records.connection_id, epoch.began_at
    secrets = [session.export, *secrets] if mask is None else [session.export, *secrets, mask]
    has, some = _some(session, records, h)
    width = next(number for number, widest in enumerate(WIDEST) if max(numbers) <= widest)
    peer_id, group = _name(session.peer_id), _name(session.group)
    head = HEAD.pack(
        session.expires_at,
        session.last_used,
        session.lifetime_end,
        session.created_at,
        session.chain_end_wall,
        began_at,
        session.session_id,
        connection_id,
        session.handshake_hash,
        has,
        width,
        len(peer_id),
        len(group),
    )
    public = b"".join((head, *some, peer_id, group, NUMBERS[width].pack(*numbers), window))
    at = len(public)
    packed = bytearray(at + KEY * len(secrets))
    packed[:at] = public
    for secret in secrets:
        packed[at : at + KEY] = secret
        at += KEY
    return Shared._make(getattr(session, name) for name in Shared._fields), packed


def unpack(
    shared: Shared,
    record: bytes | bytearray | memoryview,
    *,
    aeads: AeadCache,
    limits_of: Callable[[Session], RotationLimits],
) -> Session:
    """The session of a record that `pack` made; RecordRefused for one of another form.

    The record stays the caller's, to wipe. The session has no handle: that is its store's. `limits_of`: its limits,
    asked once all but its records is there.
    """
    view = memoryview(record)
    window = None
    try:
        head = Head._make(HEAD.unpack_from(view))
        some = read_some(head, view)
        group = some.end + head.peer_id
        at = group + head.group
        names = str(view[some.end : group], "utf-8"), str(view[group:at], "utf-8")
        numbers = Numbers._make(NUMBERS[head.width].unpack_from(view, at))
        at += NUMBERS[head.width].size
        if shared.mode is RecordMode.DATAGRAM:
            window, at = ReplayWindow.unpack_from(view, at)
    except (struct.error, ValueError, IndexError):
        raise RecordRefused from None
    count, rest = divmod(len(view) - at, KEY)
    ratchet = window is not None and bool(int(shared.flags) & _RATCHET)
    if rest or count != 4 + 2 * ratchet + bool(head.has & Has.MASK):
        raise RecordRefused
    session = _session(shared, head, some, names, numbers, aeads)
    session.export, *secrets = (bytearray(view[at + KEY * each : at + KEY * (each + 1)]) for each in range(count))
    limits = limits_of(session)
    if window is None:
        session.records = _noise_records(session, head, some, numbers, secrets, limits)
    else:
        session.records = _datagram_records(session, head, some, numbers, secrets, limits, window)
    if head.has & Has.DUE:
        session.records.fall_due()
    return session


def _some(session: Session, records: NoiseRecords | DatagramRecords, h: bytes) -> tuple[int, list[bytes]]:
    """What not every record has, in the order in which `read_some` reads it."""
    has: int = 0
    some: list[bytes] = []
    if session.remote_static:
        has |= Has.REMOTE_STATIC
        some.append(session.remote_static)
    if h != session.handshake_hash:
        has |= Has.H
        some.append(h)
    if session.prologue_hash != NO_PROLOGUE:
        has |= Has.PROLOGUE
        some.append(session.prologue_hash)
    if records.due:
        has |= Has.DUE
    if isinstance(records, DatagramRecords):
        if records.rotated_at != -math.inf:
            has |= Has.ROTATED_AT
            some.append(TIME.pack(records.rotated_at))
        if records.former_connection_ids:
            has |= Has.FORMER
            some.append(FORMER.pack(records.former_connection_ids[0], records.former_until))
        if records.mask_key is not None:
            has |= Has.MASK
    return has, some


def _name(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > _NAME:
        # Its length would not fit into a byte, if it were much longer.
        raise ValueError(f"peer_id, group: at most {_NAME} bytes")
    return encoded


def _of_noise(session: Session, records: NoiseRecords) -> tuple[Numbers, list[bytearray], bytes]:
    """What a NOISE session's record ends with."""
    numbers = Numbers(
        epoch=records.epoch,
        sealed=records.sealed,
        opened=records.opened,
        sealed_bytes=records.sealed_bytes,
        send_counter=records.send.n,
        receive_counter=records.receive.n,
        refused=session.refused,
        due_told=session.due_told + 1,
    )
    return numbers, [records.root, records.send.key, records.receive.key], b""


def _of_datagrams(session: Session, records: DatagramRecords) -> tuple[Numbers, list[bytearray], bytes]:
    """What a DATAGRAM session's record ends with. With the ratchet a direction has two secrets, otherwise one."""
    epoch = records.current
    sender, receiver = epoch.sender, epoch.receiver
    given_epoch, given_counter = records.connection_id_given
    secrets = [epoch.root]
    send_phase = receive_phase = 0
    if isinstance(sender, PhaseSender) and isinstance(receiver, PhaseReceiver):
        secrets += [sender.secret, receiver.secret]
        send_phase, receive_phase = sender.phase, receiver.phase
    elif isinstance(sender, RatchetSender) and isinstance(receiver, RatchetReceiver):
        for ratchet in (sender.ratchet, receiver.ratchet):
            secrets += [ratchet.chain, ratchet.following]
    else:
        raise ValueError("both directions have the ratchet, or neither")
    numbers = Numbers(
        epoch=epoch.number,
        opened=epoch.opened,
        sealed_bytes=records.sealed_bytes,
        send_counter=sender.counter,
        refused=session.refused,
        due_told=session.due_told + 1,
        send_phase=send_phase,
        receive_phase=receive_phase,
        given_epoch=given_epoch + 1,
        given_counter=given_counter + 1,
    )
    return numbers, secrets, epoch.window.pack()


def _session(
    shared: Shared, head: Head, some: Some, names: tuple[str, str], numbers: Numbers, aeads: AeadCache
) -> Session:
    """The session without its records and its exporter's secret."""
    session = Session(
        session_id=head.session_id,
        tenant=shared.tenant,
        peer_id=names[0],
        group=names[1],
        mode=shared.mode,
        role=shared.role,
        pattern=shared.pattern,
        suite=shared.suite,
        flags=shared.flags,
        prologue_hash=some.prologue_hash,
        opening=None,
        idle_timeout=shared.idle_timeout,
        lifetime=shared.lifetime,
        handshake_timeout=0.0,
        chain_end_wall=head.chain_end_wall,
        aeads=aeads,
        now=head.created_at,
        max_early=shared.max_early,
        rotation=shared.rotation,
    )
    session.state = SessionState.ESTABLISHED
    session.network = shared.network
    session.own_idle_timeout = shared.own_idle_timeout
    session.last_used = head.last_used
    session.lifetime_end = head.lifetime_end
    session.expires_at = head.expires_at
    session.refused = numbers.refused
    session.due_told = numbers.due_told - 1
    session.handshake_hash = head.handshake_hash
    session.remote_static = some.remote_static
    session.early = shared.early
    session.anonymous_initiator = shared.anonymous_initiator
    session.follows_connection_id = shared.follows_connection_id
    session.ticket_owed = shared.ticket_owed
    session.ticket_given = shared.ticket_given
    return session


def _noise_records(
    session: Session, head: Head, some: Some, numbers: Numbers, secrets: list[bytearray], limits: RotationLimits
) -> NoiseRecords:
    root, send_key, receive_key = secrets
    send, receive = Stream(send_key), Stream(receive_key)
    send.n, receive.n = numbers.send_counter, numbers.receive_counter
    records = NoiseRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        send=send,
        receive=receive,
        ratchet=bool(int(session.flags) & _RATCHET),
        root=root,
        h=some.h,
        limits=limits,
        now=head.began_at,
    )
    records.epoch = numbers.epoch
    records.sealed = numbers.sealed
    records.sealed_bytes = numbers.sealed_bytes
    records.opened = numbers.opened
    return records


def _datagram_records(
    session: Session,
    head: Head,
    some: Some,
    numbers: Numbers,
    secrets: list[bytearray],
    limits: RotationLimits,
    window: ReplayWindow,
) -> DatagramRecords:
    mask_key = secrets.pop() if head.has & Has.MASK else None
    root, *of_directions = secrets
    ratchet = bool(int(session.flags) & _RATCHET)
    sender: PhaseSender | RatchetSender
    receiver: PhaseReceiver | RatchetReceiver
    if ratchet:
        chain, following, receive_chain, receive_following = of_directions
        sender = RatchetSender(Ratchet(at=numbers.send_counter, chain=chain, following=following))
        receiver = RatchetReceiver(Ratchet(at=window.highest + 1, chain=receive_chain, following=receive_following))
    else:
        sender, receiver = (
            PhaseSender(of_directions[0]),
            PhaseReceiver(of_directions[1]),
        )
        sender.phase, receiver.phase = numbers.send_phase, numbers.receive_phase
    sender.counter, sender.sent_bytes = numbers.send_counter, numbers.sealed_bytes
    epoch = Epoch(
        number=numbers.epoch,
        h=some.h,
        root=root,
        sender=sender,
        receiver=receiver,
        now=head.began_at,
        confirmed=True,
    )
    epoch.opened = numbers.opened
    epoch.window = window
    records = DatagramRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        connection_id=head.connection_id,
        mask_key=mask_key,
        padded=bool(int(session.flags) & _PAD) and PROFILES[session.network].pads,
        ratchet=ratchet,
        initiator=session.role is Role.INITIATOR,
        epoch=epoch,
        limits=limits,
    )
    records.connection_id_given = (numbers.given_epoch - 1, numbers.given_counter - 1)
    records.rotated_at = some.rotated_at
    records.former_connection_ids, records.former_until = some.former, some.former_until
    records.reschedule()
    return records
