"""The keys of one direction with the ratchet on: a key for every message (docs/protocol.md, section 3).

    P(p) ─┬─> C(0) ─┬─> C(1) ─┬─> ...      a phase: 256 messages, p = counter >> 8, i = counter & 255
          │         └─> key 0 └─> key 1
          └─> P(p+1) ─> ...

Chain value and message key are siblings, so a skipped key that waits for a late record yields no other. Two levels, so
that a receiver that has lost much catches up by few HMACs, and a forged packet costs few.
"""

from __future__ import annotations

import math
from typing import Final

from noisegate_server.noise.primitives import Aead, Cipher, wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S, MAX_PHASES, RATCHET_MESSAGES, WINDOW
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.keys import chain_start, message_key, next_chain, next_phase
from noisegate_server.session.look_ahead import LookAhead

_SHIFT: Final = RATCHET_MESSAGES.bit_length() - 1


class Ratchet:
    """One direction at its next message. The secrets are this object's from here on."""

    __slots__ = ("at", "chain", "following")

    def __init__(self, *, at: int, chain: bytearray, following: bytearray) -> None:
        self.at = at
        """The counter of the next message."""
        self.chain = chain
        """C(at & 255)."""
        self.following = following
        """P((at >> 8) + 1)."""

    @classmethod
    def begin(cls, secret: bytearray) -> Ratchet:
        """At counter 0 of the direction whose P(0) is `secret`, which is wiped."""
        ratchet = cls(at=0, chain=chain_start(secret), following=next_phase(secret))
        wipe(secret)
        return ratchet

    def step(self) -> None:
        """Pass one message."""
        self.at += 1
        if self.at & (RATCHET_MESSAGES - 1):
            chain = next_chain(self.chain)
            wipe(self.chain)
            self.chain = chain
        else:
            self._enter()

    def skip_phases(self, phase: int) -> None:
        """Pass everything before `phase`, without a key of it."""
        while self.at >> _SHIFT < phase:
            self.at = ((self.at >> _SHIFT) + 1) << _SHIFT
            self._enter()

    def wipe(self) -> None:
        """Wipe both secrets."""
        wipe(self.chain)
        wipe(self.following)
        self.chain, self.following = bytearray(), bytearray()

    def _enter(self) -> None:
        secret = self.following
        wipe(self.chain)
        self.chain, self.following = chain_start(secret), next_phase(secret)
        wipe(secret)


class RatchetSender:
    """Keys and counts of what we seal."""

    __slots__ = ("counter", "phase", "ratchet", "sent_bytes")

    aead: Final = None
    """A message's context is used once, and never kept."""

    def __init__(self, ratchet: Ratchet) -> None:
        self.counter = 0
        """That of the next record."""
        self.sent_bytes = 0
        """Bytes of the game's plaintexts."""
        self.ratchet = ratchet
        self.phase = max(ratchet.at - 1, 0) >> _SHIFT
        """That of the message sealed last."""

    @property
    def sealed_bytes(self) -> int:
        """As FastSender.sealed_bytes: a ratchet has no fast path."""
        return self.sent_bytes

    def context(self, counter: int, cipher: Cipher, _aeads: AeadCache) -> Aead:
        """The context of one message, whose key exists nowhere else from here on. ValueError for a passed one.

        And after `wipe`.
        """
        ratchet = self.ratchet
        if counter < ratchet.at:
            raise ValueError("counter: its key was wiped")
        ratchet.skip_phases(counter >> _SHIFT)
        while ratchet.at < counter:
            ratchet.step()
        key = message_key(ratchet.chain)
        ratchet.step()
        self.phase = counter >> _SHIFT
        context = cipher.new(key)
        wipe(key)
        return context

    def rekey(self, _aeads: AeadCache) -> bool:
        """Done already: the next message has a key of its own anyway."""
        return True

    def wipe(self, _aeads: AeadCache) -> None:
        """Wipe what seals."""
        self.ratchet.wipe()


class RatchetReceiver:
    """Keys of what we open."""

    __slots__ = ("look_ahead", "ratchet", "skipped")

    def __init__(self, ratchet: Ratchet) -> None:
        self.ratchet = ratchet
        """Behind the highest message that has opened."""
        self.skipped: dict[int, tuple[bytearray, float]] = {}
        """Keys of messages that were overtaken, by counter, lowest and oldest first, each until its grace ends."""
        self.look_ahead = LookAhead()
        """What packets that claim to lie ahead have made us derive: the next one costs less."""

    @property
    def phase(self) -> int:
        """That of the highest message that has opened."""
        return max(self.ratchet.at - 1, 0) >> _SHIFT

    def find(self, low_phase: int, counter: int, cipher: Cipher, _aeads: AeadCache, now: float) -> tuple[Aead, bool]:
        """The context with which a record may open; `commit` once it has.

        Changes nothing but the look-ahead. DecryptFailed before any derivation for another phase than the counter's,
        for a jump of more than 64 phases, and for a message whose key is gone.
        """
        phase = counter >> _SHIFT
        if phase & 0xFF != low_phase:
            raise DecryptFailed
        ratchet = self.ratchet
        ahead = counter - ratchet.at
        if ahead < 0:
            skipped = self.skipped.get(counter)
            if skipped is None or now >= skipped[1]:
                raise DecryptFailed
            return cipher.new(skipped[0]), True
        if phase - self.phase > MAX_PHASES:
            raise DecryptFailed
        if ahead == 0:
            key = message_key(ratchet.chain)
        else:
            chain = self.look_ahead.chain(counter, ratchet.at, ratchet.chain, ratchet.following, now)
            key = message_key(chain)
            wipe(chain)
        context = cipher.new(key)
        wipe(key)
        return context, True

    def commit(self, _low_phase: int, counter: int, _aeads: AeadCache, now: float) -> bool:
        """Wipe the key of a record that has opened, and keep those that it has overtaken.

        True: `kept_until` has changed.
        """
        ratchet, skipped = self.ratchet, self.skipped
        if counter < ratchet.at:
            key, _ = skipped.pop(counter)
            wipe(key)
            return False
        oldest = counter - WINDOW
        overtakes = counter > ratchet.at
        if overtakes:
            ratchet.skip_phases(max(oldest, 0) >> _SHIFT)
            while ratchet.at < counter:
                if ratchet.at >= oldest:
                    skipped[ratchet.at] = (message_key(ratchet.chain), now + GRACE_S)
                ratchet.step()
        ratchet.step()
        while skipped and (lowest := next(iter(skipped))) < oldest:
            key, _ = skipped.pop(lowest)
            wipe(key)
        self.look_ahead.passed(ratchet.at, now)
        return overtakes

    @property
    def kept_until(self) -> float:
        """When `forget` next has something to wipe (monotonic seconds)."""
        skipped = next(iter(self.skipped.values()))[1] if self.skipped else math.inf
        return min(skipped, self.look_ahead.until)

    def forget(self, now: float) -> None:
        """Wipe the keys of skipped messages whose grace has ended, and what was derived ahead as long ago."""
        if now >= self.look_ahead.until:
            self.look_ahead.wipe()
        for counter in [counter for counter, (_, until) in self.skipped.items() if now >= until]:
            key, _ = self.skipped.pop(counter)
            wipe(key)

    def wipe(self, _aeads: AeadCache) -> None:
        """Wipe what opens."""
        self.forget(math.inf)
        self.look_ahead.wipe()
        self.ratchet.wipe()
