"""Tickets and Resume over the wire, in both modes and from both ends."""

from __future__ import annotations

import os
import time

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer, NoiseRefusedError, NoiseTicket
from noisegate import Client, ControlKind, Pattern, RecordMode, Role, Suite
from tests.support.noise_client import CIPHERS, PROLOGUE, Setup, Udp, open_datagram, open_noise

SUITES = pytest.mark.parametrize("suite", CIPHERS)


@SUITES
@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK, Pattern.IKPSK2])
async def test_a_noise_player_comes_back_with_its_ticket(client: Client, pattern: Pattern, suite: Suite) -> None:
    """The ticket travels inside the session, is good for one new session with fresh keys, and no more."""
    session, player = await open_noise(client, Setup(pattern=pattern, suite=suite, peer_id="eve", group="g"))
    issued = await session.issue_ticket()
    assert 86_000 < issued.expires_in <= 86_400
    ticket = NoiseTicket.parse(player.open(issued.to_peer[0]))
    await session.close()

    again = NoisePlayer.resume(ticket, cipher=CIPHERS[suite], prologue=PROLOGUE)
    first = again.write_handshake()
    resumed = await client.respond_resume(
        mode=RecordMode.NOISE, message=first, ticket=ticket.ticket, prologue=PROLOGUE, payload=b"welcome back"
    )
    async with resumed:
        assert again.read_handshake(resumed.to_peer[0]) == b"welcome back"
        assert resumed.established is not None
        assert resumed.established.handshake_hash == again.handshake_hash != player.handshake_hash
        assert session.established is not None
        assert resumed.established.remote_static_key == session.established.remote_static_key
        assert (resumed.peer_id, resumed.group) == ("eve", "g")
        assert (await resumed.decrypt(again.seal(b"me"))).plaintext == b"me"
        assert again.open((await resumed.encrypt(b"you")).packet) == b"you"
        with pytest.raises(noisegate.TicketRejected):
            await client.respond_resume(mode=RecordMode.NOISE, message=first, ticket=ticket.ticket, prologue=PROLOGUE)
        with pytest.raises(NoiseRefusedError):
            player.open((await resumed.encrypt(b"not for the old keys")).packet)


@SUITES
async def test_the_service_comes_back_with_a_noise_players_ticket(client: Client, suite: Suite) -> None:
    """In the opposite role the player issues: the service keeps the ticket and never shows it."""
    session, player = await open_noise(client, Setup(suite=suite, role=Role.INITIATOR))
    ticket = NoiseTicket(lifetime_s=600, max_early=0, psk=os.urandom(32), ticket=os.urandom(40))
    content = ticket.lifetime_s.to_bytes(4, "big") + bytes(4) + ticket.psk + ticket.ticket
    opened = await session.decrypt(player.seal(content), ticket=True)
    assert (opened.plaintext, opened.control) == (None, ControlKind.TICKET)
    await session.close()

    resumed = await client.initiate_resume(session.id, mode=RecordMode.NOISE, prologue=PROLOGUE)
    async with resumed:
        assert resumed.ticket == ticket.ticket
        again = NoisePlayer.resume(ticket, cipher=CIPHERS[suite], prologue=PROLOGUE, initiator=False)
        again.read_handshake(resumed.to_peer[0])
        assert await resumed.proceed(again.write_handshake(b"hello again")) == ()
        assert resumed.payload == b"hello again"
        assert (await resumed.decrypt(again.seal(b"me"))).plaintext == b"me"
        assert again.open((await resumed.encrypt(b"you")).packet) == b"you"
        with pytest.raises(noisegate.TicketRejected):
            await client.initiate_resume(session.id, mode=RecordMode.NOISE, prologue=PROLOGUE)


@SUITES
@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK])
async def test_a_datagram_player_comes_back_with_its_ticket(client: Client, pattern: Pattern, suite: Suite) -> None:
    """The ticket came by itself; the resumed session has its own keys and hands out the next ticket."""
    road = await open_datagram(client, Setup(pattern=pattern, suite=suite, peer_id="mia"))
    await road.talk()
    ticket = road.player.ticket
    assert ticket is not None
    await road.to_player(await road.session.close())
    assert not road.player.established

    packet = road.player.resume(time.monotonic(), ticket)[0]
    resumed = await client.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)
    async with resumed:
        again = Udp(road.player, resumed)
        await again.to_player(resumed.to_peer)
        assert resumed.peer_id == "mia"
        assert resumed.established is not None
        assert resumed.established.handshake_hash == road.player.handshake_hash
        await again.talk()
        assert road.player.ticket not in (None, ticket)
        repeated = await client.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)
        assert repeated.id == resumed.id
        with pytest.raises(noisegate.TicketRejected):
            await client.respond_resume(
                mode=RecordMode.DATAGRAM, message=road.player.resume(time.monotonic(), ticket)[0], prologue=PROLOGUE
            )


async def test_a_ticket_can_be_asked_for_in_datagram_mode_too(client: Client) -> None:
    """IssueTicket answers a record for the player that holds it."""
    road = await open_datagram(client, Setup(), tickets=False)
    async with road.session as session:
        await road.talk()
        assert road.player.ticket is None
        await road.to_player((await session.issue_ticket()).to_peer)
        assert road.player.ticket is not None


@SUITES
async def test_the_service_comes_back_with_a_datagram_players_ticket(client: Client, suite: Suite) -> None:
    """The service's hello asks for tickets; the player gives one with its first record."""
    road = await open_datagram(client, Setup(suite=suite, role=Role.INITIATOR))
    await road.talk()
    await road.to_player(await road.session.close())
    resumed = await client.initiate_resume(road.session.id, mode=RecordMode.DATAGRAM, prologue=PROLOGUE)
    async with resumed:
        again = Udp(road.player, resumed)
        for packet in road.player.receive(resumed.to_peer[0], time.monotonic()).to_send:
            await again.to_player(await resumed.proceed(packet))
        await again.talk()


@pytest.mark.parametrize("cause", ["garbage", "truncated", "prologue", "mode", "suite"])
async def test_a_ticket_that_does_not_fit_is_rejected_for_whatever_cause(client: Client, cause: str) -> None:
    """One answer for all causes, and the ticket is not spent by it."""
    session, player = await open_noise(client, Setup())
    ticket = NoiseTicket.parse(player.open((await session.issue_ticket()).to_peer[0]))
    await session.close()
    again = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE)
    message = again.write_handshake()
    opaque, prologue, mode = ticket.ticket, PROLOGUE, RecordMode.NOISE
    refusal: type[noisegate.NoisegateError] = noisegate.TicketRejected
    if cause == "garbage":
        opaque = os.urandom(len(opaque))
    elif cause == "truncated":
        opaque = opaque[:-1]
    elif cause == "prologue":
        prologue = b"dice 2"
    elif cause == "mode":
        packet = b"\x0c" + bytes(8) + b"\x01" + _hello() + len(opaque).to_bytes(2, "big") + opaque + b"\0"
        message, mode = packet + len(message).to_bytes(2, "big") + message, RecordMode.DATAGRAM
        opaque = b""
    else:
        message = NoisePlayer.resume(ticket, cipher="AESGCM", prologue=PROLOGUE).write_handshake()
        refusal = noisegate.HandshakeFailed
    with pytest.raises(refusal):
        await client.respond_resume(mode=mode, message=message, ticket=opaque, prologue=prologue)
    fresh = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE)
    resumed = await client.respond_resume(
        mode=RecordMode.NOISE, message=fresh.write_handshake(), ticket=ticket.ticket, prologue=PROLOGUE
    )
    await resumed.close()


def _hello() -> bytes:
    hello = bytes([1, 16]) + int(time.time() * 1000).to_bytes(8, "big") + bytes([1, 9, 1, 0])
    return len(hello).to_bytes(2, "big") + hello
