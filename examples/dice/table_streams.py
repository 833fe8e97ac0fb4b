"""The table's TCP and WebSocket side: a NOISE session for each connection. It forwards; noisegate opens and seals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from examples.dice.child import emit
from examples.dice.script import GROUP, PROLOGUE, Act
from examples.dice.table_calls import Counts, Link, Passed, seen
from examples.dice.wires import GAME, REKEY, RENEGOTIATE, RESUME, SWITCH, TICKET, Opening, Wire, WireLostError
from noisegate import (
    Client,
    Direction,
    NoisegateError,
    Pattern,
    RecordMode,
    RotationKind,
    Session,
    Suite,
)
from noisegate import (
    Protocol as NoiseProtocol,
)


class Host(Protocol):
    """The game, as the doors see it."""

    def label(self) -> str:
        """A new name for a player who is not known yet."""

    def knows(self, label: str) -> bool:
        """Whether a player sits here whom noisegate knows by this name."""

    async def heard(self, link: Link, plaintext: bytes, passed: Passed) -> None:
        """A game message came."""

    def changed(self, link: Link, act: Act, passed: Passed) -> None:
        """The session's keys or its player's address changed."""

    async def woken(self, link: Link) -> None:
        """The player of a suspended session is back."""

    async def lost(self, link: Link, passed: Passed | None) -> None:
        """The player is gone; `passed` is the record in which it said so."""


class StreamLink:
    """One connection and its session. The lock keeps records in the order in which they were sealed."""

    def __init__(self, session: Session, wire: Wire, counts: Counts, *, transport: str, resumed: bool) -> None:
        self.session, self.transport, self.resumed = session, transport, resumed
        self.label = session.peer_id
        self._wire, self._counts = wire, counts
        self._lock = asyncio.Lock()

    async def send(self, plaintext: bytes) -> Passed:
        """A game message to the player."""
        async with self._lock:
            return await self._seal(GAME + plaintext)

    async def _seal(self, plaintext: bytes) -> Passed:
        sealed, ms = await self._counts.timed(self.session.encrypt(plaintext))
        self._counts.sealed += 1
        for message in sealed.messages:
            await self._wire.send(message)
        return Passed(wire=seen(self.transport, "out", sealed.packet), rpc="Encrypt", ms=ms)

    async def give_ticket(self) -> None:
        """The player gets a ticket; its key is in the record, which the table cannot read."""
        async with self._lock:
            await self._seal(TICKET)
            ticket, ms = await self._counts.timed(self.session.issue_ticket())
            self._counts.sealed += 1
            for message in ticket.to_peer:
                await self._wire.send(message)
        wire = seen(self.transport, "out", ticket.to_peer[0])
        emit("note", style="quiet", text="A ticket for later goes to the player.", wire=wire, rpc="IssueTicket", ms=ms)

    async def receive(self) -> tuple[bytes, Passed]:
        """The next record's plaintext."""
        message = await self._wire.receive()
        opened, ms = await self._counts.timed(self.session.decrypt(message))
        self._counts.opened += 1
        for answer in opened.to_peer:
            await self._wire.send(answer)
        passed = Passed(wire=seen(self.transport, "in", message), rpc="Decrypt", ms=ms)
        return opened.plaintext or b"", passed

    async def rekey(self) -> Passed:
        """The player's direction has changed with the record before; now ours does."""
        _, first = await self._counts.timed(self.session.rotate(RotationKind.REKEY, direction=Direction.RECEIVE))
        async with self._lock:
            passed = await self._seal(REKEY)
            _, second = await self._counts.timed(self.session.rotate(RotationKind.REKEY, direction=Direction.SEND))
        return Passed(wire=passed.wire, rpc="Rotate REKEY", ms=round(first + second, 1))

    async def renegotiate(self, message: bytes) -> None:
        """One handshake message of a renegotiation, carried inside the session in both directions."""
        rotation, _ = await self._counts.timed(self.session.rotate(RotationKind.RENEGOTIATE, message=message))
        async with self._lock:
            for answer in rotation.to_peer:
                await self._seal(RENEGOTIATE + answer)

    async def switch(self) -> Passed:
        """The player's direction has changed to the new keys; now ours does."""
        kind = RotationKind.RENEGOTIATE
        _, first = await self._counts.timed(self.session.rotate(kind, switch_receive=True))
        async with self._lock:
            passed = await self._seal(SWITCH)
            _, second = await self._counts.timed(self.session.rotate(kind, switch_send=True))
        return Passed(wire=passed.wire, rpc="Rotate RENEGOTIATE", ms=round(first + second, 1))

    async def rotate(self) -> float:
        raise NotImplementedError("in NOISE mode the player begins")

    async def end(self) -> float:
        _, ms = await self._counts.timed(self.session.close())
        await self._wire.close()
        return ms


class StreamDoor:
    """Lets players in over ordered connections."""

    def __init__(self, client: Client, host: Host, counts: Counts) -> None:
        self._client, self._host, self._counts = client, host, counts

    async def serve(self, wire: Wire, transport: str) -> None:
        """One connection, from its first frame to its end."""
        link: StreamLink | None = None
        try:
            link = await self._handshake(wire, transport)
            while True:
                plaintext, passed = await link.receive()
                await self._dispatch(link, plaintext, passed)
        except (WireLostError, NoisegateError, ValueError, KeyError) as error:
            if not isinstance(error, WireLostError):
                emit("note", style="refused", text=f"A connection is cut: {error}.", wire=transport, rpc="")
            await wire.close()
            if link is not None:
                await self._host.lost(link, None)

    async def _handshake(self, wire: Wire, transport: str) -> StreamLink:
        opening = Opening.decode(await wire.receive())
        resumed = opening.pattern == RESUME
        if resumed:
            begin = self._client.respond_resume(
                mode=RecordMode.NOISE, message=opening.message, ticket=opening.ticket, prologue=PROLOGUE
            )
        else:
            begin = self._client.respond(
                mode=RecordMode.NOISE, message=opening.message, prologue=PROLOGUE, group=GROUP,
                protocol=NoiseProtocol(Pattern(opening.pattern), Suite(opening.suite)), peer_id=self._host.label(),
            )  # fmt: skip
        session, ms = await self._counts.timed(begin)
        for message in session.to_peer:
            await wire.send(message)
        while session.established is None:
            to_peer, more = await self._counts.timed(session.proceed(await wire.receive()))
            ms = round(ms + more, 1)
            for message in to_peer:
                await wire.send(message)
        emit(
            "note",
            style="resume" if resumed else "quiet",
            text=f"Someone {'comes back with a ticket' if resumed else 'shakes hands'} over {transport}.",
            wire=session.established.protocol_name,
            rpc="Resume" if resumed else "Handshake",
            ms=ms,
        )
        return StreamLink(session, wire, self._counts, transport=transport, resumed=resumed)

    async def _dispatch(self, link: StreamLink, plaintext: bytes, passed: Passed) -> None:
        mark, content = plaintext[:1], plaintext[1:]
        marks: Final[dict[bytes, Callable[[], Awaitable[None]]]] = {
            GAME: lambda: self._host.heard(link, content, passed),
            REKEY: lambda: self._rekey(link),
            RENEGOTIATE: lambda: link.renegotiate(content),
            SWITCH: lambda: self._switch(link),
        }
        await marks[mark]()

    async def _rekey(self, link: StreamLink) -> None:
        self._host.changed(link, Act.REKEY, await link.rekey())

    async def _switch(self, link: StreamLink) -> None:
        self._host.changed(link, Act.RENEGOTIATE, await link.switch())
