"""The side that begins: handshakes, resumes, and what RETRY asks for (docs/protocol.md, sections 2 and 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from examples.dice.datagram_player.handshake import NoiseHandshake
from examples.dice.datagram_player.settings import FAILURES, Finished, Own, Step
from examples.dice.datagram_player.tickets import Ticket
from examples.dice.datagram_player.wire import (
    FLAG_DATAGRAM,
    FLAG_RATCHET,
    HANDSHAKE,
    RESUME,
    Hello,
    NotPossibleError,
    PacketRefusedError,
    Received,
    Retry,
    Timer,
    with_length,
)

ATTEMPT_S: Final = 9.0
RESUME_DELAYS: Final = (2.0, 8.0, math.inf)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A handshake or resume that waits for its answer.

    `packet` is empty for the full handshake beside a resume, which has its own attempt. `ahead_ms`: the responder's
    clock against ours, by a RETRY that has led here.
    """

    noise: NoiseHandshake
    hello: Hello
    packet: bytes
    started: float
    timer: Timer
    payload: bytes = b""
    ticket: Ticket | None = None
    ahead_ms: int = 0
    failures: int = 0


class Initiator:
    """Attempts of which the first that is answered becomes the session."""

    def __init__(self, own: Own) -> None:
        self._own = own
        self._attempts: list[Attempt] = []
        self._followed: dict[Retry, bytes] = {}
        self.payload = b""
        """Of the last handshake's message 1, for the next one, where that has to begin anew."""

    def start(self, now: float, payload: bytes) -> bytes:
        """HANDSHAKE step 1 of the settings' choice."""
        self.payload = payload
        mine = self._own.settings
        attempt = self._begin(self._own.hello(mine.offer, mine.choice, mine.flags), now, payload)
        self._attempts, self._followed = [attempt], {}
        return attempt.packet

    def resume(self, now: float, ticket: Ticket, early_data: bytes, *, full: bool) -> bytes:
        """RESUME step 1; `full` adds message 1 of a full handshake."""
        if now >= ticket.expires_at:
            raise NotPossibleError("the ticket is too old")
        if len(early_data) > ticket.max_early:
            raise NotPossibleError("the ticket does not allow so much early data")
        mine = self._own.settings
        offer, choice = (mine.offer, mine.choice) if full else ((ticket.protocol,), 0)
        hello = self._own.hello(offer, choice, mine.flags if full else ticket.flags)
        encoded = hello.encode()
        noise = self._own.resume(ticket, encoded, initiator=True)
        head = bytes([RESUME]) + mine.connection_id + b"\x01" + with_length(encoded, 2)
        packet = head + with_length(ticket.ticket, 2) + b"\0" + with_length(noise.write(early_data), 2)
        self._attempts, self._followed = [], {}
        if full:
            handshake = self._own.noise(hello, encoded, initiator=True)
            packet += handshake.write()
            self._attempts.append(Attempt(noise=handshake, hello=hello, packet=b"", started=now, timer=Timer(now)))
        timer = Timer(now, RESUME_DELAYS)
        self._attempts.append(
            Attempt(noise=noise, hello=hello, packet=packet, started=now, timer=timer, ticket=ticket)
        )  # fmt: skip
        return packet

    def retry(self, packet: bytes, now: float) -> Received:
        """Begins another attempt as a RETRY wants it, and keeps those before it: anybody can forge one.

        Each reason is followed once in a handshake; a repeat of the same RETRY gets the same packet.
        """
        retry = Retry.decode(packet)
        for refused in self._attempts:
            if not refused.packet or Retry.echo_of(refused.packet) != retry.echo:
                continue
            first = self._handshake_of(refused)
            if first is None:
                break
            if retry not in self._followed:
                self._followed[retry] = self._another(first, retry, now)
            return Received(to_send=[self._followed[retry]])
        raise PacketRefusedError("retry")

    def _handshake_of(self, refused: Attempt) -> Attempt | None:
        """The attempt itself, or, of a resume, the full handshake beside it, if there is one."""
        if refused.ticket is None:
            return refused
        return next((attempt for attempt in self._attempts if not attempt.packet), None)

    def _another(self, first: Attempt, retry: Retry, now: float) -> bytes:
        if any((retry.clock_ms is None) == (followed.clock_ms is None) for followed in self._followed):
            raise PacketRefusedError("retry")
        choice, flags, ahead_ms = first.hello.choice, first.hello.flags, first.ahead_ms
        if retry.clock_ms is None:
            choice, flags = retry.choice, flags & retry.flags
            self._allow(first.hello, choice, flags)
        else:
            ahead_ms = retry.clock_ms - self._own.clock_ms()
        hello = self._own.hello(first.hello.offer, choice, flags, ahead_ms)
        another = self._begin(hello, now, first.payload)
        another.ahead_ms = ahead_ms
        self._attempts.append(another)
        return another.packet

    def _allow(self, before: Hello, choice: int, flags: int) -> None:
        """PacketRefusedError where a RETRY leads nowhere, or to less than the player insists on."""
        lost = before.flags & ~flags
        if choice >= len(before.offer) or (choice == before.choice and not lost):
            raise PacketRefusedError("retry")
        if lost & (FLAG_DATAGRAM | FLAG_RATCHET) or not self._own.can(before.chosen, before.offer[choice]):
            raise PacketRefusedError("retry")

    def step_2(self, packet: bytes, now: float) -> Step:
        """Reads the answer with the attempt that it is for; PacketRefusedError if there is none."""
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
            return self._finish(attempt, packet[1:9], payload)
        raise PacketRefusedError("step 2")

    def _finish(self, attempt: Attempt, connection_id: bytes, payload: bytes) -> Step:
        early, flags, step_3 = None, attempt.hello.flags, None
        if attempt.ticket is not None:
            if payload[:1] not in (b"\x00", b"\x01"):
                self._attempts.remove(attempt)
                raise PacketRefusedError("early")
            early, payload, flags = payload[0] == 1, payload[1:], attempt.ticket.flags
        identity = attempt.ticket.identity if attempt.ticket else self._own.identity(attempt.noise)
        if attempt.noise.split is None:
            step_3 = bytes([HANDSHAKE]) + connection_id + b"\x03" + attempt.noise.write()
        self._attempts = []
        finished = Finished(
            noise=attempt.noise, flags=flags, connection_id=connection_id, identity=identity, step_3=step_3,
            chosen=connection_id == self._own.settings.connection_id,
        )  # fmt: skip
        to_send = [] if step_3 is None else [step_3]
        return Step(received=Received(payloads=[payload], to_send=to_send, early=early), finished=finished)

    def tick(self, now: float) -> list[bytes]:
        """Repeats that are due; an attempt of 9 s gives way to one with a new hello and a new ephemeral key."""
        due: list[bytes] = []
        for attempt in self._attempts:
            if attempt.packet and attempt.ticket is None and now - attempt.started >= ATTEMPT_S:
                return [self.start(now, attempt.payload)]
            if attempt.packet and attempt.timer.due(now):
                due.append(attempt.packet)
        return due

    def _begin(self, hello: Hello, now: float, payload: bytes) -> Attempt:
        encoded = hello.encode()
        noise = self._own.noise(hello, encoded, initiator=True)
        head = bytes([HANDSHAKE]) + self._own.settings.connection_id + b"\x01" + with_length(encoded, 2) + b"\0"
        packet = head + noise.write(payload)
        return Attempt(noise=noise, hello=hello, packet=packet, started=now, timer=Timer(now), payload=payload)
