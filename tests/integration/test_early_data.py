"""Early data and single use over the wire, and what is left of them after a crash."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer, NoiseTicket
from noisegate import Client, ControlKind, EarlyData, Pattern, RecordMode, Role, SessionOptions
from tests.integration.conftest import Launch
from tests.support.noise_client import PROLOGUE, Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer

MOST = 1_200
EARLY = SessionOptions(max_early_data_bytes=MOST)
PATIENT = noisegate.CallPolicy(packet_deadline=60.0, control_deadline=60.0)
ATTEMPTS = 1_000
PACKETS = 20
PLAYERS = 2_000
SECONDS = 90.0

Start = Callable[..., RunningServer]
"""(*options) -> a server that takes early data; all of one test have the same identity and ticket keys."""


@pytest.fixture
def start(launch: Launch, tmp_path: Path) -> Start:
    """A service that can be killed and started again as the same one."""
    for name in ("identity", "tickets"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(os.urandom(32).hex() + "\n")
    files = ("--identity", str(tmp_path / "identity"), "--ticket-key", str(tmp_path / "tickets"))
    return lambda *options: launch("--listen", "127.0.0.1:0", *files, "--max-early-data", str(MOST), *options)


@pytest.fixture
async def early(start: Start) -> AsyncIterator[Client]:
    """A client of a service that takes early data."""
    async with noisegate.connect(start().address, policy=PATIENT) as client:
        yield client


async def noise_ticket(client: Client, peer_id: str = "", options: SessionOptions = EARLY) -> NoiseTicket:
    """A ticket of a NOISE session that has ended."""
    session, player = await open_noise(client, Setup(pattern=Pattern.NK, peer_id=peer_id), options)
    ticket = NoiseTicket.parse(player.open((await session.issue_ticket()).to_peer[0]))
    await session.close()
    return ticket


async def bring(client: Client, ticket: NoiseTicket, early_data: bytes) -> tuple[noisegate.Session, NoisePlayer]:
    """A NOISE player comes back."""
    player = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE)
    session = await client.respond_resume(
        mode=RecordMode.NOISE,
        message=player.write_handshake(early_data),
        ticket=ticket.ticket,
        prologue=PROLOGUE,
        accept_early_data=True,
    )
    player.read_handshake(session.to_peer[0])
    return session, player


async def test_a_noise_players_early_data_is_taken_and_confirmed(early: Client) -> None:
    """The session says that it is early until a record of the player opens."""
    assert (await early.capabilities()).max_early_data_bytes == MOST
    ticket = await noise_ticket(early)
    assert ticket.max_early == MOST
    session, player = await bring(early, ticket, b"jump")
    assert (session.early, session.early_data, player.early_taken) == (EarlyData.ACCEPTED, b"jump", True)
    assert (await session.describe()).early
    assert (await session.decrypt(player.seal(b"land"))).plaintext == b"land"
    assert not (await session.describe()).early
    await session.close()


async def test_a_datagram_players_early_data_is_taken_once(early: Client) -> None:
    """A repeat gets the same bytes, and the game nothing that it has had."""
    road = await open_datagram(early, Setup(), max_early_data_bytes=MOST)
    await road.talk()
    (packet,) = road.player.resume(time.monotonic(), early_data=b"jump")

    async def respond() -> noisegate.Session:
        return await early.respond_resume(
            mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE, accept_early_data=True
        )

    first, again = await respond(), await respond()
    assert (first.early, first.early_data) == (EarlyData.ACCEPTED, b"jump")
    assert (again.early, again.early_data, again.to_peer) == (EarlyData.NONE, b"", first.to_peer)
    assert road.player.receive(first.to_peer[0], time.monotonic()).early is True
    await Udp(road.player, first).talk()


async def test_early_data_that_nobody_asked_for_is_dropped(early: Client, client: Client) -> None:
    """By a caller that does not want it, and by a service without the option: the player is told."""
    road = await open_datagram(early, Setup(), max_early_data_bytes=MOST)
    await road.talk()
    (packet,) = road.player.resume(time.monotonic(), early_data=b"jump")
    session = await early.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)
    assert (session.early, session.early_data) == (EarlyData.REJECTED, b"")
    assert road.player.receive(session.to_peer[0], time.monotonic()).early is False
    await Udp(road.player, session).talk(up=b"jump")
    assert (await client.capabilities()).max_early_data_bytes == 0
    assert (await noise_ticket(client)).max_early == 0


@pytest.mark.parametrize("taken", [True, False])
async def test_the_services_early_data_is_for_the_player_to_take(early: Client, taken: bool) -> None:
    """As much as the player's ticket allows; the answer to `proceed` says what became of it."""
    session, player = await open_noise(early, Setup(role=Role.INITIATOR))
    ticket = NoiseTicket(lifetime_s=600, max_early=5, psk=os.urandom(32), ticket=os.urandom(40))
    content = (600).to_bytes(4, "big") + (5).to_bytes(4, "big") + ticket.psk + ticket.ticket
    assert (await session.decrypt(player.seal(content), ticket=True)).control is ControlKind.TICKET
    await session.close()
    with pytest.raises(noisegate.MessageTooLarge):
        await early.initiate_resume(session.id, mode=RecordMode.NOISE, prologue=PROLOGUE, early_data=b"jumped")
    data = b"jump" if taken else b""
    resumed = await early.initiate_resume(session.id, mode=RecordMode.NOISE, prologue=PROLOGUE, early_data=data)
    again = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE, initiator=False)
    assert again.read_handshake(resumed.to_peer[0]) == data
    await resumed.proceed(again.write_handshake(b"hello"))
    assert (resumed.early, resumed.payload) == (EarlyData.ACCEPTED if taken else EarlyData.NONE, b"hello")
    await resumed.close()


async def test_one_ticket_tried_a_thousand_times_at_once_is_accepted_once(early: Client) -> None:
    """Twenty packets of somebody who knows its key, each fifty times, over eight connections: one delivery (row 37)."""
    road = await open_datagram(early, Setup(), max_early_data_bytes=MOST)
    await road.talk()
    ticket = road.player.ticket
    packets = [road.player.resume(time.monotonic(), ticket, early_data=b"jump")[0] for _ in range(PACKETS)]
    await road.session.close()
    target = road.session.endpoint
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(noisegate.connect(target, policy=PATIENT)) for _ in range(8)]

        async def attempt(number: int) -> noisegate.Session | None:
            try:
                return await clients[number % 8].respond_resume(
                    mode=RecordMode.DATAGRAM,
                    message=packets[number % PACKETS],
                    prologue=PROLOGUE,
                    accept_early_data=True,
                )
            except noisegate.TicketRejected:
                return None

        answers = await asyncio.gather(*(attempt(number) for number in range(ATTEMPTS)))
    answered = [session for session in answers if session is not None]
    assert [session.early_data for session in answered].count(b"jump") == 1
    assert [session.early for session in answered].count(EarlyData.ACCEPTED) == 1
    assert len({session.id for session in answered}) == 1
    assert len(answered) == ATTEMPTS // PACKETS
    assert len([each async for each in early.list_sessions()]) == 1


async def test_after_a_crash_there_is_no_early_data(start: Start) -> None:
    """Used or not, a ticket of before is good for a resume at most: nothing proves that it was not used."""
    before = start()
    async with noisegate.connect(before.address, policy=PATIENT) as client:
        used, unused = await noise_ticket(client), await noise_ticket(client)
        session, _ = await bring(client, used, b"jump")
        assert session.early is EarlyData.ACCEPTED
    before.kill()
    async with noisegate.connect(start().address, policy=PATIENT) as client:
        for ticket in (used, unused):
            session, player = await bring(client, ticket, b"jump")
            assert (session.early, session.early_data, player.early_taken) == (EarlyData.REJECTED, b"", False)
            await session.close()
        fresh = await noise_ticket(client)
        session, _ = await bring(client, fresh, b"jump")
        assert session.early is EarlyData.ACCEPTED
        await session.close()


async def test_a_state_file_remembers_uses_over_a_crash(start: Start, tmp_path: Path) -> None:
    """TICKET_REJECTED for what was used; and what the file does not know was never used, so it is taken early."""
    state = ("--state-file", str(tmp_path / "state"))
    before = start(*state)
    async with noisegate.connect(before.address, policy=PATIENT) as client:
        used, unused = await noise_ticket(client), await noise_ticket(client)
        assert (await bring(client, used, b"jump"))[0].early is EarlyData.ACCEPTED
    before.kill()
    async with noisegate.connect(start(*state).address, policy=PATIENT) as client:
        with pytest.raises(noisegate.TicketRejected):
            await bring(client, used, b"jump")
        session, _ = await bring(client, unused, b"jump")
        assert (session.early, session.early_data) == (EarlyData.ACCEPTED, b"jump")
        with pytest.raises(noisegate.TicketRejected):
            await bring(client, unused, b"jump")
        await session.close()


async def test_two_thousand_players_come_back_after_a_crash(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """Kill -9, the same keys again, and each is back by its ticket with a record each way."""
    before = start()
    async with noisegate.connect(before.address, policy=PATIENT) as client:
        slots = asyncio.Semaphore(64)

        async def leave(number: int) -> NoiseTicket:
            async with slots:
                return await noise_ticket(client, f"player {number}")

        tickets = await asyncio.gather(*(leave(number) for number in range(PLAYERS)))
    before.kill()
    began = time.monotonic()
    after = start()
    up = time.monotonic()
    async with noisegate.connect(after.address, policy=PATIENT) as client:

        async def come_back(number: int, ticket: NoiseTicket) -> str:
            async with slots:
                session, player = await bring(client, ticket, b"")
                assert (await session.decrypt(player.seal(b"me"))).plaintext == b"me"
                assert player.open((await session.encrypt(b"you")).packet) == b"you"
                return session.peer_id

        names = await asyncio.gather(*(come_back(number, ticket) for number, ticket in enumerate(tickets)))
        took = time.monotonic() - up
        assert names == [f"player {number}" for number in range(PLAYERS)]
    with capsys.disabled():
        sys.stdout.write(
            f"\nafter kill -9: up in {up - began:.2f} s, {PLAYERS} players back by ticket in {took:.2f} s,"
            f" players' own work in Python included; {after.cpu_seconds():.2f} s CPU of the server\n"
        )
    assert took < SECONDS
