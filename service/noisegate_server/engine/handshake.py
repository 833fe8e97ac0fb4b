"""Handshake, a step per call and in either role (docs/protocol.md, sections 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from noisegate_server.engine import messages
from noisegate_server.engine.counts import Attempt, HandshakeKind, Outcome
from noisegate_server.engine.freshness import remember, require_new
from noisegate_server.engine.negotiation import (
    ANONYMOUS,
    LEARNS_REMOTE,
    Accepted,
    accept,
    allowed,
    bound_prologue,
    check_psk,
)
from noisegate_server.engine.opening import (
    admit,
    find,
    finish,
    greeting,
    identity_of,
    new_session,
    opening_of,
    read_answer,
    repeat_key,
)
from noisegate_server.engine.outcomes import HandshakeStep, established
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options, tenant_limits
from noisegate_server.engine.retry import first_message, first_packet, follow
from noisegate_server.engine.revoke import refuse_revoked
from noisegate_server.noise import HandshakeState, KeyPair, NoiseError
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.attempts import Attempts
from noisegate_server.session.constants import NO_CONNECTION_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import (
    HandshakeFailed,
    HandshakeNotDue,
    InvalidField,
    PeerRevoked,
    SessionError,
    StaleHandshake,
)
from noisegate_server.session.hello import (
    Flags,
    Hello,
    encode_hello,
)
from noisegate_server.session.packets import (
    HandshakeStep as Packet,
)
from noisegate_server.session.packets import (
    HandshakeStep1 as FirstPacket,
)
from noisegate_server.session.packets import (
    MalformedPacket,
    decode_handshake,
    encode_handshake,
    encode_retry,
    is_retry,
)
from noisegate_server.session.session import Opening, Session
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import Pattern, Suite

_SECOND, _THIRD = 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiation:
    """noisegate begins."""

    mode: RecordMode
    pattern: int
    suite: int
    offer: tuple[tuple[int, int], ...]
    remote_static_key: bytes
    psk: bytes
    prologue: bytes
    payload: bytes
    peer_id: str
    group: str
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The player has begun."""

    mode: RecordMode
    pattern: int
    """0, as `suite`, where a hello says it."""
    suite: int
    hello: bytes
    """NOISE: what came beside message 1; empty for none."""
    message: bytes
    psk: bytes
    prologue: bytes
    payload: bytes
    peer_id: str
    group: str
    options: Options
    packet: bytes = b""
    """DATAGRAM: the packet that a RETRY would refuse, where it is not `message`."""


def initiate(parts: Parts, tenant: str, request: Initiation, now: float, wall: float) -> HandshakeStep:
    """Make message 1 and the session that it begins."""
    pattern, suite = allowed(parts.policy, request.pattern, request.suite)
    check_psk(pattern, request.psk)
    _check_rotation(parts, tenant, request, suite, "initiate.options.rotation")
    if (pattern in LEARNS_REMOTE) is bool(request.remote_static_key):
        raise InvalidField("initiate.remote_static_key", "32 bytes for IK and NK, empty for XX")
    hello, flags = _our_hello(parts, request, (pattern, suite), wall)
    if request.remote_static_key == identity_of(parts, tenant).public:
        raise InvalidField("initiate.remote_static_key", "this is the service's own key")
    refuse_revoked(parts, tenant, request.remote_static_key)
    attempts = Attempts(
        remote_static=request.remote_static_key,
        psk=bytearray(request.psk),
        prologue=request.prologue,
        payload=bytearray(request.payload),
    )
    try:
        handshake, message = first_message(parts, tenant, attempts, (pattern, suite), hello)
    except BaseException:
        attempts.wipe()
        raise
    # From here on the session's end wipes them.
    opening = Opening(handshake=handshake, attempts=attempts)
    session = _begun(parts, tenant, request, Role.INITIATOR, (pattern, suite), flags, opening, now, wall)
    admit(parts, session, now)
    if request.mode is RecordMode.DATAGRAM and hello is not None:
        packet = first_packet(attempts, handshake, hello, opening.connection_id, message)
        return _step(session, (packet,), now, connection_id=opening.connection_id)
    attempts.wipe()
    opening.attempts = None
    return _step(session, (message,), now, hello=encode_hello(hello) if hello else b"")


def respond(parts: Parts, tenant: str, request: Response, now: float, wall: float) -> HandshakeStep:
    """Read message 1, make message 2 and the session that they begin. A repeated packet gets the same answer.

    A DATAGRAM hello that asks for what we do not choose or grant, or has another clock, gets a RETRY: no session, no
    state, no work with keys, and fewer bytes than came.
    """
    with parts.counts.first_message() as attempt:
        return _respond(parts, tenant, request, attempt, now, wall)


def _respond(parts: Parts, tenant: str, request: Response, attempt: Attempt, now: float, wall: float) -> HandshakeStep:
    datagram = request.mode is RecordMode.DATAGRAM
    hello, message, proposed = _first_message(request)
    repeat = (tenant, repeat_key(hello, message, request.prologue))
    if datagram and isinstance(answer := parts.answers.get(repeat, now), HandshakeStep):
        return answer
    timestamp_ms: int | None = None
    if hello:
        taken = accept(parts.policy, hello, wall, refusing=(request.packet or request.message) if datagram else None)
        if not isinstance(taken, Accepted):
            parts.counts.handshakes[attempt.kind, Outcome.RETRY] += 1
            return HandshakeStep(session_id=b"", to_peer=(encode_retry(taken),), retry=taken.reason)
        pattern, suite, flags, timestamp_ms = taken
    else:
        pattern, suite = allowed(parts.policy, request.pattern, request.suite)
        flags = Flags(0)
    attempt.kind = HandshakeKind(pattern, suite)
    if not datagram:
        # Nothing in a bare Noise session says it: the game tells both ends.
        flags = flags & ~Flags.RATCHET | _ratchet(request.options)
    check_psk(pattern, request.psk)
    _check_rotation(parts, tenant, request, suite, "respond.options.rotation")
    identity = identity_of(parts, tenant)
    handshake = messages.begin(
        parts,
        (pattern, suite),
        identity=identity,
        psk=request.psk,
        prologue=bound_prologue(hello or None, request.prologue, "respond.prologue"),
        initiator=False,
    )
    try:
        payload = handshake.read_message(message)
        _refuse_own_key(handshake, identity)
        refuse_revoked(parts, tenant, handshake.rs)
        require_new(parts, tenant, handshake, timestamp_ms)
    except NoiseError:
        raise HandshakeFailed from None
    except SessionError:
        handshake.wipe()
        raise
    opening = Opening(handshake=handshake, timestamp_ms=timestamp_ms)
    session = _begun(parts, tenant, request, Role.RESPONDER, (pattern, suite), flags, opening, now, wall)
    reply = messages.write(handshake, request.payload, "respond.payload")
    admit(parts, session, now, proposed)
    # Not before: who was turned away for want of room comes again with the same packet.
    remember(parts, tenant, handshake, timestamp_ms)
    connection_id = opening_of(session, resumes=False).connection_id
    if handshake.is_finished:
        _finish(parts, session, handshake, now)
        session.ticket_owed = bool(flags & Flags.TICKETS)
    if datagram:
        reply = encode_handshake(Packet(connection_id=connection_id, step=_SECOND, message=reply))
    step = _step(session, (reply,), now, payload=payload, connection_id=connection_id)
    if datagram:
        parts.answers.put(repeat, step, now)
    return step


def proceed(
    parts: Parts, tenant: str, session_id: bytes, message: bytes, payload: bytes, now: float, wall: float
) -> HandshakeStep:
    """Read the player's next message and make ours, if there is one; or begin anew as its RETRY says."""
    repeat = (tenant, sha256(message))
    answer = parts.answers.get(repeat, now)
    if isinstance(answer, HandshakeStep) and session_id in (b"", answer.session_id):
        return answer
    session = _session_of(parts, tenant, session_id, message, now)
    datagram = session.mode is RecordMode.DATAGRAM
    if datagram and is_retry(message):
        step = follow(parts, tenant, session, message, now, wall)
        parts.answers.put(repeat, step, now)
        return step
    opening = opening_of(session, resumes=False)
    inner = _due_message(session, opening, message) if datagram else message
    handshake, peer_payload, hello = read_answer(parts, session, opening, inner, now)
    replies: tuple[bytes, ...] = ()
    if not handshake.is_finished:
        reply = messages.write(handshake, payload, "proceed.payload")
        if datagram:
            reply = encode_handshake(Packet(connection_id=opening.connection_id, step=_THIRD, message=reply))
        replies = (reply,)
    connection_id = opening.connection_id
    timestamp_ms = opening.timestamp_ms
    try:
        refuse_revoked(parts, tenant, handshake.rs)
        require_new(parts, tenant, handshake, timestamp_ms)
    except PeerRevoked:
        handshake.wipe()
        parts.store.end(session, TerminationReason.REVOKED, now)
        raise
    except StaleHandshake:
        parts.store.end(session, TerminationReason.HANDSHAKE_FAILED, now)
        raise
    remember(parts, tenant, handshake, timestamp_ms)
    if hello is not None:
        session.take_over(hello)
    _finish(parts, session, handshake, now)
    if replies and isinstance(session.records, DatagramRecords):
        session.records.repeat(replies[0], now)
    if session.role is Role.RESPONDER:
        session.ticket_owed = bool(session.flags & Flags.TICKETS)
        replies += greeting(parts, session, now, wall)
    step = _step(session, replies, now, payload=peer_payload, connection_id=connection_id)
    if datagram:
        parts.answers.put(repeat, step, now)
    return step


def _session_of(parts: Parts, tenant: str, session_id: bytes, message: bytes, now: float) -> Session:
    """The session that a step is for: the one that the call names or, DATAGRAM, that of the packet's connection id."""
    if session_id:
        return parts.store.get(tenant, session_id, now)
    if is_retry(message):
        raise InvalidField("proceed.session_id", "24 bytes: a RETRY has no connection id")
    return find(parts, tenant, session_id, _packet(message).connection_id, now)


def _begun(
    parts: Parts,
    tenant: str,
    request: Initiation | Response,
    role: Role,
    protocol: tuple[Pattern, Suite],
    flags: Flags,
    opening: Opening,
    now: float,
    wall: float,
) -> Session:
    """The session that message 1 begins; no store has it yet."""
    return new_session(
        parts,
        tenant,
        mode=request.mode,
        role=role,
        pattern=protocol[0],
        suite=protocol[1],
        flags=flags,
        peer_id=request.peer_id,
        group=request.group,
        prologue=request.prologue,
        options=request.options,
        chain_end_wall=wall + parts.policy.chain_lifetime,
        opening=opening,
        now=now,
    )


def _our_hello(
    parts: Parts, request: Initiation, pair: tuple[Pattern, Suite], wall: float
) -> tuple[Hello | None, Flags]:
    """(our hello, if there is one; the flags of the session)."""
    flags = Flags(0)
    options = request.options
    for wanted, flag in ((options.pad, Flags.PAD), (options.mask, Flags.MASK), (options.tickets, Flags.TICKETS)):
        if wanted:
            flags |= flag
    ratchet = _ratchet(options)
    if request.mode is RecordMode.DATAGRAM:
        flags |= Flags.DATAGRAM | ratchet
    elif flags:
        raise InvalidField("initiate.options", "pad, mask and tickets are for DATAGRAM mode")
    elif not request.offer:
        return None, ratchet
    offer = request.offer or (pair,)
    if pair not in offer:
        raise InvalidField("initiate.offer", "must contain the protocol of message 1")
    hello = Hello(flags=flags, timestamp_ms=parts.timestamps.ours(wall), offer=offer, choice=offer.index(pair))
    return hello, flags | ratchet


def _check_rotation(parts: Parts, tenant: str, request: Initiation | Response, suite: Suite, path: str) -> None:
    """InvalidField for limits of the session's own that its tenant's do not allow."""
    if request.options.rotation:
        request.options.rotation.check(tenant_limits(parts.policy, tenant, request.mode, suite), path)


def _ratchet(options: Options) -> Flags:
    return Flags.RATCHET if options.ratchet else Flags(0)


def _first_message(request: Response) -> tuple[bytes, bytes, bytes]:
    """(hello, message 1, the connection id that an initiating service has proposed), the hello empty for none."""
    if request.mode is RecordMode.NOISE:
        return request.hello, request.message, b""
    packet = _packet(request.message)
    if not isinstance(packet, FirstPacket):
        raise HandshakeNotDue("a HANDSHAKE packet of step 2 or 3 belongs to `proceed`")
    proposed = b"" if packet.connection_id == NO_CONNECTION_ID else packet.connection_id
    return packet.hello, packet.message, proposed


def _packet(message: bytes) -> FirstPacket | Packet:
    try:
        return decode_handshake(message)
    except MalformedPacket:
        raise HandshakeFailed from None


def _due_message(session: Session, opening: Opening, message: bytes) -> bytes:
    packet = _packet(message)
    if not isinstance(packet, Packet) or packet.step != (_SECOND if session.role is Role.INITIATOR else _THIRD):
        raise HandshakeNotDue("this step of the handshake is not due")
    if packet.connection_id != opening.connection_id:
        raise HandshakeFailed
    return packet.message


def _refuse_own_key(handshake: HandshakeState, identity: KeyPair) -> None:
    # A reflection of ourselves proves nothing about any player.
    if handshake.rs == identity.public:
        raise HandshakeFailed


def _finish(parts: Parts, session: Session, handshake: HandshakeState, now: float) -> None:
    finish(
        parts,
        session,
        handshake,
        remote_static=handshake.rs or b"",
        anonymous_initiator=session.pattern in ANONYMOUS,
        now=now,
    )


def _step(
    session: Session,
    to_peer: tuple[bytes, ...],
    now: float,
    *,
    payload: bytes = b"",
    hello: bytes = b"",
    connection_id: bytes = b"",
) -> HandshakeStep:
    step = HandshakeStep(
        session_id=session.session_id, to_peer=to_peer, payload=payload, hello=hello, connection_id=connection_id
    )
    known = established(session, now)
    if known is not None:
        return replace(step, established=known)
    return replace(step, expires_in=session.expires_at - now)
