"""The client: how a game service reaches noisegate."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from noisegate.v1 import session_crypto_service_pb2 as service

from . import _batch, _wire
from ._away import NetworkChange, from_change
from ._batch import Item
from ._calls import (
    CHANGE_NETWORK,
    DECRYPT,
    DEFAULT_POLICY,
    GET_CAPABILITIES,
    GET_SESSION,
    HANDSHAKE,
    LIST_SESSIONS,
    RESTORE_SESSION,
    RESUME,
    WATCH_SESSIONS,
    CallPolicy,
    Calls,
    Entropy,
)
from ._channels import Channels
from ._events import Watched, from_watch
from ._facts import Progress, SessionFacts
from ._model import (
    Capabilities,
    Network,
    Opened,
    Protocol,
    RecordMode,
    RetryReason,
    Sealed,
    SessionInfo,
    SessionOptions,
)
from ._multiplexer import Multiplex, Multiplexer
from ._opening import Opening
from ._session import Session
from .errors import NoisegateError, PlayerMustRetry
from .tls import Tls


class Client:
    """Calls to one noisegate service. Made by `connect`; belongs to the event loop that first uses it."""

    def __init__(self, calls: Calls) -> None:
        self._calls: Final = calls

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection. Sessions live on at the service."""
        await self._calls.close()

    async def capabilities(self) -> Capabilities:
        """What the service can do, and the static key with which it answers this caller's players."""
        answer = await self._calls.call(GET_CAPABILITIES, service.GetCapabilitiesRequest())
        return _wire.from_capabilities(answer.message)

    # --- sessions that begin -----------------------------------------------------------------------------------------

    def respond(
        self,
        *,
        mode: RecordMode,
        message: bytes,
        protocol: Protocol | None = None,
        hello: bytes = b"",
        psk: bytes = b"",
        prologue: bytes = b"",
        payload: bytes = b"",
        peer_id: str = "",
        group: str = "",
        options: SessionOptions | None = None,
    ) -> Opening:
        """Begin a session that the player asked for: reads its message 1 and makes message 2.

        `message`: NOISE message 1, DATAGRAM the HANDSHAKE packet of step 1; at most 65,535 bytes. `protocol`: NOISE
        without a hello, what the player runs. `hello`: NOISE, what came beside message 1, 14 to 44 bytes. `psk`: 32
        bytes, for psk patterns. `prologue`: the same at both ends, at most 1,024 bytes. `payload`: of message 2, at
        most 16,384 bytes. `peer_id`, `group`: at most 64 bytes each. Raises HandshakeFailed, UnsupportedProtocol,
        PolicyRejected, ClockSkew, StaleHandshake, SessionQuota, InvalidRequest; DATAGRAM PlayerMustRetry, whose
        `to_peer` is to be sent.
        """
        step = service.RespondHandshake(
            mode=_wire.to_mode(mode),
            protocol=_wire.to_protocol(protocol),
            hello=hello,
            message=message,
            psk=psk,
            prologue=prologue,
            payload=payload,
            peer_id=peer_id,
            group=group,
            options=_wire.to_options(options),
        )
        facts = SessionFacts(id=b"", mode=mode, peer_id=peer_id, group=group)
        return self._handshake(service.HandshakeRequest(respond=step), facts)

    def initiate(
        self,
        *,
        mode: RecordMode,
        protocol: Protocol,
        offer: Iterable[Protocol] = (),
        remote_static_key: bytes = b"",
        psk: bytes = b"",
        prologue: bytes = b"",
        payload: bytes = b"",
        peer_id: str = "",
        group: str = "",
        options: SessionOptions | None = None,
    ) -> Opening:
        """Begin a session towards the player: makes message 1, which `to_peer` of the session has.

        `protocol`: what message 1 uses. `offer`: at most 16, preferred first, with `protocol` among them; in NOISE mode
        it makes a hello, which the game's framing must carry. `remote_static_key`: the player's, 32 bytes, for IK and
        NK. The rest as in `respond`; `payload` is message 1's, and in XX nothing protects it.
        """
        step = service.InitiateHandshake(
            mode=_wire.to_mode(mode),
            protocol=_wire.to_protocol(protocol),
            offer=_wire.to_offer(offer),
            remote_static_key=remote_static_key,
            psk=psk,
            prologue=prologue,
            payload=payload,
            peer_id=peer_id,
            group=group,
            options=_wire.to_options(options),
        )
        facts = SessionFacts(id=b"", mode=mode, peer_id=peer_id, group=group)
        return self._handshake(service.HandshakeRequest(initiate=step), facts)

    def respond_resume(
        self,
        *,
        mode: RecordMode,
        message: bytes,
        ticket: bytes = b"",
        hello: bytes = b"",
        prologue: bytes = b"",
        payload: bytes = b"",
        accept_early_data: bool = False,
        fallback_message: bytes = b"",
        fallback_protocol: Protocol | None = None,
        psk: bytes = b"",
        peer_id: str = "",
        group: str = "",
        options: SessionOptions | None = None,
    ) -> Opening:
        """Begin a new session with a ticket that the player brought back; names and options are the ticket's.

        The player must send a first record: that confirms the resume. `message`: NOISE message 1, DATAGRAM the RESUME
        packet of step 1. `ticket`, `hello`: NOISE, what came beside it. `prologue`: that of the session in which the
        ticket was issued. `payload`: of message 2, at most 16,384 bytes. `accept_early_data`: take what message 1
        carries (`early_data`), where it can come for the first time alone.

        The rest is for the full handshake that may have come too, in NOISE mode as `fallback_message`, without a hello
        under `fallback_protocol`: it begins where the ticket is refused (`fell_back`), as `respond` would begin it.
        Otherwise raises TicketRejected: run a full handshake then.
        """
        step = service.RespondResume(
            mode=_wire.to_mode(mode),
            message=message,
            ticket=ticket,
            hello=hello,
            prologue=prologue,
            payload=payload,
            accept_early_data=accept_early_data,
            fallback_message=fallback_message,
            fallback_protocol=_wire.to_protocol(fallback_protocol),
            psk=psk,
            peer_id=peer_id,
            group=group,
            options=_wire.to_options(options),
        )
        return self._resume(service.ResumeRequest(respond=step), SessionFacts(id=b"", mode=mode, resuming=True))

    def initiate_resume(
        self,
        session_id: bytes,
        *,
        mode: RecordMode,
        endpoint: str = "",
        prologue: bytes = b"",
        early_data: bytes = b"",
    ) -> Opening:
        """Begin a new session with a ticket that the player's side gave us in session `session_id`.

        `session_id`: 24 bytes; that session may have ended. `mode`, `endpoint`, `prologue`: those that it had.
        `early_data`: for message 1, as much as the ticket allows; after `proceed` the session's `early` says whether
        the player took it. Raises TicketRejected, MessageTooLarge.
        """
        step = service.InitiateResume(session_id=session_id, prologue=prologue, early_data=early_data)
        facts = SessionFacts(id=b"", endpoint=endpoint, mode=mode, resuming=True)
        return self._resume(service.ResumeRequest(initiate=step), facts)

    # --- sessions that live ------------------------------------------------------------------------------------------

    def session(self, session_id: bytes, *, endpoint: str = "", mode: RecordMode | None = None) -> Session:
        """A handle of a session that lives already. No call is made.

        `session_id`: 24 bytes. Without `endpoint` the client's own target is asked, which may send the call on. Without
        `mode` calls run one after the other, as NOISE mode needs.
        """
        return Session(self._calls, SessionFacts(id=session_id, endpoint=endpoint, mode=mode))

    def adopt(self, info: SessionInfo) -> Session:
        """A handle of a session that `get_session` or `list_sessions` described. No call is made."""
        return Session(self._calls, _facts(info))

    def restore(self, session_id: bytes = b"", *, blob: bytes = b"", endpoint: str = "") -> Opening:
        """Bring a suspended session back; `to_peer` of the handle has what tells the player (DATAGRAM).

        `session_id`: 24 bytes, of a session that the service keeps; one that is not suspended is answered as it is.
        `blob`: what `session.suspend(return_blob=True)` gave; it is good once. `endpoint`: where it was suspended.
        Raises SessionClosed (cause LOST) where it cannot come back, BlobRejected, SessionNotFound, SessionQuota.
        """

        async def begin() -> Session:
            request = service.RestoreSessionRequest(request_id=self._calls.request_id())
            if blob:
                request.blob = blob
            else:
                request.session_id = session_id
            answer = await self._calls.call(RESTORE_SESSION, request, endpoint=endpoint)
            facts = _facts(_wire.from_session(answer.message.session))
            facts.endpoint = facts.endpoint or answer.endpoint
            facts.to_peer = tuple(answer.message.to_peer)
            return Session(self._calls, facts)

        return Opening(begin)

    async def change_network(self, peer_id: str, network: Network, *, endpoint: str = "") -> tuple[NetworkChange, ...]:
        """Tell the service that a player is on another network, for all its sessions (at most 1,000) at one instance.

        See `Session.change_network`; `to_peer` of each change is to be sent.
        """
        request = service.ChangeNetworkRequest(
            request_id=self._calls.request_id(), peer_id=peer_id, network=_wire.to_network(network)
        )
        answer = await self._calls.call(CHANGE_NETWORK, request, endpoint=endpoint)
        return tuple(from_change(change) for change in answer.message.changes)

    async def get_session(
        self, session_id: bytes = b"", *, connection_id: bytes = b"", endpoint: str = ""
    ) -> SessionInfo:
        """Describe a session, named by its id (24 bytes) or, DATAGRAM, by a packet's connection id (8 bytes)."""
        request = service.GetSessionRequest(session_id=session_id, connection_id=connection_id)
        answer = await self._calls.call(GET_SESSION, request, endpoint=endpoint)
        return _wire.from_session(answer.message.session)

    async def list_sessions(
        self, *, peer_id: str = "", group: str = "", page_size: int = 0, endpoint: str = ""
    ) -> AsyncGenerator[SessionInfo, None]:
        """The caller's sessions at one instance, of one player or one group, in no particular order.

        `page_size`: at most 1,000 to a call; 0 for the service's choice. Sessions that begin or end meanwhile may be
        missed.
        """
        token = ""
        while True:
            request = service.ListSessionsRequest(peer_id=peer_id, group=group, page_size=page_size, page_token=token)
            page = (await self._calls.call(LIST_SESSIONS, request, endpoint=endpoint)).message
            for session in page.sessions:
                yield _wire.from_session(session)
            token = page.next_page_token
            if not token:
                return

    async def watch_sessions(
        self, *, peer_id: str = "", group: str = "", endpoint: str = ""
    ) -> AsyncGenerator[Watched, None]:
        """What happens to the caller's sessions at one instance, of one player or one group, as it happens.

        First Watching: from there on nothing is left out but what a Lagged counts, so list what there is after it.
        Then SessionEvent, and Lagged in the place of what a slow reader has missed. It goes on until the caller stops
        reading (`contextlib.aclosing` ends it at once) or an error ends it: Draining when that instance stops; begin
        anew then. Raises SessionQuota where the caller's tenant has too many watchers.
        """
        request = service.WatchSessionsRequest(peer_id=peer_id, group=group)
        async with aclosing(self._calls.stream(WATCH_SESSIONS, request, endpoint=endpoint)) as answers:
            async for answer in answers:
                told = from_watch(answer)
                if told is not None:
                    yield told

    # --- packets whose session only the service knows ----------------------------------------------------------------

    async def find_and_decrypt(self, packet: bytes, associated_data: bytes = b"") -> tuple[Session, Opened]:
        """DATAGRAM: open a RECORD or SALTED packet whose session the service finds by its connection id."""
        request = service.DecryptRequest(
            request_id=self._calls.request_id(), ciphertext=packet, associated_data=associated_data
        )
        answer = await self._calls.call(DECRYPT, request)
        opened = _wire.from_decrypt(answer.message)
        return self.session(opened.session_id, endpoint=answer.endpoint, mode=RecordMode.DATAGRAM), opened

    async def encrypt_batch(self, items: Iterable[Item]) -> list[Sealed | NoisegateError]:
        """Seal many plaintexts: `(session, plaintext)` or `(session, plaintext, associated_data)`, in their order.

        A result for each: what `session.encrypt` would have given or raised. Never raises for an item or a service.
        """
        return await _batch.encrypt_batch(self._calls, items)

    async def decrypt_batch(self, items: Iterable[Item]) -> list[Opened | NoisegateError]:
        """Open many records, likewise. A record that is refused is one of the results."""
        return await _batch.decrypt_batch(self._calls, items)

    async def broadcast(
        self, sessions: Iterable[Session], plaintext: bytes, associated_data: bytes = b""
    ) -> list[Sealed | NoisegateError]:
        """Seal one plaintext for every player of a room. A result for each session, in their order."""
        return await _batch.broadcast(self._calls, sessions, plaintext, associated_data)

    def find_and_proceed(self, packet: bytes, *, resuming: bool = False) -> Opening:
        """DATAGRAM: a HANDSHAKE or RESUME packet of step 2 or 3 whose session the service finds by connection id."""
        facts = SessionFacts(id=b"", mode=RecordMode.DATAGRAM, resuming=resuming)
        if resuming:
            return self._resume(service.ResumeRequest(proceed=service.ProceedResume(message=packet)), facts)
        return self._handshake(service.HandshakeRequest(proceed=service.ProceedHandshake(message=packet)), facts)

    def _handshake(self, request: service.HandshakeRequest, facts: SessionFacts) -> Opening:
        async def begin() -> Session:
            request.request_id = self._calls.request_id()
            answer = await self._calls.call(HANDSHAKE, request, endpoint=facts.endpoint)
            return self._begun(answer.message, facts, answer.endpoint)

        return Opening(begin)

    def _resume(self, request: service.ResumeRequest, facts: SessionFacts) -> Opening:
        async def begin() -> Session:
            request.request_id = self._calls.request_id()
            answer = await self._calls.call(RESUME, request, endpoint=facts.endpoint)
            return self._begun(answer.message, facts, answer.endpoint)

        return Opening(begin)

    def _begun(self, step: Progress, facts: SessionFacts, endpoint: str) -> Session:
        if step.WhichOneof("progress") == "retry":
            raise PlayerMustRetry(step.to_peer, RetryReason(step.retry.reason))
        facts.take(step, endpoint)
        return Session(self._calls, facts)


def _facts(info: SessionInfo) -> SessionFacts:
    return SessionFacts(
        id=info.session_id,
        endpoint=info.endpoint,
        mode=info.mode,
        connection_id=info.connection_id,
        peer_id=info.peer_id,
        group=info.group,
        established=info.established,
    )


def connect(
    target: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    policy: CallPolicy = DEFAULT_POLICY,
    multiplex: Multiplex | None = None,
    entropy: Entropy = os.urandom,
) -> Client:
    """A client for the service at `target`, HOST:PORT. Connects with its first call.

    `tls`: None is for loopback only; any other address then raises InsecureTarget, unless `insecure` says that the
    network between is trusted: plaintexts and pre-shared keys travel on it. The rule and the credentials hold for the
    endpoints that the service names, too. `policy`: deadlines and repeats. `multiplex`: lets `encrypt` and
    `decrypt` of all sessions travel together, in batches on one stream to each endpoint. `entropy`: n -> n random
    bytes, for request ids and jitter.
    """
    channels = Channels(target, tls=tls, insecure=insecure)
    calls = Calls(channels, policy, entropy)
    if multiplex is not None:
        calls.together = Multiplexer(channels, policy, multiplex, share=calls.share, request_id=calls.request_id)
    return Client(calls)
