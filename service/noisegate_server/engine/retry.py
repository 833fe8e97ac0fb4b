"""A RETRY that the player sends to a handshake of ours: where to go, and that no forger sends us lower.

docs/protocol.md, section 2, "Choice". Nothing authenticates a RETRY. It is followed where its echo is that of a packet
of ours, once for each reason, and only to what the caller had offered, our policy allows and the caller's keys fit; the
attempt that it refuses stays alive. Offer and choice are in the prologue, and an honest responder computes its choice
again: a forger who talks us into less makes a handshake that fails.
"""

from __future__ import annotations

from dataclasses import replace

from noisegate_server.engine.messages import begin, write
from noisegate_server.engine.negotiation import LEARNS_REMOTE, WITH_PSK, allowed, bound_prologue
from noisegate_server.engine.opening import identity_of, opening_of
from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.parts import Parts
from noisegate_server.noise import HandshakeState
from noisegate_server.session.attempts import Attempt, Attempts
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue, PolicyRejected, UnsupportedProtocol
from noisegate_server.session.hello import Flags, Hello, encode_hello
from noisegate_server.session.packets import (
    HandshakeStep1,
    MalformedPacket,
    Retry,
    RetryChoice,
    challenge_time,
    decode_retry,
    encode_handshake,
    retry_echo,
)
from noisegate_server.session.session import Session
from noisegate_server.session.suites import Pattern, Suite


def first_message(
    parts: Parts, tenant: str, attempts: Attempts, protocol: tuple[Pattern, Suite], hello: Hello | None
) -> tuple[HandshakeState, bytes]:
    """Message 1 of an attempt, under an ephemeral key of its own, and the handshake after it."""
    handshake = begin(
        parts,
        protocol,
        identity=identity_of(parts, tenant),
        psk=attempts.psk,
        prologue=bound_prologue(encode_hello(hello) if hello else None, attempts.prologue, "initiate.prologue"),
        initiator=True,
        remote_static=None if protocol[0] in LEARNS_REMOTE else attempts.remote_static,
    )
    return handshake, write(handshake, attempts.payload, "initiate.payload")


def first_packet(
    attempts: Attempts, handshake: HandshakeState, hello: Hello, connection_id: bytes, message: bytes
) -> bytes:
    """The packet of message 1; from now on `attempts` knows it."""
    packet = encode_handshake(HandshakeStep1(connection_id=connection_id, hello=encode_hello(hello), message=message))
    attempts.made.append(Attempt(handshake=handshake, hello=hello, echo=retry_echo(packet)))
    return packet


def follow(parts: Parts, tenant: str, session: Session, message: bytes, now: float, wall: float) -> HandshakeStep:
    """Begin anew as the player's RETRY says.

    HandshakeFailed, and nothing has changed, where it is no answer to a packet of ours or leads where we do not go;
    HandshakeNotDue where one of its reason was followed before.
    """
    opening = opening_of(session, resumes=False)
    attempts = opening.attempts
    if attempts is None:
        raise HandshakeNotDue("a RETRY answers a handshake that noisegate began in DATAGRAM mode")
    try:
        retry = decode_retry(message)
    except MalformedPacket:
        raise HandshakeFailed from None
    refused = attempts.refused_by(retry.echo)
    if refused is None:
        raise HandshakeFailed
    if retry.reason in attempts.followed:
        raise HandshakeNotDue("a RETRY is followed once")
    hello = _elsewhere(parts, attempts, refused.hello, retry, wall)
    protocol = Pattern(hello.chosen[0]), Suite(hello.chosen[1])
    handshake, first = first_message(parts, tenant, attempts, protocol, hello)
    packet = first_packet(attempts, handshake, hello, opening.connection_id, first)
    attempts.followed.append(retry.reason)
    return HandshakeStep(
        session_id=session.session_id,
        to_peer=(packet,),
        connection_id=opening.connection_id,
        expires_in=session.expires_at - now,
    )


def _elsewhere(parts: Parts, attempts: Attempts, refused: Hello, retry: Retry, wall: float) -> Hello:
    """The hello to come with; HandshakeFailed where the RETRY leads nowhere."""
    if not isinstance(retry, RetryChoice):
        try:
            # The time of nobody knows whom: good for this hello, and for nothing else.
            return replace(refused, timestamp_ms=challenge_time(retry.challenge))
        except MalformedPacket:
            raise HandshakeFailed from None
    flags = Flags(refused.flags & (retry.flags | Flags.DATAGRAM))
    if retry.choice >= len(refused.offer) or (retry.choice, flags) == (refused.choice, refused.flags):
        raise HandshakeFailed
    if (refused.flags ^ flags) & Flags.RATCHET:
        # Layers may be denied, they protect nothing. The ratchet protects what was said, and a forger would deny it.
        raise HandshakeFailed
    try:
        pattern, _ = allowed(parts.policy, *refused.offer[retry.choice])
    except (PolicyRejected, UnsupportedProtocol):
        raise HandshakeFailed from None
    if (pattern in WITH_PSK) is not bool(attempts.psk):
        raise HandshakeFailed
    if pattern not in LEARNS_REMOTE and not attempts.remote_static:
        raise HandshakeFailed
    return replace(refused, timestamp_ms=parts.timestamps.ours(wall), choice=retry.choice, flags=flags)
