"""Resume: a ticket's PSK and fresh ephemeral keys make a new session in one round trip.

docs/protocol.md, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.engine.opening import admit, find, finish, identity_of, new_session, opening_of, read, repeat_key
from noisegate_server.engine.outcomes import ResumeStep, established
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options
from noisegate_server.noise import HandshakeState, MessageTooLong, NoiseError, ProtocolName
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.constants import MAX_NOISE_MESSAGE, NO_CONNECTION_ID
from noisegate_server.session.errors import (
    HandshakeFailed,
    HandshakeNotDue,
    MessageTooLarge,
    TicketRejected,
)
from noisegate_server.session.hello import (
    Flags,
    Hello,
    MalformedHello,
    decode_hello,
    encode_hello,
    resume_prologue,
)
from noisegate_server.session.packets import (
    MalformedPacket,
    ResumeStep1,
    ResumeStep2,
    decode_resume,
    encode_resume,
)
from noisegate_server.session.received import ReceivedTicket
from noisegate_server.session.session import Opening, Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from noisegate_server.session.ticket import Ticket, TicketUnusable, open_ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequested:
    """The player resumes."""

    mode: RecordMode
    message: bytes
    """NOISE: Noise message 1; DATAGRAM: the RESUME packet of step 1."""
    ticket: bytes
    """NOISE alone, as `hello`."""
    hello: bytes
    prologue: bytes
    payload: bytes


def initiate(parts: Parts, tenant: str, session_id: bytes, prologue: bytes, now: float, wall: float) -> ResumeStep:
    """Come back with the ticket that the player gave us in session `session_id`. TicketRejected where there is none."""
    key = (tenant, session_id)
    kept = parts.received.get(key, now)
    if kept is None or wall >= kept.expires_wall or sha256(prologue) != kept.prologue_hash:
        raise TicketRejected
    datagram = kept.mode is RecordMode.DATAGRAM
    hello = _our_hello(kept, wall) if datagram else b""
    handshake = _handshake(
        parts, kept.suite, bytes(kept.psk), resume_prologue(hello, kept.ticket, prologue), initiator=True
    )
    message = handshake.write_message(b"")
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
        options=Options(),
        chain_end_wall=kept.chain_end_wall,
        opening=Opening(handshake=handshake, resumes=True),
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


def respond(parts: Parts, tenant: str, request: ResumeRequested, now: float, wall: float) -> ResumeStep:
    """The player comes back with a ticket of ours. The ticket is spent before the answer leaves.

    TicketRejected for whatever is wrong with the ticket; HandshakeFailed where only message 1 is wrong, and then the
    ticket is not spent. A repeated packet gets the same answer for 10 s.
    """
    datagram = request.mode is RecordMode.DATAGRAM
    first = _first_packet(request)
    repeat = (tenant, repeat_key(first.hello, first.ticket, first.message, request.prologue))
    if datagram and isinstance(answer := parts.answers.get(repeat, now), ResumeStep):
        return answer
    ticket = _usable(parts, tenant, first, request, now, wall)
    try:
        suite = Suite(ticket.suite)
        handshake = _handshake(
            parts,
            suite,
            bytes(ticket.psk),
            resume_prologue(first.hello, first.ticket, request.prologue),
            initiator=False,
        )
        try:
            handshake.read_message(first.message)
        except NoiseError:
            raise HandshakeFailed from None
        session = _resumed(parts, tenant, ticket, handshake, suite, request, now)
        try:
            reply = handshake.write_message(request.payload)
        except MessageTooLong:
            handshake.wipe()
            raise MessageTooLarge("respond.payload", MAX_NOISE_MESSAGE) from None
        except NoiseError:
            # The player's ephemeral key is no usable point, or its KEM key no usable key.
            raise HandshakeFailed from None
        proposed = b"" if first.connection_id == NO_CONNECTION_ID else first.connection_id
        admit(parts, session, now, proposed if datagram else b"")
        parts.spent.put(ticket.id, True, now)
        connection_id = opening_of(session, resumes=True).connection_id
        _finish(parts, session, handshake, ticket.remote_static, now)
        session.ticket_owed = bool(session.flags & Flags.TICKETS)
    finally:
        ticket.wipe()
    if datagram:
        reply = encode_resume(ResumeStep2(connection_id=connection_id, message=reply))
    step = ResumeStep(
        session_id=session.session_id,
        to_peer=(reply,),
        connection_id=connection_id,
        peer_id=session.peer_id,
        group=session.group,
        established=established(session, now),
    )
    if datagram:
        parts.answers.put(repeat, step, now)
    return step


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
    _finish(parts, session, handshake, session.remote_static, now)
    step = ResumeStep(
        session_id=session.session_id,
        payload=payload,
        connection_id=connection_id,
        peer_id=session.peer_id,
        group=session.group,
        established=established(session, now),
    )
    if session.mode is RecordMode.DATAGRAM:
        parts.answers.put(repeat, step, now)
    return step


def _first_packet(request: ResumeRequested) -> ResumeStep1:
    if request.mode is RecordMode.NOISE:
        return ResumeStep1(hello=request.hello, ticket=request.ticket, message=request.message)
    try:
        packet = decode_resume(request.message)
    except MalformedPacket:
        raise HandshakeFailed from None
    if not isinstance(packet, ResumeStep1):
        raise HandshakeNotDue("a RESUME packet of step 2 belongs to `proceed`")
    return packet


def _second_packet(message: bytes) -> ResumeStep2:
    try:
        packet = decode_resume(message)
    except MalformedPacket:
        raise HandshakeFailed from None
    if not isinstance(packet, ResumeStep2):
        raise HandshakeNotDue("a RESUME packet of step 1 belongs to `respond`")
    return packet


def _usable(parts: Parts, tenant: str, first: ResumeStep1, request: ResumeRequested, now: float, wall: float) -> Ticket:
    """The opened ticket, checked against everything that may have changed since it was issued."""
    try:
        ticket = open_ticket(parts.ticket_keys, tenant, first.ticket, wall)
    except TicketUnusable:
        raise TicketRejected from None
    usable = (
        ticket.mode == request.mode
        and wall - ticket.issued_wall <= parts.policy.ticket_lifetime
        and ticket.prologue_hash == sha256(request.prologue)
        and ticket.suite in parts.policy.suites
        and ticket.identity == sha256(identity_of(parts, tenant).public)
        and parts.spent.get(ticket.id, now) is None
        and not parts.spent.is_full(now)
        and _hello_fits(first.hello, ticket)
    )
    if not usable:
        ticket.wipe()
        raise TicketRejected
    return ticket


def _hello_fits(hello: bytes, ticket: Ticket) -> bool:
    if not hello:
        return ticket.mode == RecordMode.NOISE
    try:
        offered = decode_hello(hello)
    except MalformedHello:
        return False
    # Suite, mode and flags are the ticket's, whatever is offered here; the prologue binds the bytes.
    return bool(offered.flags & Flags.DATAGRAM) is (ticket.mode == RecordMode.DATAGRAM)


def _our_hello(kept: ReceivedTicket, wall: float) -> bytes:
    return encode_hello(
        Hello(flags=Flags(kept.flags), timestamp_ms=int(wall * 1000), offer=((Pattern.NNPSK0, kept.suite),), choice=0)
    )


def _handshake(parts: Parts, suite: Suite, psk: bytes, prologue: bytes, *, initiator: bool) -> HandshakeState:
    return HandshakeState(
        ProtocolName.parse(NOISE_NAMES[Pattern.NNPSK0, suite]),
        initiator=initiator,
        prologue=prologue,
        psks=(psk,),
        random_bytes=parts.random_bytes,
    )


def _resumed(
    parts: Parts,
    tenant: str,
    ticket: Ticket,
    handshake: HandshakeState,
    suite: Suite,
    request: ResumeRequested,
    now: float,
) -> Session:
    session = new_session(
        parts,
        tenant,
        mode=request.mode,
        role=Role.RESPONDER,
        pattern=Pattern.NNPSK0,
        suite=suite,
        flags=ticket.flags,
        peer_id=ticket.peer_id,
        group=ticket.group,
        prologue=request.prologue,
        options=Options(),
        chain_end_wall=ticket.absolute_end_wall,
        opening=Opening(handshake=handshake, resumes=True),
        now=now,
    )
    session.anonymous_initiator = not ticket.remote_static
    return session


def _finish(parts: Parts, session: Session, handshake: HandshakeState, remote_static: bytes, now: float) -> None:
    finish(
        parts,
        session,
        handshake,
        remote_static=remote_static,
        anonymous_initiator=session.anonymous_initiator,
        now=now,
    )
