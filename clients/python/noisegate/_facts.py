"""What a handle knows of its session without asking, and how it shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as service

from . import _wire
from ._model import EarlyData, Established, RecordMode

Progress = service.HandshakeResponse | service.ResumeResponse


@dataclass(slots=True, kw_only=True)
class SessionFacts:
    """What a handle knows without asking."""

    id: bytes
    endpoint: str = ""
    mode: RecordMode | None = None
    resuming: bool = False
    connection_id: bytes = b""
    peer_id: str = ""
    group: str = ""
    established: Established | None = None
    pending_for: float = 0
    to_peer: tuple[bytes, ...] = ()
    payload: bytes = field(default=b"", repr=False)
    hello: bytes = b""
    ticket: bytes = b""
    early: EarlyData = EarlyData.NONE
    early_data: bytes = field(default=b"", repr=False)
    fell_back: bool = False
    ended: bool = False

    def take(self, step: Progress, endpoint: str) -> None:
        """Remember what a step of a handshake or a resume gave."""
        self.id = step.session_id or self.id
        self.endpoint = step.endpoint or endpoint
        self.connection_id = step.connection_id or self.connection_id
        self.to_peer = tuple(step.to_peer)
        self.payload = step.payload
        done = step.WhichOneof("progress") == "established"
        self.established = _wire.from_established(step.established) if done else None
        self.pending_for = 0 if done else _wire.seconds(step.pending.expires_in)
        if isinstance(step, service.HandshakeResponse):
            self.hello = step.hello or self.hello
        else:
            self.ticket = step.ticket or self.ticket
            self.early, self.early_data = EarlyData(step.early), step.early_data
            if step.fell_back:
                # What is under way is a full handshake, and its steps are Handshake's.
                self.fell_back, self.resuming = True, False
            self.peer_id, self.group = step.peer_id or self.peer_id, step.group or self.group


class SessionView:
    """What a handle can tell without a call; shared by the asynchronous and the blocking one."""

    def __init__(self, facts: SessionFacts) -> None:
        self._facts: Final = facts

    def __repr__(self) -> str:
        # Ids find sessions and names find people: neither belongs in a log by accident.
        return f"<{type(self).__name__} {'ended' if self.ended else 'live'}>"

    @property
    def id(self) -> bytes:
        """The session's id: 24 bytes, opaque."""
        return self._facts.id

    @property
    def endpoint(self) -> str:
        """HOST:PORT where the session lives; empty for the client's own target."""
        return self._facts.endpoint

    @property
    def mode(self) -> RecordMode | None:
        """How its records travel; None for a handle made from an id alone."""
        return self._facts.mode

    @property
    def connection_id(self) -> bytes:
        """DATAGRAM: what the player's packets carry, 8 bytes."""
        return self._facts.connection_id

    @property
    def peer_id(self) -> str:
        """The player, as the game (or the ticket) named it."""
        return self._facts.peer_id

    @property
    def group(self) -> str:
        """The match, room or table, as the game (or the ticket) named it."""
        return self._facts.group

    @property
    def established(self) -> Established | None:
        """What the handshake gave; None while it is not finished, or for a handle made from an id alone."""
        return self._facts.established

    @property
    def pending_for(self) -> float:
        """Seconds after which the handshake is given up, counted from the last step; 0 once it is finished."""
        return self._facts.pending_for

    @property
    def to_peer(self) -> tuple[bytes, ...]:
        """What the last step of the handshake (or `close`) wants sent to the player, in this order, each on its own."""
        return self._facts.to_peer

    @property
    def payload(self) -> bytes:
        """The payload of the player's last handshake message; possibly replayed until a first record has opened."""
        return self._facts.payload

    @property
    def hello(self) -> bytes:
        """NOISE, initiating with an offer: what the game's framing must carry beside message 1."""
        return self._facts.hello

    @property
    def ticket(self) -> bytes:
        """NOISE, initiating a resume: what the game's framing must carry beside message 1."""
        return self._facts.ticket

    @property
    def early(self) -> EarlyData:
        """What became of a resume's early data: the player's, or our own once `proceed` has the answer."""
        return self._facts.early

    @property
    def early_data(self) -> bytes:
        """What a resuming player sent along, where it was accepted. Secret.

        Until a first record has opened, whoever has the ticket's key may have sent it.
        """
        return self._facts.early_data

    @property
    def fell_back(self) -> bool:
        """The ticket was refused, and this session is that of the full handshake which the player sent beside it."""
        return self._facts.fell_back

    @property
    def ended(self) -> bool:
        """Whether this handle has seen the session end."""
        return self._facts.ended
