"""A receiver of a UDP game over a scripted service, and the packets of its players."""

from __future__ import annotations

import noisegate
from noisegate import DatagramReceiver
from noisegate.v1 import session_crypto_service_pb2 as service
from tests.unit.sdk.scripted_service import (
    CONNECTION_ID,
    SESSION_ID,
    ScriptedService,
    established,
    pending,
)

Address = tuple[str, int]
HOME: Address = ("198.51.100.1", 4_000)
AWAY: Address = ("203.0.113.9", 5_000)
STRANGER: Address = ("192.0.2.7", 53)
QUICK = noisegate.CallPolicy(packet_deadline=5, control_deadline=5, first_backoff=0.001, max_backoff=0.002)

# docs/protocol.md, section 2: type, connection id, step, then what only the service reads.
HELLO = b"\x09" + bytes(8) + b"\x01" + b"hello and message 1".ljust(90, b".")
HANDSHAKE_3 = b"\x09" + CONNECTION_ID + b"\x03" + b"message 3".ljust(64, b".")
RECORD = b"\x0a" + CONNECTION_ID + b"sealed".ljust(40, b".")
SALTED = b"\x0b" + CONNECTION_ID + b"sealed".ljust(60, b".")
RESUME_1 = b"\x0c" + bytes(8) + b"\x01" + b"hello and ticket".ljust(90, b".")
RESUME_2 = b"\x0c" + CONNECTION_ID + b"\x02" + b"message 2".ljust(48, b".")
ANSWER = b"message 2".ljust(96, b".")

PENDING = service.HandshakeResponse(
    session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[ANSWER], pending=pending(10)
)
DONE = service.HandshakeResponse(
    session_id=SESSION_ID, connection_id=CONNECTION_ID, payload=b"player's payload", established=established()
)
DONE_AT_ONCE = service.HandshakeResponse(
    session_id=SESSION_ID, connection_id=CONNECTION_ID, to_peer=[ANSWER], established=established()
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Game:
    """A receiver, the service behind it and the clock."""

    def __init__(self, scripted: ScriptedService, client: noisegate.Client) -> None:
        self.scripted = scripted
        self.client = client
        self.clock = Clock()
        self.receiver: DatagramReceiver[Address] = DatagramReceiver(client, now=self.clock)

    async def play(self) -> noisegate.Session:
        """A player at HOME whose XX handshake finished."""
        self.scripted.answer("Handshake", PENDING, DONE)
        await self.receiver.receive(HELLO, HOME)
        session = (await self.receiver.receive(HANDSHAKE_3, HOME)).session
        assert session is not None
        return session

    def answers(self, token: bytes, *, newest: bool) -> None:
        """The next records are keep-alives that answer a question."""
        control = service.Control(kind=service.CONTROL_KIND_KEEP_ALIVE, answered=token)
        answer = service.DecryptResponse(session_id=SESSION_ID, control=control, counter=1, newest=newest)
        self.scripted.answer("Decrypt", answer)

    def opens(self, *, counter: int, newest: bool = True, to_peer: tuple[bytes, ...] = (), **fields: object) -> None:
        """What the next records open to."""
        values: dict[str, object] = {"plaintext": b"hi", **fields}
        answer = service.DecryptResponse(
            session_id=SESSION_ID,
            counter=counter,
            newest=newest,
            to_peer=to_peer,
            **values,  # type: ignore[arg-type]  # fields by name, checked by protobuf
        )
        self.scripted.answer("Decrypt", answer)
