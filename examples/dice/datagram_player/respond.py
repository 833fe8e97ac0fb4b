"""The side that answers: step 1, step 3 and resumes, with the same again for repeats (docs/protocol.md, 2 and 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from examples.dice.datagram_player.handshake import NoiseHandshake
from examples.dice.datagram_player.settings import FAILURES, Finished, Own, Step
from examples.dice.datagram_player.tickets import Ticket
from examples.dice.datagram_player.wire import (
    GRACE_S,
    HANDSHAKE,
    NO_CONNECTION,
    RESUME,
    SUPPORTED_FLAGS,
    Hello,
    PacketRefusedError,
    Received,
    Retry,
    field_at,
)

ANSWERED_S: Final = 10.0
MAX_ANSWERS, MAX_KEYS = 64, 256
SKEW_MS: Final = 120_000
Key = tuple[bytes, bytes, bytes]
"""Hello, ticket and Noise message: what tells a repeat from another packet."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """Our answer to a step 1, and what step 3 needs."""

    packet: bytes
    noise: NoiseHandshake
    hello: Hello
    since: float
    chosen: bool
    failures: int = 0


class Responder:
    """Answers handshakes and resumes. `issued`: tickets of ours that were not used; what is in it was never used."""

    def __init__(self, own: Own, issued: dict[bytes, Ticket]) -> None:
        self._own, self._issued = own, issued
        self._answers: dict[Key, Answer] = {}
        self._accepted: dict[bytes, int] = {}
        self._floor = own.clock_ms() - 1
        """An unknown key's timestamp must be above it: our own start, later the newest that was forgotten."""

    def step_1(self, packet: bytes, now: float, *, busy: bool) -> Step:
        """HANDSHAKE step 2, or RETRY. `busy`: there is a session that nobody's handshake may replace."""
        hello, at = field_at(packet, 10, 2)
        _puzzle, at = field_at(packet, at, 1)
        return self._handshake(packet, hello, packet[at:], now, busy=busy)

    def resume_1(self, packet: bytes, now: float, *, busy: bool) -> Step:
        """RESUME step 2; of a refused ticket the answer to the full handshake beside it, if there is one."""
        encoded, at = field_at(packet, 10, 2)
        opaque, at = field_at(packet, at, 2)
        _puzzle, at = field_at(packet, at, 1)
        message, at = field_at(packet, at, 2)
        if repeated := self._repeated((encoded, opaque, message), now):
            return Step(received=Received(to_send=repeated))
        hello, ticket = Hello.decode(encoded), self._issued.get(opaque)
        if ticket is None or now >= ticket.expires_at:
            return self._handshake(packet, encoded, packet[at:], now, busy=busy)
        noise = self._own.resume(ticket, encoded, initiator=False)
        payload = noise.read(message)
        del self._issued[opaque]  # spent before the answer leaves
        early = 0 < len(payload) <= ticket.max_early
        chosen, connection_id = self._connection_id(packet)
        reply = bytes([RESUME]) + connection_id + b"\x02" + noise.write(bytes([early]))
        self._answers[encoded, opaque, message] = Answer(
            packet=reply, noise=noise, hello=hello, since=now, chosen=chosen
        )  # fmt: skip
        finished = Finished(
            noise=noise, flags=ticket.flags, connection_id=connection_id, chosen=chosen, identity=ticket.identity
        )  # fmt: skip
        received = Received(payloads=[payload] if early else [], to_send=[reply], early=early)
        return Step(received=received, finished=finished)

    def step_3(self, packet: bytes, now: float) -> Step:
        """The end of XX and XXpsk3, within 10 s of step 1."""
        for key, answer in list(self._answers.items()):
            if answer.packet[1:9] != packet[1:9] or answer.noise.split is not None or now - answer.since > ANSWERED_S:
                continue
            try:
                payload = answer.noise.read(packet[10:])
            except PacketRefusedError:
                answer.failures += 1
                if answer.failures >= FAILURES:
                    del self._answers[key]
                raise
            self._fresh(answer.noise, answer.hello)
            finished = Finished(
                noise=answer.noise, flags=answer.hello.flags, connection_id=packet[1:9], chosen=answer.chosen,
                identity=self._own.identity(answer.noise), step_3=packet,
            )  # fmt: skip
            return Step(received=Received(payloads=[payload]), finished=finished)
        raise PacketRefusedError("step 3")

    def _repeated(self, key: Key, now: float) -> list[bytes]:
        kept = [(k, a) for k, a in self._answers.items() if now - a.since < GRACE_S]
        self._answers = dict(kept[-MAX_ANSWERS:])
        answer = self._answers.get(key)
        return [answer.packet] if answer is not None and now - answer.since < ANSWERED_S else []

    def _connection_id(self, packet: bytes) -> tuple[bool, bytes]:
        """Whether it is ours to choose, and which."""
        chosen = packet[1:9] == NO_CONNECTION
        return chosen, self._own.random_bytes(8) if chosen else packet[1:9]

    def _handshake(self, packet: bytes, encoded: bytes, message: bytes, now: float, *, busy: bool) -> Step:
        key = (encoded, b"", message)
        if repeated := self._repeated(key, now):
            return Step(received=Received(to_send=repeated))
        hello = Hello.decode(encoded)
        if busy or not message or key in self._answers:
            raise PacketRefusedError("step 1")
        if (retry := self._wished(packet, hello)) is not None:
            return Step(received=Received(to_send=[retry.encode()]))
        noise = self._own.noise(hello, encoded, initiator=False)
        payload = noise.read(message)
        self._fresh(noise, hello)
        chosen, connection_id = self._connection_id(packet)
        reply = bytes([HANDSHAKE]) + connection_id + b"\x02" + noise.write()
        self._answers[key] = Answer(packet=reply, noise=noise, hello=hello, since=now, chosen=chosen)
        finished = None
        if noise.split is not None:
            finished = Finished(
                noise=noise, flags=hello.flags, connection_id=connection_id, chosen=chosen,
                identity=self._own.identity(noise),
            )  # fmt: skip
        return Step(received=Received(payloads=[payload], to_send=[reply]), finished=finished)

    def _wished(self, packet: bytes, hello: Hello) -> Retry | None:
        """The RETRY for a hello that is not as it should be; PacketRefusedError where no other would do."""
        right = next((protocol for protocol in self._own.settings.offer if protocol in hello.offer), None)
        if right is None:
            raise PacketRefusedError("offer")
        choice, echo = hello.offer.index(right), Retry.echo_of(packet)
        if choice != hello.choice or hello.flags & ~SUPPORTED_FLAGS:
            return Retry(echo, choice=choice, flags=SUPPORTED_FLAGS)
        clock_ms = self._own.clock_ms()
        return Retry(echo, clock_ms=clock_ms) if abs(hello.timestamp_ms - clock_ms) > SKEW_MS else None

    def _fresh(self, noise: NoiseHandshake, hello: Hello) -> None:
        """The timestamp rule: newer than the last one of an authenticated static key."""
        self._own.identity(noise)
        if noise.remote is None:
            return
        if hello.timestamp_ms <= self._accepted.get(noise.remote, self._floor):
            raise PacketRefusedError("timestamp")
        self._accepted.pop(noise.remote, None)  # the newest stands last
        self._accepted[noise.remote] = hello.timestamp_ms
        if len(self._accepted) > MAX_KEYS:
            oldest = next(iter(self._accepted))
            self._floor = max(self._floor, self._accepted.pop(oldest))
