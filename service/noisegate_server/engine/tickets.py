"""Tickets: making one for the player, and keeping one that the player gave us (docs/protocol.md, section 6)."""

from __future__ import annotations

from noisegate_server.engine.outcomes import IssuedTicket
from noisegate_server.engine.parts import Parts
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.constants import KEY, TICKET_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import NotEstablished, PolicyRejected
from noisegate_server.session.packets import Kind
from noisegate_server.session.received import received_ticket
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.ticket import (
    Ticket,
    TicketContent,
    TicketUnusable,
    decode_ticket_content,
    encode_ticket_content,
    open_ticket,
    seal_ticket,
)


def issue(parts: Parts, tenant: str, session_id: bytes, now: float, wall: float) -> IssuedTicket:
    """Make a single-use ticket and seal it for the player, so that the caller never sees its PSK."""
    session = parts.store.get(tenant, session_id, now)
    records = session.records
    if records is None:
        raise NotEstablished(session.state.name)
    lifetime = _lifetime(parts, session, wall)
    content = _content(parts, session, lifetime, wall)
    if isinstance(records, DatagramRecords):
        record = records.control(Kind.TICKET, content, parts.aeads)
    else:
        record = records.seal(content, b"", now, parts.aeads).ciphertext
    session.ticket_owed = False
    session.ticket_given = True
    session.touch(now)
    return IssuedTicket(to_peer=(record,), expires_in=lifetime)


def owed_ticket(parts: Parts, session: Session, wall: float) -> tuple[bytes, ...]:
    """DATAGRAM: the ticket that the initiator's hello asked for, once; nothing where none is owed.

    Where the epoch may seal no more, it stays owed.
    """
    records = session.records
    if not session.ticket_owed or not isinstance(records, DatagramRecords) or not records.has_room:
        return ()
    session.ticket_owed = False
    try:
        content = _content(parts, session, _lifetime(parts, session, wall), wall)
    except PolicyRejected:
        return ()
    session.ticket_given = True
    return (records.control(Kind.TICKET, content, parts.aeads),)


def keep(parts: Parts, session: Session, content: bytes, now: float, wall: float) -> bool:
    """Keep a ticket that the player gave us; False for what is no ticket, is one of our own, or could not be used."""
    if not session.remote_static and session.mode is RecordMode.DATAGRAM:
        # We would begin a session whose responder has no static key, and there is no rotation for such a one.
        return False
    try:
        ticket = decode_ticket_content(content)
    except TicketUnusable:
        return False
    try:
        # Reflected to us, one of our own would let the peer resume us with ourselves.
        open_ticket(parts.ticket_keys, session.tenant, ticket.ticket, wall).wipe()
    except TicketUnusable:
        key = (session.tenant, session.session_id)
        former = parts.received.pop(key, now)
        if former is not None:
            former.wipe()
        parts.received.put(key, received_ticket(session, ticket, wall), now)
        return True
    ticket.wipe()
    return False


def _lifetime(parts: Parts, session: Session, wall: float) -> float:
    lifetime = min(parts.policy.ticket_lifetime, session.chain_end_wall - wall)
    if lifetime < 1:
        raise PolicyRejected("this chain of resumes has reached its absolute lifetime; run a full handshake")
    return lifetime


def _content(parts: Parts, session: Session, lifetime: float, wall: float) -> bytes:
    psk = bytearray(parts.random_bytes(KEY))
    ticket = Ticket(
        id=parts.random_bytes(TICKET_ID),
        psk=psk,
        remote_static=session.remote_static,
        prologue_hash=session.prologue_hash,
        tenant=session.tenant,
        peer_id=session.peer_id,
        group=session.group,
        role=session.role,
        suite=session.suite,
        mode=session.mode,
        flags=session.flags,
        issuer=parts.vault.issuer,
        issued_wall=wall,
        absolute_end_wall=session.chain_end_wall,
        identity=sha256(parts.identities.key_for(session.tenant).public),
        max_early=session.max_early,
        idle_timeout=session.idle_timeout if session.own_idle_timeout else 0.0,
        lifetime=session.lifetime,
        rotation=session.rotation,
    )
    blob = seal_ticket(parts.ticket_keys, ticket, parts.random_bytes)
    content = TicketContent(lifetime_s=int(lifetime), max_early=session.max_early, psk=psk, ticket=blob)
    try:
        return encode_ticket_content(content)
    finally:
        content.wipe()
