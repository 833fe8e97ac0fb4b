"""One key epoch of a DATAGRAM session: both directions' chains of phases, counters and replay window.

docs/protocol.md, section 3 (ratchet off). P0 of a direction is its traffic secret, P(p+1) follows from P(p), and a
phase's AEAD key from its P. Counters run on over phases. Sending moves only when we rekey; receiving moves only after a
record of a later phase has opened. Nothing kept here yields an earlier key: passed P are wiped, and the root is their
sibling.
"""

from __future__ import annotations

import math

from noisegate_server.noise.primitives import Aead, Cipher, wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S, MAX_PHASES
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.keys import next_phase, phase_key
from noisegate_server.session.replay import ReplayWindow


class Epoch:
    """Keys, counters and window of one epoch. Owned by one session; secrets are wiped by `wipe()`."""

    __slots__ = (
        "began_at",
        "confirmed",
        "expires_at",
        "h",
        "number",
        "opened",
        "passed",
        "receive_phase",
        "receive_secret",
        "receive_serial",
        "root",
        "send_counter",
        "send_phase",
        "send_secret",
        "send_serial",
        "window",
    )

    def __init__(
        self,
        *,
        number: int,
        h: bytes,
        root: bytearray,
        send_secret: bytearray,
        receive_secret: bytearray,
        aeads: AeadCache,
        now: float,
        confirmed: bool,
    ) -> None:
        self.number = number
        self.h = h
        self.root = root
        self.send_secret = send_secret
        self.send_phase = 0
        self.send_counter = 0
        self.send_serial = aeads.serial()
        self.receive_secret = receive_secret
        self.receive_phase = 0
        self.receive_serial = aeads.serial()
        self.passed: dict[int, tuple[bytearray, float]] = {}
        """Receive keys of passed phases, each until its grace ends (monotonic seconds)."""
        self.window = ReplayWindow()
        self.opened = 0
        self.confirmed = confirmed
        """A record of this epoch from the peer has opened (epoch 0: its handshake has finished)."""
        self.began_at = now
        self.expires_at = math.inf
        """Set when a newer epoch was confirmed: the receive keys live until then (monotonic seconds)."""

    def __repr__(self) -> str:
        return f"Epoch(number={self.number}, confirmed={self.confirmed})"

    def send_context(self, cipher: Cipher, aeads: AeadCache) -> Aead:
        """Build the AEAD context of the current send phase; the caller has looked in the cache before."""
        key = phase_key(self.send_secret)
        context = aeads.build(self.send_serial, cipher, key)
        wipe(key)
        return context

    def receive_context(
        self, phase: int, cipher: Cipher, aeads: AeadCache, now: float
    ) -> tuple[Aead, bytearray | None]:
        """The context with which a record of `phase` may open, and P(phase) where the phase lies ahead of ours.

        Changes nothing: a phase ahead is derived aside, and the caller gives it to `enter_phase` once a record of it
        has opened. DecryptFailed for a phase more than 64 ahead, or passed for longer than the grace.
        """
        ahead = phase - self.receive_phase
        if ahead == 0:
            context = aeads.get(self.receive_serial)
            if context is None:
                key = phase_key(self.receive_secret)
                context = aeads.build(self.receive_serial, cipher, key)
                wipe(key)
            return context, None
        if ahead < 0:
            passed = self.passed.get(phase)
            if passed is None or now >= passed[1]:
                raise DecryptFailed
            return cipher.new(passed[0]), None
        if ahead > MAX_PHASES or phase >= MAX_PHASES:
            raise DecryptFailed
        secret = bytearray(self.receive_secret)
        for _ in range(ahead):
            following = next_phase(secret)
            wipe(secret)
            secret = following
        key = phase_key(secret)
        context = cipher.new(key)
        wipe(key)
        return context, secret

    def enter_phase(self, phase: int, secret: bytearray, aeads: AeadCache, now: float) -> None:
        """Move receiving to `phase`, of which a record has opened; keep the keys passed on the way for the grace."""
        self.forget_passed(now)
        walker = self.receive_secret
        for passed in range(self.receive_phase, phase):
            self.passed[passed] = (phase_key(walker), now + GRACE_S)
            following = next_phase(walker)
            wipe(walker)
            walker = following
        wipe(walker)
        aeads.drop(self.receive_serial)
        self.receive_serial = aeads.serial()
        self.receive_phase = phase
        self.receive_secret = secret

    def rekey_send(self, aeads: AeadCache) -> bool:
        """Move sending to the next phase. False, and nothing done, when the epoch's 64 phases are used up."""
        if self.send_phase + 1 >= MAX_PHASES:
            return False
        following = next_phase(self.send_secret)
        wipe(self.send_secret)
        aeads.drop(self.send_serial)
        self.send_secret = following
        self.send_phase += 1
        self.send_serial = aeads.serial()
        return True

    def stop_sending(self, aeads: AeadCache) -> None:
        """Wipe what seals; what opens lives on until the grace ends."""
        aeads.drop(self.send_serial)
        wipe(self.send_secret)

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret of this epoch."""
        self.stop_sending(aeads)
        aeads.drop(self.receive_serial)
        wipe(self.receive_secret)
        wipe(self.root)
        for key, _ in self.passed.values():
            wipe(key)
        self.passed.clear()

    @property
    def passed_until(self) -> float:
        """When `forget_passed` next has something to wipe (monotonic seconds)."""
        return min((until for _, until in self.passed.values()), default=math.inf)

    def forget_passed(self, now: float) -> None:
        """Wipe the keys of passed phases whose grace has ended."""
        for phase in [phase for phase, (_, until) in self.passed.items() if now >= until]:
            key, _ = self.passed.pop(phase)
            wipe(key)
