"""`handshake-ik`: a Noise responder's work / its X25519 floor. `resume`: a responder's with a ticket / without one.

Both are CPU time of this thread, in process. Every handshake is finished at the other end, too, and talks.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from noisegate_server.bench.instances import TENANT, begin, make_instance, respond
from noisegate_server.bench.measure import Taken, in_turn
from noisegate_server.engine import handshake, records, redeem, resume, sessions, tickets
from noisegate_server.noise import CipherState, HandshakeState, KeyPair, ProtocolName
from noisegate_server.session.hello import Flags
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from noisegate_server.session.ticket import Ticket, TicketKey, TicketKeys, open_ticket, seal_ticket

__all__ = ["Responder", "measure_ik", "measure_resume"]

_COUNT: Final = 20
"""Handshakes of a turn."""
_TURNS: Final = 5
_ROUNDS: Final = 61
_WHOLE_ROUNDS: Final = 5
_EXCHANGES: Final = 4


class Responder:
    """Responders of one protocol in HandshakeState, from their making to split, key generation included."""

    def __init__(self, name: str) -> None:
        self._protocol = ProtocolName.parse(name)
        self._static = KeyPair.generate(os.urandom)
        knows = bool(self._protocol.pattern.responder_pre)
        self._known = self._static.public if knows else None

    async def cost(self) -> float:
        """CPU nanoseconds of one responder; RuntimeError where the ends do not agree."""
        initiators = self._initiators()
        messages = [each.write_message() for each in initiators]
        began = time.thread_time_ns()
        responders = [self._responder(number) for number in range(_COUNT)]
        replies = [_answer(each, message) for each, message in zip(responders, messages, strict=True)]
        spent = time.thread_time_ns() - began
        for each, reply in zip(initiators, replies, strict=True):
            each.read_message(reply)
        lasts = [b"" if each.is_finished else each.write_message() for each in initiators]
        began = time.thread_time_ns()
        splits = [_finish(each, last) for each, last in zip(responders, lasts, strict=True)]
        spent += time.thread_time_ns() - began
        for near, (_, seals) in zip(initiators, splits, strict=True):
            _, opens = near.split()
            if opens.decrypt_with_ad(b"", seals.encrypt_with_ad(b"", b"hello")) != b"hello":
                raise RuntimeError("the two ends do not understand each other")
        return spent / _COUNT

    def _initiators(self) -> list[HandshakeState]:
        """The other ends: no part of the work."""
        return [
            HandshakeState(
                self._protocol, initiator=True, s=KeyPair.generate(os.urandom), rs=self._known, random_bytes=os.urandom
            )
            for _ in range(_COUNT)
        ]

    def _responder(self, _number: int) -> HandshakeState:
        return HandshakeState(self._protocol, initiator=False, s=self._static, random_bytes=os.urandom)


class _Resumer(Responder):
    """As Responder, of NNpsk0 with a PSK from a ticket that is opened first."""

    def __init__(self) -> None:
        super().__init__(NOISE_NAMES[Pattern.NNPSK0, Suite.CHACHA20_POLY1305_X25519])
        self._keys = TicketKeys(current=TicketKey(key_id=os.urandom(8), key=os.urandom(32)))
        self._tickets: list[bytes] = []

    def _initiators(self) -> list[HandshakeState]:
        psks = [os.urandom(32) for _ in range(_COUNT)]
        self._tickets = [seal_ticket(self._keys, _ticket(psk), os.urandom) for psk in psks]
        return [HandshakeState(self._protocol, initiator=True, psks=(psk,), random_bytes=os.urandom) for psk in psks]

    def _responder(self, number: int) -> HandshakeState:
        ticket = open_ticket(self._keys, TENANT, self._tickets[number], time.time())
        state = HandshakeState(self._protocol, initiator=False, psks=(ticket.psk,), random_bytes=os.urandom)
        ticket.wipe()
        return state


def _ticket(psk: bytes) -> Ticket:
    now = time.time()
    return Ticket(
        id=os.urandom(16), psk=bytearray(psk), remote_static=os.urandom(32), prologue_hash=os.urandom(32),
        tenant=TENANT, peer_id="player", group="match", role=Role.RESPONDER, suite=Suite.CHACHA20_POLY1305_X25519,
        mode=RecordMode.DATAGRAM, flags=Flags.DATAGRAM, issuer=os.urandom(16), issued_wall=now,
        absolute_end_wall=now + 86_400.0, identity=os.urandom(32),
    )  # fmt: skip


def _answer(responder: HandshakeState, message: bytes) -> bytes:
    responder.read_message(message)
    return responder.write_message()


def _finish(responder: HandshakeState, last: bytes) -> tuple[CipherState, CipherState]:
    if not responder.is_finished:
        responder.read_message(last)
    return responder.split()


async def _floor() -> float:
    """CPU nanoseconds of a key generation and four exchanges, keys loaded."""
    static = X25519PrivateKey.generate()
    peer = X25519PrivateKey.generate().public_key()
    shared = set()
    began = time.thread_time_ns()
    for _ in range(_COUNT):
        ephemeral = X25519PrivateKey.generate()
        ephemeral.public_key().public_bytes_raw()
        for number in range(_EXCHANGES):
            shared.add((static if number % 2 else ephemeral).exchange(peer))
    spent = time.thread_time_ns() - began
    if len(shared) != _COUNT + 1:
        raise RuntimeError("two ephemeral keys are the same")
    return spent / _COUNT


async def measure_ik() -> Taken:
    """Take `handshake-ik`."""
    responder = Responder("Noise_IK_25519_ChaChaPoly_SHA256")
    await responder.cost()
    await _floor()
    return await in_turn(responder.cost, _floor, _ROUNDS, _TURNS)


class _Returning:
    """Players who have a session with a service, and come back to it."""

    def __init__(self) -> None:
        self._players = make_instance()
        self._service = make_instance()
        self._ids: list[tuple[bytes, bytes]] = []
        """Of each session the id at the player and at the service."""
        self._wall = time.time()

    def _tick(self) -> float:
        """A later wall time: all players are one static key here, and its hellos must be younger each than the last."""
        self._wall += 0.002
        return self._wall

    async def full(self) -> float:
        """CPU nanoseconds of the service for an XX handshake, as its responder."""
        await self._part()
        now, walls = time.monotonic(), [self._tick() for _ in range(_COUNT)]
        begun = [begin(self._players, Pattern.XX, b"", now, wall) for wall in walls]
        began = time.thread_time_ns()
        second = [
            respond(self._service, step.to_peer[0], f"player {number}", now, walls[number])
            for number, step in enumerate(begun)
        ]
        spent = time.thread_time_ns() - began
        third = [
            handshake.proceed(self._players, TENANT, first.session_id, step.to_peer[0], b"", now, self._wall)
            for first, step in zip(begun, second, strict=True)
        ]
        began = time.thread_time_ns()
        for answered, step in zip(second, third, strict=True):
            handshake.proceed(self._service, TENANT, answered.session_id, step.to_peer[0], b"", now, self._wall)
        spent += time.thread_time_ns() - began
        self._ids = [(near.session_id, far.session_id) for near, far in zip(begun, second, strict=True)]
        self._talk()
        return spent / _COUNT

    async def back(self) -> float:
        """CPU nanoseconds of the service for a resume, as its responder; the sessions of before end."""
        now, wall = time.monotonic(), self._tick()
        for player_id, service_id in self._ids:
            ticket = tickets.issue(self._service, TENANT, service_id, now, wall).to_peer[0]
            records.decrypt(self._players, TENANT, player_id, ticket, b"", ticket=False, now=now, wall=wall)
        begun = [resume.initiate(self._players, TENANT, each, b"", b"", now, wall) for each, _ in self._ids]
        requests = [
            redeem.ResumeRequested(
                mode=RecordMode.DATAGRAM, message=step.to_peer[0], ticket=b"", hello=b"", prologue=b"", payload=b""
            )
            for step in begun
        ]
        began = time.thread_time_ns()
        answers = [await redeem.respond(self._service, TENANT, request, now, wall) for request in requests]
        spent = time.thread_time_ns() - began
        for first, answer in zip(begun, answers, strict=True):
            resume.proceed(self._players, TENANT, first.session_id, answer.to_peer[0], now, wall)
        await self._part()
        self._ids = [(near.session_id, far.session_id) for near, far in zip(begun, answers, strict=True)]
        self._talk()
        return spent / _COUNT

    def _talk(self) -> None:
        """A record each way in every session; RuntimeError where one is not what was said."""
        now, wall = time.monotonic(), self._tick()
        for player_id, service_id in self._ids:
            there = (self._players, player_id), (self._service, service_id)
            for (sender, sender_id), (receiver, receiver_id) in (there, there[::-1]):
                said = os.urandom(16)
                sealed = records.encrypt(sender, TENANT, sender_id, said, b"", now).ciphertext
                opened = records.decrypt(receiver, TENANT, receiver_id, sealed, b"", ticket=False, now=now, wall=wall)
                if opened.plaintext != said:
                    raise RuntimeError("the two ends do not understand each other")

    async def _part(self) -> None:
        """End all sessions."""
        for player_id, service_id in self._ids:
            await sessions.close(self._players, TENANT, player_id, time.monotonic())
            await sessions.close(self._service, TENANT, service_id, time.monotonic())
        self._ids.clear()


async def measure_resume() -> Taken:
    """Take `resume`, and for orientation the whole use cases."""
    resumer, full = _Resumer(), Responder(NOISE_NAMES[Pattern.XX, Suite.CHACHA20_POLY1305_X25519])
    await resumer.cost()
    await full.cost()
    taken = await in_turn(resumer.cost, full.cost, _ROUNDS, _TURNS)
    returning = _Returning()
    await returning.full()
    await returning.back()
    whole = await in_turn(returning.back, returning.full, _WHOLE_ROUNDS, _TURNS)
    return replace(taken, detail=f"{taken.detail}; with session, key schedule and store {whole.detail}")
