"""A UDP game's receive path: hand it every packet of a player, send what it gives back.

It holds no key. It picks the RPC by the packet's first bytes (docs/protocol.md, section 7), keeps the handle of every
session by connection id, and decides where a session's bytes go: it follows a player to a new address only after a
record from there opened and was the newest so far, and sends to an address that has proved nothing at most three times
what came from it (section 2). Packets larger than the path's MTU come and go as fragments; the service sees them whole.
What a forger or a bad network makes is a result with `refused`; exceptions are for the service.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Generic

from ._away import NetworkChange
from ._client import Client
from ._model import ControlKind, RecordMode
from ._opening import Opening
from ._paths import Known, Path, SessionTable
from ._received import ANYONE, AddressT, Admission, Received
from ._session import Session
from .errors import (
    ClockSkew,
    CounterTooOld,
    DecryptFailed,
    HandshakeFailed,
    HandshakeNotDue,
    InvalidRequest,
    MessageTooLarge,
    NoisegateError,
    NotEstablished,
    PeerRevoked,
    PlayerMustRetry,
    PolicyRejected,
    ReplayDetected,
    SessionClosed,
    SessionNotFound,
    SessionQuota,
    StaleHandshake,
    TicketRejected,
    UnsupportedProtocol,
)
from .fragments import DEFAULT_MTU, BadFragment, Reassembler, ReassemblyLimits, may_be_cut, split
from .packet import MAX_PACKET_BYTES, PacketType, Peek, echo_in, peek, step_of

NOT_A_PACKET: Final = "NOT_A_PACKET"
NOT_ADMITTED: Final = "NOT_ADMITTED"
UNEXPECTED_PACKET: Final = "UNEXPECTED_PACKET"

_PLAYERS_FAULT: Final = (
    ClockSkew,
    CounterTooOld,
    DecryptFailed,
    HandshakeFailed,
    HandshakeNotDue,
    InvalidRequest,
    MessageTooLarge,
    NotEstablished,
    PeerRevoked,
    PolicyRejected,
    ReplayDetected,
    SessionClosed,
    SessionNotFound,
    SessionQuota,
    StaleHandshake,
    TicketRejected,
    UnsupportedProtocol,
)
_FIRST_STEP: Final = 1
_LEAST_MTU: Final = 576
"""What every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet."""
_MESSAGE_IDS: Final = 1 << 16
_UNCONFIRMED_FOR: Final = 60.0


class DatagramReceiver(Generic[AddressT]):
    """Turns players' packets into calls. `receive` may run side by side with itself, on the client's event loop.

    After `moved` the new address gets at most three times what comes from it: what does not fit is dropped, not queued,
    and `withheld` counts it (of the game's own messages `route` leaves it out). So until `verified` again, send one
    small challenge there, repeat it now and then, and nothing of an ordered stream, in which a gap would never close.
    The player must keep sending meanwhile, e.g. keep-alives: its bytes pay for ours. See `mark_verified`.

    A player who resumed has to send a first record, a keep-alive if nothing else: that alone confirms the resume.
    """

    def __init__(
        self,
        client: Client,
        *,
        admit: Callable[[bytes, AddressT], Admission | None] | None = None,
        max_sessions: int = 65_536,
        mtu: int = DEFAULT_MTU,
        reassembly: ReassemblyLimits | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Bind to `client`.

        `admit`: asked with (packet, source) before a player begins or resumes a session; None refuses it. Without it
        anyone may, unnamed. `max_sessions`: handles kept, and half-open ones besides; a forgotten one is found again by
        the service. `mtu`: bytes of a datagram that the players' paths take, at least 576; larger packets go out as
        fragments. `reassembly`: what the fragments of players may cost. `now`: seconds of a monotonic clock; the
        running loop's by default.
        """
        if mtu < _LEAST_MTU:
            raise ValueError(f"mtu: at least {_LEAST_MTU} bytes")
        self._client = client
        self._admit = admit
        self._now = now
        self._sessions: SessionTable[AddressT] = SessionTable(max_sessions)
        self._mtu = mtu
        self._parts: Reassembler[AddressT] = Reassembler(reassembly or ReassemblyLimits())
        self._message_id = int.from_bytes(os.urandom(2), "big")

    def __len__(self) -> int:
        return len(self._sessions)

    async def receive(self, packet: bytes, source: AddressT) -> Received[AddressT]:
        """Handle one packet of a player. Raises NoisegateError only for the service's and the caller's own troubles."""
        peeked = peek(packet)
        if peeked is None or len(packet) > MAX_PACKET_BYTES:
            return Received(refused=NOT_A_PACKET)
        self._sessions.expire(self._time())
        known = self._sessions.find(peeked.connection_id)
        if known is not None:
            known.path.came(source, len(packet))
        if peeked.type is PacketType.FRAGMENT:
            try:
                whole = self._parts.add(packet, source, self._time())
            except BadFragment:
                return Received(refused=NOT_A_PACKET)
            peeked = peek(whole) if whole is not None else None
            if whole is None or peeked is None:
                return Received(session=known.session if known else None)
            packet = whole
        return await self._packet(packet, source, peeked, known)

    async def _packet(
        self, packet: bytes, source: AddressT, peeked: Peek, known: Known[AddressT] | None
    ) -> Received[AddressT]:
        try:
            if peeked.type in (PacketType.RECORD, PacketType.SALTED):
                return await self._record(packet, source, peeked, known)
            if peeked.type in (PacketType.HANDSHAKE, PacketType.RESUME):
                resuming = peeked.type is PacketType.RESUME
                if step_of(packet) == _FIRST_STEP:
                    return await self._first_step(packet, source, resuming=resuming)
                return await self._later_step(packet, source, known, resuming=resuming)
            if peeked.type is PacketType.RETRY and (begun := self._sessions.that_sent(echo_in(packet))) is not None:
                return await self._retry(packet, source, begun)
        except PlayerMustRetry as retry:
            to_send, _ = self._allowed(Path(source, len(packet), provable=False), retry.to_peer)
            return Received(to_send=to_send, refused=retry.reason)
        except _PLAYERS_FAULT as error:
            return self._refusal(error, known)
        return Received(session=known.session if known else None, refused=UNEXPECTED_PACKET)

    def add(self, session: Session, address: AddressT, *, verified: bool = False) -> None:
        """Take up a session that began elsewhere, e.g. by `client.initiate`.

        Its first `to_peer` is the game's to send, by way of `cut`. `verified`: the game knows that the address wants to
        be sent to.
        """
        path = Path(address, 0, provable=True)
        path.verified = verified
        self._sessions.sent(self._sessions.add(session, path, expires_at=self._expiry(session)), session.to_peer)

    def cut(self, messages: Iterable[bytes]) -> list[bytes]:
        """The datagrams of messages that the game sends wherever it wants: each no larger than the MTU."""
        return [datagram for message in messages for datagram in self._datagrams(message)]

    def route(self, session: Session, messages: Iterable[bytes]) -> list[tuple[bytes, AddressT]]:
        """Where the game's own messages (`Sealed.messages`, `to_peer`) go now.

        Leaves out what an address may not get yet. Empty for a session that this receiver does not know. What is
        larger than the MTU goes as fragments and is lost with any of them: keep records below it, which are 32 bytes
        longer than their plaintexts.
        """
        known = self._sessions.by_id(session.id)
        return [] if known is None else list(self._allowed(known.path, messages)[0])

    def route_change(self, session: Session, change: NetworkChange) -> list[tuple[bytes, AddressT]]:
        """As `route`, for what a change of network brings about: send it nowhere else.

        It begins with a question. Once the player has answered that from there, the address is `verified`.
        """
        known = self._sessions.by_id(session.id)
        if known is not None:
            known.path.asked(change.token)
        return self.route(session, change.to_peer)

    def address(self, session: Session) -> AddressT | None:
        """Where the session's player is, as far as its records have shown; None where it is not known."""
        known = self._sessions.by_id(session.id)
        return None if known is None else known.path.address

    def verified(self, session: Session) -> bool:
        """Whether the session's address has proved that it gets what is sent to it."""
        known = self._sessions.by_id(session.id)
        return known is not None and known.path.verified

    def mark_verified(self, session: Session, address: AddressT) -> None:
        """Lift the limit of `address`, after a proof of the game's own: a random value, sealed, sent there and echoed.

        A handshake proves its address by itself; one that a player has moved to stays limited until this is called, or
        it answers the question of a change of network (`route_change`).
        Keep the challenge small (a record is 32 bytes longer than its plaintext) and outside any ordered stream, send
        nothing else until the player has answered it, and have the player send often enough to pay for it. Nothing
        happens if the player has moved on from `address`.
        """
        known = self._sessions.by_id(session.id)
        if known is not None and known.path.address == address:
            known.path.verify()

    def forget(self, session: Session) -> None:
        """Drop the handle, e.g. after `session.close()`. The service still knows the session if it lives."""
        self._sessions.remove(session.id)

    # --- one packet --------------------------------------------------------------------------------------------------

    async def _record(
        self, packet: bytes, source: AddressT, peeked: Peek, known: Known[AddressT] | None
    ) -> Received[AddressT]:
        fresh = False
        if known is not None:
            opened = await known.session.decrypt(packet)
        else:
            session, opened = await self._client.find_and_decrypt(packet)
            # The session may have another connection id here, or another packet of it came in meanwhile.
            known = self._sessions.by_id(session.id)
            fresh = known is None
            if known is None:
                known = self._sessions.add(session, Path(source, len(packet), provable=False), expires_at=None)
            else:
                known.path.came(source, len(packet))
            self._sessions.alias(known, peeked.connection_id)
        self._sessions.settle(known)
        moved = known.path.opened(source, len(packet), opened)
        known.path.answered(source, opened.answered)
        to_send, withheld = self._allowed(known.path, opened.to_peer)
        closed = opened.control is ControlKind.CLOSE
        if closed:
            self._sessions.remove(known.session.id)
        return Received(
            session=known.session,
            plaintexts=() if opened.plaintext is None else (opened.plaintext,),
            to_send=to_send,
            new_session=fresh,
            epoch=opened.epoch,
            counter=opened.counter,
            control=opened.control,
            closed=closed,
            early=opened.early,
            rotation_due=opened.rotation_due,
            moved=moved,
            withheld=withheld,
        )

    async def _first_step(self, packet: bytes, source: AddressT, *, resuming: bool) -> Received[AddressT]:
        admission = ANYONE if self._admit is None else self._admit(packet, source)
        if admission is None:
            return Received(refused=NOT_ADMITTED)
        session = await self._begin(packet, admission, resuming=resuming)
        known = self._sessions.by_id(session.id)
        fresh = known is None
        if known is None:
            path = Path(source, len(packet), provable=True)
            # Half-open until the player has answered, even where the pattern is done: a first packet may be a replay.
            expires_at = self._time() + (session.pending_for or _UNCONFIRMED_FOR)
            known = self._sessions.add(session, path, expires_at=expires_at)
        else:
            # A repeat: the service gave its answer again, and this handle is a second one of the same session.
            known.path.came(source, len(packet))
        established = fresh and session.established is not None
        stepped = self._stepped(known, session, source, len(packet), fresh=fresh, established=established)
        # Of several copies of a packet one alone has it, and not always the first to come back.
        return replace(stepped, early_data=session.early_data) if session.early_data else stepped

    async def _later_step(
        self, packet: bytes, source: AddressT, known: Known[AddressT] | None, *, resuming: bool
    ) -> Received[AddressT]:
        fresh = established = False
        if known is not None:
            before = known.session.established
            await known.session.proceed(packet)
            established = before is None and known.session.established is not None
        else:
            session = await self._client.find_and_proceed(packet, resuming=resuming)
            known = self._sessions.by_id(session.id)
            fresh = known is None
            if known is None:
                path = Path(source, len(packet), provable=False)
                known = self._sessions.add(session, path, expires_at=self._expiry(session))
                established = session.established is not None
        if established:
            self._sessions.settle(known)
            known.path.finished(source)
        return self._stepped(known, known.session, source, len(packet), fresh=fresh, established=established)

    async def _retry(self, packet: bytes, source: AddressT, begun: Known[AddressT]) -> Received[AddressT]:
        """The player refuses the first packet of a session that the game began."""
        begun.path.came(source, len(packet))
        await begun.session.proceed(packet)
        # Its echo is made of our packet, which went to one address alone.
        begun.path.finished(source)
        self._sessions.sent(begun, begun.session.to_peer)
        return self._stepped(begun, begun.session, source, len(packet), fresh=False, established=False)

    def _stepped(
        self,
        known: Known[AddressT],
        step: Session,
        source: AddressT,
        size: int,
        *,
        fresh: bool,
        established: bool,
    ) -> Received[AddressT]:
        path = known.path
        if source != path.address and step.to_peer:
            # A handshake packet proves no address: its sender gets the answer, within what this packet paid for.
            path.answered_elsewhere()
            path = Path(source, size, provable=False)
        to_send, withheld = self._allowed(path, step.to_peer)
        return Received(
            session=known.session,
            payload=step.payload,
            to_send=to_send,
            new_session=fresh,
            established=established,
            withheld=withheld,
        )

    def _begin(self, packet: bytes, admission: Admission, *, resuming: bool) -> Opening:
        if resuming:
            return self._client.respond_resume(
                mode=RecordMode.DATAGRAM,
                message=packet,
                prologue=admission.prologue,
                payload=admission.payload,
                accept_early_data=admission.accept_early_data,
                psk=admission.psk,
                peer_id=admission.peer_id,
                group=admission.group,
                options=admission.options,
            )
        return self._client.respond(
            mode=RecordMode.DATAGRAM,
            message=packet,
            psk=admission.psk,
            prologue=admission.prologue,
            payload=admission.payload,
            peer_id=admission.peer_id,
            group=admission.group,
            options=admission.options,
        )

    def _refusal(self, error: NoisegateError, known: Known[AddressT] | None) -> Received[AddressT]:
        gone = known is not None and isinstance(error, (SessionNotFound, SessionClosed))
        if known is not None and gone:
            self._sessions.remove(known.session.id)
        return Received(session=known.session if known else None, closed=gone, refused=error.reason)

    def _expiry(self, session: Session) -> float | None:
        return None if session.established is not None else self._time() + session.pending_for

    def _time(self) -> float:
        return asyncio.get_running_loop().time() if self._now is None else self._now()

    def _allowed(
        self, path: Path[AddressT], messages: Iterable[bytes]
    ) -> tuple[tuple[tuple[bytes, AddressT], ...], int]:
        """(datagrams for the path's address, how many messages it may not get); a message goes whole or not at all."""
        to_send: list[tuple[bytes, AddressT]] = []
        withheld = 0
        for message in messages:
            datagrams = self._datagrams(message)
            if path.may_send(sum(map(len, datagrams))):
                to_send += [(datagram, path.address) for datagram in datagrams]
            else:
                withheld += 1
        return tuple(to_send), withheld

    def _datagrams(self, message: bytes) -> tuple[bytes, ...]:
        if len(message) <= self._mtu or not may_be_cut(message):
            return (message,)
        self._message_id = (self._message_id + 1) % _MESSAGE_IDS
        return split(message, self._message_id, mtu=self._mtu)
