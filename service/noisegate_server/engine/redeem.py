"""Resume as its responder: the player brings a ticket of ours back (docs/protocol.md, section 6).

The order is what makes a ticket single-use (RFC 8446, section 8): message 1 opens, the ticket is fenced in memory, its
use is made durable where the vault outlives the process, and only then is there a session and an answer. Whoever brings
the same packet meanwhile waits for the first one's answer; whoever brings the same ticket is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from noisegate_server.engine import handshake as full
from noisegate_server.engine.counts import Outcome
from noisegate_server.engine.opening import (
    admit,
    identity_of,
    new_session,
    opening_of,
    repeat_key,
    resume_handshake,
    resumption_done,
)
from noisegate_server.engine.outcomes import Early, HandshakeStep, ResumeStep, established
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options
from noisegate_server.engine.waiting import Underway
from noisegate_server.noise import HandshakeState, MessageTooLong, NoiseError
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.constants import (
    MAX_NOISE_MESSAGE,
    NO_CONNECTION_ID,
    TICKET_LIFETIME_S,
    TICKET_SKEW_S,
)
from noisegate_server.session.errors import (
    HandshakeFailed,
    HandshakeNotDue,
    MessageTooLarge,
    Overloaded,
    SessionClosed,
    SessionError,
    SessionNotFound,
    TicketRejected,
)
from noisegate_server.session.hello import Flags, MalformedHello, decode_hello, resume_prologue
from noisegate_server.session.packets import (
    HandshakeStep1,
    MalformedPacket,
    ResumeStep1,
    ResumeStep2,
    decode_resume,
    encode_handshake,
    encode_resume,
)
from noisegate_server.session.session import Opening, Session
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import Ticket, TicketUnusable, open_ticket
from noisegate_server.store.vault import VaultFailed

_SPENT_FOR = TICKET_LIFETIME_S + 2 * TICKET_SKEW_S
"""Seconds from a ticket's issue for which its use is kept: longer than any clock lets it live."""


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
    accept_early: bool = False
    """Take early data where the ticket allows it and nobody can have sent it before."""
    fallback_message: bytes = b""
    """NOISE: message 1 of a full handshake, for a ticket that is refused. What follows is for that handshake alone."""
    pattern: int = 0
    """NOISE without a hello, as `suite`; 0 otherwise."""
    suite: int = 0
    psk: bytes = field(default=b"", repr=False)
    peer_id: str = ""
    group: str = ""
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Redeemed:
    """What a good message 1 makes; nobody has seen anything of it."""

    session: Session
    reply: bytes
    early: Early
    early_data: bytes = field(repr=False)


async def respond(parts: Parts, tenant: str, request: ResumeRequested, now: float, wall: float) -> ResumeStep:
    """The player comes back with a ticket of ours. Its use is durable before the answer leaves.

    TicketRejected for whatever is wrong with the ticket, unless a full handshake came with it: then this is that one's
    answer. HandshakeFailed where only message 1 is wrong, and then the ticket is not spent. Overloaded where the vault
    cannot say whether it was. A repeated packet gets the same answer for 10 s, but never the early data again.
    """
    first = _first_packet(request)
    repeat = (tenant, repeat_key(first.hello, first.ticket, first.message, request.prologue))
    if request.mode is RecordMode.DATAGRAM:
        if (first_call := parts.redeeming.get(repeat)) is not None:
            await first_call.wait()
            if first_call.failed:
                raise _unwritten()
        if isinstance(answer := parts.answers.get(repeat, now), ResumeStep):
            return answer
    try:
        step = await _redeem(parts, tenant, request, first, repeat, now, wall)
    except TicketRejected:
        parts.counts.resumes[Outcome.FELL_BACK if first.fallback else Outcome.REJECTED] += 1
        if not first.fallback:
            raise
        return _fall_back(parts, tenant, request, first, now, wall)
    except SessionError as error:
        parts.counts.resumes[Outcome.FAILED if isinstance(error, HandshakeFailed) else Outcome.REFUSED] += 1
        raise
    if step.early:
        parts.counts.early[step.early is Early.ACCEPTED] += 1
    if request.mode is RecordMode.DATAGRAM:
        accepted = step.early is Early.ACCEPTED
        parts.answers.put(repeat, replace(step, early=Early.NONE, early_data=b"") if accepted else step, now)
    return step


async def _redeem(
    parts: Parts,
    tenant: str,
    request: ResumeRequested,
    first: ResumeStep1,
    repeat: tuple[str, bytes],
    now: float,
    wall: float,
) -> ResumeStep:
    ticket = _usable(parts, tenant, first, request, wall)
    try:
        redeemed = _open(parts, tenant, ticket, first, request, now, wall)
        session = redeemed.session
        datagram = request.mode is RecordMode.DATAGRAM
        proposed = b"" if first.connection_id == NO_CONNECTION_ID else first.connection_id
        admit(parts, session, now, proposed if datagram else b"")
        parts.spent.spend(tenant, ticket.id, ticket.issued_wall)
        if parts.vault.survives:
            session = await _spend_durably(parts, session, ticket, repeat, now)
    finally:
        ticket.wipe()
    opening = opening_of(session, resumes=True)
    connection_id = opening.connection_id
    resumption_done(parts, session, opening.handshake, session.remote_static, now)
    session.ticket_owed = bool(session.flags & Flags.TICKETS)
    session.early = redeemed.early is Early.ACCEPTED
    reply = redeemed.reply
    if datagram:
        reply = encode_resume(ResumeStep2(connection_id=connection_id, message=reply))
    return ResumeStep(
        session_id=session.session_id,
        to_peer=(reply,),
        connection_id=connection_id,
        peer_id=session.peer_id,
        group=session.group,
        established=established(session, now),
        early=redeemed.early,
        early_data=redeemed.early_data,
    )


async def _spend_durably(
    parts: Parts, session: Session, ticket: Ticket, repeat: tuple[str, bytes], now: float
) -> Session:
    """Write the ticket's use down; the session, if it is still there. It stays the store's while the vault works."""
    tenant, session_id = session.tenant, session.session_id
    underway = parts.redeeming[repeat] = Underway(parts.latch())
    spent = failed = False
    try:
        spent = await parts.vault.spend(ticket.id, ticket.issued_wall + _SPENT_FOR)
    except VaultFailed:
        failed = True
    finally:
        del parts.redeeming[repeat]
        underway.over(failed=failed)
    try:
        session = parts.store.get(tenant, session_id, now)
    except (SessionNotFound, SessionClosed):
        # Closed, revoked or timed out meanwhile.
        raise TicketRejected from None
    if spent:
        return session
    parts.store.end(session, TerminationReason.HANDSHAKE_FAILED, now)
    if failed:
        # Should its use have been written down after all, the vault will say so the next time.
        parts.spent.take_back(tenant, ticket.id)
        raise _unwritten()
    parts.counts.ticket_replays += 1
    raise TicketRejected


def _unwritten() -> Overloaded:
    return Overloaded("what must be durable cannot be written at present")


def _fall_back(
    parts: Parts, tenant: str, request: ResumeRequested, first: ResumeStep1, now: float, wall: float
) -> ResumeStep:
    """The full handshake beside the refused ticket, answered as if its message 1 had come in a packet of its own."""
    message = first.fallback
    if request.mode is RecordMode.DATAGRAM:
        try:
            message = encode_handshake(
                HandshakeStep1(
                    connection_id=first.connection_id, hello=first.hello, puzzle=first.puzzle, message=message
                )
            )
        except MalformedPacket:
            raise HandshakeFailed from None
    step: HandshakeStep = full.respond(
        parts,
        tenant,
        full.Response(
            mode=request.mode,
            pattern=request.pattern,
            suite=request.suite,
            hello=request.hello,
            message=message,
            psk=request.psk,
            prologue=request.prologue,
            payload=request.payload,
            peer_id=request.peer_id,
            group=request.group,
            options=request.options,
            packet=request.message,
        ),
        now,
        wall,
    )
    return ResumeStep(
        session_id=step.session_id,
        to_peer=step.to_peer,
        payload=step.payload,
        connection_id=step.connection_id,
        peer_id=request.peer_id,
        group=request.group,
        established=step.established,
        expires_in=step.expires_in,
        fell_back=True,
        retry=step.retry,
    )


def _first_packet(request: ResumeRequested) -> ResumeStep1:
    if request.mode is RecordMode.NOISE:
        return ResumeStep1(
            hello=request.hello,
            ticket=request.ticket,
            message=request.message,
            fallback=request.fallback_message,
        )
    try:
        packet = decode_resume(request.message)
    except MalformedPacket:
        raise HandshakeFailed from None
    if not isinstance(packet, ResumeStep1):
        raise HandshakeNotDue("a RESUME packet of step 2 belongs to `proceed`")
    return packet


def _usable(parts: Parts, tenant: str, first: ResumeStep1, request: ResumeRequested, wall: float) -> Ticket:
    """The opened ticket, checked against everything that may have changed since it was issued."""
    try:
        ticket = open_ticket(parts.ticket_keys, tenant, first.ticket, wall)
    except TicketUnusable:
        raise TicketRejected from None
    spent = parts.spent.is_spent(tenant, ticket.id, ticket.issued_wall)
    parts.counts.ticket_replays += spent
    usable = (
        not spent
        and ticket.mode == request.mode
        and wall - ticket.issued_wall <= parts.policy.ticket_lifetime
        and ticket.prologue_hash == sha256(request.prologue)
        and ticket.suite in parts.policy.suites
        and ticket.identity == sha256(identity_of(parts, tenant).public)
        and not parts.revocations.refuses(tenant, ticket.peer_id, ticket.remote_static, ticket.issued_wall)
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


def _open(
    parts: Parts,
    tenant: str,
    ticket: Ticket,
    first: ResumeStep1,
    request: ResumeRequested,
    now: float,
    wall: float,
) -> _Redeemed:
    """Read message 1 and make message 2. Nothing is spent yet."""
    prologue = resume_prologue(first.hello, first.ticket, request.prologue)
    handshake = resume_handshake(parts, Suite(ticket.suite), ticket.psk, prologue, initiator=False)
    try:
        payload = handshake.read_message(first.message)
    except NoiseError:
        raise HandshakeFailed from None
    early = _early(parts, ticket, payload, wanted=request.accept_early)
    accepted = early is Early.ACCEPTED
    try:
        reply = handshake.write_message(bytes((accepted,)) + request.payload)
    except MessageTooLong:
        handshake.wipe()
        raise MessageTooLarge("respond.payload", MAX_NOISE_MESSAGE) from None
    except NoiseError:
        # The player's ephemeral key is no usable point, or its KEM key no usable key.
        raise HandshakeFailed from None
    session = _session(parts, tenant, ticket, handshake, request, now, wall)
    return _Redeemed(session=session, reply=reply, early=early, early_data=payload if accepted else b"")


def _early(parts: Parts, ticket: Ticket, payload: bytes, *, wanted: bool) -> Early:
    """Whether message 1's payload may be delivered, given that the ticket turns out to be unspent.

    Only the vault under which the ticket was issued knows of all its uses (RFC 8446, section 8.1).
    """
    if not payload:
        return Early.NONE
    provable = ticket.issuer == parts.vault.issuer
    fits = len(payload) <= min(ticket.max_early, parts.policy.max_early)
    return Early.ACCEPTED if wanted and provable and fits else Early.REJECTED


def _session(
    parts: Parts,
    tenant: str,
    ticket: Ticket,
    handshake: HandshakeState,
    request: ResumeRequested,
    now: float,
    wall: float,
) -> Session:
    lifetime = min(ticket.lifetime or parts.policy.lifetime, ticket.absolute_end_wall - wall)
    session = new_session(
        parts,
        tenant,
        mode=request.mode,
        role=Role.RESPONDER,
        pattern=Pattern.NNPSK0,
        suite=Suite(ticket.suite),
        flags=ticket.flags,
        peer_id=ticket.peer_id,
        group=ticket.group,
        prologue=request.prologue,
        options=Options(
            idle_timeout=ticket.idle_timeout,
            lifetime=lifetime,
            max_early=ticket.max_early,
            rotation=ticket.rotation,
        ),
        chain_end_wall=ticket.absolute_end_wall,
        opening=Opening(handshake=handshake, resumes=True),
        now=now,
    )
    session.remote_static = ticket.remote_static
    session.anonymous_initiator = not ticket.remote_static
    return session
