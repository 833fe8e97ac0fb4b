"""Calls the Python SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of JSON out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import noisegate
from noisegate import (
    Client,
    DatagramReceiver,
    Direction,
    NoisegateError,
    Opened,
    Pattern,
    Protocol,
    RecordMode,
    RotationKind,
    Sealed,
    Session,
    SessionClosed,
    SessionNotFound,
    SessionOptions,
    Suite,
)
from noisegate._calls import Calls
from noisegate._channels import Channels
from noisegate._multiplexer import Multiplex, Multiplexer

Request = dict[str, Any]
Answer = dict[str, Any]

_REFUSED: Final = (noisegate.DecryptFailed, noisegate.ReplayDetected, noisegate.CounterTooOld)
"""Of a packet, not of its call."""


def raw(request: Request, field: str) -> bytes:
    """A field of bytes; empty where it is left out."""
    return bytes.fromhex(request.get(field, ""))


def hexes(messages: Any) -> list[str]:
    """Each message."""
    return [message.hex() for message in messages]


def from_error(error: NoisegateError) -> Answer:
    """A refusal."""
    return {
        "code": error.code.name,
        "reason": error.reason,
        "resume_needed": isinstance(error, SessionNotFound | SessionClosed),
        "metadata": dict(error.metadata),
    }


def from_sealed(sealed: Sealed) -> Answer:
    """A record."""
    return {
        "packet": sealed.packet.hex(),
        "to_peer": hexes(sealed.to_peer),
        "counter": sealed.counter,
        "epoch": sealed.epoch,
        "rotation_due": sealed.rotation_due,
    }


def from_opened(opened: Opened) -> Answer:
    """What a packet was."""
    return {
        "refused": "",
        "plaintext": None if opened.plaintext is None else opened.plaintext.hex(),
        "control": "" if opened.control is None else opened.control.name,
        "to_peer": hexes(opened.to_peer),
        "counter": opened.counter,
        "epoch": opened.epoch,
        "newest": opened.newest,
        "early": opened.early,
    }


def from_session(session: Session) -> Answer:
    """A session that has begun or gone on."""
    made = session.established
    return {
        "session_id": session.id.hex(),
        "endpoint": session.endpoint,
        "connection_id": session.connection_id.hex(),
        "to_peer": hexes(session.to_peer),
        "payload": session.payload.hex(),
        "ticket": session.ticket.hex(),
        "peer_id": session.peer_id,
        "group": session.group,
        "established": made is not None,
        "handshake_hash": "" if made is None else made.handshake_hash.hex(),
        "remote_static_key": "" if made is None else made.remote_static_key.hex(),
    }


class Driver:
    """The operations, one method each, named as the requests have them."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, Session] = {}
        self.receivers: dict[str, DatagramReceiver[str]] = {}

    async def connect(self, request: Request) -> Answer:
        """A client; `window` makes its flow-control windows small."""
        policy = noisegate.CallPolicy(
            packet_deadline=request.get("packet_ms", 250) / 1_000,
            control_deadline=request.get("control_ms", 2_000) / 1_000,
            attempts=request.get("attempts", 5),
        )
        # `connect` has no word for windows: they are for tests, and gRPC knows them by numbers of its own.
        window = request.get("window")
        options = () if window is None else (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", window))
        tls = None
        if "ca" in request:
            tls = noisegate.Tls(
                ca=raw(request, "ca"),
                certificate=raw(request, "certificate") or None,
                key=raw(request, "key") or None,
            )
        channels = Channels(request["target"], tls=tls, insecure=False, options=options)
        calls = Calls(channels, policy, os.urandom)
        if request.get("multiplex"):
            multiplex = Multiplex(max_items=request.get("max_items", 256))
            calls.together = Multiplexer(channels, policy, multiplex, share=calls.share, request_id=calls.request_id)
        self.clients[request["client"]] = Client(calls)
        return {}

    async def disconnect(self, request: Request) -> Answer:
        """Close a client."""
        await self.clients[request["client"]].close()
        return {}

    async def capabilities(self, request: Request) -> Answer:
        """What the service can do."""
        found = await self._client(request).capabilities()
        return {"static_key": found.static_key.hex(), "protocol_version": found.protocol_version}

    async def respond(self, request: Request) -> Answer:
        """A player has begun."""
        return self._begun(request, await self._client(request).respond(
            mode=RecordMode[request["mode"]], protocol=_protocol(request), message=raw(request, "message"),
            hello=raw(request, "hello"), psk=raw(request, "psk"), prologue=raw(request, "prologue"),
            payload=raw(request, "payload"), peer_id=request.get("peer_id", ""), group=request.get("group", ""),
        ))  # fmt: skip

    async def initiate(self, request: Request) -> Answer:
        """The service begins."""
        protocol = _protocol(request)
        if protocol is None:
            raise ValueError("initiate needs a protocol")
        return self._begun(request, await self._client(request).initiate(
            mode=RecordMode[request["mode"]], protocol=protocol, remote_static_key=raw(request, "remote_static_key"),
            psk=raw(request, "psk"), prologue=raw(request, "prologue"), payload=raw(request, "payload"),
            peer_id=request.get("peer_id", ""), group=request.get("group", ""),
            options=SessionOptions(tickets=request.get("tickets", False)),
        ))  # fmt: skip

    async def respond_resume(self, request: Request) -> Answer:
        """A player comes back with a ticket."""
        return self._begun(request, await self._client(request).respond_resume(
            mode=RecordMode[request["mode"]], message=raw(request, "message"), ticket=raw(request, "ticket"),
            prologue=raw(request, "prologue"), payload=raw(request, "payload"),
        ))  # fmt: skip

    async def restore(self, request: Request) -> Answer:
        """A suspended session comes back."""
        session_id, blob = raw(request, "session_id"), raw(request, "blob")
        return self._begun(request, await self._client(request).restore(session_id, blob=blob))

    async def handle(self, request: Request) -> Answer:
        """A handle of a session that lives already."""
        mode = RecordMode[request["mode"]]
        endpoint = request.get("endpoint", "")
        session = self._client(request).session(raw(request, "session_id"), endpoint=endpoint, mode=mode)
        return self._begun(request, session)

    async def proceed(self, request: Request) -> Answer:
        """The player's next handshake message."""
        session = self._session(request)
        await session.proceed(raw(request, "message"), payload=raw(request, "payload"))
        return from_session(session)

    async def encrypt(self, request: Request) -> Answer:
        """Seal."""
        text, beside = raw(request, "plaintext"), raw(request, "associated_data")
        return from_sealed(await self._session(request).encrypt(text, beside))

    async def decrypt(self, request: Request) -> Answer:
        """Open."""
        packet, beside = raw(request, "ciphertext"), raw(request, "associated_data")
        try:
            opened = await self._session(request).decrypt(packet, beside, ticket=request.get("is_ticket", False))
        except _REFUSED as error:
            return {"refused": error.reason}
        return from_opened(opened)

    async def rotate(self, request: Request) -> Answer:
        """Change keys."""
        direction = request.get("direction")
        rotation = await self._session(request).rotate(
            RotationKind[request["kind"]],
            direction=None if direction is None else Direction[direction],
            message=raw(request, "message"),
            switch_send=request.get("switch_send", False),
            switch_receive=request.get("switch_receive", False),
        )
        return {
            "to_peer": hexes(rotation.to_peer),
            "state": rotation.state.name,
            "epoch": rotation.epoch,
            "counter": rotation.counter,
            "ready_to_switch": rotation.ready_to_switch,
        }

    async def issue_ticket(self, request: Request) -> Answer:
        """A ticket for the player."""
        return {"to_peer": hexes((await self._session(request).issue_ticket()).to_peer)}

    async def suspend(self, request: Request) -> Answer:
        """Out of memory."""
        suspended = await self._session(request).suspend(return_blob=request.get("return_blob", False))
        return {"blob": suspended.blob.hex()}

    async def describe(self, request: Request) -> Answer:
        """What the service knows about it."""
        found = await self._session(request).describe()
        return {"state": found.state.name, "peer_id": found.peer_id, "group": found.group, "epoch": found.epoch}

    async def export_secret(self, request: Request) -> Answer:
        """A key for something beside the session."""
        session = self._session(request)
        secret = await session.export_secret(
            request["label"], context=raw(request, "context"), length=request["length"]
        )
        return {"secret": secret.hex()}

    async def close(self, request: Request) -> Answer:
        """The end of a session."""
        session = self._session(request)
        return {"to_peer": hexes(await session.close()), "ended": session.ended}

    async def encrypt_batch(self, request: Request) -> Answer:
        """Seal many."""
        items = [(self._session(item), raw(item, "body"), raw(item, "associated_data")) for item in request["items"]]
        return {"items": [_sealed(result) for result in await self._client(request).encrypt_batch(items)]}

    async def decrypt_batch(self, request: Request) -> Answer:
        """Open many."""
        items = [(self._session(item), raw(item, "body"), raw(item, "associated_data")) for item in request["items"]]
        return {"items": [_opened(result) for result in await self._client(request).decrypt_batch(items)]}

    async def broadcast(self, request: Request) -> Answer:
        """Seal one plaintext for many."""
        sessions = [self.sessions[name] for name in request["sessions"]]
        text, beside = raw(request, "plaintext"), raw(request, "associated_data")
        results = await self._client(request).broadcast(sessions, text, beside)
        return {"items": [_sealed(result) for result in results]}

    async def receive(self, request: Request) -> Answer:
        """The datagram helper takes any packet; its session is kept under the request's name."""
        receiver = self.receivers.get(request["receiver"])
        if receiver is None:
            receiver = self.receivers[request["receiver"]] = DatagramReceiver(self._client(request))
        received = await receiver.receive(raw(request, "packet"), request["source"])
        if received.session is not None:
            self.sessions[request["session"]] = received.session
        return {
            "refused": received.refused,
            "plaintexts": hexes(received.plaintexts),
            "to_send": hexes(message for message, _ in received.to_send),
            "sources": [address for _, address in received.to_send],
            "established": received.established,
            "new_session": received.new_session,
            "moved": received.moved,
            "withheld": received.withheld,
        }

    def _client(self, request: Request) -> Client:
        return self.clients[request["client"]]

    def _session(self, request: Request) -> Session:
        return self.sessions[request["session"]]

    def _begun(self, request: Request, session: Session) -> Answer:
        self.sessions[request["session"]] = session
        return from_session(session)


def _protocol(request: Request) -> Protocol | None:
    return Protocol(Pattern[request["pattern"]], Suite[request["suite"]]) if "pattern" in request else None


def _sealed(result: Sealed | NoisegateError) -> Answer:
    return {"error": from_error(result)} if isinstance(result, NoisegateError) else from_sealed(result)


def _opened(result: Opened | NoisegateError) -> Answer:
    if isinstance(result, _REFUSED):
        return {"refused": result.reason}
    return {"error": from_error(result)} if isinstance(result, NoisegateError) else from_opened(result)


async def answer(operation: Callable[[Request], Awaitable[Answer]] | None, request: Request) -> Answer:
    """What became of a request."""
    if operation is None:
        return {"error": {"code": "UNKNOWN_OP"}}
    try:
        return {"ok": await operation(request)}
    except NoisegateError as error:
        return {"error": from_error(error)}
    except asyncio.CancelledError:
        return {"error": {"code": "CANCELLED", "reason": "", "resume_needed": False, "metadata": {}}}


async def serve(driver: Driver) -> None:
    """Read requests to the end of the input; each runs by itself."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running: dict[int, asyncio.Task[None]] = {}

    async def run(request: Request) -> None:
        what = await answer(getattr(driver, request["op"], None), request)
        sys.stdout.write(json.dumps({"id": request["id"], **what}) + "\n")
        sys.stdout.flush()
        del running[request["id"]]

    while line := await reader.readline():
        request = json.loads(line)
        if request["op"] == "cancel":
            if request["target"] in running:
                running[request["target"]].cancel()
            continue
        running[request["id"]] = asyncio.create_task(run(request))
    for client in driver.clients.values():
        await client.close()


if __name__ == "__main__":
    asyncio.run(serve(Driver()))
