"""A session of one player: the handle that a game holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from noisegate.v1 import session_crypto_service_pb2 as service

from . import _wire
from ._away import NetworkChange, Suspended, from_change, from_suspend
from ._calls import (
    CHANGE_NETWORK,
    CLOSE_SESSION,
    DECRYPT,
    ENCRYPT,
    EXPORT_SECRET,
    GET_SESSION,
    HANDSHAKE,
    ISSUE_TICKET,
    RESUME,
    ROTATE,
    SUSPEND_SESSION,
    Calls,
    Method,
    RequestT,
    ResponseT,
)
from ._facts import SessionFacts, SessionView
from ._model import (
    ControlKind,
    Direction,
    Network,
    Opened,
    RecordMode,
    Rotation,
    RotationKind,
    Sealed,
    SessionInfo,
    Ticket,
)
from ._packing import SESSION_ID_BYTES, Text
from .errors import NoisegateError, SessionClosed, SessionNotFound

if TYPE_CHECKING:
    from ._multiplexer import Multiplexer

T = TypeVar("T")


class Session(SessionView):
    """A handle of one session. Leaving its `async with` block ends the session, unless `detach` was called.

    In NOISE mode a record's counter travels with nobody: calls of one direction run one after the other, and a call
    that ends with DeadlineExceeded or ServiceUnavailable, or is cancelled, may have moved the counter all the same;
    then the session is best closed and resumed. In DATAGRAM mode calls run side by side and a lost answer costs one
    packet.
    """

    def __init__(self, calls: Calls, facts: SessionFacts) -> None:
        super().__init__(facts)
        self._calls: Final = calls
        self._detached = False
        ordered = facts.mode is not RecordMode.DATAGRAM
        self._turns: Final = {direction: asyncio.Lock() for direction in Direction} if ordered else {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._detached or self.ended:
            return
        try:
            await self.close()
        except NoisegateError:
            # The session dies of idleness then; what happened in the block must not be hidden by that.
            if error is None:
                raise

    def detach(self) -> None:
        """Let the session live on after its `async with` block."""
        self._detached = True

    async def proceed(self, message: bytes, *, payload: bytes = b"") -> tuple[bytes, ...]:
        """Hand over the player's next handshake message; answers `to_peer`. Look at `established` afterwards.

        `message`: NOISE the player's message, DATAGRAM its packet (a RETRY too), at most 65,535 bytes. `payload`: of
        our next message, at most 16,384 bytes; a resume has none. Raises HandshakeFailed, HandshakeNotDue,
        SessionNotFound.
        """
        async with self._turn(*Direction):
            if self._facts.resuming:
                resume = service.ProceedResume(session_id=self.id, message=message)
                request = service.ResumeRequest(request_id=self._calls.request_id(), proceed=resume)
                resumed = await self._ask(RESUME, request)
                self._facts.take(resumed, self.endpoint)
                return self.to_peer
            step = service.ProceedHandshake(session_id=self.id, message=message, payload=payload)
            shake = service.HandshakeRequest(request_id=self._calls.request_id(), proceed=step)
            shaken = await self._ask(HANDSHAKE, shake)
            self._facts.take(shaken, self.endpoint)
            return self.to_peer

    async def encrypt(self, plaintext: bytes, associated_data: bytes = b"") -> Sealed:
        """Seal one plaintext for the player. Send `messages` of the answer.

        `plaintext`: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM mode; may be empty. `associated_data`: at
        most 1,024 bytes, authenticated, not sent. Raises RekeyRequired, NotEstablished, SessionNotFound, SessionClosed.
        """
        async with self._turn(Direction.SEND):
            if (together := self._together) is not None:
                text = Text(self.id, plaintext, associated_data)
                return await self._noticing(together.encrypt(self.endpoint, self.mode, text))
            request = service.EncryptRequest(
                session_id=self.id,
                request_id=self._calls.request_id(),
                plaintext=plaintext,
                associated_data=associated_data,
            )
            answer = await self._ask(ENCRYPT, request)
            return _wire.from_encrypt(answer)

    async def decrypt(self, ciphertext: bytes, associated_data: bytes = b"", *, ticket: bool = False) -> Opened:
        """Open one record of the player. Send `to_peer` of the answer; `plaintext` may be None.

        `ciphertext`: at most 65,535 bytes. `ticket`: NOISE, the plaintext is a ticket for us; it is kept for
        `initiate_resume`. Raises DecryptFailed, ReplayDetected, CounterTooOld (all: drop it), SessionNotFound,
        SessionClosed.
        """
        async with self._turn(Direction.RECEIVE):
            if (together := self._together) is not None and not ticket:
                text = Text(self.id, ciphertext, associated_data)
                opened = await self._noticing(together.decrypt(self.endpoint, text))
            else:
                request = service.DecryptRequest(
                    session_id=self.id,
                    request_id=self._calls.request_id(),
                    ciphertext=ciphertext,
                    associated_data=associated_data,
                    ticket=ticket,
                )
                opened = _wire.from_decrypt(await self._ask(DECRYPT, request))
            self._facts.ended |= opened.control is ControlKind.CLOSE
            return opened

    async def rotate(
        self,
        kind: RotationKind = RotationKind.REKEY,
        *,
        direction: Direction | None = None,
        message: bytes = b"",
        switch_send: bool = False,
        switch_receive: bool = False,
        psk: bytes = b"",
    ) -> Rotation:
        """Change keys (docs/protocol.md, section 4). DATAGRAM: `kind` is all; the rest travels in `to_peer` by itself.

        NOISE, REKEY: `direction` names which; the player's library must rekey at the same record. NOISE, RENEGOTIATE:
        step by step, `message` is what the player sent inside the session; once `ready_to_switch`, `switch_send` and
        `switch_receive` say from where on. `psk`: 32 bytes, in the first call, for psk patterns. Raises EpochConflict,
        NotEstablished.
        """
        wire_direction = service.Direction.ValueType(direction or 0)
        turns = (direction,) if kind is RotationKind.REKEY and direction else tuple(Direction)
        async with self._turn(*turns):
            request = service.RotateRequest(
                session_id=self.id,
                request_id=self._calls.request_id(),
                kind=service.RotationKind.ValueType(kind),
                direction=wire_direction,
                message=message,
                switch_send=switch_send,
                switch_receive=switch_receive,
                psk=psk,
            )
            return _wire.from_rotate(await self._ask(ROTATE, request))

    async def issue_ticket(self) -> Ticket:
        """Make a single-use resumption ticket and seal it for the player: send `to_peer` of the answer."""
        async with self._turn(Direction.SEND):
            request = service.IssueTicketRequest(session_id=self.id, request_id=self._calls.request_id())
            return _wire.from_ticket(await self._ask(ISSUE_TICKET, request))

    async def export_secret(self, label: str, *, context: bytes = b"", length: int = 32) -> bytes:
        """A key for something beside the session, such as a voice channel: the player derives the same one.

        `label`: what it is for, 1 to 64 bytes. `context`: what else it is bound to, at most 1,024 bytes. `length`: 16
        to 255 bytes. It stays the same through rotations (docs/protocol.md, section 3). Raises CallerForbidden unless
        the service's policy names ExportSecret for this caller.
        """
        request = service.ExportSecretRequest(session_id=self.id, label=label, context=context, length=length)
        return (await self._ask(EXPORT_SECRET, request)).secret

    async def suspend(self, *, return_blob: bool = False) -> Suspended:
        """Take the session out of memory, e.g. while its player is away; `client.restore` brings it back.

        The service keeps it, sealed, over a restart too where it has a file for that. `return_blob`: DATAGRAM, the
        answer has the sealed session and the service keeps nothing. Until it is back other calls raise NotEstablished;
        the end of the handle's `async with` block does not end it. Raises Overloaded where it could not be made
        durable: then it goes on.
        """
        async with self._turn(*Direction):
            request = service.SuspendSessionRequest(
                session_id=self.id, request_id=self._calls.request_id(), return_blob=return_blob
            )
            suspended = from_suspend(await self._ask(SUSPEND_SESSION, request))
            self.detach()
            return suspended

    async def change_network(self, network: Network) -> NetworkChange:
        """Tell the service that the player is on another network: send `to_peer` of the answer.

        WIFI: a new connection id and new keys (NOISE: `rotate` where `rotation_due`). CELLULAR: a longer keep-alive and
        no padding. Both bring a suspended session back. NONE: suspends, see `suspend`.
        """
        async with self._turn(*Direction):
            request = service.ChangeNetworkRequest(
                session_id=self.id, request_id=self._calls.request_id(), network=_wire.to_network(network)
            )
            change = from_change((await self._ask(CHANGE_NETWORK, request)).changes[0])
            self._facts.connection_id = change.connection_id or self._facts.connection_id
            if network is Network.NONE:
                self.detach()
            return change

    async def describe(self) -> SessionInfo:
        """Ask the service what it knows about the session."""
        answer = await self._ask(GET_SESSION, service.GetSessionRequest(session_id=self.id))
        return _wire.from_session(answer.session)

    async def close(self) -> tuple[bytes, ...]:
        """End the session or its handshake; answers what the player should still get (DATAGRAM: a close record).

        Not an error where it has ended already; then there is nothing to send.
        """
        if self.ended:
            return ()
        request = service.CloseSessionRequest(session_id=self.id, request_id=self._calls.request_id())
        try:
            self._facts.to_peer = tuple((await self._ask(CLOSE_SESSION, request)).to_peer)
        except (SessionNotFound, SessionClosed):
            self._facts.to_peer = ()
        self._facts.ended = True
        return self.to_peer

    @asynccontextmanager
    async def _turn(self, *directions: Direction) -> AsyncIterator[None]:
        """Wait for this call's turn; in the order SEND, RECEIVE, so that two calls cannot wait for each other."""
        async with AsyncExitStack() as held:
            for direction, lock in self._turns.items():
                if direction in directions:
                    await held.enter_async_context(lock)
            yield

    @property
    def _together(self) -> Multiplexer | None:
        # In a batch an id of another length would shift those behind it.
        return self._calls.together if len(self.id) == SESSION_ID_BYTES else None

    async def _ask(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT:
        answer = await self._noticing(self._calls.call(method, request, endpoint=self.endpoint))
        self._facts.endpoint = answer.endpoint
        return answer.message

    async def _noticing(self, call: Awaitable[T]) -> T:
        """Its answer; remembers where it says that the session has ended."""
        try:
            return await call
        except (SessionNotFound, SessionClosed):
            self._facts.ended = True
            raise
