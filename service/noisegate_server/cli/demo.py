"""`noisegate demo`: two sessions from handshake to close, told step by step against a service of its own.

It plays the game service, which calls noisegate through the SDK, and the players, whose bytes the game only forwards.
Every sentence is checked; the first that does not hold ends the demo with exit code 1.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import typer
from rich.console import Console

import noisegate
from noisegate import Direction, Pattern, Protocol, RecordMode, RotationKind, SessionState
from noisegate_server.cli.demo_player import DatagramPlayer, NoisePlayer, PlayerError
from noisegate_server.cli.demo_service import ServiceError, own_service
from noisegate_server.cli.demo_stage import ClaimError, Stage, short
from noisegate_server.noise import NoiseError
from noisegate_server.session.errors import SessionError
from noisegate_server.session.packets import Kind
from noisegate_server.session.ticket import TicketContent

__all__ = ["play", "run"]

_PATIENT: Final = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
"""The demo shows how things work, also on a machine that is busy with something else."""
_PEER, _GROUP = "ann", "table 7"
_NEXT: Final = (
    ("noisegate serve --dev", "a service to develop against, on 127.0.0.1:7443"),
    ("noisegate sessions --target 127.0.0.1:7443", "in a second terminal: what lives on it"),
    ("noisegate keygen --out identity.key", "a key for `noisegate serve --identity identity.key`"),
)


def run(*, pause: float = 0.0) -> None:
    """Tell the whole story; `pause` seconds after each step. typer.Exit(1) where a claim does not hold."""
    console = Console()
    stage = Stage(console, pause=pause)
    stage.say("noisegate demo: a player, a game service and noisegate", style="bold")
    stage.say("  player <--- any transport ---> game service <--- gRPC ---> noisegate")
    stage.say("  Players: noisegate's own noise and session packages. Game service: the Python SDK, a real socket.")
    try:
        with own_service() as target:
            asyncio.run(_visit(target, stage))
    except ClaimError as broken:
        _fail(f"this did not hold: {broken}")
    except ServiceError as broken:
        _fail(f"the service: {broken}")
    except (noisegate.NoisegateError, NoiseError, SessionError, PlayerError, ValueError) as broken:
        _fail(f"unexpected: {type(broken).__name__}: {broken}")
    stage.say("")
    stage.say(
        f"Done: {stage.steps} steps, {stage.claims} claims held, {stage.calls} RPCs over a socket, "
        f"median {stage.median_ms:.1f} ms each.",
        style="bold green",
    )
    stage.say("One call at a time on an idle process: how long a call takes, not how many the service can do.")
    stage.say("")
    stage.say("Next:")
    for command, why in _NEXT:
        stage.say(f"  {command:<44}{why}")


def _fail(reason: str) -> None:
    typer.echo(f"noisegate demo: {reason}", err=True)
    raise typer.Exit(1)


async def _visit(target: str, stage: Stage) -> None:
    async with noisegate.connect(target, policy=_PATIENT) as client:
        await play(client, stage)


async def play(client: noisegate.Client, stage: Stage) -> None:
    """Tell both sessions to `stage`, over `client`. ClaimError for the first claim that does not hold."""
    service_key = await _capabilities(client, stage)
    await stage.act("UDP: packets that get lost, repeated, reordered (record mode DATAGRAM)")
    player = DatagramPlayer()
    session = await _handshake(client, stage, player, service_key)
    await _records(stage, session, player)
    await _attacks(stage, session, player)
    await _rotation(stage, session, player)
    ticket = await _ticket(stage, session, player)
    await _close(stage, session, player)
    resumed = await _resume(client, stage, player, ticket, session)
    await _describe_and_close(client, stage, resumed)
    await stage.act("TCP or WebSocket: bare messages of any Noise library (record mode NOISE)")
    await _noise_session(client, stage, service_key)
    await stage.step("Nothing is left on the service.")
    left = await stage.call("ListSessions", _count(client))
    stage.note("sessions", str(left))
    stage.check(left == 0, "every session has ended")


async def _capabilities(client: noisegate.Client, stage: Stage) -> bytes:
    await stage.step("The game service asks noisegate what it can do, and with which key it answers players.")
    found = await stage.call("GetCapabilities", client.capabilities())
    stage.note("protocols", f"{len(found.protocols)}, preferred: {found.protocols[0].name}")
    stage.sent("static key", found.static_key)
    stage.check(set(found.modes) >= set(RecordMode), "the service has both record modes")
    names = {protocol.name for protocol in found.protocols}
    wanted = {f"Noise_{pattern}_25519_ChaChaPoly_SHA256" for pattern in ("XX", "IK")}
    stage.check(names >= wanted, f"the service runs {', '.join(sorted(wanted))}")
    return found.static_key


async def _handshake(
    client: noisegate.Client, stage: Stage, player: DatagramPlayer, service_key: bytes
) -> noisegate.Session:
    await stage.step("A player begins a Noise XX handshake; the game forwards its packets as they are.")
    first = player.begin(time.time())
    stage.sent("player ->", first)
    opening = client.respond(mode=RecordMode.DATAGRAM, message=first, peer_id=_PEER, group=_GROUP)
    session = await stage.call("Handshake", _begun(opening))
    stage.check(len(session.to_peer) == 1, "noisegate answers with one packet")
    stage.sent("-> player", session.to_peer[0])
    stage.check(session.established is None, "the handshake is not finished after one round trip")

    await stage.step("The player proves its own static key; now both sides know each other.")
    third = player.proceed(session.to_peer[0], time.monotonic())
    stage.sent("player ->", third)
    greeting = await stage.call("Handshake", session.proceed(third))
    for packet in greeting:
        stage.sent("-> player", packet)
        player.receive(packet, time.monotonic())
    known = session.established
    stage.check(known is not None, "the handshake is finished after the third message")
    if known is not None:
        stage.note("protocol", f"{known.protocol_name}, {known.overhead_bytes} bytes longer records")
        stage.check(known.remote_static_key == player.static.public, "noisegate knows the player's static key")
        stage.check(player.service_key == service_key, "the player has met the key that noisegate announced")

        await stage.step("Both ends have computed the same handshake hash: they saw the same messages.")
        stage.sent("noisegate's", known.handshake_hash)
        stage.sent("player's", player.session.handshake_hash)
        stage.check(known.handshake_hash == player.session.handshake_hash, "the handshake hashes are equal")
    return session


async def _records(stage: Stage, session: noisegate.Session, player: DatagramPlayer) -> None:
    await stage.step("The player sends a sealed record; the game gets its plaintext.")
    packet = player.seal(b"roll the dice", time.monotonic())
    stage.sent("player ->", packet)
    opened = await stage.call("Decrypt", session.decrypt(packet))
    stage.note("plaintext", repr(opened.plaintext))
    stage.check(b"roll" not in packet, "the record hides what the player said")
    stage.check(opened.plaintext == b"roll the dice", "the record opens at noisegate")

    await stage.step("The game answers; only the player can read it.")
    sealed = await stage.call("Encrypt", session.encrypt(b"four and three"))
    stage.sent("-> player", sealed.packet)
    received = player.receive(sealed.packet, time.monotonic())
    stage.note("plaintext", repr(received.content))
    stage.check(b"four" not in sealed.packet, "the record hides what the game said")
    stage.check(received.content == b"four and three", "the record opens at the player")


async def _attacks(stage: Stage, session: noisegate.Session, player: DatagramPlayer) -> None:
    await stage.step("Somebody changes one bit of a record: noisegate refuses it and does not say what was wrong.")
    genuine = player.seal(b"double six", time.monotonic())
    forged = _forge(genuine)
    stage.sent("forged ->", forged)
    refusal = await stage.refused("Decrypt", session.decrypt(forged), noisegate.DecryptFailed)
    stage.check(not refusal.metadata, "the refusal has no particulars")

    await stage.step("The forgery has moved nothing: the genuine record still opens.")
    opened = await stage.call("Decrypt", session.decrypt(genuine))
    stage.note("plaintext", repr(opened.plaintext))
    stage.check(opened.plaintext == b"double six", "the genuine record opens after the forgery")

    await stage.step("Somebody sends the same record once more: a replay is refused.")
    stage.sent("replayed ->", genuine)
    await stage.refused("Decrypt", session.decrypt(genuine), noisegate.ReplayDetected)


async def _rotation(stage: Stage, session: noisegate.Session, player: DatagramPlayer) -> None:
    await stage.step("The game wants new keys: player and noisegate run a new key agreement inside the session.")
    late = player.seal(b"sent before the new keys", time.monotonic())
    begun = await stage.call("Rotate", session.rotate(RotationKind.RENEGOTIATE))
    stage.check(begun.state is SessionState.ROTATING, "the session is rotating")
    to_player = list(begun.to_peer)
    while to_player:
        packet = to_player.pop(0)
        stage.sent("-> player", packet)
        for reply in player.receive(packet, time.monotonic()).replies:
            stage.sent("player ->", reply)
            to_player += (await stage.call("Decrypt", session.decrypt(reply))).to_peer
    sealed = await stage.call("Encrypt", session.encrypt(b"under new keys"))
    received = player.receive(sealed.packet, time.monotonic())
    stage.note("epoch", f"{sealed.epoch} at noisegate, {received.epoch} at the player")
    stage.check(sealed.epoch == received.epoch == 1, "both ends have moved to epoch 1")
    stage.check(received.content == b"under new keys", "a record under the new keys opens")

    await stage.step("A packet under the old keys was still on its way: it opens all the same.")
    stage.sent("player ->", late)
    opened = await stage.call("Decrypt", session.decrypt(late))
    stage.note("plaintext", f"{opened.plaintext!r} of epoch {opened.epoch}")
    stage.check(opened.plaintext == b"sent before the new keys" and opened.epoch == 0, "old keys open in the grace")


async def _ticket(stage: Stage, session: noisegate.Session, player: DatagramPlayer) -> TicketContent:
    await stage.step("The player gets a single-use ticket inside the session; the game never sees its secret.")
    issued = await stage.call("IssueTicket", session.issue_ticket())
    stage.check(len(issued.to_peer) == 1, "the ticket comes as one record")
    stage.sent("-> player", issued.to_peer[0])
    ticket = player.read_ticket(issued.to_peer[0], time.monotonic())
    stage.note("ticket", f"{short(ticket.ticket)}, usable for {ticket.lifetime_s / 3_600:.0f} h")
    hidden = ticket.ticket not in issued.to_peer[0] and bytes(ticket.psk) not in issued.to_peer[0]
    stage.check(hidden, "the record hides the ticket and its secret")
    return ticket


async def _close(stage: Stage, session: noisegate.Session, player: DatagramPlayer) -> None:
    await stage.step("The game ends the session: the player is told inside it, and nothing more is sealed.")
    farewell = await stage.call("CloseSession", session.close())
    stage.check(len(farewell) == 1, "there is a close record for the player")
    stage.sent("-> player", farewell[0])
    received = player.receive(farewell[0], time.monotonic())
    stage.check(received.kind == Kind.CLOSE, "the record says: closed")
    refusal = await stage.refused("Encrypt", session.encrypt(b"too late"), noisegate.SessionClosed)
    stage.note("cause", f"{refusal.cause}, resumable: {refusal.resumable}")
    stage.check(refusal.resumable, "noisegate says that a ticket may help")


async def _resume(
    client: noisegate.Client,
    stage: Stage,
    player: DatagramPlayer,
    ticket: TicketContent,
    former: noisegate.Session,
) -> noisegate.Session:
    await stage.step("The player comes back with its ticket: a new session with fresh keys after one round trip.")
    first = player.begin_resume(ticket, time.time())
    stage.sent("player ->", first)
    old_hash = player.session.handshake_hash
    session = await stage.call("Resume", _begun(client.respond_resume(mode=RecordMode.DATAGRAM, message=first)))
    stage.sent("-> player", session.to_peer[0])
    player.finish_resume(session.to_peer[0], time.monotonic())
    new_hash = player.session.handshake_hash
    known = session.established
    stage.check(known is not None, "the session is established after one round trip")
    stage.check(known is not None and known.handshake_hash == new_hash != old_hash, "both ends have new keys")
    stage.check(session.id != former.id and session.peer_id == _PEER, "it is a new session of the same player")
    packet = player.seal(b"I am back", time.monotonic())
    opened = await stage.call("Decrypt", session.decrypt(packet))
    stage.note("plaintext", f"{opened.plaintext!r} from {session.peer_id!r}")
    stage.check(opened.plaintext == b"I am back", "a record of the resumed session opens")

    await stage.step("A thief has the ticket and its secret, and comes second: a ticket works once.")
    again = DatagramPlayer().begin_resume(ticket, time.time())
    stage.sent("thief ->", again)
    opening = client.respond_resume(mode=RecordMode.DATAGRAM, message=again)
    await stage.refused("Resume", _begun(opening), noisegate.TicketRejected)
    ticket.wipe()
    return session


async def _describe_and_close(client: noisegate.Client, stage: Stage, session: noisegate.Session) -> None:
    await stage.step("The game may ask about its sessions.")
    info = await stage.call("GetSession", client.get_session(session.id))
    mode = info.mode.name if info.mode else ""
    stage.note("session", f"{info.state.name} {mode} peer {info.peer_id!r} group {info.group!r}")
    stage.note("records", f"{info.opened} opened, {info.sealed} sealed, {info.refused} refused")
    stage.check(info.state is SessionState.ESTABLISHED and info.opened == 1, "the description fits what happened")
    stage.check((info.peer_id, info.group) == (_PEER, _GROUP), "player and group came back with the ticket")
    await stage.call("CloseSession", session.close())


async def _noise_session(client: noisegate.Client, stage: Stage, service_key: bytes) -> None:
    await stage.step("A player that knows noisegate's key runs IK: established after one round trip.")
    player = NoisePlayer(service_key)
    first = player.begin()
    stage.sent("player ->", first)
    opening = client.respond(mode=RecordMode.NOISE, protocol=Protocol(Pattern.IK), message=first, peer_id=_PEER)
    session = await stage.call("Handshake", _begun(opening))
    stage.sent("-> player", session.to_peer[0])
    player.finish(session.to_peer[0])
    known = session.established
    stage.check(known is not None and known.handshake_hash == player.handshake_hash, "the handshake hashes are equal")

    await stage.step("Records are Noise transport messages, 16 bytes longer than their plaintext.")
    message = player.seal(b"hold")
    stage.sent("player ->", message)
    opened = await stage.call("Decrypt", session.decrypt(message))
    sealed = await stage.call("Encrypt", session.encrypt(b"held"))
    stage.sent("-> player", sealed.packet)
    stage.check(opened.plaintext == b"hold" and len(message) == 20, "the player's message opens")
    stage.check(player.open(sealed.packet) == b"held" and len(sealed.packet) == 20, "the game's message opens")

    await stage.step("A forged message is refused and costs the stream nothing; so is a replay.")
    genuine = player.seal(b"bank")
    await stage.refused("Decrypt", session.decrypt(_forge(genuine)), noisegate.DecryptFailed)
    opened = await stage.call("Decrypt", session.decrypt(genuine))
    stage.check(opened.plaintext == b"bank", "the genuine message opens after the forgery")
    await stage.refused("Decrypt", session.decrypt(genuine), noisegate.DecryptFailed)

    await stage.step("REKEY changes one direction's key without a round trip; the player's library does the same.")
    rekeyed = await stage.call("Rotate", session.rotate(RotationKind.REKEY, direction=Direction.SEND))
    stage.check(not rekeyed.to_peer, "REKEY has nothing to send")
    sealed = await stage.call("Encrypt", session.encrypt(b"new key"))
    player.rekey_receive()
    stage.check(player.open(sealed.packet) == b"new key", "a message under the next key opens")
    await stage.call("CloseSession", session.close())


async def _begun(opening: noisegate.Opening) -> noisegate.Session:
    return await opening


async def _count(client: noisegate.Client) -> int:
    return len([info async for info in client.list_sessions()])


def _forge(record: bytes) -> bytes:
    return record[:-1] + bytes((record[-1] ^ 1,))
