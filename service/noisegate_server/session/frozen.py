"""A suspended session as one record, there and back. Its fields: session/fields.py; how it is sealed: session/blob.py.

Of a DATAGRAM session a record has the roots of its epochs and what lasts through them, never a traffic key or an
ephemeral key: it opens nothing that was sent, but for a salted epoch whose base's root is still needed, and comes back
in a salted epoch of its own (docs/protocol.md, section 5). Of a NOISE session it has the CipherStates, because no peer
of that mode knows salts: whoever thaws one has deleted it for good before. Times are unix seconds, which outlive the
process; a clock that was put back makes no life longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from noisegate_server.noise.primitives import CIPHERS, wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import (
    MAX_SALTED_STEP,
    SALT,
)
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.fields import (
    GIVEN,
    HEAD,
    MAX_LAST_STEP,
    SESSION_ATTRIBUTES,
    VALUES,
    BlobRefused,
    Tag,
    read_record,
    wipe_values,
)
from noisegate_server.session.hello import Flags
from noisegate_server.session.keep_alive import question
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.network import PROFILES
from noisegate_server.session.noise_records import NoiseRecords, Replacement, Stream
from noisegate_server.session.packets import Kind
from noisegate_server.session.roots import Root, bound_roots
from noisegate_server.session.salted import highest_known, own_epoch, roots_of
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role, SessionInput, SessionState, transition
from noisegate_server.session.suites import SUITES
from noisegate_server.session.tagged import (
    Buffer,
    write_values,
)

_CONSTRUCTED: Final = (
    "session_id",
    "peer_id",
    "group",
    "mode",
    "role",
    "pattern",
    "suite",
    "flags",
    "prologue_hash",
    "idle_timeout",
    "lifetime",
    "chain_end_wall",
)
"""Those that Session is made of, without which there is none."""


def freeze(
    session: Session, *, blob_id: bytes, issuer: bytes, now: float, wall: float, expires_wall: float
) -> bytearray:
    """The record of an established or rotating session, full of secrets, which the caller wipes.

    The session is left as it is: whoever keeps the record wipes it. A renegotiation whose handshake has not finished is
    not in it, since its ephemeral keys are not. ValueError for another state, and for a value outside its limits.
    """
    records = session.records
    if records is None:
        raise ValueError("the session is not established")
    values: dict[int, Buffer] = {
        tag: codec.write(getattr(session, name)) for name, (tag, codec) in SESSION_ATTRIBUTES.items()
    }
    own: dict[Tag, Any] = {
        Tag.BLOB_ID: blob_id,
        Tag.ISSUER: issuer,
        Tag.FROZEN_WALL: wall,
        Tag.EXPIRES_WALL: expires_wall,
        Tag.CREATED_WALL: wall + session.created_at - now,
        Tag.LIFETIME_END_WALL: wall + session.lifetime_end - now,
        Tag.LIFETIME_LEFT: session.lifetime_end - now,
        Tag.EXPORT: session.export,
        **(_noise_values(records, now, wall) if isinstance(records, NoiseRecords) else _datagram_values(records)),
    }
    values |= {tag: VALUES[tag].write(value) for tag, value in own.items()}
    record = write_values(values, HEAD)
    roots = values.get(Tag.ROOTS)
    if isinstance(roots, bytearray):
        wipe(roots)
    return record


def thaw(
    record: Buffer,
    *,
    tenant: str,
    aeads: AeadCache,
    limits_of: Callable[[Session], RotationLimits],
    random_bytes: Callable[[int], bytes],
    now: float,
    wall: float,
) -> Session:
    """The session of a record that `freeze` made, ESTABLISHED; BlobRefused for anything else, or when its life is over.

    DATAGRAM: in a salted epoch of its own, which the peer knows nothing of yet: tell it by `records.ask`. NOISE: at the
    very counters where it was. The record stays the caller's, to wipe. `limits_of`: its limits, asked once all but its
    records is there.
    """
    values: dict[Tag, Any] = {}
    try:
        values, attributes = read_record(record, secrets=True)
        left = min(values[Tag.LIFETIME_LEFT], values[Tag.LIFETIME_END_WALL] - wall)
        if not left > 0:
            raise BlobRefused("lifetime")
        session = Session(
            tenant=tenant,
            opening=None,
            handshake_timeout=left,
            aeads=aeads,
            now=now,
            **{name: attributes.pop(name) for name in _CONSTRUCTED},
        )
        for name, value in attributes.items():
            setattr(session, name, value)
        session.created_at = now - max(wall - values[Tag.CREATED_WALL], 0.0)
        session.export = values[Tag.EXPORT]
        limits = limits_of(session)
        session.records = (
            _noise_records(session, values, limits, now - max(wall - values[Tag.BEGAN_WALL], 0.0))
            if session.mode is RecordMode.NOISE
            else _datagram_records(session, values, limits, random_bytes, now)
        )
    except (KeyError, ValueError):
        wipe_values(values)
        raise BlobRefused("record") from None
    session.touch(now)
    session.state = transition(SessionState.SUSPENDED, SessionInput.RESTORE)
    if session.mode is RecordMode.NOISE:
        # New keys may be there to which a direction has yet to change.
        session.settle()
    return session


def _noise_values(records: NoiseRecords, now: float, wall: float) -> dict[Tag, Any]:
    values: dict[Tag, Any] = {
        Tag.SEND_KEY: records.send.key,
        Tag.SEND_COUNTER: records.send.n,
        Tag.RECEIVE_KEY: records.receive.key,
        Tag.RECEIVE_COUNTER: records.receive.n,
        Tag.ROOT: records.root,
        Tag.H: records.h,
        Tag.EPOCH: records.epoch,
        Tag.SEALED: records.sealed,
        Tag.SEALED_BYTES: records.sealed_bytes,
        Tag.OPENED: records.opened,
        Tag.BEGAN_WALL: wall + records.began_at - now,
    }
    replacement = records.replacement
    if replacement is not None:
        # The player may have changed already: without these keys the session would be over.
        values |= {Tag.NEW_ROOT: replacement.root, Tag.NEW_H: replacement.h}
        if replacement.send is not None:
            values[Tag.NEW_SEND_KEY] = replacement.send.key
        if replacement.receive is not None:
            values[Tag.NEW_RECEIVE_KEY] = replacement.receive.key
    return values


def _noise_records(session: Session, values: dict[Tag, Any], limits: RotationLimits, began_at: float) -> NoiseRecords:
    send, receive = Stream(values[Tag.SEND_KEY]), Stream(values[Tag.RECEIVE_KEY])
    send.n, receive.n = values[Tag.SEND_COUNTER], values[Tag.RECEIVE_COUNTER]
    records = NoiseRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        send=send,
        receive=receive,
        ratchet=bool(session.flags & Flags.RATCHET),
        root=values[Tag.ROOT],
        h=values[Tag.H],
        limits=limits,
        now=began_at,
    )
    records.epoch = values[Tag.EPOCH]
    records.sealed = values[Tag.SEALED]
    records.sealed_bytes = values[Tag.SEALED_BYTES]
    records.opened = values[Tag.OPENED]
    if Tag.NEW_ROOT in values:
        new_send, new_receive = values.get(Tag.NEW_SEND_KEY), values.get(Tag.NEW_RECEIVE_KEY)
        records.replacement = Replacement(
            send=None if new_send is None else Stream(new_send),
            receive=None if new_receive is None else Stream(new_receive),
            root=values[Tag.NEW_ROOT],
            h=values[Tag.NEW_H],
        )
    return records


def _datagram_values(records: DatagramRecords) -> dict[Tag, Any]:
    epoch, counter = records.connection_id_given
    values: dict[Tag, Any] = {
        Tag.ROOTS: roots_of(records),
        Tag.HIGHEST_EPOCH: highest_known(records),
        Tag.CONNECTION_ID: records.connection_id,
        Tag.CONNECTION_ID_GIVEN: GIVEN.pack(epoch + 1, counter + 1),
    }
    if records.mask_key is not None:
        values[Tag.MASK_KEY] = records.mask_key
    if records.former_connection_ids:
        values[Tag.FORMER_CONNECTION_ID] = records.former_connection_ids[0]
    if 0 < len(records.last_step) <= MAX_LAST_STEP:
        values[Tag.LAST_STEP] = records.last_step
    return values


def _datagram_records(
    session: Session,
    values: dict[Tag, Any],
    limits: RotationLimits,
    random_bytes: Callable[[int], bytes],
    now: float,
) -> DatagramRecords:
    roots: list[Root] = values[Tag.ROOTS]
    if not any(root.confirmed for root in roots):
        raise ValueError("roots: none is confirmed")
    base = max((root for root in roots if root.serves), key=lambda root: root.number)
    fresh = values[Tag.HIGHEST_EPOCH] + 1
    if fresh - base.number > MAX_SALTED_STEP:
        raise ValueError("the peer would take its low byte for another number")
    initiator = session.role is Role.INITIATOR
    ratchet = bool(session.flags & Flags.RATCHET)
    records = DatagramRecords(
        cipher=CIPHERS[SUITES[session.suite].cipher],
        connection_id=values[Tag.CONNECTION_ID],
        mask_key=values.get(Tag.MASK_KEY),
        padded=bool(session.flags & Flags.PAD) and PROFILES[session.network].pads,
        ratchet=ratchet,
        initiator=initiator,
        epoch=own_epoch(
            base,
            fresh,
            random_bytes(SALT),
            initiator=initiator,
            ratchet=ratchet,
            now=now,
        ),
        limits=limits,
    )
    records.held = roots
    # Whoever restores it tells the peer at once; should that be lost, or left out, any later call does.
    records.reminder.start(Kind.KEEP_ALIVE, question(random_bytes), now)
    records.reschedule()
    bound_roots(roots)
    epoch, counter = GIVEN.unpack(values[Tag.CONNECTION_ID_GIVEN])
    records.connection_id_given = (epoch - 1, counter - 1)
    if Tag.FORMER_CONNECTION_ID in values:
        records.former_connection_ids = (values[Tag.FORMER_CONNECTION_ID],)
    if Tag.LAST_STEP in values:
        records.repeat(values[Tag.LAST_STEP], now)
    return records
