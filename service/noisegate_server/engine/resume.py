"""Resume as its initiator, with a ticket that the player gave us (docs/protocol.md, section 6)."""

from __future__ import annotations

from noisegate_server.engine.opening import (
    admit,
    find,
    new_session,
    opening_of,
    read,
    resume_handshake,
    resumption_done,
)
from noisegate_server.engine.outcomes import Early, ResumeStep, established
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options
from noisegate_server.engine.revoke import refuse_revoked
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue, MessageTooLarge, TicketRejected
from noisegate_server.session.hello import Flags, Hello, encode_hello, resume_prologue
from noisegate_server.session.packets import MalformedPacket, ResumeStep1, ResumeStep2, decode_resume, encode_resume
from noisegate_server.session.received import ReceivedTicket
from noisegate_server.session.session import Opening
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import Pattern

EARLY_ANSWERS = {b"\x00": Early.REJECTED, b"\x01": Early.ACCEPTED}
"""How message 2's payload begins: whether the responder has taken message 1's."""


def initiate(
    parts: Parts, tenant: str, session_id: bytes, prologue: bytes, early_data: bytes, now: float, wall: float
) -> ResumeStep:
    """Come back with the ticket that the player gave us in session `session_id`. TicketRejected where there is none.

    `early_data` is the payload of message 1; MessageTooLarge where the ticket allows less, and the ticket stays.
    """
    key = (tenant, session_id)
    kept = parts.received.get(key, now)
    if kept is None or wall >= kept.expires_wall or sha256(prologue) != kept.prologue_hash:
        raise TicketRejected
    if kept.suite not in parts.policy.suites or wall >= kept.chain_end_wall:
        raise TicketRejected
    refuse_revoked(parts, tenant, kept.remote_static)
    if parts.revocations.refuses(tenant, kept.peer_id, kept.remote_static, kept.received_wall):
        # The player was revoked by its name after its session had ended: it may come again by a full handshake.
        raise TicketRejected
    if len(early_data) > kept.max_early:
        raise MessageTooLarge("initiate.early_data", kept.max_early)
    datagram = kept.mode is RecordMode.DATAGRAM
    hello = _our_hello(kept, wall) if datagram else b""
    handshake = resume_handshake(
        parts, kept.suite, kept.psk, resume_prologue(hello, kept.ticket, prologue), initiator=True
    )
    message = handshake.write_message(early_data)
    session = new_session(
        parts,
        tenant,
        mode=kept.mode,
        role=Role.INITIATOR,
        pattern=Pattern.NNPSK0,
        suite=kept.suite,
        flags=kept.flags,
        peer_id=kept.peer_id,
        group=kept.group,
        prologue=prologue,
        options=Options(
            idle_timeout=kept.idle_timeout,
            lifetime=min(kept.lifetime, kept.chain_end_wall - wall),
            max_early=kept.offered_early,
            rotation=kept.rotation,
        ),
        chain_end_wall=kept.chain_end_wall,
        opening=Opening(handshake=handshake, resumes=True, early_sent=bool(early_data)),
        now=now,
    )
    session.remote_static = kept.remote_static
    session.anonymous_initiator = kept.anonymous_initiator
    admit(parts, session, now)
    parts.received.pop(key, now)
    kept.wipe()
    connection_id = opening_of(session, resumes=True).connection_id
    if datagram:
        message = encode_resume(
            ResumeStep1(connection_id=connection_id, hello=hello, ticket=kept.ticket, message=message)
        )
    return ResumeStep(
        session_id=session.session_id,
        to_peer=(message,),
        ticket=b"" if datagram else kept.ticket,
        connection_id=connection_id,
        peer_id=session.peer_id,
        group=session.group,
        expires_in=session.expires_at - now,
    )


def proceed(parts: Parts, tenant: str, session_id: bytes, message: bytes, now: float, wall: float) -> ResumeStep:
    """The player has answered a resume that we began."""
    repeat = (tenant, sha256(message))
    answer = parts.answers.get(repeat, now)
    if isinstance(answer, ResumeStep) and session_id in (b"", answer.session_id):
        return answer
    if session_id:
        session = parts.store.get(tenant, session_id, now)
    else:
        session = find(parts, tenant, session_id, _second_packet(message).connection_id, now)
    opening = opening_of(session, resumes=True)
    connection_id = opening.connection_id
    inner = message
    if session.mode is RecordMode.DATAGRAM:
        packet = _second_packet(message)
        if packet.connection_id != connection_id:
            raise HandshakeFailed
        inner = packet.message
    handshake, payload = read(parts, session, opening, inner, now)
    early = EARLY_ANSWERS.get(payload[:1])
    if early is None:
        # Authentic, and not of this protocol: nothing else can come.
        handshake.wipe()
        parts.store.end(session, TerminationReason.HANDSHAKE_FAILED, now)
        raise HandshakeFailed
    early = early if opening.early_sent else Early.NONE
    resumption_done(parts, session, handshake, session.remote_static, now)
    step = ResumeStep(
        session_id=session.session_id,
        payload=payload[1:],
        connection_id=connection_id,
        peer_id=session.peer_id,
        group=session.group,
        established=established(session, now),
        early=early,
    )
    if session.mode is RecordMode.DATAGRAM:
        parts.answers.put(repeat, step, now)
    return step


def _second_packet(message: bytes) -> ResumeStep2:
    try:
        packet = decode_resume(message)
    except MalformedPacket:
        raise HandshakeFailed from None
    if not isinstance(packet, ResumeStep2):
        raise HandshakeNotDue("a RESUME packet of step 1 belongs to `respond`")
    return packet


def _our_hello(kept: ReceivedTicket, wall: float) -> bytes:
    return encode_hello(
        Hello(flags=Flags(kept.flags), timestamp_ms=int(wall * 1000), offer=((Pattern.NNPSK0, kept.suite),), choice=0)
    )
