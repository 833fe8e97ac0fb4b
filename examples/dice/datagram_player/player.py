"""One player of DATAGRAM mode: packets in, packets out."""

from __future__ import annotations

from collections.abc import Callable

from examples.dice.datagram_player.connection import ConnectionId
from examples.dice.datagram_player.epoch import Terms
from examples.dice.datagram_player.fragments import Reassembler, cut
from examples.dice.datagram_player.initiate import Initiator
from examples.dice.datagram_player.limits import Limits
from examples.dice.datagram_player.respond import Responder
from examples.dice.datagram_player.session import Session
from examples.dice.datagram_player.settings import Finished, Own, Settings, Step
from examples.dice.datagram_player.stored import restore, store
from examples.dice.datagram_player.tickets import Ticket
from examples.dice.datagram_player.wire import (
    FRAGMENT,
    HANDSHAKE,
    HEADER_BYTES,
    KEEP_ALIVE,
    RESUME,
    RETRY,
    NotPossibleError,
    PacketRefusedError,
    Received,
)


class DatagramPlayer:
    """Begins or answers a handshake or a resume, then seals and opens the records of its session.

    `now` is monotonic seconds, `wall` gives unix seconds for a hello's timestamp. Every method that returns packets
    leaves sending them to the caller. A packet that raises PacketRefusedError has changed nothing: drop it.
    """

    def __init__(self, settings: Settings, *, random_bytes: Callable[[int], bytes], wall: Callable[[], float]) -> None:
        self.own = Own(settings, random_bytes, wall)
        self.session: Session | None = None
        self.issued: dict[bytes, Ticket] = {}
        self._initiator, self._responder = Initiator(self.own), Responder(self.own, self.issued)
        self._parts = Reassembler()
        self._message_id: int | None = None

    @property
    def established(self) -> bool:
        """Whether records may flow."""
        return self.session is not None and not self.session.closed

    @property
    def handshake_hash(self) -> bytes:
        """The hash h of the session's handshake: 32 bytes, equal at both ends."""
        return self._live().lasting.h

    @property
    def suite(self) -> int:
        """The number of the session's suite, of one that has ended too; 0 before there is one."""
        return self.session.lasting.terms.suite if self.session is not None else 0

    @property
    def epoch(self) -> int:
        """The epoch under which we seal."""
        return self._live().current.number

    @property
    def confirmed(self) -> bool:
        """Whether the peer has answered under our newest keys."""
        return self._live().current.confirmed

    @property
    def connection_id(self) -> bytes:
        """The connection id that our packets carry: 8 bytes."""
        return self._live().connection.value

    @property
    def ticket(self) -> Ticket | None:
        """The newest ticket that came in this session."""
        return None if self.session is None else self.session.ticket

    # --- a session begins

    def start(self, now: float, payload: bytes = b"") -> list[bytes]:
        """Begins a handshake with the settings' choice."""
        return self._out([self._initiator.start(now, payload)])

    def resume(
        self, now: float, ticket: Ticket | None = None, *, early_data: bytes = b"", full: bool = False
    ) -> list[bytes]:
        """Begins a resume with the ticket, or this session's; `full` adds message 1 of a full handshake."""
        ticket = ticket or self.ticket
        if ticket is None:
            raise NotPossibleError("there is no ticket")
        packet = self._initiator.resume(now, ticket, early_data, full=full)
        if self.session is not None:
            self.session.ticket = None  # a ticket is for once
        return self._out([packet])

    def suspend(self, now: float) -> bytes:
        """Ends the session here and gives it as bytes, which `restore` takes, once; they are secret."""
        stored = store(self._live(), now, self.own.wall())
        self.session = None
        return stored

    def restore(self, stored: bytes, now: float) -> list[bytes]:
        """Goes on with a suspended session; delete the bytes before. NotPossibleError for other bytes."""
        own = self.own
        self.session, packets = restore(
            stored, own.settings.static, own.random_bytes, now, own.wall(), limits=own.settings.limits,
            issued=self.issued,
        )  # fmt: skip
        return self._out(packets)

    # --- packets

    def receive(self, packet: bytes, now: float, associated_data: bytes = b"") -> Received:
        """Does what a packet of the peer asks; PacketRefusedError: it has changed nothing."""
        if packet[:1] == bytes([FRAGMENT]):
            whole = self._parts.add(packet, now)
            if whole is None:
                return Received()
            packet = whole
        received = self._receive(packet, now, associated_data)
        received.to_send[:] = self._out(received.to_send)
        return received

    def _receive(self, packet: bytes, now: float, associated_data: bytes) -> Received:
        if len(packet) < 10:
            raise PacketRefusedError("length")
        if packet[0] in HEADER_BYTES and self.session is not None:
            return self.session.receive(packet, associated_data, now)
        if packet[0] == RETRY:
            return self._initiator.retry(packet, now)
        busy = self.session is not None and self.session.proven
        kind = packet[0], packet[9]
        if kind == (HANDSHAKE, 1):
            return self._step(self._responder.step_1(packet, now, busy=busy), now)
        if kind == (RESUME, 1):
            return self._step(self._responder.resume_1(packet, now, busy=busy), now)
        if kind in ((HANDSHAKE, 2), (RESUME, 2)):
            return self._step(self._initiator.step_2(packet, now), now)
        if kind == (HANDSHAKE, 3):
            return self._step_3(packet, now)
        raise PacketRefusedError("type")

    def _step_3(self, packet: bytes, now: float) -> Received:
        session = self.session
        received = Received()
        if session is None or session.initiator or session.step_3 != packet:
            received = self._step(self._responder.step_3(packet, now), now)
        session = self._live()
        session.now = now
        received.to_send.extend(session.seal(KEEP_ALIVE))
        return received

    def _step(self, step: Step, now: float) -> Received:
        if step.finished is not None:
            self.session = self._session(step.finished, now)
        return step.received

    def _session(self, finished: Finished, now: float) -> Session:
        split, noise, mine = finished.noise.split, finished.noise, self.own.settings
        if split is None:
            raise NotPossibleError("the handshake is not finished")
        terms = Terms(initiator=noise.initiator, suite=noise.protocol.suite, flags=finished.flags)
        session = Session.begin(
            split, terms, finished.identity, ConnectionId(finished.connection_id, chosen=finished.chosen),
            self.own.random_bytes, now, limits=mine.limits or Limits.of(finished.flags), issued=self.issued,
            max_early=mine.max_early,
        )  # fmt: skip
        session.step_3 = finished.step_3
        return session

    def tick(self, now: float) -> list[bytes]:
        """What is due at `now`; call it a few times a second."""
        if self.session is not None and self.session.hopeless(now):
            self.session = None
            return self.start(now, self._initiator.payload)
        due = self._initiator.tick(now)
        return self._out(due + (self.session.tick(now) if self.session is not None else []))

    def send(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """A record for the peer, as one packet whatever its size."""
        return self._live().send(plaintext, associated_data)

    def rekey(self) -> list[bytes]:
        """Moves our direction to its next phase: no round trip, no fresh secret, and as a rule nothing to send."""
        return self._out(self._live().rekey())

    def renegotiate(self, now: float) -> list[bytes]:
        """Starts a rotation as the session's initiator, asks for one as its responder."""
        session = self._live()
        session.now = now
        return self._out(session.renegotiate())

    def change_connection_id(self, now: float) -> list[bytes]:
        """Gives the peer a new connection id, where this side chose it."""
        session = self._live()
        session.now = now
        return session.change_connection_id()

    def exporter(self, label: bytes, context: bytes, length: int) -> bytes:
        """A secret for something beside the session, which the peer can derive too."""
        return self._live().exporter(label, context, length)

    def close(self) -> bytes:
        """The record that ends the session; empty where the hard limit leaves none."""
        return b"".join(self._live().close())

    def _live(self) -> Session:
        if self.session is None or self.session.closed:
            raise NotPossibleError("there is no session")
        return self.session

    def _out(self, packets: list[bytes]) -> list[bytes]:
        """The packets, what is too large for the path as fragments, each set with an id of its own."""
        out, mtu = list[bytes](), self.own.settings.mtu
        for packet in packets:
            if len(packet) <= mtu:
                out.append(packet)
                continue
            if self._message_id is None:
                self._message_id = int.from_bytes(self.own.random_bytes(2), "big")
            out += cut(packet, self._message_id, mtu)
            self._message_id = (self._message_id + 1) & 0xFFFF
        return out
