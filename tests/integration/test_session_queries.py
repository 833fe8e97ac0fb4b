"""GetCapabilities, GetSession, ListSessions, CloseSession; a match server that comes back with an empty memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import noisegate
from noisegate import Client, ControlKind, Pattern, RecordMode, Role, SessionState, Suite, TerminationReason
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from tests.support.noise_client import (
    NAMES,
    PROLOGUE,
    Setup,
    noise_name,
    noise_player,
    open_datagram,
    open_noise,
)
from tests.support.server import RunningServer

if TYPE_CHECKING:
    from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceAsyncStub


async def test_capabilities_are_the_contracts(client: Client, server: RunningServer) -> None:
    """What the service says of itself holds: its protocols, limits, key and address."""
    found = await client.capabilities()
    assert found.protocol_version == 1
    assert found.endpoint == server.address
    assert len(found.static_key) == 32
    assert found.static_key == (await client.capabilities()).static_key
    assert {(each.pattern, each.suite): each.name for each in found.protocols} == {
        (int(pattern), int(suite)): noise_name(pattern, suite) for pattern in NAMES for suite in Suite
    }
    assert set(found.modes) == set(RecordMode)
    assert (found.max_plaintext_bytes, found.max_datagram_plaintext_bytes) == (65_519, 65_475)
    assert found.max_request_bytes == 73_728
    assert (found.max_batch_items, found.max_batch_bytes) == (1_024, 1_310_720)


async def test_a_session_is_described_by_id_and_by_connection_id(client: Client, server: RunningServer) -> None:
    """Both names find the same session; ages and counts are plausible, and no field holds a key."""
    road = await open_datagram(client, Setup(peer_id="ada", group="g1", pattern=Pattern.IK))
    await road.talk()
    by_id = await client.get_session(road.session.id)
    by_connection = await client.get_session(connection_id=road.session.connection_id)
    assert (by_id.session_id, by_id.connection_id) == (by_connection.session_id, by_connection.connection_id)
    assert (by_id.peer_id, by_id.group, by_id.role) == ("ada", "g1", Role.RESPONDER)
    assert by_id.endpoint == server.address
    assert by_id.established is not None
    assert by_id.established.handshake_hash == road.player.handshake_hash
    assert 0 <= by_id.idle <= by_id.age < 60
    await road.session.close()


async def test_sessions_are_listed_by_peer_by_group_and_by_both(client: Client) -> None:
    """Filters narrow, pages cover everything once, and another tenant's word does not matter here."""
    sessions = {}
    for peer, group in (("p1", "m1"), ("p1", "m2"), ("p2", "m1"), ("p3", "m3"), ("p1", "m1")):
        session, _ = await open_noise(client, Setup(peer_id=peer, group=group))
        sessions[session.id] = (peer, group, session)

    async def listed(peer_id: str = "", group: str = "", page_size: int = 0) -> list[bytes]:
        return [s.session_id async for s in client.list_sessions(peer_id=peer_id, group=group, page_size=page_size)]

    for peer, group in (("p1", ""), ("", "m1"), ("p1", "m1"), ("p2", "m2"), ("nobody", ""), ("p3", "m3")):
        expected = {
            session_id
            for session_id, (of_peer, of_group, _) in sessions.items()
            if peer in ("", of_peer) and group in ("", of_group)
        }
        for page_size in (0, 1, 2, 1_000):
            found = await listed(peer, group, page_size)
            assert len(found) == len(set(found))
            assert set(found) == expected
    assert sessions.keys() <= set(await listed())
    for _, _, session in sessions.values():
        await session.close()
    assert await listed("p1") == []


async def test_a_half_open_handshake_is_visible_and_can_be_closed(client: Client) -> None:
    """The id exists from the first step on; records are refused until the handshake has finished."""
    session = await client.initiate(mode=RecordMode.NOISE, protocol=noisegate.Protocol(Pattern.XX), peer_id="half")
    assert session.pending_for > 0
    assert (await session.describe()).state is SessionState.HANDSHAKING
    with pytest.raises(noisegate.NotEstablished) as refused:
        await session.encrypt(b"too soon")
    assert refused.value.metadata == {"state": "HANDSHAKING"}
    assert not session.ended
    await session.close()
    with pytest.raises(noisegate.SessionNotFound):
        await client.get_session(session.id)


async def test_a_closed_session_says_so_to_its_owner(client: Client, stub: SessionCryptoServiceAsyncStub) -> None:
    """GetSession has the reason; every other call is refused with it, and a second close is no error in the SDK."""
    session, player = await open_noise(client, Setup())
    assert await session.close() == ()
    assert await session.close() == ()
    described = (await stub.GetSession(pb.GetSessionRequest(session_id=session.id))).session
    assert (int(described.state), int(described.termination_reason)) == (
        SessionState.TERMINATED,
        TerminationReason.CLOSED,
    )
    assert not described.HasField("established")
    again = client.session(session.id)
    with pytest.raises(noisegate.SessionClosed) as refused:
        await again.decrypt(player.seal(b"late"))
    assert refused.value.metadata == {"cause": "CLOSED", "resumable": "false"}
    assert again.ended


async def test_the_sdk_describes_a_session_that_has_ended(client: Client) -> None:
    """A tombstone has a state and a reason; mode and role are not set in it."""
    session, _ = await open_noise(client, Setup())
    await session.close()
    for described in (await client.get_session(session.id), await session.describe()):
        assert (described.state, described.termination_reason) == (SessionState.TERMINATED, TerminationReason.CLOSED)
        assert (described.session_id, described.mode, described.role) == (session.id, None, None)


async def test_a_close_reaches_the_datagram_player_authenticated(client: Client) -> None:
    """The close record ends the player's session; a forged one does not."""
    road = await open_datagram(client, Setup())
    await road.talk()
    farewell = await road.session.close()
    assert len(farewell) == 1
    with pytest.raises(ValueError, match="record"):
        road.player.receive(farewell[0][:-1] + bytes([farewell[0][-1] ^ 1]), time.monotonic())
    assert road.player.established
    await road.to_player(farewell)
    assert not road.player.established


async def test_a_datagram_player_can_end_the_session(client: Client) -> None:
    """Its close record ends the session at the service; the tombstone names the player and its ticket."""
    road = await open_datagram(client, Setup())
    await road.talk()
    opened = await road.session.decrypt(road.player.close())
    assert (opened.plaintext, opened.control) == (None, ControlKind.CLOSE)
    assert road.session.ended
    with pytest.raises(noisegate.SessionClosed) as refused:
        await client.session(road.session.id).encrypt(b"anyone?")
    assert refused.value.metadata == {"cause": "PEER_CLOSED", "resumable": "true"}


async def test_a_restarted_match_server_finds_its_sessions_by_group(server: RunningServer, client: Client) -> None:
    """A new process knows the match alone: it lists, adopts, and goes on where the old one stopped."""
    road = await open_datagram(client, Setup(peer_id="ada", group="match 9"))
    session, player = await open_noise(client, Setup(peer_id="bob", group="match 9"))
    await road.talk()
    policy = noisegate.CallPolicy(packet_deadline=5.0)
    async with noisegate.connect(server.address, policy=policy) as restarted:
        found = {each.peer_id: restarted.adopt(each) async for each in restarted.list_sessions(group="match 9")}
        assert found.keys() == {"ada", "bob"}
        assert player.open((await found["bob"].encrypt(b"still here")).packet) == b"still here"
        road.join(found["ada"])
        await road.talk()
        for each in found.values():
            await each.close()
    assert session.id == found["bob"].id


async def test_a_restarted_match_server_finds_a_session_by_its_packets(server: RunningServer, client: Client) -> None:
    """A UDP server has the connection id of a packet and nothing else: GetSession and Decrypt need no more."""
    road = await open_datagram(client, Setup(peer_id="ada"))
    policy = noisegate.CallPolicy(packet_deadline=5.0)
    async with noisegate.connect(server.address, policy=policy) as restarted:
        packet = road.player.send(b"who am I?")
        assert (await restarted.get_session(connection_id=packet[1:9])).peer_id == "ada"
        session, opened = await restarted.find_and_decrypt(packet)
        assert opened.plaintext == b"who am I?"
        assert session.id == road.session.id
        road.join(session)
        await road.to_player(opened.to_peer)
        await road.talk()
        await session.close()


async def test_a_lifetime_of_the_callers_ends_the_session(client: Client, stub: SessionCryptoServiceAsyncStub) -> None:
    """A session of one second is refused once that is over; the tombstone says why."""
    player = noise_player(Setup(), (await client.capabilities()).static_key)
    session = await client.respond(
        mode=RecordMode.NOISE,
        protocol=noisegate.Protocol(Pattern.XX),
        message=player.write_handshake(),
        prologue=PROLOGUE,
        options=noisegate.SessionOptions(lifetime=1.0, idle_timeout=1.0),
    )
    player.read_handshake(session.to_peer[0])
    await session.proceed(player.write_handshake())
    assert session.established is not None
    assert 0 < session.established.expires_in <= 1.0
    request = pb.GetSessionRequest(session_id=session.id)
    async with asyncio.timeout(10):
        while (described := (await stub.GetSession(request)).session).state == session_pb2.SESSION_STATE_ESTABLISHED:
            pass
    assert described.state == session_pb2.SESSION_STATE_TERMINATED
    assert described.termination_reason in (
        session_pb2.TERMINATION_REASON_LIFETIME,
        session_pb2.TERMINATION_REASON_IDLE,
    )
    with pytest.raises(noisegate.SessionClosed):
        await session.encrypt(b"too late")
