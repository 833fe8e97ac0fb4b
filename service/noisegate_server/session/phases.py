"""The keys of one direction with the ratchet off: one AEAD key for each phase (docs/protocol.md, section 3).

P(0) is the direction's traffic secret, P(p+1) follows from P(p), the AEAD key of a phase from its P. Sending moves only
when we rekey, receiving only after a record of a later phase has opened. Passed P are wiped, so nothing kept here
yields an earlier key; the AEAD keys of passed phases are kept for records that are late.

`session.ratchet` has the same interface for a key of every message.
"""

from __future__ import annotations

import math

from noisegate_server.noise.primitives import Aead, Cipher, wipe
from noisegate_server.session.aeads import AeadCache, Keyed
from noisegate_server.session.constants import GRACE_S, MAX_PHASES
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.fast_sender import FastSender
from noisegate_server.session.keys import next_phase, phase_key
from noisegate_server.session.replay import nearest


class PhaseSender(FastSender):
    """Keys and counts of what we seal. The secret is this object's from here on."""

    __slots__ = ("cached_key", "phase", "secret")

    def __init__(self, secret: bytearray) -> None:
        super().__init__()
        self.secret = secret
        self.cached_key = bytearray()
        """The phase's AEAD key, once it was needed: to derive it costs more than to build its context from it."""
        self.phase = 0

    def context(self, _counter: int, cipher: Cipher, aeads: AeadCache) -> Aead:
        """Build the AEAD context of the phase, which is not there. ValueError after `wipe`."""
        if not self.cached_key:
            self.cached_key = phase_key(self.secret)
        return aeads.build(self, cipher, self.cached_key)

    def rekey(self, aeads: AeadCache) -> bool:
        """Move to the next phase. False, and nothing done, when the epoch's 64 phases are used up."""
        if self.phase + 1 >= MAX_PHASES:
            return False
        following = next_phase(self.secret)
        self.wipe(aeads)
        self.secret = following
        self.phase += 1
        return True

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe what seals; no fast path leads here any more."""
        self.leave_fast_path()
        aeads.drop(self)
        wipe(self.secret)
        wipe(self.cached_key)
        self.secret, self.cached_key = bytearray(), bytearray()


class PhaseReceiver(Keyed):
    """Keys of what we open. The secret is this object's from here on."""

    __slots__ = ("cached_key", "passed", "phase", "secret")

    def __init__(self, secret: bytearray) -> None:
        self.aead = None
        self.asked = 0
        self.secret = secret
        self.cached_key = bytearray()
        """As PhaseSender.cached_key."""
        self.phase = 0
        self.passed: dict[int, tuple[bytearray, float]] = {}
        """AEAD keys of passed phases, oldest first, each until its grace ends (monotonic seconds)."""

    def find(self, low_phase: int, _counter: int, cipher: Cipher, aeads: AeadCache, now: float) -> tuple[Aead, bool]:
        """The context with which a record may open, and whether `commit` has something to do once it has.

        Changes nothing: a phase ahead is derived aside. DecryptFailed for a phase more than 64 ahead, or passed for
        longer than the grace.
        """
        phase = nearest(low_phase, 8, self.phase)
        ahead = phase - self.phase
        if ahead == 0:
            return self.aead or self.context(cipher, aeads), False
        if ahead < 0:
            passed = self.passed.get(phase)
            if passed is None or now >= passed[1]:
                raise DecryptFailed
            return cipher.new(passed[0]), False
        if ahead > MAX_PHASES or phase >= MAX_PHASES:
            raise DecryptFailed
        secret = bytearray(self.secret)
        for _ in range(ahead):
            following = next_phase(secret)
            wipe(secret)
            secret = following
        key = phase_key(secret)
        context = cipher.new(key)
        wipe(key)
        wipe(secret)
        return context, True

    def context(self, cipher: Cipher, aeads: AeadCache) -> Aead:
        """Build the AEAD context of the phase, which is not there. ValueError after `wipe`."""
        if not self.cached_key:
            self.cached_key = phase_key(self.secret)
        return aeads.build(self, cipher, self.cached_key)

    def commit(self, low_phase: int, _counter: int, aeads: AeadCache, now: float) -> bool:
        """Move to the phase of a record that has opened, and keep the keys passed on the way for the grace.

        True: `kept_until` has changed.
        """
        self.forget(now)
        phase = nearest(low_phase, 8, self.phase)
        secret = self.secret
        for passed in range(self.phase, phase):
            self.passed[passed] = (phase_key(secret), now + GRACE_S)
            following = next_phase(secret)
            wipe(secret)
            secret = following
        aeads.drop(self)
        self._forget_key()
        self.phase = phase
        self.secret = secret
        return True

    @property
    def kept_until(self) -> float:
        """When `forget` next has something to wipe (monotonic seconds)."""
        return next(iter(self.passed.values()))[1] if self.passed else math.inf

    def forget(self, now: float) -> None:
        """Wipe the keys of passed phases whose grace has ended."""
        for phase in [phase for phase, (_, until) in self.passed.items() if now >= until]:
            key, _ = self.passed.pop(phase)
            wipe(key)

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe what opens."""
        self.forget(math.inf)
        aeads.drop(self)
        wipe(self.secret)
        self.secret = bytearray()
        self._forget_key()

    def _forget_key(self) -> None:
        wipe(self.cached_key)
        self.cached_key = bytearray()
