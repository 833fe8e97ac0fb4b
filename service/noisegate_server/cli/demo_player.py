"""The players of `noisegate demo`: the noise and session packages used as a library at the far end of a session.

Bytes in, bytes out, like the service: docs/protocol.md from the player's side. Clocks are arguments.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from noisegate_server.noise import CipherState, HandshakeState, KeyPair, ProtocolName
from noisegate_server.session import rotation
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.establishment import establish
from noisegate_server.session.hello import Flags, Hello, encode_hello, hello_prologue, resume_prologue
from noisegate_server.session.keep_alive import answer_to
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import (
    HandshakeStep,
    HandshakeStep1,
    Kind,
    ResumeStep1,
    ResumeStep2,
    decode_handshake,
    decode_resume,
    encode_handshake,
    encode_resume,
)
from noisegate_server.session.renegotiation import Parties
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from noisegate_server.session.ticket import TicketContent, decode_ticket_content

__all__ = ["DatagramPlayer", "NoisePlayer", "PlayerError", "Received"]

_SUITE: Final = Suite.CHACHA20_POLY1305_X25519
_LIFETIME_S: Final = 3_600.0


class PlayerError(Exception):
    """The service sent something that has no place here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A record of the service, opened."""

    kind: int
    content: bytes
    epoch: int
    replies: tuple[bytes, ...]
    """Packets for the service."""


class DatagramPlayer:
    """A player of DATAGRAM mode that begins by XX, or with a ticket by NNpsk0."""

    def __init__(self) -> None:
        self.static: Final = KeyPair.generate(os.urandom)
        self._aeads: Final = AeadCache()
        self._opening: HandshakeState | None = None
        self._session: Session | None = None
        self._resumes = False
        self.service_key = b""
        """The service's static key: learnt by XX, known to be the same after a resume."""

    @property
    def session(self) -> Session:
        """This end of the session, once it is established."""
        if self._session is None:
            raise PlayerError("there is no session yet")
        return self._session

    def begin(self, wall: float) -> bytes:
        """HANDSHAKE step 1: an XX handshake."""
        hello = _hello(Pattern.XX, wall)
        prologue = hello_prologue(hello, b"")
        self._opening, self._resumes = _handshake(Pattern.XX, prologue=prologue, s=self.static), False
        return encode_handshake(HandshakeStep1(hello=hello, message=self._opening.write_message()))

    def proceed(self, packet: bytes, now: float) -> bytes:
        """HANDSHAKE step 2 to step 3; the session is established then."""
        step, opening = decode_handshake(packet), self._opening
        if opening is None or not isinstance(step, HandshakeStep):
            raise PlayerError("not the answer to our handshake")
        opening.read_message(step.message)
        answer = HandshakeStep(connection_id=step.connection_id, step=3, message=opening.write_message())
        self.service_key = opening.rs or b""
        self._establish(opening, Pattern.XX, step.connection_id, now)
        return encode_handshake(answer)

    def begin_resume(self, ticket: TicketContent, wall: float) -> bytes:
        """RESUME step 1: fresh ephemeral keys under the ticket's PSK."""
        hello = _hello(Pattern.NNPSK0, wall)
        prologue = resume_prologue(hello, ticket.ticket, b"")
        self._opening, self._resumes = _handshake(Pattern.NNPSK0, prologue=prologue, psk=bytes(ticket.psk)), True
        message = self._opening.write_message()
        return encode_resume(ResumeStep1(hello=hello, ticket=ticket.ticket, message=message))

    def finish_resume(self, packet: bytes, now: float) -> None:
        """RESUME step 2; the session is established then."""
        step, opening = decode_resume(packet), self._opening
        if opening is None or not self._resumes or not isinstance(step, ResumeStep2):
            raise PlayerError("not the answer to our resume")
        opening.read_message(step.message)
        self._establish(opening, Pattern.NNPSK0, step.connection_id, now)

    def seal(self, plaintext: bytes, now: float) -> bytes:
        """A RECORD packet with data of the game."""
        return self._records().seal(plaintext, b"", now, self._aeads).ciphertext

    def receive(self, packet: bytes, now: float) -> Received:
        """Open a RECORD packet and do what it asks for."""
        records = self._records()
        opened = records.open(packet, b"", now, self._aeads)
        parties = Parties(suite=_SUITE, identity=self.static, remote_static=self.service_key, anonymous_initiator=False)
        replies: tuple[bytes, ...] = ()
        if opened.kind == Kind.ROTATE_2:
            replies = rotation.conclude(records, opened.content, now, self._aeads, os.urandom)
        elif opened.kind == Kind.KEEP_ALIVE and (answer := answer_to(opened.content)):
            replies = records.aside(Kind.KEEP_ALIVE, answer, self._aeads)
        if opened.wants_rotation:
            replies += rotation.grant(records, parties, now, self._aeads, os.urandom)
        return Received(kind=opened.kind, content=opened.content, epoch=opened.epoch, replies=replies)

    def read_ticket(self, packet: bytes, now: float) -> TicketContent:
        """The ticket in a record of kind ticket."""
        received = self.receive(packet, now)
        if received.kind != Kind.TICKET:
            raise PlayerError("not a ticket")
        return decode_ticket_content(received.content)

    def _records(self) -> DatagramRecords:
        records = self.session.records
        if not isinstance(records, DatagramRecords):
            raise PlayerError("there is no session yet")
        return records

    def _establish(self, handshake: HandshakeState, pattern: Pattern, connection_id: bytes, now: float) -> None:
        session = Session(
            session_id=connection_id,
            tenant="",
            peer_id="",
            group="",
            mode=RecordMode.DATAGRAM,
            role=Role.INITIATOR,
            pattern=pattern,
            suite=_SUITE,
            flags=Flags.DATAGRAM,
            prologue_hash=b"",
            opening=None,
            idle_timeout=_LIFETIME_S,
            lifetime=_LIFETIME_S,
            handshake_timeout=_LIFETIME_S,
            chain_end_wall=0.0,
            aeads=self._aeads,
            now=now,
        )
        establish(
            session,
            handshake,
            connection_id=connection_id,
            remote_static=self.service_key,
            anonymous_initiator=False,
            limits=RotationLimits(),
            now=now,
        )
        self._opening, self._session = None, session


class NoisePlayer:
    """A player of NOISE mode that knows the service's key and begins by IK; nothing here is noisegate's own."""

    def __init__(self, service_key: bytes) -> None:
        self.static: Final = KeyPair.generate(os.urandom)
        self._handshake: Final = _handshake(Pattern.IK, prologue=b"", s=self.static, rs=service_key)
        self.sends: CipherState | None = None
        self.receives: CipherState | None = None

    @property
    def handshake_hash(self) -> bytes:
        """32 bytes, once the handshake is finished."""
        return self._handshake.handshake_hash

    def begin(self) -> bytes:
        """Noise message 1."""
        return self._handshake.write_message()

    def finish(self, message: bytes) -> None:
        """Noise message 2."""
        self._handshake.read_message(message)
        self.sends, self.receives = self._handshake.split()

    def seal(self, plaintext: bytes) -> bytes:
        """The next transport message."""
        if self.sends is None:
            raise PlayerError("there is no session yet")
        return self.sends.encrypt_with_ad(b"", plaintext)

    def open(self, message: bytes) -> bytes:
        """The plaintext of the service's next transport message."""
        if self.receives is None:
            raise PlayerError("there is no session yet")
        return self.receives.decrypt_with_ad(b"", message)

    def rekey_receive(self) -> None:
        """Rekey() of Noise, section 11.3, for what the service sends."""
        if self.receives is None:
            raise PlayerError("there is no session yet")
        self.receives.rekey()


def _hello(pattern: Pattern, wall: float) -> bytes:
    offer = ((int(pattern), int(_SUITE)),)
    return encode_hello(Hello(flags=Flags.DATAGRAM, timestamp_ms=int(wall * 1000), offer=offer, choice=0))


def _handshake(
    pattern: Pattern, *, prologue: bytes, s: KeyPair | None = None, rs: bytes | None = None, psk: bytes = b""
) -> HandshakeState:
    return HandshakeState(
        ProtocolName.parse(NOISE_NAMES[pattern, _SUITE]),
        initiator=True,
        prologue=prologue,
        s=s,
        rs=rs,
        psks=(psk,) if psk else (),
        random_bytes=os.urandom,
    )
