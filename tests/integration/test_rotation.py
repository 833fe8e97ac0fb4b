"""Rotate over the wire: REKEY and RENEGOTIATE, both modes, both roles."""

from __future__ import annotations

import time

import pytest

import noisegate
from examples.dice.noise_player import NoisePlayer
from noisegate import Client, Direction, Pattern, Role, RotationKind, Session, SessionState, Suite
from tests.support.noise_client import CIPHERS, PSK, Setup, open_datagram, open_noise


async def _talk(session: Session, player: NoisePlayer) -> None:
    assert (await session.decrypt(player.seal(b"up"))).plaintext == b"up"
    assert player.open((await session.encrypt(b"down")).packet) == b"down"


@pytest.mark.parametrize("suite", CIPHERS)
@pytest.mark.parametrize("role", Role)
async def test_noise_rekey_changes_one_direction_at_an_agreed_counter(client: Client, suite: Suite, role: Role) -> None:
    """REKEY() of the specification, on each direction by itself; the counter runs on."""
    session, player = await open_noise(client, Setup(suite=suite, role=role))
    async with session:
        await _talk(session, player)
        sends = await session.rotate(RotationKind.REKEY, direction=Direction.SEND)
        assert (sends.counter, sends.state) == (player.rekey_receive(), SessionState.ESTABLISHED)
        await _talk(session, player)
        receives = await session.rotate(RotationKind.REKEY, direction=Direction.RECEIVE)
        with pytest.raises(noisegate.DecryptFailed):
            await session.decrypt(b"old" + bytes(20))
        assert receives.counter == player.rekey_send()
        await _talk(session, player)


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK, Pattern.XXPSK3])
@pytest.mark.parametrize("role", Role)
async def test_noise_renegotiation_moves_each_direction_when_told(client: Client, pattern: Pattern, role: Role) -> None:
    """A new handshake inside the session: the old keys hold until each side of the stream switches."""
    setup = Setup(pattern=pattern, role=role)
    session, player = await open_noise(client, setup)
    psk = setup.psk and PSK
    async with session:
        fresh = player.renegotiate(psk or None)
        if role is Role.RESPONDER:
            step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake(), psk=psk)
            fresh.read_handshake(step.to_peer[0])
            if not fresh.established:
                step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
        else:
            step = await session.rotate(RotationKind.RENEGOTIATE, psk=psk)
            fresh.read_handshake(step.to_peer[0])
            step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
            for message in step.to_peer:
                fresh.read_handshake(message)
        assert fresh.established
        assert (step.ready_to_switch, step.state) == (True, SessionState.ROTATING)
        await _talk(session, player)

        await session.rotate(RotationKind.RENEGOTIATE, switch_send=True)
        player.switch_receive(fresh)
        await _talk(session, player)
        done = await session.rotate(RotationKind.RENEGOTIATE, switch_receive=True)
        player.switch_send(fresh)
        await _talk(session, player)
        assert (done.state, done.epoch, done.ready_to_switch) == (SessionState.ESTABLISHED, 1, False)
        with pytest.raises(noisegate.EpochConflict) as refused:
            await session.rotate(RotationKind.RENEGOTIATE, switch_send=True)
        assert refused.value.metadata == {"currentEpoch": "1"}


async def test_a_failed_renegotiation_leaves_the_session_as_it_was(client: Client) -> None:
    """A forged message inside a rotation is refused; the same rotation can still be finished."""
    session, player = await open_noise(client, Setup())
    async with session:
        fresh = player.renegotiate()
        step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
        fresh.read_handshake(step.to_peer[0])
        genuine = fresh.write_handshake()
        with pytest.raises(noisegate.HandshakeFailed):
            await session.rotate(RotationKind.RENEGOTIATE, message=genuine[:-1] + bytes([genuine[-1] ^ 1]))
        await _talk(session, player)
        assert (await session.rotate(RotationKind.RENEGOTIATE, message=genuine)).ready_to_switch
        await session.rotate(RotationKind.RENEGOTIATE, switch_send=True, switch_receive=True)
        player.switch_receive(fresh)
        player.switch_send(fresh)
        await _talk(session, player)


@pytest.mark.parametrize("suite", CIPHERS)
@pytest.mark.parametrize("role", Role)
async def test_datagram_rekey_is_followed_without_a_word(client: Client, suite: Suite, role: Role) -> None:
    """Either side moves to its next phase; what is still under way under the old one opens too."""
    road = await open_datagram(client, Setup(suite=suite, role=role))
    async with road.session as session:
        await road.talk()
        late = road.player.send(b"late")
        road.player.rekey()
        await road.talk()
        assert (await session.decrypt(late)).plaintext == b"late"
        done = await session.rotate(RotationKind.REKEY)
        assert (done.state, done.to_peer) == (SessionState.ESTABLISHED, ())
        assert done.counter == (await session.encrypt(b"first of the phase")).counter
        await road.talk()


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK, Pattern.IKPSK2])
@pytest.mark.parametrize("role", Role)
async def test_datagram_renegotiation_runs_by_to_peer_alone(client: Client, pattern: Pattern, role: Role) -> None:
    """Rotate returns at once; forwarding `to_peer` brings both ends to the next epoch, and again to the one after."""
    road = await open_datagram(client, Setup(pattern=pattern, role=role))
    async with road.session as session:
        await road.talk()
        begun = await session.rotate(RotationKind.RENEGOTIATE)
        await road.to_player(begun.to_peer)
        await road.talk()
        assert road.player.epoch == 1
        sealed = await session.encrypt(b"new")
        assert sealed.epoch == 1
        assert await road.to_player(sealed.messages) == [b"new"]
        described = await session.describe()
        assert (described.state, described.epoch) == (SessionState.ESTABLISHED, 1)


@pytest.mark.parametrize("role", Role)
async def test_a_datagram_player_may_ask_for_the_rotation(client: Client, role: Role) -> None:
    """The player's initiator starts, its responder wishes; either way the service follows."""
    road = await open_datagram(client, Setup(role=role))
    async with road.session as session:
        await road.talk()
        await road.to_service(road.player.renegotiate(time.monotonic()))
        await road.talk()
        assert road.player.epoch == 1
        assert (await session.describe()).epoch == 1
