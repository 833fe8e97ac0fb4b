"""Keys: the schedule, exporter secrets, phases and the ratchet (docs/protocol.md, section 3)."""

from __future__ import annotations

import hashlib
import math
import typing
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from examples.dice.datagram_player.window import WINDOW
from examples.dice.datagram_player.wire import GRACE_S, NotPossibleError, PacketRefusedError

PHASES: Final = 64
KEY, NEXT, CHAIN = b"ng1 key", b"ng1 next", b"ng1 chain"


def expand(prk: bytes, label: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256, 32 bytes."""
    return HKDFExpand(algorithm=SHA256(), length=32, info=label).derive(prk)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract of RFC 5869 with SHA-256."""
    return HKDF.extract(SHA256(), salt, ikm)


def exporter(export: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """An exporter secret of 16 to 255 bytes; label of 1 to 64 bytes, context of at most 1,024."""
    if not (1 <= len(label) <= 64 and len(context) <= 1024 and 16 <= length <= 255):
        raise NotPossibleError("an exporter secret has a label of 1 to 64 bytes and a length of 16 to 255")
    info = b"ng1 exporter" + bytes([len(label)]) + label + hashlib.sha256(context).digest()
    return HKDFExpand(algorithm=SHA256(), length=length, info=info).derive(export)


def nearest(low: int, bits: int, highest: int) -> int:
    """The value with these low bits that is nearest to `highest`, of two the later, and not negative."""
    span = 1 << bits
    latest = highest + (span >> 1)
    value = latest - (latest - low) % span
    return value if value >= 0 else value + span


class Sender(typing.Protocol):
    """Keys for what we seal."""

    def rekey(self) -> bool:
        """Moves to the next phase; False if there is none."""

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

    def rekey(self) -> bool:
        """Moves to the next phase, while there is one."""
        if self._phase + 1 == PHASES:
            return False
        self._chain, self._phase = expand(self._chain, NEXT), self._phase + 1
        return True

    def take(self) -> tuple[int, bytes]:
        """Phase and key of the next message."""
        return self._phase, expand(self._chain, KEY)


class PhaseReceiver:
    """Opens phases ahead of the newest that opened, of 64 in all, and passed ones for the grace."""

    def __init__(self, chain: bytes) -> None:
        self._chain, self._phase = chain, 0
        self._passed: dict[int, tuple[bytes, float]] = {}

    def find(self, phase_low: int, counter: int, now: float) -> bytes:
        """The key of the phase, of which an epoch has 64."""
        phase, chain = nearest(phase_low, 8, self._phase), self._chain
        if phase < self._phase:
            key, until = self._passed.get(phase, (b"", -math.inf))
            if now > until:
                raise PacketRefusedError("record")
            return key
        if phase >= PHASES:
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

    def rekey(self) -> bool:
        """Done already: each message has a key of its own."""
        return True

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
        self._skipped = {at: old for at, old in self._skipped.items() if at >= oldest and now <= old[1]}
