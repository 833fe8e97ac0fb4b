"""A player's NOISE session over TCP or WebSocket: the independent Noise library, and the game's framing around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from websockets.asyncio.client import connect

from examples.dice.child import row
from examples.dice.noise_player import NoiseKeys, NoisePlayer, NoiseTicket
from examples.dice.script import CIPHERS, PATTERNS, PROLOGUE, Act, Guest
from examples.dice.wires import (
    GAME,
    REKEY,
    RENEGOTIATE,
    RESUME,
    SWITCH,
    TICKET,
    Opening,
    TcpWire,
    WebSocketWire,
    Wire,
    WireLostError,
)


async def _dial(transport: str, port: int) -> Wire:
    if transport == "TCP":
        return TcpWire(*await asyncio.open_connection("127.0.0.1", port))
    return WebSocketWire(await connect(f"ws://127.0.0.1:{port}", proxy=None, compression=None))


class NoiseLink:
    """One player's path to the table; `on_plaintext` gets what the table wrote for the game."""

    def __init__(self, guest: Guest, port: int, keys: NoiseKeys, on_plaintext: Callable[[bytes], None]) -> None:
        self._guest, self._port, self._keys, self._on_plaintext = guest, port, keys, on_plaintext
        self._name = f"Noise_{guest.pattern}_25519_{CIPHERS[guest.suite]}_SHA256"
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._wire: Wire | None = None
        self._noise: NoisePlayer | None = None
        self._fresh: NoisePlayer | None = None
        self._ticket: NoiseTicket | None = None
        self._ticket_next = False
        self._changed = asyncio.Event()
        self._rekeyed = 0
        self.refused = self.lured = self.early = self.ids = 0
        self.suite = guest.suite
        self.acts: dict[Act, Callable[[], Awaitable[None]]] = {Act.REKEY: self.rekey, Act.RENEGOTIATE: self.renegotiate}

    async def connect(self) -> None:
        """A full handshake."""
        noise = NoisePlayer(self._name, self._keys, initiator=True, prologue=PROLOGUE)
        opening = Opening(
            pattern=PATTERNS[self._guest.pattern], suite=self._guest.suite, message=noise.write_handshake()
        )
        await self._begin(noise, opening)

    async def resume(self, _early_data: bytes = b"") -> None:
        """A new session from the ticket, over a new connection."""
        ticket = self._ticket
        if ticket is None:
            raise RuntimeError("there is no ticket")
        self._ticket = None  # a ticket is for once
        noise = NoisePlayer.resume(ticket, cipher=CIPHERS[self._guest.suite], prologue=PROLOGUE)
        opening = Opening(
            pattern=RESUME, suite=self._guest.suite, ticket=ticket.ticket, message=noise.write_handshake()
        )
        await self._begin(noise, opening)

    async def _begin(self, noise: NoisePlayer, opening: Opening) -> None:
        wire = await _dial(self._guest.transport, self._port)
        await wire.send(opening.encode())
        noise.read_handshake(await wire.receive())
        if not noise.established:
            await wire.send(noise.write_handshake())
        self._wire, self._noise = wire, noise
        self._outgoing = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._write(wire)), asyncio.create_task(self._read(wire))]

    def send(self, plaintext: bytes) -> None:
        """Seals a game message and sends it; nothing happens while there is no connection."""
        if self._wire is not None:
            self._seal(GAME + plaintext)

    def tick(self) -> None:
        """An ordered connection repeats by itself."""

    async def drop(self) -> None:
        """Loses the connection, and with it the session."""
        await self._until(lambda: self._ticket is not None)
        await self._outgoing.join()  # what was said is on its way; the answer will not be heard
        await self._hang_up()

    async def close(self) -> None:
        """Ends the connection after everything has been sent; the table then ends the session."""
        await self._outgoing.join()
        await self._hang_up()

    async def rekey(self) -> None:
        """Both directions move to their next key: ours now, the table's when it says so."""
        before = self._rekeyed
        self._seal(REKEY)
        self._live().rekey_send()
        await self._until(lambda: self._rekeyed > before)
        row((self._guest.name, "rekey", 1), text=f"{self._guest.name} rekeys both directions of the session.")

    async def renegotiate(self) -> None:
        """A new key agreement, carried inside the session; then each side says where its direction changes."""
        self._fresh = fresh = self._live().renegotiate()
        self._seal(RENEGOTIATE + fresh.write_handshake())
        await self._until(lambda: self._fresh is None)
        row((self._guest.name, "renegotiate", 1), text=f"{self._guest.name} agrees on fresh keys inside the session.")

    # --- records

    def _live(self) -> NoisePlayer:
        if self._noise is None:
            raise RuntimeError("there is no session")
        return self._noise

    def _seal(self, plaintext: bytes) -> None:
        # A record's counter is its place in the stream: sealed and queued in one step, so that order is kept.
        self._outgoing.put_nowait(self._live().seal(plaintext))

    async def _write(self, wire: Wire) -> None:
        with suppress(WireLostError):
            while True:
                await wire.send(await self._outgoing.get())
                self._outgoing.task_done()

    async def _read(self, wire: Wire) -> None:
        with suppress(WireLostError):
            while True:
                self._take(self._live().open(await wire.receive()))
                self._changed.set()

    def _take(self, plaintext: bytes) -> None:
        if self._ticket_next:
            self._ticket, self._ticket_next = NoiseTicket.parse(plaintext), False
            return
        mark, content = plaintext[:1], plaintext[1:]
        if mark == GAME:
            self._on_plaintext(content)
        elif mark == TICKET:
            self._ticket_next = True
        elif mark == REKEY:
            self._live().rekey_receive()
            self._rekeyed += 1
        elif mark == RENEGOTIATE and self._fresh is not None:
            self._handshake(self._fresh, content)
        elif mark == SWITCH and self._fresh is not None:
            self._live().switch_receive(self._fresh)
            self._fresh = None

    def _handshake(self, fresh: NoisePlayer, message: bytes) -> None:
        fresh.read_handshake(message)
        if not fresh.established:
            self._seal(RENEGOTIATE + fresh.write_handshake())
        self._seal(SWITCH)
        self._live().switch_send(fresh)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if wire is not None:
            await wire.close()
