"""The table's UDP side: every packet goes to noisegate's SDK, which says what to do. No key, no crypto."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

from examples.dice.child import emit
from examples.dice.script import GROUP, MAX_EARLY_BYTES, PROLOGUE, Act
from examples.dice.table_calls import Counts, Passed, seen
from examples.dice.table_streams import Host
from noisegate import (
    Admission,
    Client,
    DatagramReceiver,
    Network,
    NetworkChange,
    PacketType,
    Received,
    RotationKind,
    Session,
    SessionOptions,
    SessionState,
    peek,
)

Address = tuple[str, int]
REPLAYED: Final = frozenset({"REPLAY_DETECTED", "COUNTER_TOO_OLD"})
NOT_ESTABLISHED: Final = "NOT_ESTABLISHED"
RETRY_CHOOSE: Final = "RETRY_CHOOSE"
QUIET_S: Final = 0.15
OPTIONS: Final = SessionOptions(max_early_data_bytes=MAX_EARLY_BYTES)


class DatagramLink:
    """One session over UDP. Its player's address may change; the receiver knows where it is."""

    transport = "UDP"

    def __init__(self, session: Session, door: DatagramDoor, *, resumed: bool) -> None:
        self.session, self.resumed, self.label = session, resumed, session.peer_id
        self.rotating = False
        self._door = door

    async def send(self, plaintext: bytes) -> Passed:
        counts = self._door.counts
        sealed, ms = await counts.timed(self.session.encrypt(plaintext))
        counts.sealed += 1
        self._door.send(self.session, sealed.messages)
        return Passed(wire=seen("UDP", "out", sealed.packet), rpc="Encrypt", ms=ms)

    async def rotate(self) -> float:
        rotation, ms = await self._door.counts.timed(self.session.rotate(RotationKind.RENEGOTIATE))
        self.rotating = True
        self._door.send(self.session, rotation.to_peer)
        return ms

    async def suspend(self) -> float:
        """Has the session taken out of memory; milliseconds."""
        _, ms = await self._door.counts.timed(self.session.suspend())
        return ms

    async def restore(self) -> float:
        """Has it brought back, and sends what tells the player so; milliseconds."""
        restored, ms = await self._door.counts.timed(self._door.client.restore(self.session.id))
        restored.detach()
        self._door.send(self.session, restored.to_peer)
        return ms

    async def change_network(self, network: Network) -> tuple[NetworkChange, float]:
        """Tells noisegate on which network the player is, and sends what that gives; and milliseconds."""
        change, ms = await self._door.counts.timed(self.session.change_network(network))
        self.rotating = network is Network.WIFI
        self._door.send(self.session, change.to_peer)
        return change, ms

    async def end(self) -> float:
        _, ms = await self._door.counts.timed(self.session.close())
        self._door.forget(self.session)
        return ms

    def verified(self, address: Address) -> None:
        """The player echoed what was sealed and sent to this address."""
        self._door.receiver.mark_verified(self.session, address)

    @property
    def address(self) -> Address:
        """Where the player is, as far as its records have shown."""
        return self._door.receiver.address(self.session) or ("", 0)


class DatagramDoor(asyncio.DatagramProtocol):
    """Takes packets one after the other, so that the story can be read."""

    def __init__(self, client: Client, host: Host, counts: Counts) -> None:
        self.receiver: DatagramReceiver[Address] = DatagramReceiver(client, admit=self._admit)
        self.client, self.counts = client, counts
        self._host = host
        self._links: dict[bytes, DatagramLink] = {}
        self._packets: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None
        self._bursts: dict[tuple[int, str], list[float]] = {}

    async def open(self) -> int:
        """The port that players send to."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._transport = transport
        return int(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._packets.put_nowait((data, addr))

    def send(self, session: Session, messages: tuple[bytes, ...]) -> None:
        """Sends what may be sent to where the session's player is now."""
        for message, address in self.receiver.route(session, messages):
            self._sendto(message, address)

    def forget(self, session: Session) -> None:
        """The session has ended."""
        self.receiver.forget(session)
        self._links.pop(session.id, None)

    async def run(self) -> None:
        """Handles packets for ever."""
        while True:
            packet, source = await self._packets.get()
            await self._take(packet, source)
            self._packets.task_done()

    async def drained(self) -> None:
        """Returns when every packet that has come was handled."""
        await self._packets.join()
        self.tell_refused(0)

    def _sendto(self, message: bytes, address: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(message, address)

    def _admit(self, _packet: bytes, _source: Address) -> Admission:
        return Admission(
            peer_id=self._host.label(), group=GROUP, prologue=PROLOGUE, accept_early_data=True, options=OPTIONS
        )

    async def _take(self, packet: bytes, source: Address) -> None:
        received, ms = await self.counts.timed(self.receiver.receive(packet, source))
        for message, address in received.to_send:
            self._sendto(message, address)
        if received.refused == NOT_ESTABLISHED:
            await self._asleep(packet, received)
            return
        if received.refused:
            self._refused(received.refused, source, ms)
            return
        session = received.session
        if session is None:
            return
        passed = Passed(wire=seen("UDP", "in", packet), rpc="Decrypt", ms=ms)
        if received.epoch is None:
            await self._shaken(received, session, passed)
            return
        self.counts.opened += 1
        link = self._links.get(session.id)
        if link is not None:
            await self._record(link, received, passed)

    async def _asleep(self, packet: bytes, received: Received[Address]) -> None:
        """A packet of a suspended session: of a salted epoch where the player has come back, otherwise a late one."""
        link = self._links.get(received.session.id) if received.session is not None else None
        peeked = peek(packet)
        if link is not None and peeked is not None and peeked.type is PacketType.SALTED:
            await self._host.woken(link)

    async def _shaken(self, received: Received[Address], session: Session, passed: Passed) -> None:
        if not received.established or session.established is None:
            return
        # A ticket brings its session's names back; whoever shakes hands has got a new one.
        resumed = self._host.knows(session.peer_id)
        link = self._links[session.id] = DatagramLink(session, self, resumed=resumed)
        emit(
            "note",
            style="resume" if resumed else "quiet",
            text=f"Someone {'comes back with a ticket' if resumed else 'shakes hands'} over UDP.",
            wire=session.established.protocol_name,
            rpc="Resume" if resumed else "Handshake",
            ms=passed.ms,
        )
        if received.early_data:
            self.counts.early += 1
            await self._heard(link, (received.early_data,), replace(passed, rpc="Resume: early data"))

    async def _record(self, link: DatagramLink, received: Received[Address], passed: Passed) -> None:
        if received.moved:
            text = f"UDP in  now :{link.address[1]}, followed"
            self._host.changed(link, Act.MOVE, Passed(wire=text, rpc="Decrypt: newest", ms=passed.ms))
        await self._heard(link, received.plaintexts, passed)
        if received.closed:
            self._links.pop(link.session.id, None)
            await self._host.lost(link, passed)
        elif link.rotating:
            await self._rotated(link)

    async def _heard(self, link: DatagramLink, plaintexts: tuple[bytes, ...], passed: Passed) -> None:
        try:
            for plaintext in plaintexts:
                await self._host.heard(link, plaintext, passed)
        except (ValueError, KeyError) as error:
            emit("note", style="refused", text=f"A session is cut: {error}.", wire=passed.wire, rpc="CloseSession")
            await link.end()

    async def _rotated(self, link: DatagramLink) -> None:
        info, ms = await self.counts.timed(link.session.describe())
        if info.epoch > 0 and info.state is SessionState.ESTABLISHED:
            link.rotating = False
            rpc = f"GetSession: epoch {info.epoch}"
            self._host.changed(link, Act.ROTATE, Passed(wire="UDP out and in: nothing but records", rpc=rpc, ms=ms))

    # --- what is refused

    def _refused(self, reason: str, source: Address, ms: float) -> None:
        if reason == RETRY_CHOOSE:
            self.counts.lured += 1
            text = "noisegate computes the choice itself: hybrid."
            emit("note", style="refused", text=text, wire="UDP out RETRY", rpc="Handshake: RETRY", ms=ms)
            return
        replayed = reason in REPLAYED
        self.counts.replays += replayed
        self.counts.forged += not replayed
        self.counts.refused.setdefault(source[1], [0, 0])[replayed] += 1
        burst = self._bursts.setdefault((source[1], reason), [0, 0, 0])
        burst[:] = burst[0] + 1, max(burst[1], ms), time.monotonic()

    def tell_refused(self, quiet_s: float = QUIET_S) -> None:
        """Tells of packets that were refused, many of one kind and sender in one sentence."""
        now = time.monotonic()
        for (port, reason), (number, ms, last) in list(self._bursts.items()):
            if now - last >= quiet_s:
                del self._bursts[port, reason]
                emit(
                    "note", style="refused", text="Refused: nothing in the session has moved.",
                    wire=f"UDP in  {number:.0f} from :{port}", rpc=reason, ms=ms,
                )  # fmt: skip
