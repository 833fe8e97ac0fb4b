"""Every row of the catalogue through a real socket: the exact refusal, and nothing has changed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import noisegate
from examples.dice.noise_player import NoiseKeys, NoisePlayer
from noisegate import Client, Pattern, Protocol, RecordMode
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from tests.integration.bad_input_cases import LOW_ORDER, SHAKE, XX_CHACHA, Case, World
from tests.integration.bad_input_sessions import CASES
from tests.integration.conftest import Launch
from tests.integration.raw import Raw, Refusal
from tests.support.noise_client import (
    PROLOGUE,
    Setup,
    datagram_player,
    noise_player,
    open_datagram,
    open_noise,
    public_key,
)
from tests.support.server import RunningServer

XX = Protocol(Pattern.XX)


@pytest.fixture
async def raw(server: RunningServer) -> AsyncIterator[Raw]:
    """A channel that takes bytes."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield Raw(channel)


@pytest.fixture
async def world(client: Client) -> AsyncIterator[World]:
    """Sessions that a bad request could harm."""
    service_key = (await client.capabilities()).static_key
    first, player = await open_noise(client, Setup())
    second, other_player = await open_noise(client, Setup())
    udp, other_udp = await open_datagram(client, Setup()), await open_datagram(client, Setup())
    await udp.talk()
    await other_udp.talk()
    opened = udp.player.send(b"once")
    await udp.session.decrypt(opened)
    sealed = (await udp.session.encrypt(b"down")).packet
    waiting = noise_player(Setup(), service_key)
    half = await client.respond(
        mode=RecordMode.NOISE, protocol=XX, message=waiting.write_handshake(), prologue=PROLOGUE
    )
    waiting.read_handshake(half.to_peer[0])
    yield World(
        service_key=service_key,
        noise=first.id,
        player=player,
        other=second.id,
        other_player=other_player,
        udp=udp,
        other_udp=other_udp,
        half=half.id,
        opened=opened,
        sealed=sealed,
    )
    # The genuine message still works, on every one of them.
    assert player.open((await first.encrypt(b"down")).packet) == b"down"
    assert (await first.decrypt(player.seal(b"up"))).plaintext == b"up"
    await udp.talk()
    await half.proceed(waiting.write_handshake())
    assert (await half.decrypt(waiting.seal(b"hello"))).plaintext == b"hello"
    for session in (first, second, udp.session, other_udp.session, half):
        await session.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method}: {case.name}")
async def test_each_bad_request_gets_its_row_and_changes_nothing(raw: Raw, world: World, case: Case) -> None:
    """Code, reason and kind of details are the catalogue's; every session is as it was and goes on."""
    ids = (world.noise, world.other, world.udp.session.id, world.other_udp.session.id, world.half)
    before = [await raw.fingerprint(each) for each in ids]
    refusal = await raw.refused(case.method, case.body(world))
    assert refusal.row == case.row, _catalogue(case, refusal)
    assert [await raw.fingerprint(each) for each in ids] == before
    if refusal.row[1] == "UNSUPPORTED_PROTOCOL":
        assert "Noise_XX_25519_ChaChaPoly_SHA256" in refusal.metadata["supported"].split(",")


def _catalogue(failed: Case, refusal: Refusal) -> str:
    lines = [f"{failed.method}: {failed.name} gave {refusal}; the catalogue says"]
    for case in CASES:
        if case.method == failed.method:
            code, reason, details = case.row
            lines.append(f"{'->' if case is failed else '  '} {case.name:55} {code.name:20} {reason:22} {details}")
    return "\n".join(lines)


async def test_every_bit_of_a_noise_record_counts(raw: Raw, world: World) -> None:
    """One flipped bit at every position, one mute answer for all, and the genuine record opens after 500 of them."""
    genuine = world.player.seal(b"fold, or raise by two tokens?", b"hand 3")
    await _flip_every_bit(raw, world.noise, genuine, b"hand 3")


async def test_every_bit_of_a_datagram_packet_counts(raw: Raw, world: World) -> None:
    """The header is authenticated too: type, connection id, epoch, phase and counter."""
    genuine = world.udp.player.send(b"fold, or raise?", b"hand 3")
    await _flip_every_bit(raw, world.udp.session.id, genuine, b"hand 3")


async def _flip_every_bit(raw: Raw, session_id: bytes, genuine: bytes, associated_data: bytes) -> None:
    request = pb.DecryptRequest(session_id=session_id, associated_data=associated_data)
    before = await raw.fingerprint(session_id)
    answers = set()
    for bit in range(len(genuine) * 8):
        forged = bytearray(genuine)
        forged[bit // 8] ^= 1 << bit % 8
        request.ciphertext = bytes(forged)
        refusal = await raw.refused("Decrypt", request)
        answers.add((refusal.row, refusal.text))
    assert len(answers) == 1
    assert await raw.fingerprint(session_id) == before
    assert (await raw.session(session_id)).refused == len(genuine) * 8
    request.ciphertext = genuine
    assert pb.DecryptResponse.FromString(await raw.call("Decrypt", request)).plaintext


@pytest.mark.parametrize("size", [32, 33, 65_535])
async def test_message_1_of_xx_may_have_any_legal_size(client: Client, size: int) -> None:
    """Its payload is clear text: 32 bytes of key, and whatever follows."""
    message = b"\x09" + bytes(31) + b"p" * (size - 32)
    session = await client.respond(mode=RecordMode.NOISE, protocol=XX, message=message)
    assert session.payload == b"p" * (size - 32)
    await session.close()


async def test_a_noise_handshake_ends_with_its_first_bad_message(client: Client, raw: Raw) -> None:
    """Noise section 5: the state is wiped; even the genuine message finds nothing any more."""
    player = noise_player(Setup(), (await client.capabilities()).static_key)
    session = await client.respond(
        mode=RecordMode.NOISE, protocol=XX, message=player.write_handshake(), prologue=PROLOGUE
    )
    player.read_handshake(session.to_peer[0])
    genuine = player.write_handshake()
    forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
    proceed = pb.ProceedHandshake(session_id=session.id, message=forged)
    assert (await raw.refused("Handshake", pb.HandshakeRequest(proceed=proceed))).row == SHAKE
    with pytest.raises(noisegate.SessionNotFound):
        await session.proceed(genuine)


@pytest.mark.parametrize(("forgeries", "lives"), [(15, True), (16, False)])
async def test_a_datagram_handshake_outlives_15_forged_packets(client: Client, forgeries: int, lives: bool) -> None:
    """Spoofed packets are read on a copy; the sixteenth gives the handshake up."""
    player = datagram_player(Setup(), (await client.capabilities()).static_key)
    session = await client.respond(
        mode=RecordMode.DATAGRAM, message=player.start(time.monotonic())[0], prologue=PROLOGUE
    )
    genuine = player.receive(session.to_peer[0], time.monotonic()).to_send[0]
    for number in range(forgeries):
        at = len(genuine) - 1 - number
        with pytest.raises(noisegate.HandshakeFailed):
            await client.session(session.id).proceed(genuine[:at] + bytes([genuine[at] ^ 1]) + genuine[at + 1 :])
    if lives:
        await session.proceed(genuine)
        assert session.established is not None
        await session.close()
    else:
        with pytest.raises(noisegate.SessionNotFound):
            await session.proceed(genuine)


async def test_low_order_points_in_message_2_end_the_handshake(client: Client) -> None:
    """No secret can be agreed with them; as initiator, too, that is a failed handshake and no more."""
    for point in LOW_ORDER:
        session = await client.initiate(mode=RecordMode.NOISE, protocol=XX)
        with pytest.raises(noisegate.HandshakeFailed):
            await session.proceed(point + bytes(64))
        with pytest.raises(noisegate.SessionNotFound):
            await session.describe()


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])
async def test_a_player_with_our_own_key_is_refused(launch: Launch, tmp_path: Path, pattern: Pattern) -> None:
    """A reflection proves nothing: whoever shows the service's own static key is nobody."""
    private = bytes([0x51]) * 32
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(private.hex())
    server = launch("--listen", "127.0.0.1:0", "--identity", str(key))
    async with noisegate.connect(server.address) as client:
        keys = NoiseKeys(static=private, remote=public_key(private) if pattern is Pattern.IK else None)
        name = f"Noise_{pattern.name}_25519_ChaChaPoly_SHA256"
        player = NoisePlayer(name, keys, initiator=True)
        begin = client.respond(mode=RecordMode.NOISE, protocol=Protocol(pattern), message=player.write_handshake())
        if pattern is Pattern.IK:
            with pytest.raises(noisegate.HandshakeFailed):
                await begin
        else:
            session = await begin
            player.read_handshake(session.to_peer[0])
            with pytest.raises(noisegate.HandshakeFailed):
                await session.proceed(player.write_handshake())
            with pytest.raises(noisegate.SessionNotFound):
                await session.describe()
        assert [each async for each in client.list_sessions()] == []


async def test_a_request_id_is_for_one_body(raw: Raw, world: World) -> None:
    """The same id with another body is the caller's mistake, told as such; the first answer stays."""
    request = pb.EncryptRequest(session_id=world.other, request_id="r1", plaintext=b"a")
    first = await raw.call("Encrypt", request)
    request.plaintext = b"b"
    refusal = await raw.refused("Encrypt", request)
    assert refusal.row == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT", "")
    request.plaintext = b"a"
    assert await raw.call("Encrypt", request) == first
    packet = pb.EncryptResponse.FromString(first).ciphertext
    assert world.other_player.open(packet) == b"a"


async def test_quotas_are_told_by_name(client: Client, raw: Raw) -> None:
    """A player's fifth unfinished handshake is refused, and says whose limit it was; others are not touched."""
    begun = [await client.initiate(mode=RecordMode.NOISE, protocol=XX, peer_id="greedy") for _ in range(4)]
    request = pb.InitiateHandshake(mode=session_pb2.RECORD_MODE_NOISE, protocol=XX_CHACHA, peer_id="greedy")
    refusal = await raw.refused("Handshake", pb.HandshakeRequest(initiate=request))
    assert refusal.row == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SESSION_QUOTA", "QuotaFailure")
    assert "greedy" in refusal.text
    begun.append(await client.initiate(mode=RecordMode.NOISE, protocol=XX, peer_id="modest"))
    for each in begun:
        await each.close()
