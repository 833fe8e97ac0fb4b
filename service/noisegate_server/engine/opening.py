"""What Handshake and Resume share: making a session, admitting it to the store, finishing its handshake."""

from __future__ import annotations

from noisegate_server.engine.events import EventKind
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.policy import Options, limits_of
from noisegate_server.engine.tickets import owed_ticket
from noisegate_server.noise import HandshakeState, KeyPair, NoiseError, ProtocolName
from noisegate_server.noise.primitives import sha256
from noisegate_server.session.constants import CONNECTION_ID, HANDSHAKE_FAILURES, NO_CONNECTION_ID
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue, PolicyRejected
from noisegate_server.session.establishment import establish
from noisegate_server.session.hello import Hello
from noisegate_server.session.packets import Kind
from noisegate_server.session.session import Opening, Session
from noisegate_server.session.state import RecordMode, Role, TerminationReason
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from noisegate_server.store.base import ConnectionIdTaken


def identity_of(parts: Parts, tenant: str) -> KeyPair:
    """The tenant's static key pair; PolicyRejected where the configuration has none."""
    try:
        return parts.identities.key_for(tenant)
    except LookupError:
        raise PolicyRejected("no identity is configured for this tenant") from None


def new_session(
    parts: Parts,
    tenant: str,
    *,
    mode: RecordMode,
    role: Role,
    pattern: Pattern,
    suite: Suite,
    flags: int,
    peer_id: str,
    group: str,
    prologue: bytes,
    options: Options,
    chain_end_wall: float,
    opening: Opening,
    now: float,
) -> Session:
    """A session in HANDSHAKING that no store has yet."""
    policy = parts.policy
    session = Session(
        session_id=parts.session_id(),
        tenant=tenant,
        peer_id=peer_id,
        group=group,
        mode=mode,
        role=role,
        pattern=pattern,
        suite=suite,
        flags=flags,
        prologue_hash=sha256(prologue),
        opening=opening,
        idle_timeout=options.idle_timeout or policy.idle_timeout,
        lifetime=options.lifetime or policy.lifetime,
        handshake_timeout=policy.handshake_timeout,
        chain_end_wall=chain_end_wall,
        aeads=parts.aeads,
        now=now,
        max_early=min(options.max_early, policy.max_early),
        rotation=options.rotation,
    )
    session.own_idle_timeout = bool(options.idle_timeout)
    session.join(options.network, policy.idle_timeout)
    return session


def admit(parts: Parts, session: Session, now: float, proposed: bytes = b"") -> None:
    """Give a new session to the store, in DATAGRAM mode under a connection id: the peer's `proposed`, or a fresh one.

    SessionQuota and Overloaded end it at once.
    """
    opening = session.opening
    if opening is None:
        raise HandshakeNotDue("the session has no handshake")
    session.follows_connection_id = bool(proposed)
    while True:
        if session.mode is RecordMode.DATAGRAM:
            opening.connection_id = proposed or parts.random_bytes(CONNECTION_ID)
            if opening.connection_id == NO_CONNECTION_ID:
                continue
        try:
            parts.store.add(session, now)
        except ConnectionIdTaken:
            if proposed:
                session.wipe()
                raise HandshakeFailed from None
        except BaseException:
            session.wipe()
            raise
        else:
            return


def find(parts: Parts, tenant: str, session_id: bytes, connection_id: bytes, now: float) -> Session:
    """The session of an id or, where that is empty, of a packet's connection id."""
    if session_id:
        return parts.store.get(tenant, session_id, now)
    return parts.store.get_by_connection(tenant, connection_id, now)


def repeat_key(*parts: bytes) -> bytes:
    """What makes two first packets the same one: hello, ticket and Noise message (docs/protocol.md, sections 2 and 6).

    Not the whole packet: its connection id and puzzle are authenticated by nothing, and a copy with another one that
    came first would take the place of the genuine packet, with its timestamp or its ticket.
    """
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def opening_of(session: Session, *, resumes: bool) -> Opening:
    """The session's unfinished handshake (or resume); HandshakeNotDue where there is none."""
    opening = session.opening
    if opening is None or opening.resumes is not resumes:
        raise HandshakeNotDue("no step of a handshake is due; see GetSession for the session's state")
    return opening


def read(parts: Parts, session: Session, opening: Opening, message: bytes, now: float) -> tuple[HandshakeState, bytes]:
    """Read the peer's next handshake message: the handshake after it, and the payload.

    It is read on a copy, which the caller takes over once its step is complete. So a spoofed packet of DATAGRAM mode
    does not end the handshake; 16 of them do. NOISE ends at the first failure (Noise, section 5).
    """
    heard = _read(parts, session, opening.handshake, message)
    if heard is None:
        raise _failed(parts, session, opening, now)
    return heard


def read_answer(
    parts: Parts, session: Session, opening: Opening, message: bytes, now: float
) -> tuple[HandshakeState, bytes, Hello | None]:
    """As `read`, whichever of our first packets the peer has answered (the latest is tried first), and its hello."""
    attempts = opening.attempts
    if attempts is None:
        return *read(parts, session, opening, message, now), None
    for attempt in reversed(attempts.made):
        heard = _read(parts, session, attempt.handshake, message, attempts.remote_static)
        if heard is not None:
            return *heard, attempt.hello
    raise _failed(parts, session, opening, now)


def _read(
    parts: Parts, session: Session, handshake: HandshakeState, message: bytes, expected: bytes = b""
) -> tuple[HandshakeState, bytes] | None:
    """The handshake after a message, and its payload, or None. `expected`: the one key that the peer may show."""
    handshake = handshake.copy()
    try:
        payload = handshake.read_message(message)
    except NoiseError:
        handshake.wipe()
        return None
    # A reflection of ourselves proves nothing about any player.
    if handshake.rs == identity_of(parts, session.tenant).public or (expected and handshake.rs != expected):
        handshake.wipe()
        return None
    return handshake, payload


def _failed(parts: Parts, session: Session, opening: Opening, now: float) -> HandshakeFailed:
    opening.failures += 1
    if session.mode is RecordMode.NOISE or opening.failures >= HANDSHAKE_FAILURES:
        parts.store.end(session, TerminationReason.HANDSHAKE_FAILED, now)
    return HandshakeFailed()


def finish(
    parts: Parts,
    session: Session,
    handshake: HandshakeState,
    *,
    remote_static: bytes,
    anonymous_initiator: bool,
    now: float,
) -> None:
    """The handshake is complete: records may flow."""
    opening = session.opening
    given_up_at = session.expires_at
    establish(
        session,
        handshake,
        connection_id=opening.connection_id if opening is not None else b"",
        remote_static=remote_static,
        anonymous_initiator=anonymous_initiator,
        limits=limits_of(parts.policy, session),
        now=now,
    )
    session.join(session.network, parts.policy.idle_timeout)
    parts.store.finished(session, now)
    if session.expires_at < given_up_at:
        parts.store.hasten(session, now)
    parts.events.happened(EventKind.ESTABLISHED, session)


def resume_handshake(
    parts: Parts, suite: Suite, psk: bytes | bytearray, prologue: bytes, *, initiator: bool
) -> HandshakeState:
    """The handshake of a resume, in either role; `psk` stays the caller's, to wipe."""
    return HandshakeState(
        ProtocolName.parse(NOISE_NAMES[Pattern.NNPSK0, suite]),
        initiator=initiator,
        prologue=prologue,
        psks=(psk,),
        random_bytes=parts.random_bytes,
    )


def resumption_done(
    parts: Parts, session: Session, handshake: HandshakeState, remote_static: bytes, now: float
) -> None:
    """As `finish`, for a resume: who the ends are, the ticket has said."""
    finish(
        parts,
        session,
        handshake,
        remote_static=remote_static,
        anonymous_initiator=session.anonymous_initiator,
        now=now,
    )


def greeting(parts: Parts, session: Session, now: float, wall: float) -> tuple[bytes, ...]:
    """DATAGRAM responder whose handshake the initiator has completed: a record that tells it so, and its ticket."""
    records = session.records
    if not isinstance(records, DatagramRecords) or session.role is not Role.RESPONDER:
        return ()
    return records.aside(Kind.KEEP_ALIVE, b"", parts.aeads) + owed_ticket(parts, session, wall)
