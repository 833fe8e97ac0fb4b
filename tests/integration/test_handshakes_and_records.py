"""Handshakes, Encrypt and Decrypt of the running service against players that share no code with it."""

from __future__ import annotations

import itertools
import time

import pytest

import noisegate
from examples.dice.noise_player import NoiseKeys, NoisePlayer
from noisegate import Client, Pattern, RecordMode, Role, SessionState
from tests.support.noise_client import CIPHERS, Setup, noise_name, open_datagram, open_noise

PATTERNS = (Pattern.XX, Pattern.IK, Pattern.NK, Pattern.XXPSK3, Pattern.IKPSK2)
SETUPS = [
    Setup(pattern=pattern, suite=suite, role=role, peer_id="ada", group="table 7")
    for pattern, suite, role in itertools.product(PATTERNS, CIPHERS, Role)
]
NAMED = pytest.mark.parametrize(
    "setup", SETUPS, ids=lambda setup: f"{noise_name(setup.pattern, setup.suite)}-{setup.role.name}"
)


@NAMED
async def test_a_noise_library_and_the_service_understand_each_other(client: Client, setup: Setup) -> None:
    """Every pattern, suite and role of NOISE mode: same hash, right keys, and records both ways."""
    session, player = await open_noise(client, setup)
    async with session:
        known = session.established
        assert known is not None
        assert known.handshake_hash == player.handshake_hash
        assert known.remote_static_key == setup.shown_key
        assert known.protocol_name == noise_name(setup.pattern, setup.suite)
        assert known.overhead_bytes == 16
        for number, size in enumerate((0, 1, 200, 16_384, 65_519)):
            text = bytes([number + 1]) * size
            opened = await session.decrypt(player.seal(text, b"up"), b"up")
            assert (opened.plaintext, opened.counter, opened.to_peer) == (text, number, ())
            sealed = await session.encrypt(text, b"down")
            assert (player.open(sealed.packet, b"down"), sealed.counter, sealed.to_peer) == (text, number, ())
        described = await session.describe()
        assert (described.state, described.mode, described.role) == (
            SessionState.ESTABLISHED,
            RecordMode.NOISE,
            setup.role,
        )
        assert (described.peer_id, described.group) == ("ada", "table 7")
        assert (described.sealed, described.opened, described.refused, described.epoch) == (5, 5, 0, 0)


@NAMED
async def test_a_datagram_player_and_the_service_understand_each_other(client: Client, setup: Setup) -> None:
    """Every pattern, suite and role of DATAGRAM mode against an implementation made from the document alone."""
    road = await open_datagram(client, setup)
    async with road.session as session:
        known = session.established
        assert known is not None
        assert known.handshake_hash == road.player.handshake_hash
        assert known.remote_static_key == setup.shown_key
        assert known.overhead_bytes == 32
        assert road.player.connection_id == session.connection_id
        for size in (0, 1, 1_200, 65_475):
            await road.talk(down=b"d" * size, up=b"u" * size)
        opened = await session.decrypt(road.player.send(b"x", b"match 1"), b"match 1")
        assert (opened.plaintext, opened.newest, opened.early) == (b"x", True, False)
        sealed = await session.encrypt(b"y", b"match 2")
        assert road.player.receive(sealed.packet, time.monotonic(), b"match 2").plaintexts == [b"y"]
        described = await session.describe()
        assert described.connection_id == session.connection_id
        assert (described.mode, described.role) == (RecordMode.DATAGRAM, setup.role)


@pytest.mark.parametrize("role", Role)
async def test_padding_and_mask_are_understood_at_the_other_end(client: Client, role: Role) -> None:
    """Both obfuscations together; a padded record has the length of its class."""
    road = await open_datagram(client, Setup(role=role, pad=True, mask=True))
    async with road.session as session:
        await road.talk()
        assert len((await session.encrypt(b"1")).packet) == len((await session.encrypt(b"1" * 30)).packet)


async def test_datagram_records_may_be_lost_reordered_and_repeated(client: Client) -> None:
    """What came once opens once; order and gaps do not matter; only what moves ahead is the newest."""
    road = await open_datagram(client, Setup(), tickets=False)
    async with road.session as session:
        await road.talk()
        packets = [road.player.send(b"%d" % number) for number in range(6)]
        order = (3, 1, 5, 0)
        opened = [await session.decrypt(packets[at]) for at in order]
        assert [each.plaintext for each in opened] == [b"3", b"1", b"5", b"0"]
        assert [each.newest for each in opened] == [True, False, True, False]
        for at in order:
            with pytest.raises(noisegate.ReplayDetected):
                await session.decrypt(packets[at])


async def test_noise_records_open_in_order_only_and_a_wrong_one_does_no_harm(client: Client) -> None:
    """The counter is implicit: the second record does not open before the first, and still does after it."""
    session, player = await open_noise(client, Setup())
    async with session:
        first, second = player.seal(b"1"), player.seal(b"2")
        with pytest.raises(noisegate.DecryptFailed):
            await session.decrypt(second)
        assert (await session.decrypt(first)).plaintext == b"1"
        assert (await session.decrypt(second)).plaintext == b"2"
        with pytest.raises(noisegate.DecryptFailed):
            await session.decrypt(second)


async def test_a_handshake_packet_that_comes_twice_is_answered_alike(client: Client) -> None:
    """UDP repeats packets by itself: the same step gets the same bytes and makes no second session."""
    road = await open_datagram(client, Setup(peer_id="twice"))
    player = road.player
    packet = player.start(time.monotonic())[0]
    first = await client.respond(mode=RecordMode.DATAGRAM, message=packet, prologue=b"dice 1", peer_id="twice")
    second = await client.respond(mode=RecordMode.DATAGRAM, message=packet, prologue=b"dice 1", peer_id="twice")
    assert (first.id, first.to_peer) == (second.id, second.to_peer)
    assert len([each async for each in client.list_sessions(peer_id="twice")]) == 2
    step_3 = player.receive(first.to_peer[0], time.monotonic()).to_send[0]
    assert await first.proceed(step_3) == await second.proceed(step_3)
    found = await client.find_and_proceed(step_3)
    assert found.id == first.id
    await first.close()
    await road.session.close()


async def test_an_offer_makes_a_hello_that_binds_the_handshake(client: Client) -> None:
    """NOISE with an offer: the hello goes beside message 1, and a changed one does not get through."""
    static = bytes(range(32))
    protocol = noisegate.Protocol(Pattern.XX)
    session = await client.initiate(
        mode=RecordMode.NOISE, protocol=protocol, offer=[protocol, noisegate.Protocol(Pattern.IK)], prologue=b"p"
    )
    assert 14 <= len(session.hello) <= 44
    for hello, works in ((session.hello[:-1] + b"\x01", False), (session.hello, True)):
        player = NoisePlayer(
            "Noise_XX_25519_ChaChaPoly_SHA256", NoiseKeys(static=static), initiator=False, prologue=b"p", hello=hello
        )
        begun = session if works else await client.initiate(mode=RecordMode.NOISE, protocol=protocol, offer=[protocol])
        player.read_handshake(begun.to_peer[0])
        answer = player.write_handshake()
        if not works:
            with pytest.raises(noisegate.HandshakeFailed):
                await begun.proceed(answer)
            continue
        for message in await begun.proceed(answer):
            player.read_handshake(message)
        assert begun.established is not None
        assert begun.established.handshake_hash == player.handshake_hash
    await session.close()
