"""Answers that never arrive: the service has acted, the connection breaks, and the SDK's repeat does nothing twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer, NoiseTicket
from noisegate import Client, Direction, Pattern, RecordMode, Role, RotationKind, Session, SessionState
from tests.integration.conftest import DEV, Launch
from tests.support.answer_cutter import AnswerCutter
from tests.support.noise_client import PROLOGUE, Setup, Udp, datagram_player, noise_player, open_datagram, open_noise

MODES = pytest.mark.parametrize("mode", RecordMode)
LOSSES = pytest.mark.parametrize("losses", [1, 2])


@dataclass(frozen=True)
class Road:
    """A client whose every connection runs through the cutter, and one beside it that sees what is true."""

    client: Client
    direct: Client
    cutter: AnswerCutter

    def lose(self, losses: int) -> None:
        """Swallow the next answers."""
        self.cutter.swallow(losses)

    def lost(self, losses: int) -> None:
        """All of them were swallowed, or the test has tested nothing."""
        assert self.cutter.cuts == losses

    async def count(self, peer_id: str) -> int:
        """Sessions of a player."""
        return len([each async for each in self.direct.list_sessions(peer_id=peer_id)])


@pytest.fixture
async def road(launch: Launch) -> AsyncIterator[Road]:
    """A server that names the cutter as its address, so that the SDK stays on it."""
    policy = noisegate.CallPolicy(packet_deadline=10.0, control_deadline=10.0)
    async with AnswerCutter() as cutter:
        server = launch(*DEV, "--advertise", cutter.address)
        cutter.aim(server.port)
        async with (
            noisegate.connect(cutter.address, policy=policy) as client,
            noisegate.connect(server.address, policy=policy) as direct,
        ):
            yield Road(client, direct, cutter)


async def _talk(session: Session, player: NoisePlayer) -> None:
    assert (await session.decrypt(player.seal(b"up"))).plaintext == b"up"
    assert player.open((await session.encrypt(b"down")).packet) == b"down"


@LOSSES
@pytest.mark.parametrize("role", Role)
async def test_a_noise_handshake_goes_on_after_a_lost_answer(road: Road, role: Role, losses: int) -> None:
    """Each step's answer is lost in turn; one session comes of it, with equal hashes."""
    player = noise_player(Setup(role=role), (await road.direct.capabilities()).static_key)
    protocol = noisegate.Protocol(Pattern.XX)
    road.lose(losses)
    if role is Role.RESPONDER:
        session = await road.client.respond(
            mode=RecordMode.NOISE,
            protocol=protocol,
            message=player.write_handshake(),
            prologue=PROLOGUE,
            peer_id="ada",
        )
    else:
        session = await road.client.initiate(mode=RecordMode.NOISE, protocol=protocol, prologue=PROLOGUE, peer_id="ada")
    road.lost(losses)
    player.read_handshake(session.to_peer[0])
    road.lose(losses)
    for message in await session.proceed(player.write_handshake()):
        player.read_handshake(message)
    road.lost(2 * losses)
    assert session.established is not None
    assert session.established.handshake_hash == player.handshake_hash
    await _talk(session, player)
    assert await road.count("ada") == 1


@LOSSES
async def test_a_datagram_handshake_goes_on_after_a_lost_answer(road: Road, losses: int) -> None:
    """The same with packets, which the service would answer alike even without a request_id."""
    setup = Setup(peer_id="ada")
    player = datagram_player(setup, (await road.direct.capabilities()).static_key)
    road.lose(losses)
    session = await road.client.respond(
        mode=RecordMode.DATAGRAM, message=player.start(time.monotonic())[0], prologue=PROLOGUE, peer_id="ada"
    )
    road.lost(losses)
    udp = Udp(player, session)
    road.lose(losses)
    for packet in player.receive(session.to_peer[0], time.monotonic()).to_send:
        await udp.to_player(await session.proceed(packet))
    road.lost(2 * losses)
    await udp.talk()
    assert await road.count("ada") == 1


@LOSSES
async def test_noise_records_go_on_after_lost_answers(road: Road, losses: int) -> None:
    """Counters are implicit: had the repeat sealed or opened again, nothing would ever open after it."""
    session, player = await open_noise(road.client, Setup())
    for number in range(1, 4):
        road.lose(losses)
        assert player.open((await session.encrypt(b"down %d" % number)).packet) == b"down %d" % number
        road.lose(losses)
        assert (await session.decrypt(player.seal(b"up %d" % number))).plaintext == b"up %d" % number
        road.lost(2 * losses * number)
        described = await session.describe()
        assert (described.sealed, described.opened, described.refused) == (number, number, 0)


@LOSSES
async def test_datagram_records_go_on_after_lost_answers(road: Road, losses: int) -> None:
    """No counter is left out and the repeated Decrypt is no replay."""
    udp = await open_datagram(road.client, Setup())
    await udp.talk()
    before = await udp.session.describe()
    road.lose(losses)
    sealed = await udp.session.encrypt(b"down")
    road.lose(losses)
    opened = await udp.session.decrypt(udp.player.send(b"up"))
    road.lost(2 * losses)
    assert await udp.to_player(sealed.messages) == [b"down"]
    assert (opened.plaintext, opened.newest) == (b"up", True)
    after = await udp.session.describe()
    assert (after.sealed - before.sealed, after.opened - before.opened, after.refused) == (1, 1, 0)
    await udp.talk()


async def test_noise_rotations_go_on_after_lost_answers(road: Road) -> None:
    """A key that was changed twice where the player changed it once would end the session."""
    session, player = await open_noise(road.client, Setup())
    road.lose(1)
    await session.rotate(RotationKind.REKEY, direction=Direction.SEND)
    player.rekey_receive()
    road.lose(1)
    await session.rotate(RotationKind.REKEY, direction=Direction.RECEIVE)
    player.rekey_send()
    await _talk(session, player)

    fresh = player.renegotiate()
    road.lose(1)
    step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
    fresh.read_handshake(step.to_peer[0])
    road.lose(1)
    step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
    assert step.ready_to_switch
    road.lose(1)
    await session.rotate(RotationKind.RENEGOTIATE, switch_send=True)
    player.switch_receive(fresh)
    road.lose(1)
    done = await session.rotate(RotationKind.RENEGOTIATE, switch_receive=True)
    player.switch_send(fresh)
    road.lost(6)
    assert done.epoch == 1
    await _talk(session, player)


@pytest.mark.parametrize("role", Role)
async def test_datagram_rotations_go_on_after_lost_answers(road: Road, role: Role) -> None:
    """One rekey and one renegotiation, however often the answer was lost."""
    udp = await open_datagram(road.client, Setup(role=role))
    await udp.talk()
    before = await udp.session.describe()
    road.lose(2)
    rekeyed = await udp.session.rotate(RotationKind.REKEY)
    road.lost(2)
    assert rekeyed.counter == before.sealed
    await udp.talk()
    road.lose(2)
    begun = await udp.session.rotate(RotationKind.RENEGOTIATE)
    road.lost(4)
    await udp.to_player(begun.to_peer)
    await udp.talk()
    after = await udp.session.describe()
    assert (after.epoch, after.state, udp.player.epoch) == (1, SessionState.ESTABLISHED, 1)


async def test_a_noise_ticket_and_its_resume_survive_lost_answers(road: Road) -> None:
    """The ticket is sealed once, spent once, and both answers still come."""
    session, player = await open_noise(road.client, Setup(peer_id="ada"))
    road.lose(1)
    issued = await session.issue_ticket()
    ticket = NoiseTicket.parse(player.open(issued.to_peer[0]))
    assert (await session.describe()).sealed == 1
    await _talk(session, player)
    again = NoisePlayer.resume(ticket, cipher="ChaChaPoly", prologue=PROLOGUE)
    road.lose(1)
    resumed = await road.client.respond_resume(
        mode=RecordMode.NOISE, message=again.write_handshake(), ticket=ticket.ticket, prologue=PROLOGUE
    )
    road.lost(2)
    again.read_handshake(resumed.to_peer[0])
    await _talk(resumed, again)
    assert await road.count("ada") == 2


@pytest.mark.parametrize("role", Role)
async def test_a_datagram_ticket_and_its_resume_survive_lost_answers(road: Road, role: Role) -> None:
    """In either role: one more session, and no ticket is rejected because its own repeat has spent it."""
    udp = await open_datagram(road.client, Setup(peer_id="ada", role=role))
    await udp.talk()
    if role is Role.RESPONDER:
        before = await udp.session.describe()
        road.lose(1)
        await udp.to_player((await udp.session.issue_ticket()).to_peer)
        assert (await udp.session.describe()).sealed - before.sealed == 1
        packet = udp.player.resume(time.monotonic())[0]
        road.lose(1)
        resumed = await road.client.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)
        again = Udp(udp.player, resumed)
        await again.to_player(resumed.to_peer)
    else:
        road.lose(1)
        resumed = await road.client.initiate_resume(udp.session.id, mode=RecordMode.DATAGRAM, prologue=PROLOGUE)
        again = Udp(udp.player, resumed)
        answers = udp.player.receive(resumed.to_peer[0], time.monotonic()).to_send
        road.lose(1)
        for answer in answers:
            await again.to_player(await resumed.proceed(answer))
    road.lost(2)
    await again.talk()
    assert await road.count("ada") == 2


@LOSSES
@MODES
async def test_a_close_whose_answer_is_lost_still_gives_the_farewell(road: Road, mode: RecordMode, losses: int) -> None:
    """The repeat finds the session gone and the answer kept: the player gets its close record."""
    if mode is RecordMode.NOISE:
        session, _ = await open_noise(road.client, Setup(peer_id="ada"))
        road.lose(losses)
        assert await session.close() == ()
    else:
        udp = await open_datagram(road.client, Setup(peer_id="ada"))
        await udp.talk()
        road.lose(losses)
        await udp.to_player(await udp.session.close())
        assert not udp.player.established
    road.lost(losses)
    assert await road.count("ada") == 0


async def _by_hand(handle: noisegate.Session, plaintext: bytes) -> bytes:
    """Call again until an answer comes; a call on the dead connection fails before it reaches the service."""
    while True:
        try:
            return (await handle.encrypt(plaintext)).packet
        except noisegate.ServiceUnavailable:
            continue


async def test_the_proof_fails_without_a_request_id(road: Road) -> None:
    """The same loss with a caller that repeats by hand and without request_id: the session is out of step."""
    session, player = await open_noise(road.client, Setup())
    once = noisegate.CallPolicy(packet_deadline=10.0, attempts=1)
    async with noisegate.connect(road.cutter.address, policy=once) as careless:
        handle = careless.session(session.id)
        assert player.open((await handle.encrypt(b"1")).packet) == b"1"
        road.lose(1)
        with pytest.raises(noisegate.ServiceUnavailable):
            await handle.encrypt(b"2")
        packet = await _by_hand(handle, b"2")
    with pytest.raises(ValueError, match="transport message"):
        player.open(packet)
