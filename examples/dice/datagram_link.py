"""A player's DATAGRAM session over real UDP: sockets and time around the independent player."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from examples.dice.child import emit, row
from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError, Settings, Ticket
from examples.dice.script import Act, Guest

RETRY = 0x0E


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, on_packet: Callable[[bytes], None]) -> None:
        self._on_packet = on_packet

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._on_packet(data)


class DatagramLink:
    """One player's path to the table; `on_plaintext` gets what the table wrote for the game."""

    def __init__(self, guest: Guest, port: int, settings: Settings, on_plaintext: Callable[[bytes], None]) -> None:
        self._guest, self._port, self._settings, self._on_plaintext = guest, port, settings, on_plaintext
        self._player = self._fresh_player()
        self._transport: asyncio.DatagramTransport | None = None
        self._ticket: Ticket | None = None
        self._epoch = 0
        self.refused = self.lured = self.early = self.ids = 0
        self._stored, self._connection_id = b"", b""
        self.acts: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.ROTATE: self._rotated, Act.CELLULAR: self._to_cellular, Act.WIFI: self._to_wifi,
            Act.BACKGROUND: self._background, Act.FOREGROUND: self._foreground,
        }  # fmt: skip

    @property
    def suite(self) -> int:
        """Of the session."""
        return self._player.suite

    def _fresh_player(self) -> DatagramPlayer:
        return DatagramPlayer(self._settings, random_bytes=os.urandom, wall=time.time)

    async def connect(self) -> None:
        """A full handshake."""
        await self._open()
        self._send(self._player.start(time.monotonic()))
        await self._until(lambda: self._player.established)

    async def resume(self, early_data: bytes = b"") -> None:
        """A new session from the ticket, from a new socket; early data goes along where the ticket has room for it."""
        self._player, self._epoch, self._connection_id = self._fresh_player(), 0, b""
        await self._open()
        fits = self._ticket is not None and len(early_data) <= self._ticket.max_early
        self._send(self._player.resume(time.monotonic(), self._ticket, early_data=early_data if fits else b""))
        await self._until(lambda: self._player.established)

    def send(self, plaintext: bytes) -> None:
        """Seals a game message and sends it; nothing happens while there is no socket."""
        if self._transport is not None and self._player.established:
            self._send([self._player.send(plaintext)])

    def tick(self) -> None:
        """Sends what is due: repeats, and questions until a new epoch is confirmed."""
        if self._transport is not None:
            self._send(self._player.tick(time.monotonic()))

    async def drop(self) -> None:
        """Closes the socket and forgets every key; the ticket stays."""
        await self._until(lambda: self._player.ticket is not None)
        self._ticket = self._player.ticket
        self._shut()
        self._player = self._fresh_player()

    async def _to_cellular(self) -> None:
        await self._move("Wi-Fi", "cellular")

    async def _to_wifi(self) -> None:
        await self._move("cellular", "Wi-Fi")

    async def _move(self, before: str, after: str) -> None:
        """Goes on with the same session from another port, as from another network."""
        port, name = self._local_port(), self._guest.name
        self._shut()
        await self._open()
        text = f"{name} goes from {before} to {after}: :{port} to :{self._local_port()}."
        row((name, "move", 1), text=text)

    async def _background(self) -> None:
        """Stores roots and forgets every key; what comes meanwhile is not read."""
        self._stored, self._player = self._player.suspend(time.monotonic()), self._fresh_player()
        row((self._guest.name, "suspend", 1), text=f"{self._guest.name}'s app stops, and has stored no traffic key.")

    async def _foreground(self) -> None:
        """Goes on with the same session, in a salted epoch of its own or of the service's."""
        stored, self._stored = self._stored, b""
        self._send(self._player.restore(stored, time.monotonic()))
        await self._until(lambda: self._player.confirmed)
        self._epoch, name = self._player.epoch, self._guest.name
        row((name, "restore", 1), text=f"{name} is back in the same session: a salted epoch.")

    async def close(self) -> None:
        """Ends the session with a record that says so."""
        self._send([self._player.close()])
        await asyncio.sleep(0)
        self._shut()

    async def _rotated(self) -> None:
        """The service asks for the rotation, and the player answers by itself; this only waits for it."""
        await self._until(lambda: self._player.epoch > 0)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._received), remote_addr=("127.0.0.1", self._port)
        )

    def _local_port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1]) if self._transport is not None else 0

    def _shut(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None

    def _send(self, packets: list[bytes]) -> None:
        for packet in packets:
            if self._transport is not None:
                self._transport.sendto(packet)

    def _received(self, packet: bytes) -> None:
        if self._stored:
            return
        try:
            received = self._player.receive(packet, time.monotonic())
        except PacketRefusedError:
            self.refused += 1
            return
        self._send(received.to_send)
        for plaintext in received.plaintexts:
            self._on_plaintext(plaintext)
        if packet[0] == RETRY:
            self._lured()
        self.early += bool(received.early)
        if self._player.established:
            self._told_changes()

    def _told_changes(self) -> None:
        """Tells of a new connection id, and of new keys."""
        name, before = self._guest.name, self._connection_id
        self._connection_id = self._player.connection_id
        if before and before != self._connection_id:
            self.ids += 1
            row((name, "id", 1), text=f"{name}'s packets carry a new connection id.")
        if self._player.confirmed and self._player.epoch > self._epoch:
            self._epoch = self._player.epoch
            row((name, "rotate", self._epoch), text=f"{name} rotates inside the session, to epoch {self._epoch}.")

    def _lured(self) -> None:
        """A RETRY was followed; the first attempt lives on beside the second."""
        self.lured += 1
        text = f"{self._guest.name} follows it, and keeps the first attempt too."
        emit("note", style="attack", text=text, wire="", rpc="")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.tick()
            await asyncio.sleep(0.02)
