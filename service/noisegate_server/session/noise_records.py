"""Records of NOISE mode: bare transport messages over an ordered transport, as any Noise library makes them.

Noise revision 34, section 5: counters are implicit, so every message changes both sides, and one that fails changes
nothing. A renegotiation runs the session's own pattern again; the game carries its messages inside the session and says
where in its ordered stream each direction changes to the new keys (docs/protocol.md, section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from noisegate_server.noise import CipherState, HandshakeState
from noisegate_server.noise.cipher_state import rekeyed
from noisegate_server.noise.primitives import Aead, Cipher, InvalidTag, wipe
from noisegate_server.session.aeads import AeadCache, Keyed
from noisegate_server.session.constants import (
    MAX_COUNTER,
    MAX_NOISE_MESSAGE,
    MAX_NOISE_PLAINTEXT,
    NOISE_OVERHEAD,
    RESERVED_COUNTERS,
)
from noisegate_server.session.errors import DecryptFailed, EpochConflict, MessageTooLarge, RekeyRequired
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import Kind
from noisegate_server.session.sealed import Opened, Sealed
from noisegate_server.session.state import RecordMode


class Stream(Keyed):
    """One direction: a key and the counter of its next message."""

    __slots__ = ("key", "n")

    def __init__(self, key: bytearray) -> None:
        self.aead = None
        self.asked = 0
        self.key = key
        self.n = 0

    def __repr__(self) -> str:
        return f"Stream(n={self.n})"

    def rekey(self, cipher: Cipher, aeads: AeadCache) -> None:
        """Noise section 11.3: a new key out of the old one; the counter runs on."""
        state = CipherState(cipher)
        state.initialize_key(self.key)
        state.rekey()
        fresh = state.take_key()
        self.wipe(aeads)
        self.key = fresh

    def advance(self, context: Aead, cipher: Cipher) -> None:
        """As `rekey`, by the context of a key of which no context is kept."""
        fresh = rekeyed(cipher, context)
        self.key[:] = fresh

    def wipe(self, aeads: AeadCache) -> None:
        aeads.drop(self)
        wipe(self.key)


@dataclass(slots=True, kw_only=True, repr=False)
class Replacement:
    """New keys that a finished renegotiation has given; each direction changes when the game says so."""

    send: Stream | None
    receive: Stream | None
    root: bytearray
    h: bytes
    asked: bytes = b""
    """The player's message that has given them, so that a repeat gets the same answer."""
    answer: tuple[bytes, ...] = ()

    @property
    def is_untouched(self) -> bool:
        """Neither direction has changed yet: a renegotiation that begins anew takes its place."""
        return self.send is not None and self.receive is not None

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret that no direction has taken over."""
        for stream in (self.send, self.receive):
            if stream is not None:
                stream.wipe(aeads)
        wipe(self.root)


class NoiseRecords:
    """The record layer of one NOISE session."""

    __slots__ = (
        "began_at",
        "cipher",
        "due",
        "due_at",
        "epoch",
        "h",
        "limits",
        "look_at",
        "nonce",
        "opened",
        "ratchet",
        "receive",
        "renegotiation",
        "replacement",
        "reserve",
        "root",
        "sealed",
        "sealed_bytes",
        "send",
    )

    mode: Final = RecordMode.NOISE
    overhead: Final = NOISE_OVERHEAD
    wipe_at: Final = math.inf
    """Never: what is passed is wiped at once."""

    def __init__(
        self,
        *,
        cipher: Cipher,
        send: Stream,
        receive: Stream,
        ratchet: bool,
        root: bytearray,
        h: bytes,
        limits: RotationLimits,
        now: float,
    ) -> None:
        self.cipher = cipher
        self.nonce = cipher.nonce
        self.send = send
        self.receive = receive
        self.ratchet = ratchet
        """Whether each direction does Rekey() after each of its messages."""
        self.root = root
        self.h = h
        self.limits = limits
        self.epoch = 0
        self.sealed = 0
        """Messages since the last switch, as the next."""
        self.sealed_bytes = 0
        self.opened = 0
        self.due = False
        """A soft limit is passed."""
        self.look_at = 0
        """The number of sealed messages from which on `seal` has to look at the limits."""
        self.reserve = RESERVED_COUNTERS
        """Messages that a rotation under way may still seal past a hard limit."""
        self.began_at = now
        """When what we seal came under its keys (monotonic seconds)."""
        self.renegotiation: HandshakeState | None = None
        self.replacement: Replacement | None = None
        self.due_at = math.inf
        """When a limit of age is passed. Nothing is sent in this mode that the caller did not ask for."""
        self._reschedule()

    @property
    def rotating(self) -> bool:
        """A renegotiation has begun and not both directions have changed."""
        return self.renegotiation is not None or self.replacement is not None

    def connection_ids(self) -> tuple[bytes, ...]:
        """None: the game's connection is the session's."""
        return ()

    def seal(self, plaintext: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> Sealed:
        """Seal a transport message. RekeyRequired at a hard limit; MessageTooLarge.

        Past the hard limit a rotation that is under way has 1,024 messages more: its own travel as the game's data.
        """
        stream = self.send
        n = stream.n
        size = len(plaintext)
        if n >= MAX_COUNTER - RESERVED_COUNTERS:
            raise RekeyRequired("this key has sealed as many messages as it may")
        if size > MAX_NOISE_PLAINTEXT:
            raise MessageTooLarge("plaintext", MAX_NOISE_PLAINTEXT)
        sealed = self.sealed
        if sealed >= self.look_at or now >= self.due_at:
            self.look(sealed, now)
        stream.n = n + 1
        self.sealed = sealed + 1
        self.sealed_bytes += size
        if self.ratchet:
            context = self.cipher.new(stream.key)
            ciphertext = context.encrypt(self.nonce(n), plaintext, associated_data)
            stream.advance(context, self.cipher)
        else:
            context = stream.aead or aeads.build(stream, self.cipher, stream.key)
            ciphertext = context.encrypt(self.nonce(n), plaintext, associated_data)
        return Sealed(ciphertext, n, self.epoch, self.due)

    def open(self, message: bytes, associated_data: bytes, now: float, aeads: AeadCache) -> Opened:
        """Open the transport message that comes next in the stream. DecryptFailed changes nothing."""
        stream = self.receive
        n = stream.n
        if not NOISE_OVERHEAD <= len(message) <= MAX_NOISE_MESSAGE or n > MAX_COUNTER:
            raise DecryptFailed
        if self.ratchet:
            context = self.cipher.new(stream.key)
        else:
            context = stream.aead or aeads.build(stream, self.cipher, stream.key)
        try:
            content = context.decrypt(self.nonce(n), message, associated_data)
        except InvalidTag:
            raise DecryptFailed from None
        stream.n = n + 1
        if self.ratchet:
            stream.advance(context, self.cipher)
        self.opened += 1
        return Opened(Kind.DATA, content, n, self.epoch, True, False, False)

    def context(self, stream: Stream, aeads: AeadCache) -> Aead:
        """The context of a stream's next message: with the ratchet one of its own, otherwise that of the key."""
        if self.ratchet:
            return self.cipher.new(stream.key)
        return stream.aead or aeads.build(stream, self.cipher, stream.key)

    def fall_due(self) -> None:
        """A soft limit is passed: answers say so, and the game rotates."""
        self.due = True
        self._reschedule()

    def upkeep(self, now: float) -> None:
        """Do what is due: see whether the keys are as old as the soft limit of age."""
        if not self.due and now >= self.began_at + self.limits.soft_age:
            self.fall_due()

    def rekey_send(self, aeads: AeadCache) -> int:
        """Rekey() what we seal; the counter of the first message under the new key."""
        self.send.rekey(self.cipher, aeads)
        return self.send.n

    def rekey_receive(self, aeads: AeadCache) -> int:
        """Rekey() what we open; the counter of the first message under the new key."""
        self.receive.rekey(self.cipher, aeads)
        return self.receive.n

    def can_switch(self, *, send: bool, receive: bool) -> bool:
        """Whether there are new keys for every direction that is asked for: a call changes all of them or none."""
        replacement = self.replacement
        if replacement is None:
            return not send and not receive
        return (not send or replacement.send is not None) and (not receive or replacement.receive is not None)

    def switch_send(self, aeads: AeadCache, now: float) -> None:
        """Seal under the new keys from here on. EpochConflict where there are none."""
        replacement = self.replacement
        if replacement is None or replacement.send is None:
            raise EpochConflict(self.epoch)
        self.send.wipe(aeads)
        self.send, replacement.send = replacement.send, None
        self.epoch += 1
        self.sealed = self.sealed_bytes = self.look_at = 0
        self.reserve = RESERVED_COUNTERS
        self.began_at = now
        self.due = False
        self._reschedule()
        self._settle(replacement)

    def switch_receive(self, aeads: AeadCache) -> None:
        """Open under the new keys from here on. EpochConflict where there are none."""
        replacement = self.replacement
        if replacement is None or replacement.receive is None:
            raise EpochConflict(self.epoch)
        self.receive.wipe(aeads)
        self.receive, replacement.receive = replacement.receive, None
        self.opened = 0
        self._settle(replacement)

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret of this session's records."""
        self.send.wipe(aeads)
        self.receive.wipe(aeads)
        wipe(self.root)
        if self.renegotiation is not None:
            self.renegotiation.wipe()
        if self.replacement is not None:
            self.replacement.wipe(aeads)
        self.renegotiation = self.replacement = None

    def look(self, sealed: int, now: float) -> None:
        """Compare the keys' use and age with the limits. RekeyRequired past a hard one."""
        limits = self.limits
        if limits.is_hard_passed(sealed, self.sealed_bytes) or now >= self.began_at + limits.hard_age:
            if not self.rotating or not self.reserve or sealed >= limits.hard_messages:
                raise RekeyRequired("this key has sealed as much as it may, or is as old as it may be")
            self.reserve -= 1
        if not self.due and limits.is_soft_passed(sealed, self.sealed_bytes):
            self.fall_due()
        self.upkeep(now)
        self.look_at = limits.next_look(sealed, self.sealed_bytes, MAX_NOISE_PLAINTEXT, due=self.due)

    def _reschedule(self) -> None:
        limits = self.limits
        self.due_at = self.began_at + (limits.hard_age if self.due else min(limits.soft_age, limits.hard_age))

    def _settle(self, replacement: Replacement) -> None:
        if replacement.send is None and replacement.receive is None:
            wipe(self.root)
            self.root, self.h = replacement.root, replacement.h
            self.replacement = None
