"""Rotate: REKEY without a round trip, RENEGOTIATE by a new key agreement inside the session.

docs/protocol.md, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.engine.counts import Cause, RotationKind
from noisegate_server.engine.events import EventKind
from noisegate_server.engine.negotiation import LEARNS_REMOTE, WITH_PSK
from noisegate_server.engine.outcomes import Rotation
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import parties, see_to
from noisegate_server.noise import HandshakeState, InvalidKey, NoiseError, ProtocolName
from noisegate_server.noise.primitives import wipe
from noisegate_server.session import rotation
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import (
    EpochConflict,
    HandshakeFailed,
    InvalidField,
    NotEstablished,
    RekeyRequired,
)
from noisegate_server.session.establishment import replacement
from noisegate_server.session.hello import renegotiate_prologue
from noisegate_server.session.keys import renegotiate_psk
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.session import Session
from noisegate_server.session.state import Role
from noisegate_server.session.suites import NOISE_NAMES, Pattern

REKEY, RENEGOTIATE = 1, 2
SEND, RECEIVE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateCommand:
    """What the caller wants; numbers are the contract's."""

    kind: int
    direction: int = 0
    message: bytes = b""
    switch_send: bool = False
    switch_receive: bool = False
    psk: bytes = b""


def rotate(parts: Parts, tenant: str, session_id: bytes, command: RotateCommand, now: float) -> Rotation:
    """Change keys, or take the next step towards it."""
    session = parts.store.get(tenant, session_id, now)
    records = session.records
    if records is None:
        raise NotEstablished(session.state.name)
    if isinstance(records, DatagramRecords):
        done = _datagram(parts, session, records, command, now)
    elif command.kind == REKEY:
        done = _noise_rekey(parts, session, records, command)
    else:
        done = _noise_renegotiate(parts, session, records, command, now)
    session.touch(now)
    return done


def _datagram(parts: Parts, session: Session, records: DatagramRecords, command: RotateCommand, now: float) -> Rotation:
    if command.message or command.switch_send or command.switch_receive or command.psk:
        raise InvalidField("message", "DATAGRAM mode carries its rotation in records: only `kind` may be set")
    if command.direction == RECEIVE:
        raise InvalidField("direction", "in DATAGRAM mode a side rekeys what it sends; leave it unset")
    to_peer: tuple[bytes, ...] = ()
    if command.kind == REKEY and rotation.rekey(records, parts.aeads):
        parts.counts.rotations[RotationKind.REKEY, Cause.CALLER] += 1
    elif not records.has_room:
        raise RekeyRequired("this epoch may seal no more, not even a rotation: resume, or run a new handshake")
    elif session.role is Role.INITIATOR:
        # Also a REKEY where the epoch's phases are used up: only new keys help now.
        to_peer = rotation.start(records, parties(parts, session), now, parts.aeads, parts.random_bytes)
    else:
        to_peer = rotation.wish(records, now, parts.aeads)
    to_peer += see_to(parts, session, now)
    parts.counts.settle(session, Cause.CALLER)
    return Rotation(to_peer=to_peer, state=session.state, epoch=records.epoch, counter=records.sealed)


def _noise_rekey(parts: Parts, session: Session, records: NoiseRecords, command: RotateCommand) -> Rotation:
    if command.message or command.switch_send or command.switch_receive or command.psk:
        raise InvalidField("message", "REKEY takes a direction and nothing else")
    if command.direction == SEND:
        counter = records.rekey_send(parts.aeads)
    elif command.direction == RECEIVE:
        counter = records.rekey_receive(parts.aeads)
    else:
        raise InvalidField("direction", "REKEY in NOISE mode names its direction")
    parts.counts.rotations[RotationKind.REKEY, Cause.CALLER] += 1
    return Rotation(to_peer=(), state=session.state, epoch=records.epoch, counter=counter)


def _noise_renegotiate(
    parts: Parts, session: Session, records: NoiseRecords, command: RotateCommand, now: float
) -> Rotation:
    if command.direction:
        raise InvalidField("direction", "RENEGOTIATE changes both directions: use switch_send and switch_receive")
    switches = command.switch_send or command.switch_receive
    if switches and command.message:
        raise InvalidField("message", "a call either takes a handshake step or switches")
    to_peer: tuple[bytes, ...] = ()
    if not records.can_switch(send=command.switch_send, receive=command.switch_receive):
        raise EpochConflict(records.epoch)
    if command.switch_send:
        records.switch_send(parts.aeads, now)
    if command.switch_receive:
        records.switch_receive(parts.aeads)
    if not switches:
        to_peer = _handshake_step(parts, session, records, command)
    parts.counts.settle(session, Cause.CALLER)
    if switches and records.replacement is None:
        # What the player sends is under the new keys too: it has them.
        parts.events.happened(EventKind.ROTATED, session)
    return Rotation(
        to_peer=to_peer,
        state=session.state,
        epoch=records.epoch,
        ready_to_switch=records.replacement is not None,
    )


def _handshake_step(parts: Parts, session: Session, records: NoiseRecords, command: RotateCommand) -> tuple[bytes, ...]:
    """Read the player's message, if there is one, and write ours, if one is due. What fails leaves all as it was."""
    former = records.replacement
    if former is not None:
        if command.message and command.message == former.asked:
            return former.answer
        if session.role is Role.INITIATOR or not command.message or not former.is_untouched:
            raise EpochConflict(records.epoch)
        # An initiator that has finished cannot begin anew: one that does has lost its part, and so changed nothing yet.
    pending = records.renegotiation
    if command.message:
        handshake = _after_message(parts, session, records, command)
    elif session.role is Role.INITIATOR:
        # Begins, or begins anew where a message was lost with a connection.
        handshake = _begin(parts, session, records, command)
    else:
        raise InvalidField("message", "the session's Noise initiator begins: pass its first message")
    try:
        to_peer = () if handshake.is_finished else (handshake.write_message(b""),)
        # A resumed session's pattern shows no static key: the PSK from the session's root proves the same peer.
        shown = session.remote_static if session.pattern is Pattern.NNPSK0 else handshake.rs or b""
        if handshake.is_finished and shown != session.remote_static:
            raise HandshakeFailed
    except (NoiseError, HandshakeFailed):
        handshake.wipe()
        raise HandshakeFailed from None
    if pending is not None:
        pending.wipe()
    if former is not None:
        former.wipe(parts.aeads)
    records.renegotiation, records.replacement = handshake, None
    if handshake.is_finished:
        fresh = replacement(handshake, initiator=session.role is Role.INITIATOR)
        fresh.asked, fresh.answer = command.message, to_peer
        records.renegotiation, records.replacement = None, fresh
        handshake.wipe()
    return to_peer


def _after_message(parts: Parts, session: Session, records: NoiseRecords, command: RotateCommand) -> HandshakeState:
    """The handshake once it has read the player's message: the one under way or, at the responder, another one.

    A player that has lost ours begins anew, with a message that the one under way cannot read. XX proves nothing of its
    first message, so there it counts as such only without a payload: a garbled third message has one.
    """
    pending = records.renegotiation
    if pending is not None:
        handshake = pending.copy()
        try:
            handshake.read_message(command.message)
        except NoiseError:
            handshake.wipe()
            if session.role is Role.INITIATOR or (session.pattern in WITH_PSK and not command.psk):
                raise HandshakeFailed from None
        else:
            return handshake
    elif session.role is Role.INITIATOR:
        raise InvalidField("message", "begin first, by a call without a message")
    handshake = _begin(parts, session, records, command)
    try:
        payload = handshake.read_message(command.message)
    except NoiseError:
        raise HandshakeFailed from None
    if payload and (pending is not None or records.replacement is not None):
        handshake.wipe()
        raise HandshakeFailed
    return handshake


def _begin(parts: Parts, session: Session, records: NoiseRecords, command: RotateCommand) -> HandshakeState:
    initiator = session.role is Role.INITIATOR
    pattern = session.pattern
    # A resumed session's ticket is spent with its PSK: both sides take one from the session's root, as DATAGRAM does.
    psk = renegotiate_psk(records.root) if pattern is Pattern.NNPSK0 else bytearray(command.psk)
    try:
        return HandshakeState(
            ProtocolName.parse(NOISE_NAMES[pattern, session.suite]),
            initiator=initiator,
            prologue=renegotiate_prologue(records.h, None),
            s=None if initiator and session.anonymous_initiator else parties(parts, session).identity,
            rs=session.remote_static if initiator and pattern not in LEARNS_REMOTE else None,
            psks=(psk,) if psk else (),
            random_bytes=parts.random_bytes,
        )
    except InvalidKey:
        raise InvalidField("psk", "the pre-shared key of the session's pattern, 32 bytes, in the first call") from None
    finally:
        wipe(psk)
