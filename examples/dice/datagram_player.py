"""The player's side of DATAGRAM mode, written from docs/protocol.md alone: no I/O, no clock, no entropy of its own.

Left out: hybrid suites, fragments, puzzles, and restoring a session (a peer's restore is followed).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from examples.dice.datagram_session import Session
from examples.dice.datagram_wire import (
    ANSWERED_S,
    ATTEMPT_S,
    FAILURES,
    FLAG_DATAGRAM,
    FLAG_TICKETS,
    GRACE_S,
    HANDSHAKE,
    HEADER_BYTES,
    KEEP_ALIVE,
    NNPSK0,
    NO_CONNECTION,
    PATTERNS,
    RESUME,
    RESUME_DELAYS,
    RETRY,
    SKEW_MS,
    SUPPORTED_FLAGS,
    Hello,
    Identity,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Received,
    Split,
    Ticket,
    Timer,
    field_at,
    with_length,
)
from examples.dice.noise_handshake import NoiseHandshake

MAX_ANSWERS = 64
HELLO_LABEL, RESUME_LABEL = b"ng1 hello", b"ng1 resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a player brings: `remote` is needed for IK and NK, `psk` for psk patterns; the offer is best first.

    `connection_id` other than zeros lets an initiator choose the id, as a service that initiates does.
    """

    offer: tuple[Protocol, ...]
    choice: int = 0
    flags: int = FLAG_DATAGRAM | FLAG_TICKETS
    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)
    prologue: bytes = b""
    connection_id: bytes = NO_CONNECTION


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A handshake or resume that we began and that waits for its answer."""

    noise: NoiseHandshake
    packet: bytes
    flags: int
    started: float
    timer: Timer
    payload: bytes = b""
    ticket: Ticket | None = None
    retried: bool = False
    failures: int = 0


@dataclass(slots=True, kw_only=True)
class Answer:
    """Our answer to a step 1, given again to its repeats, and what step 3 needs."""

    packet: bytes
    noise: NoiseHandshake
    hello: Hello
    since: float
    chose: bool  # whether the connection id is ours
    failures: int = 0


class DatagramPlayer:
    """One player: begins or answers a handshake or a resume, then seals and opens the records of its session.

    `now` is monotonic seconds, `wall` gives unix seconds for a hello's timestamp. Every method that returns packets
    leaves sending them to the caller. A packet that raises PacketRefusedError has changed nothing: drop it.
    """

    def __init__(self, settings: Settings, *, random_bytes: Callable[[int], bytes], wall: Callable[[], float]) -> None:
        self.settings = settings
        self.session: Session | None = None
        self.issued: dict[bytes, Ticket] = {}
        self._random_bytes, self._wall = random_bytes, wall
        self._attempts: list[Attempt] = []
        self._answers: dict[tuple[bytes, bytes, bytes], Answer] = {}
        self._timestamp = -1
        self._accepted: dict[bytes, int] = {}
        static = settings.static
        self._public = X25519PrivateKey.from_private_bytes(static).public_key().public_bytes_raw() if static else b""

    @property
    def established(self) -> bool:
        """Whether records may flow."""
        return self.session is not None and not self.session.closed

    @property
    def handshake_hash(self) -> bytes:
        """The hash h of the session's handshake: 32 bytes, equal at both ends."""
        return self._live().h

    @property
    def epoch(self) -> int:
        """The epoch under which we seal."""
        return self._live().current.number

    @property
    def connection_id(self) -> bytes:
        """The connection id that our packets carry: 8 bytes."""
        return self._live().connection_id

    @property
    def ticket(self) -> Ticket | None:
        """The newest ticket that came in this session."""
        return None if self.session is None else self.session.ticket

    def start(self, now: float, payload: bytes = b"") -> list[bytes]:
        """Begins a handshake with the settings' choice."""
        self._attempts = [self._begin(self.settings.choice, self.settings.flags, now, payload)]
        return [self._attempts[0].packet]

    def resume(
        self, now: float, ticket: Ticket | None = None, *, payload: bytes = b"", full: bool = False
    ) -> list[bytes]:
        """Begins a resume with the ticket, or this session's; `full` adds message 1 of a full handshake."""
        ticket = ticket or self.ticket
        if ticket is None or now >= ticket.expires_at:
            raise NotPossibleError("there is no ticket")
        if self.session is not None:
            self.session.ticket = None  # a ticket is for once
        offer = self.settings.offer if full else (Protocol(NNPSK0, ticket.suite),)
        hello = self._hello(offer, self.settings.choice if full else 0, ticket.flags)
        label = RESUME_LABEL + hello + with_length(ticket.ticket, 2) + self.settings.prologue
        noise = NoiseHandshake(
            Protocol(NNPSK0, ticket.suite), label, self._random_bytes, initiator=True, psk=ticket.psk
        )
        head = bytes([RESUME]) + self.settings.connection_id + b"\x01" + with_length(hello, 2)
        packet = head + with_length(ticket.ticket, 2) + b"\0" + with_length(noise.write(payload), 2)
        self._attempts = []
        if full:
            handshake = self._noise(Hello.decode(hello), hello, initiator=True)
            packet += handshake.write()
            self._attempts.append(self._attempt(handshake, b"", ticket.flags, now))
        resume = self._attempt(noise, packet, ticket.flags, now)
        resume.ticket, resume.timer = ticket, Timer(now, RESUME_DELAYS)
        self._attempts.append(resume)
        return [packet]

    def receive(self, packet: bytes, now: float, associated_data: bytes = b"") -> Received:
        """Does what a packet of the peer asks; PacketRefusedError: it has changed nothing."""
        if len(packet) < 10:
            raise PacketRefusedError("length")
        if packet[0] in HEADER_BYTES and self.session is not None:
            return self.session.receive(packet, associated_data, now)
        if packet[0] == RETRY:
            return self._retry(packet, now)
        step = {
            (HANDSHAKE, 1): self._step_1, (HANDSHAKE, 2): self._step_2, (HANDSHAKE, 3): self._step_3,
            (RESUME, 1): self._resume_1, (RESUME, 2): self._step_2,
        }.get((packet[0], packet[9]))  # fmt: skip
        if step is None:
            raise PacketRefusedError("type")
        return step(packet, now)

    def tick(self, now: float) -> list[bytes]:
        """What is due at `now`; call it a few times a second."""
        due: list[bytes] = []
        for at, attempt in enumerate(self._attempts):
            if now - attempt.started >= ATTEMPT_S and attempt.ticket is None and attempt.packet:
                # A new hello always comes with a new ephemeral key.
                self._attempts = [self._begin(self.settings.choice, self.settings.flags, now, attempt.payload)]
                return [self._attempts[0].packet]
            if attempt.packet and attempt.timer.due(now):
                due.append(self._attempts[at].packet)
        return due + (self.session.tick(now) if self.session is not None else [])

    def send(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A record for the peer."""
        return self._live().send(plaintext, associated_data)

    def rekey(self) -> None:
        """Moves our direction to its next phase: no round trip, no fresh secret."""
        self._live().current.sender.rekey()

    def renegotiate(self, now: float) -> list[bytes]:
        """Starts a rotation as the session's initiator, asks for one as its responder."""
        session = self._live()
        session.now = now
        return session.renegotiate()

    def close(self) -> bytes:
        """The record that ends the session."""
        return self._live().close()

    def _live(self) -> Session:
        if self.session is None or self.session.closed:
            raise NotPossibleError("there is no session")
        return self.session

    # --- as initiator

    def _hello(self, offer: tuple[Protocol, ...], choice: int, flags: int) -> bytes:
        self._timestamp = max(self._timestamp + 1, int(self._wall() * 1000))
        return Hello(flags, self._timestamp, offer, choice).encode()

    def _noise(self, hello: Hello, encoded: bytes, *, initiator: bool) -> NoiseHandshake:
        mine = self.settings
        return NoiseHandshake(
            hello.offer[hello.choice], HELLO_LABEL + encoded + mine.prologue, self._random_bytes,
            initiator=initiator, static=mine.static, remote=mine.remote, psk=mine.psk,
        )  # fmt: skip

    @staticmethod
    def _attempt(noise: NoiseHandshake, packet: bytes, flags: int, now: float, payload: bytes = b"") -> Attempt:
        return Attempt(noise=noise, packet=packet, flags=flags, started=now, timer=Timer(now), payload=payload)

    def _begin(self, choice: int, flags: int, now: float, payload: bytes) -> Attempt:
        hello = self._hello(self.settings.offer, choice, flags)
        noise = self._noise(Hello.decode(hello), hello, initiator=True)
        head = bytes([HANDSHAKE]) + self.settings.connection_id + b"\x01"
        return self._attempt(noise, head + with_length(hello, 2) + b"\0" + noise.write(payload), flags, now, payload)

    def _retry(self, packet: bytes, now: float) -> Received:
        for attempt in self._attempts:
            echo = hashlib.sha256(attempt.packet).digest()[:8]
            if not attempt.packet or attempt.retried or len(packet) != 20 or packet[9:17] != echo:
                continue
            reason, choice, flags = packet[17:20]
            if reason != 1 or choice >= len(self.settings.offer) or flags | SUPPORTED_FLAGS != SUPPORTED_FLAGS:
                break
            attempt.retried = True
            second = self._begin(choice, flags, now, attempt.payload)
            second.retried = True
            self._attempts.append(second)
            return Received(to_send=[second.packet])
        raise PacketRefusedError("retry")

    def _step_2(self, packet: bytes, now: float) -> Received:
        for attempt in list(self._attempts):
            if (packet[0] == RESUME) != (attempt.ticket is not None):
                continue
            try:
                payload = attempt.noise.read(packet[10:])
            except PacketRefusedError:
                attempt.failures += 1
                if attempt.failures >= FAILURES:
                    self._attempts.remove(attempt)
                continue
            identity = attempt.ticket.identity if attempt.ticket else self._identity(attempt.noise)
            to_send = []
            if attempt.noise.split is None:
                to_send.append(bytes([HANDSHAKE]) + packet[1:9] + b"\x03" + attempt.noise.write())
            chose = packet[1:9] == self.settings.connection_id
            session = self._establish(attempt.noise, attempt.flags, packet[1:9], identity, now, chose=chose)
            session.step_3 = next(iter(to_send), None)
            return Received(payloads=[payload], to_send=to_send)
        raise PacketRefusedError("step 2")

    def _identity(self, noise: NoiseHandshake) -> Identity:
        """The static keys, once the peer's is known; our own and one that was not expected are refused."""
        anonymous, pinned = PATTERNS[noise.protocol.pattern][0] == "N", self.settings.remote
        if noise.remote is not None and (noise.remote == self._public or pinned not in (None, noise.remote)):
            raise PacketRefusedError("static key")
        return Identity(static=self.settings.static, remote=noise.remote, anonymous=anonymous)

    def _establish(
        self, noise: NoiseHandshake, flags: int, cid: bytes, identity: Identity, now: float, *, chose: bool
    ) -> Session:
        split = noise.split
        if not isinstance(split, Split):
            raise NotPossibleError("the handshake is not finished")
        self._attempts = []
        self.session = Session(
            split, self._random_bytes, now, initiator=noise.initiator, suite=noise.protocol.suite, flags=flags,
            connection_id=cid, chose_id=chose, identity=identity, issued=self.issued,
        )  # fmt: skip
        return self.session

    # --- as responder

    def _step_1(self, packet: bytes, now: float) -> Received:
        hello, at = field_at(packet, 10, 2)
        _puzzle, at = field_at(packet, at, 1)
        return self._respond(packet, hello, packet[at:], now)

    def _repeated(self, key: tuple[bytes, bytes, bytes], now: float) -> list[bytes]:
        kept = [(k, a) for k, a in self._answers.items() if now - a.since < GRACE_S]
        self._answers = dict(kept[-MAX_ANSWERS:])
        answer = self._answers.get(key)
        return [answer.packet] if answer is not None and now - answer.since < ANSWERED_S else []

    def _respond(self, packet: bytes, encoded: bytes, message: bytes, now: float) -> Received:
        key = (encoded, b"", message)
        if repeated := self._repeated(key, now):
            return Received(to_send=repeated)
        hello = Hello.decode(encoded)
        right = next((p for p in self.settings.offer if p in hello.offer), None)
        if right is None or key in self._answers or (self.session is not None and self.session.proven):
            raise PacketRefusedError("step 1")
        choice, flags = hello.offer.index(right), hello.flags & SUPPORTED_FLAGS
        if (choice, flags) != (hello.choice, hello.flags):
            echo = hashlib.sha256(packet).digest()[:8]
            return Received(to_send=[bytes([RETRY]) + NO_CONNECTION + echo + bytes([1, choice, flags])])
        noise = self._noise(hello, encoded, initiator=False)
        payload = noise.read(message)
        self._fresh(noise, hello)
        chose = packet[1:9] == NO_CONNECTION
        cid = self._random_bytes(8) if chose else packet[1:9]
        reply = bytes([HANDSHAKE]) + cid + b"\x02" + noise.write()
        self._answers[key] = Answer(packet=reply, noise=noise, hello=hello, since=now, chose=chose)
        if noise.split is not None:
            self._establish(noise, hello.flags, cid, self._identity(noise), now, chose=chose)
        return Received(payloads=[payload], to_send=[reply])

    def _fresh(self, noise: NoiseHandshake, hello: Hello) -> None:
        """The timestamp rule: within the skew, and newer than the last one of an authenticated static key."""
        self._identity(noise)
        late = abs(hello.timestamp_ms - int(self._wall() * 1000)) > SKEW_MS
        if late or (noise.remote is not None and hello.timestamp_ms <= self._accepted.get(noise.remote, -1)):
            raise PacketRefusedError("timestamp")
        if noise.remote is not None:
            self._accepted[noise.remote] = hello.timestamp_ms

    def _step_3(self, packet: bytes, now: float) -> Received:
        session = self.session
        if session is not None and not session.initiator and session.step_3 == packet:
            session.now = now
            return Received(to_send=[session.seal(KEEP_ALIVE)])
        for key, answer in list(self._answers.items()):
            if answer.packet[1:9] != packet[1:9] or answer.noise.split is not None:
                continue
            try:
                payload = answer.noise.read(packet[10:])
            except PacketRefusedError:
                answer.failures += 1
                if answer.failures >= FAILURES:
                    del self._answers[key]
                raise
            self._fresh(answer.noise, answer.hello)
            noise, flags = answer.noise, answer.hello.flags
            identity = self._identity(noise)
            session = self._establish(noise, flags, packet[1:9], identity, now, chose=answer.chose)
            session.step_3 = packet
            return Received(payloads=[payload], to_send=[session.seal(KEEP_ALIVE)])
        raise PacketRefusedError("step 3")

    def _resume_1(self, packet: bytes, now: float) -> Received:
        encoded, at = field_at(packet, 10, 2)
        opaque, at = field_at(packet, at, 2)
        _puzzle, at = field_at(packet, at, 1)
        message, at = field_at(packet, at, 2)
        key = (encoded, opaque, message)
        if repeated := self._repeated(key, now):
            return Received(to_send=repeated)
        hello, ticket = Hello.decode(encoded), self.issued.get(opaque)
        if ticket is None or now >= ticket.expires_at:
            return self._respond(packet, encoded, packet[at:], now)
        label = RESUME_LABEL + encoded + with_length(opaque, 2) + self.settings.prologue
        noise = NoiseHandshake(
            Protocol(NNPSK0, ticket.suite), label, self._random_bytes, initiator=False, psk=ticket.psk
        )
        payload = noise.read(message)
        del self.issued[opaque]  # spent before the answer leaves
        chose = packet[1:9] == NO_CONNECTION
        cid = self._random_bytes(8) if chose else packet[1:9]
        reply = bytes([RESUME]) + cid + b"\x02" + noise.write()
        self._answers[key] = Answer(packet=reply, noise=noise, hello=hello, since=now, chose=chose)
        self._establish(noise, ticket.flags, cid, ticket.identity, now, chose=chose)
        return Received(payloads=[payload], to_send=[reply])
