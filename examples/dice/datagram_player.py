"""A player of DATAGRAM mode: docs/protocol.md in one file, on `noiseprotocol` and `cryptography` and nothing of ours.

Written from the protocol's text alone, so it is also a check of that text, and a file to start from for whoever writes
a player in another language. No I/O: packets go in and come out, time and randomness are arguments. From the top: what
travels, keys, Noise handshakes, one epoch, a session, the player. Left out: hybrid suites, fragments, puzzles, and
being the side that was restored (a peer's restore is followed).
"""

from __future__ import annotations

import copy
import hashlib
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseHandshakeError, NoiseValueError

# -- What travels: numbers, names and the values of section 2 --------------------------------------------------------

HANDSHAKE, RECORD, SALTED, RESUME, RETRY = 0x09, 0x0A, 0x0B, 0x0C, 0x0E
DATA, ROTATE_1, ROTATE_2, TICKET, KEEP_ALIVE, CONNECTION_ID, CLOSE = 1, 2, 3, 4, 5, 6, 7
WANTS_ROTATION: Final = 0x80
FLAG_RATCHET, FLAG_MASK, FLAG_PAD, FLAG_TICKETS, FLAG_DATAGRAM = 1, 2, 4, 8, 16
SUPPORTED_FLAGS: Final = FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS | FLAG_DATAGRAM
PATTERNS: Final = {
    1: "XX", 2: "IK", 3: "NK", 4: "XXpsk3", 5: "IKpsk1", 6: "IKpsk2", 7: "NKpsk0", 8: "NKpsk2", 9: "NNpsk0",
}  # fmt: skip
IKPSK1, NKPSK0, NNPSK0 = 5, 7, 9
CIPHERS: Final = {1: "ChaChaPoly", 2: "AESGCM"}
HEADER_BYTES: Final = {RECORD: 15, SALTED: 32}
NO_CONNECTION: Final = bytes(8)
REPEAT_DELAYS: Final = (1.0, 1.5, 2.25, 3.375, 5.0)
RESUME_DELAYS: Final = (2.0, 8.0, math.inf)
ATTEMPT_S, ANSWERED_S, GRACE_S, BEGIN_GAP_S, WANT_GAP_S, SILENT_S = 9.0, 10.0, 30.0, 5.0, 10.0, 1.0
SOFT_AGE_S, HARD_AGE_S = 120.0, 180.0
# Soft and hard limits of an epoch; past the hard one 1,024 counters are left for control records.
MESSAGES, RATCHET_MESSAGES = (1 << 20, 1 << 23), (8_192, 15_360)
WINDOW, PHASES, FAILURES, SKEW_MS, TICKET_S = 1024, 64, 16, 120_000, 86_400


class PacketRefusedError(ValueError):
    """The packet is not for us, is forged or is a repeat: nothing has changed."""


class NotPossibleError(RuntimeError):
    """The session is in no state for what was asked."""


class Protocol(NamedTuple):
    """A Noise protocol by the numbers that travel in a hello."""

    pattern: int
    suite: int


class Split(NamedTuple):
    """What a finished Noise handshake leaves: k1 encrypts from its initiator, h is the handshake hash."""

    k1: bytes
    k2: bytes
    h: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The static keys of both ends of a session; `anonymous` says that its initiator has none."""

    static: bytes | None = field(default=None, repr=False)
    remote: bytes | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What resumes a session (section 6): 32 bytes of psk, the opaque ticket, and the session's own choices."""

    lifetime_s: int
    max_early: int
    psk: bytes = field(repr=False)
    ticket: bytes
    suite: int
    flags: int
    identity: Identity
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a packet gave: the game's plaintexts, packets for the peer, payloads of handshake messages."""

    plaintexts: list[bytes] = field(default_factory=list)
    to_send: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


class Timer:
    """Repeats after each of the delays in turn, then after the last one for ever."""

    def __init__(self, now: float, delays: tuple[float, ...] = REPEAT_DELAYS) -> None:
        self._delays, self._at = delays, now + delays[0]

    def due(self, now: float) -> bool:
        """Whether it is time; if so, the next delay begins."""
        if now < self._at:
            return False
        self._delays = self._delays[1:] or self._delays
        self._at = now + self._delays[0]
        return True


class Hello(NamedTuple):
    """What an initiator offers, and which of it message 1 uses; a prologue binds its bytes."""

    flags: int
    timestamp_ms: int
    offer: tuple[Protocol, ...]
    choice: int

    def encode(self) -> bytes:
        """12 + 2n bytes."""
        head = bytes([1, self.flags]) + self.timestamp_ms.to_bytes(8, "big") + bytes([len(self.offer)])
        return head + b"".join(map(bytes, self.offer)) + bytes([self.choice])

    @classmethod
    def decode(cls, data: bytes) -> Hello:
        """The hello in these bytes; PacketRefusedError for another version or length, or no DATAGRAM flag."""
        if len(data) < 14 or data[0] != 1 or len(data) != 12 + 2 * data[10] or data[-1] >= data[10]:
            raise PacketRefusedError("hello")
        offer = tuple(Protocol(*data[at : at + 2]) for at in range(11, len(data) - 1, 2))
        if not data[1] & FLAG_DATAGRAM:
            raise PacketRefusedError("hello")
        return cls(data[1], int.from_bytes(data[2:10], "big"), offer, data[-1])


def field_at(packet: bytes, at: int, length_bytes: int) -> tuple[bytes, int]:
    """A field with its length before it, and where the next one begins."""
    start = at + length_bytes
    end = start + int.from_bytes(packet[at:start], "big")
    if start > len(packet) or end > len(packet):
        raise PacketRefusedError("length")
    return packet[start:end], end


def with_length(value: bytes, length_bytes: int) -> bytes:
    """A field with its length before it."""
    return len(value).to_bytes(length_bytes, "big") + value


# -- Keys: the schedule, phases and the ratchet (section 3) ----------------------------------------------------------

KEY, NEXT, CHAIN = b"ng1 key", b"ng1 next", b"ng1 chain"


def expand(prk: bytes, label: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256, 32 bytes."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=label).derive(prk)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract of RFC 5869 with SHA-256."""
    return HKDF.extract(SHA256(), salt, ikm)


def nearest(low: int, bits: int, highest: int) -> int:
    """The value with these low bits that is nearest to `highest`, and not negative."""
    span = 1 << bits
    value = highest - (span >> 1) + ((low - highest + (span >> 1)) % span)
    return value if value >= 0 else value + span


class Sender(typing.Protocol):
    """Keys for what we seal."""

    def rekey(self) -> None:
        """Moves to the next phase."""

    def take(self) -> tuple[int, bytes]:
        """Phase and key of the next message."""


class Receiver(typing.Protocol):
    """Keys for what we open."""

    def find(self, phase_low: int, counter: int, now: float) -> bytes:
        """The key of a record; changes nothing, PacketRefusedError if there is none."""

    def opened(self, phase_low: int, counter: int, now: float) -> None:
        """Moves on, after the record's tag was verified."""


class PhaseSender:
    """One key a phase; REKEY raises the phase, and an epoch has 64 of them."""

    def __init__(self, chain: bytes) -> None:
        self._chain, self._phase = chain, 0

    def rekey(self) -> None:
        """Moves to the next phase, while there is one."""
        if self._phase + 1 < PHASES:
            self._chain, self._phase = expand(self._chain, NEXT), self._phase + 1

    def take(self) -> tuple[int, bytes]:
        """Phase and key of the next message."""
        return self._phase, expand(self._chain, KEY)


class PhaseReceiver:
    """Opens up to 64 phases ahead of the newest that opened, and passed ones for the grace."""

    def __init__(self, chain: bytes) -> None:
        self._chain, self._phase = chain, 0
        self._passed: dict[int, tuple[bytes, float]] = {}

    def find(self, phase_low: int, counter: int, now: float) -> bytes:
        """The key of the phase, at most 64 steps away."""
        phase, chain = nearest(phase_low, 8, self._phase), self._chain
        if phase < self._phase:
            key, until = self._passed.get(phase, (b"", -math.inf))
            if now > until:
                raise PacketRefusedError("record")
            return key
        if phase > self._phase + PHASES:
            raise PacketRefusedError("record")
        for _ in range(self._phase, phase):
            chain = expand(chain, NEXT)
        return expand(chain, KEY)

    def opened(self, phase_low: int, counter: int, now: float) -> None:
        """Passes the phases before this one."""
        self._passed = {phase: old for phase, old in self._passed.items() if now <= old[1]}
        for phase in range(self._phase, nearest(phase_low, 8, self._phase)):
            self._passed[phase] = expand(self._chain, KEY), now + GRACE_S
            self._chain, self._phase = expand(self._chain, NEXT), phase + 1


class Ratchet:
    """A key a message: P(p) gives C0 and P(p+1), C(i) gives the key and C(i+1); what was used is gone."""

    def __init__(self, chain: bytes) -> None:
        self.counter = 0
        self._enter(chain)

    def _enter(self, chain: bytes) -> None:
        self._chain, self._next = expand(chain, CHAIN), expand(chain, NEXT)

    def rekey(self) -> None:
        """Done already: each message has a key of its own."""

    def take(self) -> tuple[int, bytes]:
        """Phase and key of the next message."""
        phase, key = self.counter >> 8, expand(self._chain, KEY)
        self._chain, self.counter = expand(self._chain, NEXT), self.counter + 1
        if self.counter & 255 == 0:
            self._enter(self._next)
        return phase, key

    def peek(self, counter: int) -> bytes:
        """The key of a message that is not behind, without moving."""
        chain, at, phases = self._chain, self.counter & 255, (counter >> 8) - (self.counter >> 8)
        if phases:
            following = self._next
            for _ in range(phases - 1):
                following = expand(following, NEXT)
            chain, at = expand(following, CHAIN), 0
        for _ in range(at, counter & 255):
            chain = expand(chain, NEXT)
        return expand(chain, KEY)


class RatchetReceiver:
    """Opens up to 64 phases ahead; keys of skipped messages live inside the replay window and for the grace."""

    def __init__(self, chain: bytes) -> None:
        self._ratchet = Ratchet(chain)
        self._skipped: dict[int, tuple[bytes, float]] = {}

    def find(self, phase_low: int, counter: int, now: float) -> bytes:
        """The key of the message; a jump of more than 64 phases is refused before anything is derived."""
        ahead = (counter >> 8) - (max(self._ratchet.counter - 1, 0) >> 8)
        if phase_low != counter >> 8 & 255 or ahead > PHASES:
            raise PacketRefusedError("record")
        if counter >= self._ratchet.counter:
            return self._ratchet.peek(counter)
        key, until = self._skipped.get(counter, (b"", -math.inf))
        if now > until:
            raise PacketRefusedError("record")
        return key

    def opened(self, phase_low: int, counter: int, now: float) -> None:
        """Keeps the keys of skipped messages and forgets this message's."""
        while self._ratchet.counter <= counter:
            skipped = self._ratchet.counter
            self._skipped[skipped] = self._ratchet.take()[1], now + GRACE_S
        self._skipped.pop(counter, None)
        oldest = self._ratchet.counter - 1 - WINDOW
        self._skipped = {at: old for at, old in self._skipped.items() if at > oldest and now <= old[1]}


# -- Noise handshakes, on `noiseprotocol` ----------------------------------------------------------------------------


class NoiseHandshake:
    """A handshake of the library that reads on a copy, so that a forged message does not kill it."""

    def __init__(
        self, protocol: Protocol, prologue: bytes, random_bytes: Callable[[int], bytes], *, initiator: bool,
        static: bytes | None = None, remote: bytes | None = None, psk: bytes | None = None,
    ) -> None:  # fmt: skip
        pattern = PATTERNS[protocol.pattern]
        name = f"Noise_{pattern}_25519_{CIPHERS[protocol.suite]}_SHA256"
        self.protocol, self.initiator = protocol, initiator
        self._conn = conn = NoiseConnection.from_name(name.encode())
        (conn.set_as_initiator if initiator else conn.set_as_responder)()
        if static is not None and (pattern[0] in "XI" if initiator else pattern[1] in "XK"):
            conn.set_keypair_from_private_bytes(Keypair.STATIC, static)
        if remote is not None and initiator and pattern[1] == "K":
            conn.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        if "psk" in pattern:
            conn.set_psks(psks=[psk])
        conn.set_prologue(prologue)
        conn.start_handshake()
        self._state: Any = conn.noise_protocol.handshake_state
        # The library would draw the ephemeral key itself; here randomness is an argument.
        ephemeral = conn.noise_protocol.dh_fn.klass.from_private_bytes(random_bytes(32))
        self._state.e = ephemeral

    def write(self, payload: bytes = b"") -> bytes:
        """The next message; PacketRefusedError if the peer's key is one with which no secret can be agreed."""
        try:
            return bytes(self._conn.write_message(payload))
        except ValueError as error:
            raise PacketRefusedError("handshake message") from error

    def read(self, message: bytes) -> bytes:
        """The payload of the peer's message; PacketRefusedError leaves the handshake as it was."""
        aead = self._conn.noise_protocol.cipher_state_handshake.cipher.cipher
        conn = copy.deepcopy(self._conn, {id(aead): aead})  # AEAD objects cannot be copied and never change
        state = conn.noise_protocol.handshake_state
        try:
            payload = bytes(conn.read_message(message))
        except (InvalidTag, NoiseHandshakeError, NoiseValueError, ValueError) as error:
            raise PacketRefusedError("handshake message") from error
        self._conn, self._state = conn, state
        return payload

    @property
    def remote(self) -> bytes | None:
        """The peer's static public key, as far as it is known."""
        return getattr(self._state.rs, "public_bytes", None)

    @property
    def split(self) -> Split | None:
        """The keys, once the handshake is finished."""
        if not self._conn.handshake_finished:
            return None
        noise = self._conn.noise_protocol
        sends, receives = noise.cipher_state_encrypt.k, noise.cipher_state_decrypt.k
        return Split(*((sends, receives) if self.initiator else (receives, sends)), self._conn.get_handshake_hash())


# -- One key epoch: records and replay (section 3) -------------------------------------------------------------------

AEADS: Final[dict[int, type[ChaCha20Poly1305] | type[AESGCM]]] = {1: ChaCha20Poly1305, 2: AESGCM}


def padded(length: int) -> int:
    """The size class of content and kind together."""
    return next((size for size in (32, 64, 128, 256, 512, 1024) if length <= size), -(-length // 256) * 256)


class Epoch:
    """The keys, counters and replay window of one epoch."""

    def __init__(
        self, number: int, h: bytes, prk: bytes, *, initiator: bool, suite: int, flags: int, now: float
    ) -> None:
        self.number, self.h, self.suite, self.born = number, h, suite, now
        self.root = expand(prk, b"ng1 root")
        directions = expand(prk, b"ng1 i2r"), expand(prk, b"ng1 r2i")
        sends, receives = directions if initiator else directions[::-1]
        ratchet = bool(flags & FLAG_RATCHET)
        self.sender: Sender = Ratchet(sends) if ratchet else PhaseSender(sends)
        self._receiver: Receiver = RatchetReceiver(receives) if ratchet else PhaseReceiver(receives)
        self.confirmed, self.sent, self._highest, self._window = False, 0, -1, 0
        self.salt = b""
        self.base: Epoch | None = None  # whose root yields this epoch, if it is salted

    def _nonce(self, counter: int) -> bytes:
        return bytes(4) + counter.to_bytes(8, "little" if self.suite == 1 else "big")

    def seal(self, connection_id: bytes, plaintext: bytes, associated_data: bytes) -> tuple[bytes, bytes]:
        """Header and AEAD output of a RECORD."""
        counter, self.sent = self.sent, self.sent + 1
        phase, key = self.sender.take()
        low = (counter & 0xFFFFFFFF).to_bytes(4, "big")
        header = bytes([RECORD]) + connection_id + bytes([self.number & 255, phase & 255]) + low
        return header, AEADS[self.suite](key).encrypt(self._nonce(counter), plaintext, header + associated_data)

    def open(self, header: bytes, sealed: bytes, associated_data: bytes, now: float) -> tuple[int, bytes]:
        """Kind (with its bit 0x80) and content; PacketRefusedError changes nothing."""
        counter = nearest(int.from_bytes(header[11:15], "big"), 32, max(self._highest, 0))
        key = self._receiver.find(header[10], counter, now)
        kind, content = self._decrypt(key, counter, header, sealed, associated_data)
        ahead = counter - self._highest
        if ahead <= 0 and (ahead <= -WINDOW or self._window >> -ahead & 1):
            raise PacketRefusedError("record")
        if ahead > 0:
            self._window = (self._window << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
        else:
            self._window |= 1 << -ahead
        self._highest = max(self._highest, counter)
        self._receiver.opened(header[10], counter, now)
        return kind, content

    def _decrypt(self, key: bytes, counter: int, header: bytes, sealed: bytes, extra: bytes) -> tuple[int, bytes]:
        aead, nonce = AEADS[self.suite](key), self._nonce(counter)
        for associated_data in dict.fromkeys((extra, b"")):
            try:
                opened = aead.decrypt(nonce, sealed, header + associated_data).rstrip(b"\0")
            except InvalidTag:
                continue
            # With associated data given, data must carry it and nothing else may.
            if opened and (not extra or (opened[-1] & 0x7F == DATA) == bool(associated_data)):
                return opened[-1], opened[:-1]
        raise PacketRefusedError("record")


# -- A session: control records and rotation (sections 3 to 5) -------------------------------------------------------


class Session:
    """An established session: its epochs, rotation and control records (sections 3 to 5)."""

    def __init__(
        self, split: Split, random_bytes: Callable[[int], bytes], now: float, *,
        initiator: bool, suite: int, flags: int, connection_id: bytes, chose_id: bool, identity: Identity,
        issued: dict[bytes, Ticket],
    ) -> None:  # fmt: skip
        self.initiator, self.suite, self.flags, self.identity = initiator, suite, flags, identity
        self.connection_id, self.chose_id, self.h = connection_id, chose_id, split.h
        self._random_bytes, self._issued = random_bytes, issued
        self._soft, self._hard = RATCHET_MESSAGES if flags & FLAG_RATCHET else MESSAGES
        prk = extract(split.h, split.k1 + split.k2)
        self.export, self._mask_key = expand(prk, b"ng1 export"), expand(prk, b"ng1 mask")
        self.current = Epoch(0, split.h, prk, initiator=initiator, suite=suite, flags=flags, now=now)
        self.current.confirmed = True  # by the handshake
        self.next: Epoch | None = None
        self.previous: Epoch | None = None
        self.proven = self.closed = self.wants_rotation = False
        self.ticket: Ticket | None = None
        self.step_3: bytes | None = None
        self._repeat, self._ask = Timer(now), Timer(now)
        self.now = self._last_sent = now
        self._previous_until, self._rotated_at, self._wanted_at = math.inf, -math.inf, -math.inf
        self._rotation: tuple[NoiseHandshake, bytes] | None = None
        self._rotating = Timer(now)
        self._answered: tuple[bytes, bytes] | None = None  # rotate-1 and the rotate-2 that made `next`

    @property
    def due(self) -> bool:
        """Whether a soft limit is passed, or a salted epoch waits for a fresh secret."""
        epoch = self.current
        old = self.now - epoch.born >= SOFT_AGE_S or epoch.sent >= self._soft
        return old or bool(epoch.salt) or self.wants_rotation

    def _mask(self, header: bytes, sealed: bytes) -> bytes:
        if not self.flags & FLAG_MASK:
            return header
        # One block as a pseudo-random function of the sample, as in QUIC's header protection: ECB is right here.
        stream = Cipher(algorithms.AES256(self._mask_key), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305
        return header[:9] + bytes(a ^ b for a, b in zip(header[9:15], stream, strict=False)) + header[15:]

    def seal(self, kind: int, content: bytes = b"", associated_data: bytes = b"") -> bytes:
        """A RECORD packet of the current epoch."""
        if not self.initiator and self.due:
            kind |= WANTS_ROTATION
        plaintext = content + bytes([kind])
        if self.flags & FLAG_PAD:
            plaintext = plaintext.ljust(padded(len(plaintext)), b"\0")
        self._last_sent = self.now
        header, sealed = self.current.seal(self.connection_id, plaintext, associated_data)
        return self._mask(header, sealed) + sealed

    def send(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A data record; NotPossibleError past the hard limits, which only a rotation lifts."""
        epoch = self.current
        if self.closed or epoch.sent >= self._hard or self.now - epoch.born >= HARD_AGE_S:
            raise NotPossibleError("the session is closed or needs a rotation")
        return self.seal(DATA, plaintext, associated_data)

    def _question(self) -> bytes:
        return self.seal(KEEP_ALIVE, b"\x01" + self._random_bytes(8))

    def receive(self, packet: bytes, associated_data: bytes, now: float) -> Received:
        """Opens a RECORD or SALTED packet and does what a control record asks."""
        self.now, size = now, HEADER_BYTES[packet[0]]
        if self.closed or len(packet) < size + 17:
            raise PacketRefusedError("record")
        sealed = packet[size:]
        header = self._mask(packet[:size], sealed)
        epoch = self._salted(header) if packet[0] == SALTED else self._held(header[9])
        kind, content = epoch.open(header, sealed, associated_data, now)
        result, first = Received(), not epoch.confirmed
        self._confirm(epoch)
        if packet[0] == RECORD:
            epoch.base = None
        wanted, kind = kind & WANTS_ROTATION, kind & 0x7F
        if kind == DATA:
            result.plaintexts.append(content)
        result.to_send.extend(self._control(kind, content, epoch))
        if first and (not self.initiator or epoch.salt) and not result.to_send:
            result.to_send.append(self.seal(KEEP_ALIVE))
        if not self.proven and not self.initiator and self.flags & FLAG_TICKETS:
            result.to_send.append(self.issue())
        self.proven = True
        if wanted and self.initiator and epoch is self.current and now - self._wanted_at >= WANT_GAP_S:
            rotate_1 = self.renegotiate()
            self._wanted_at = now if rotate_1 else self._wanted_at
            result.to_send.extend(rotate_1)
        return result

    def _held(self, low: int) -> Epoch:
        if self.now > self._previous_until:
            self.previous = None
        for epoch in (self.current, self.previous, self.next):
            if epoch is not None and epoch.number & 255 == low:
                return epoch
        raise PacketRefusedError("record")

    def _salted(self, header: bytes) -> Epoch:
        salt, newest = header[16:32], self.current.number
        if self.current.salt == salt and self.current.number & 255 == header[9]:
            return self.current
        confirmed = newest if self.current.confirmed else newest - 1
        number = confirmed + 1 + (header[9] - confirmed - 1) % 256
        for base in (self.current, self.next, self.previous, self.current.base):
            if base is not None and base.root and base.number & 255 == header[15]:
                tail = salt + number.to_bytes(4, "big")
                h = hashlib.sha256(b"ng1 salted" + base.h + tail).digest()
                prk = extract(tail, expand(base.root, b"ng1 salted"))
                epoch = Epoch(
                    number, h, prk, initiator=self.initiator, suite=self.suite, flags=self.flags, now=self.now
                )
                epoch.salt, epoch.base = salt, base
                return epoch
        raise PacketRefusedError("record")

    def _confirm(self, epoch: Epoch) -> None:
        """Moves on after a record of the epoch has opened: the only place where an epoch is promoted or confirmed."""
        if epoch.confirmed:
            return
        epoch.confirmed = True
        if epoch.salt:  # what the peer's restore overtook gives way, and a zombie of it is not believed
            self.previous, self.next, self._rotation, self._answered = None, None, None, None
            self.current = epoch
            return
        if epoch is self.next:
            self.previous, self.current, self.next, self._answered = self.current, epoch, None, None
        self._previous_until, self._rotated_at, self.wants_rotation = self.now + GRACE_S, self.now, False
        if self.previous is not None:
            self.previous.root = b""

    def _control(self, kind: int, content: bytes, epoch: Epoch) -> list[bytes]:
        if kind == KEEP_ALIVE and len(content) == 9 and content[0] == 1:
            return [self.seal(KEEP_ALIVE, b"\x02" + content[1:])]
        if kind == ROTATE_1 and not self.initiator and epoch is self.current:
            return self._rotate_1(content)
        if kind == ROTATE_2 and epoch is self.current:
            return self._rotate_2(content)
        if kind == TICKET and len(content) > 40:
            self.ticket = self._ticket(content)
        elif kind == CONNECTION_ID and len(content) == 8 and not self.chose_id:
            self.connection_id = content
        elif kind == CLOSE:
            self.closed = True
        return []

    def _ticket(self, content: bytes) -> Ticket:
        lifetime_s, max_early = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
        return Ticket(
            lifetime_s=lifetime_s, max_early=max_early, psk=content[8:40], ticket=content[40:], suite=self.suite,
            flags=self.flags, identity=self.identity, expires_at=self.now + lifetime_s,
        )  # fmt: skip

    def issue(self) -> bytes:
        """The record with a ticket of ours; it is opaque because it is random and means something here alone."""
        psk, opaque = self._random_bytes(32), self._random_bytes(32)
        content = TICKET_S.to_bytes(4, "big") + bytes(4) + psk + opaque
        self._issued[opaque] = self._ticket(content)
        return self.seal(TICKET, content)

    def _rotation_handshake(self) -> NoiseHandshake:
        base, who = self.current, self.identity
        prologue = b"ng1 renegotiate" + base.h + (base.number + 1).to_bytes(4, "big")
        return NoiseHandshake(
            Protocol(NKPSK0 if who.anonymous else IKPSK1, self.suite), prologue, self._random_bytes,
            initiator=self.initiator, static=who.static, remote=who.remote, psk=expand(base.root, b"ng1 renegotiate"),
        )  # fmt: skip

    def _epoch_after(self, split: Split | None) -> Epoch:
        if split is None:
            raise NotPossibleError("the rotation's handshake is not finished")
        number, prk = self.current.number + 1, extract(split.h, split.k1 + split.k2)
        return Epoch(number, split.h, prk, initiator=self.initiator, suite=self.suite, flags=self.flags, now=self.now)

    def renegotiate(self) -> list[bytes]:
        """As initiator rotate-1, unless a rotation is under way; as responder the wish for it."""
        if not self.initiator:
            self.wants_rotation = True
            return [self.seal(KEEP_ALIVE)]
        if self._rotation is not None or not self.current.confirmed:
            return []
        noise = self._rotation_handshake()
        self._rotation, self._rotating = (noise, noise.write()), Timer(self.now)
        return [self.seal(ROTATE_1, self._rotation[1])]

    def _rotate_1(self, message: bytes) -> list[bytes]:
        if self._answered is not None and self._answered[0] == message:
            return [self.seal(ROTATE_2, self._answered[1])]
        if self.now - self._rotated_at < BEGIN_GAP_S:
            return []
        noise = self._rotation_handshake()
        try:
            noise.read(message)
            reply = noise.write()
        except PacketRefusedError:
            return []  # the record itself was genuine and stays opened
        if not self.identity.anonymous and noise.remote != self.identity.remote:
            return []
        self._answered = message, reply
        self.next = self._epoch_after(noise.split)
        return [self.seal(ROTATE_2, self._answered[1])]

    def _rotate_2(self, message: bytes) -> list[bytes]:
        if self._rotation is None:
            return []
        try:
            self._rotation[0].read(message)
        except PacketRefusedError:
            return []
        self.previous, self.current = self.current, self._epoch_after(self._rotation[0].split)
        self._rotation, self._previous_until, self._ask = None, math.inf, Timer(self.now)
        return [self._question()]

    def tick(self, now: float) -> list[bytes]:
        """What is due at `now`: repeats, questions until an epoch is confirmed, rotations that a limit asks for."""
        self.now = now
        if self.closed:
            return []
        due = []
        if self.initiator and self.step_3 is not None and not self.proven and self._repeat.due(now):
            due.append(self.step_3)
        if not self.current.confirmed and self._ask.due(now):
            due.append(self._question())
        if self._rotation is not None:
            if self._rotating.due(now):
                due.append(self.seal(ROTATE_1, self._rotation[1]))
        elif self.initiator and self.due and now - self._rotated_at >= BEGIN_GAP_S:
            due.extend(self.renegotiate())
        elif not self.initiator and self.due and now - self._last_sent >= SILENT_S:
            due.append(self.seal(KEEP_ALIVE))
        return due

    def close(self) -> bytes:
        """The record that ends the session."""
        packet = self.seal(CLOSE)
        self.closed = True
        return packet

    def change_connection_id(self) -> bytes:
        """The record that gives a new connection id; only the side that chose the id does this."""
        if not self.chose_id:
            raise NotPossibleError("the other side chose the connection id")
        fresh = self._random_bytes(8)
        packet = self.seal(CONNECTION_ID, fresh)
        self.connection_id = fresh
        return packet


# -- The player: handshake, RETRY, resume (sections 2 and 6) ---------------------------------------------------------

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
