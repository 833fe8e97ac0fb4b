"""Very many sessions in the service of this process.

They are installed from ready keys, so many in a second of the service's own clock, which runs ahead meanwhile; one
packet each way is opened and sealed in every one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from noisegate_server import process
from noisegate_server.config import Config
from noisegate_server.engine import records, upkeep
from noisegate_server.engine.parts import Parts
from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.server import Server
from noisegate_server.session.datagram import RECORD, DatagramRecords
from noisegate_server.session.epoch import begin_epoch
from noisegate_server.session.hello import Flags
from noisegate_server.session.keys import EpochSecrets, phase_key
from noisegate_server.session.limits import RotationLimits, limits_for
from noisegate_server.session.packets import RECORD_HEADER, Kind
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import SUITES, Pattern, Suite

__all__ = ["PAYLOAD", "TENANT", "Crowd"]

TENANT: Final = "local"
PAYLOAD: Final = 256
_PER_SECOND: Final = 500
_SUITE: Final = Suite.CHACHA20_POLY1305_X25519
_WEEK: Final = 7 * 86_400.0
_DAY: Final = 86_400.0
"""Idle timeout: shorter than what is left of life, as in a session that is not about to end."""
_GROUP: Final = 100
"""Players of a match."""
_SAMPLE: Final = 1_000
"""In every so many sessions what the service has sealed is opened, too."""


class Clock:
    """The system's, and as much ahead of it as the sessions were installed faster than they come."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._held: float | None = None

    def __call__(self) -> float:
        return time.monotonic() + self.ahead if self._held is None else self._held

    def hold(self) -> None:
        """Stand still from here on: nothing falls due any more, and no batch pauses."""
        self._held = self()


class Crowd:
    """The service of this process and its sessions."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = Server(
            Config.model_validate(
                {"listen": "127.0.0.1:0", "dev": True, "max_sessions": 1_200_000, "sessions_per_tenant": 1_200_000}
            ),
            clock=self.clock,
        )
        self.numbers = count()
        self.address = ""
        self.limits = limits_for(RotationLimits(), mode=RecordMode.DATAGRAM, cipher=SUITES[_SUITE].cipher)

    async def start(self) -> None:
        """Listen, and let the collector be as it is in a running service."""
        self.address = str(await self.server.start())
        process.collect_what_is_new()

    @property
    def parts(self) -> Parts:
        """The service's, below the seam."""
        parts = self.server._parts
        if parts is None:
            raise RuntimeError("not started")
        return parts

    def install(
        self,
        sessions: int,
        idle_timeout: Callable[[float], float] = lambda _now: _DAY,
        *,
        per_second: int = _PER_SECOND,
    ) -> None:
        """Add sessions, then let time pass until all of them are packed."""
        done = 0
        while done < sessions:
            for _ in range(min(per_second, sessions - done)):
                self._add(idle_timeout(self.clock()))
                done += 1
            self.pass_time(1.0)
        self.rest()

    def renew(self, session_ids: list[bytes]) -> None:
        """Make keys as young as if these sessions had rotated now: calls are measured, not refusals for their age."""
        for session_id in session_ids:
            session = self.parts.store.get(TENANT, session_id, self.clock())
            if isinstance(session.records, DatagramRecords):
                session.records.current.began_at = self.clock()
                session.records.count_anew()

    def rest(self) -> None:
        """Let time pass until all sessions are packed."""
        for _ in range(20):
            self.pass_time(1.0)

    def pass_time(self, seconds: float) -> None:
        """Let the clock run ahead, and do all that is due then."""
        self.clock.ahead += seconds
        store, now = self.parts.store, self.clock()
        while (due := store.next_expiry()) is not None and due <= now:
            store.sweep(now, 64)
            upkeep.forget(self.parts, now, time.time(), 64)

    def _add(self, idle_timeout: float) -> None:
        parts, now, number = self.parts, self.clock(), next(self.numbers)
        random = os.urandom(32 * 6 + 8)
        i2r, r2i, root, export, h, static = (random[at : at + 32] for at in range(0, 192, 32))
        session = Session(
            session_id=parts.session_id(),
            tenant=TENANT,
            peer_id=f"player-{number}",
            group=f"match-{number // _GROUP}",
            mode=RecordMode.DATAGRAM,
            role=Role.RESPONDER,
            pattern=Pattern.IK,
            suite=_SUITE,
            flags=Flags.DATAGRAM,
            prologue_hash=sha256(b"").digest(),
            opening=None,
            idle_timeout=idle_timeout,
            lifetime=_WEEK,
            handshake_timeout=10.0,
            chain_end_wall=time.time() + _WEEK,
            aeads=parts.aeads,
            now=now,
        )
        session.remote_static = static
        epoch = begin_epoch(
            EpochSecrets(i2r=bytearray(i2r), r2i=bytearray(r2i), root=bytearray(root)),
            number=0,
            h=h,
            initiator=False,
            ratchet=False,
            now=now,
            confirmed=True,
        )
        connection_id = random[192:]
        session.establish(
            DatagramRecords(
                cipher=CIPHERS[SUITES[_SUITE].cipher],
                connection_id=connection_id,
                mask_key=None,
                padded=False,
                ratchet=False,
                initiator=False,
                epoch=epoch,
                limits=self.limits,
            ),
            handshake_hash=h,
            export=bytearray(export),
            now=now,
        )
        parts.store.add(session, now)
        self._talk(session.session_id, connection_id, i2r, r2i if number % _SAMPLE == 0 else b"")

    def _talk(self, session_id: bytes, connection_id: bytes, i2r: bytes, r2i: bytes) -> None:
        """One packet each way; with `r2i` the player opens what it gets."""
        now, nonce = self.clock(), bytes(12)
        header, said = RECORD_HEADER.pack(RECORD, connection_id, 0, 0, 0), os.urandom(PAYLOAD)
        body = ChaCha20Poly1305(phase_key(i2r)).encrypt(nonce, said + bytes((Kind.DATA,)), header)
        opened = records.decrypt(
            self.parts, TENANT, session_id, header + body, b"", ticket=False, now=now, wall=time.time()
        )
        sealed = records.encrypt(self.parts, TENANT, session_id, said, b"", now)
        if opened.plaintext != said or sealed.counter != 0:
            raise RuntimeError("the service has not opened what was sealed")
        if r2i:
            answer = sealed.ciphertext
            back = ChaCha20Poly1305(phase_key(r2i)).decrypt(nonce, answer[len(header) :], answer[: len(header)])
            if back[:-1] != said:
                raise RuntimeError("the player cannot open what the service has sealed")
