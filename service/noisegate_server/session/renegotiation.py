"""The handshake of a renegotiation, in both record modes: a new key agreement, authenticated by the session's own keys.

docs/protocol.md, section 4. DATAGRAM runs IKpsk1 (NKpsk0 where the initiator is anonymous) under a PSK that follows
from the epoch's root; NOISE runs the session's own pattern again. In both the prologue names the handshake that is
replaced, and the static keys must be the session's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from noisegate_server.noise import HandshakeState, KeyPair, NoiseError, ProtocolName
from noisegate_server.noise.primitives import wipe
from noisegate_server.session.constants import MAX_EPOCH
from noisegate_server.session.errors import EpochConflict, HandshakeFailed
from noisegate_server.session.hello import renegotiate_prologue
from noisegate_server.session.keys import EpochSecrets, derive_epoch, renegotiate_psk
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parties:
    """Who negotiates; the same for every epoch of a session."""

    suite: Suite
    identity: KeyPair
    """Our static key pair."""
    remote_static: bytes
    """The peer's, 32 bytes, or empty where the peer is an anonymous initiator."""
    anonymous_initiator: bool


@dataclass(slots=True, kw_only=True, repr=False)
class Begun:
    """Initiator: rotate-1 is under way."""

    handshake: HandshakeState
    message: bytes
    """The content of rotate-1, repeated as it is in new records."""
    number: int
    """The epoch that it will make."""

    def wipe(self) -> None:
        self.handshake.wipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Responder: the rotate-1 that was answered last, so that a repeat gets the same answer."""

    asked: bytes
    answer: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Agreed:
    """What a renegotiation gives."""

    number: int
    h: bytes
    secrets: EpochSecrets


def begin(*, h: bytes, root: bytearray, number: int, parties: Parties, random_bytes: Callable[[int], bytes]) -> Begun:
    """Initiator: make rotate-1 for epoch `number` + 1 over the epoch (`h`, `root`, `number`)."""
    handshake = _handshake(h, root, number, parties, initiator=True, random_bytes=random_bytes)
    return Begun(handshake=handshake, message=handshake.write_message(b""), number=number + 1)


def answer(
    message: bytes, *, h: bytes, root: bytearray, number: int, parties: Parties, random_bytes: Callable[[int], bytes]
) -> tuple[Answered, Agreed]:
    """Responder: read rotate-1 and make rotate-2. HandshakeFailed where it does not fit this epoch and these keys."""
    handshake = _handshake(h, root, number, parties, initiator=False, random_bytes=random_bytes)
    try:
        handshake.read_message(message)
        if (handshake.rs or b"") != parties.remote_static:
            raise HandshakeFailed
        reply = handshake.write_message(b"")
        return Answered(asked=message, answer=reply), _agreed(handshake, number + 1)
    except NoiseError:
        raise HandshakeFailed from None
    finally:
        handshake.wipe()


def finish(begun: Begun, message: bytes) -> Agreed:
    """Initiator: read rotate-2. HandshakeFailed leaves `begun` as it was: the genuine answer may still come."""
    handshake = begun.handshake.copy()
    try:
        handshake.read_message(message)
        agreed = _agreed(handshake, begun.number)
    except NoiseError:
        raise HandshakeFailed from None
    finally:
        handshake.wipe()
    begun.wipe()
    return agreed


def _handshake(
    h: bytes, root: bytearray, number: int, parties: Parties, *, initiator: bool, random_bytes: Callable[[int], bytes]
) -> HandshakeState:
    if number >= MAX_EPOCH:
        raise EpochConflict(number)
    pattern = Pattern.NKPSK0 if parties.anonymous_initiator else Pattern.IKPSK1
    psk = renegotiate_psk(root)
    try:
        return HandshakeState(
            ProtocolName.parse(NOISE_NAMES[pattern, parties.suite]),
            initiator=initiator,
            prologue=renegotiate_prologue(h, number + 1),
            s=None if initiator and parties.anonymous_initiator else parties.identity,
            rs=parties.remote_static if initiator else None,
            psks=(psk,),
            random_bytes=random_bytes,
        )
    finally:
        wipe(psk)


def _agreed(handshake: HandshakeState, number: int) -> Agreed:
    first, second = handshake.split()
    h = handshake.handshake_hash
    k1, k2 = first.take_key(), second.take_key()
    secrets = derive_epoch(h, k1, k2)
    wipe(k1)
    wipe(k2)
    return Agreed(number=number, h=h, secrets=secrets)
