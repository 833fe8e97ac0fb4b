"""What a thief of long-term keys can read of old traffic: nothing, unless a key that no longer exists is there too."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest
from noise.connection import Keypair, NoiseConnection

import noisegate
from examples.dice.datagram_player import FLAG_DATAGRAM, DatagramPlayer, Settings
from examples.dice.datagram_player import Protocol as WireProtocol
from noisegate import Client, Pattern, Protocol, RecordMode, Suite
from tests.integration.conftest import Launch
from tests.integration.eavesdropper import Recording, attack
from tests.support.noise_client import CIPHERS, PROLOGUE, Udp, noise_name, public_key

SERVICE, PLAYER, EPHEMERAL = (bytes([0x40 + number]) * 32 for number in range(3))
TEXTS = (b"the dealer holds an ace", b"I fold")
CASES = list(itertools.product([Pattern.XX, Pattern.IK], CIPHERS))


async def _record_noise(client: Client, pattern: Pattern, suite: Suite) -> Recording:
    """A NOISE session of the bare library, with an ephemeral key that the test knows."""
    name = noise_name(pattern, suite)
    player = NoiseConnection.from_name(name.encode())
    player.set_as_initiator()
    player.set_keypair_from_private_bytes(Keypair.STATIC, PLAYER)
    player.set_keypair_from_private_bytes(Keypair.EPHEMERAL, EPHEMERAL)
    if pattern is Pattern.IK:
        player.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, public_key(SERVICE))
    player.set_prologue(PROLOGUE)
    with pytest.warns(UserWarning, match="ephemeral"):
        player.start_handshake()
    wire = [bytes(player.write_message())]
    session = await client.respond(
        mode=RecordMode.NOISE, protocol=Protocol(pattern, suite), message=wire[0], prologue=PROLOGUE
    )
    wire += session.to_peer
    player.read_message(wire[1])
    if not player.handshake_finished:
        wire.append(bytes(player.write_message()))
        await session.proceed(wire[2])
    up = bytes(player.encrypt(TEXTS[0]))
    assert (await session.decrypt(up)).plaintext == TEXTS[0]
    down = (await session.encrypt(TEXTS[1])).packet
    assert bytes(player.decrypt(down)) == TEXTS[1]
    await session.close()
    return Recording(name=name, prologue=PROLOGUE, handshake=tuple(wire), records=(up, down))


async def _record_datagram(client: Client, pattern: Pattern, suite: Suite) -> Recording:
    """A DATAGRAM session; of the player's draws the first is its ephemeral key."""
    draws = itertools.chain([EPHEMERAL], iter(lambda: os.urandom(32), b""))
    player = DatagramPlayer(
        Settings(
            offer=(WireProtocol(int(pattern), int(suite)),),
            flags=FLAG_DATAGRAM,
            static=PLAYER,
            remote=public_key(SERVICE) if pattern is Pattern.IK else None,
            prologue=PROLOGUE,
        ),
        random_bytes=lambda size: next(draws)[:size],
        wall=time.time,
    )
    first = player.start(time.monotonic())[0]
    session = await client.respond(mode=RecordMode.DATAGRAM, message=first, prologue=PROLOGUE)
    road = Udp(player, session)
    hello = first[12 : 12 + int.from_bytes(first[10:12], "big")]
    wire = [first[13 + len(hello) :], session.to_peer[0][10:]]
    for packet in player.receive(session.to_peer[0], time.monotonic()).to_send:
        wire.append(packet[10:])
        await road.to_player(await session.proceed(packet))
    up = player.send(TEXTS[0])
    assert await road.to_service([up]) == [TEXTS[0]]
    down = (await session.encrypt(TEXTS[1])).packet
    assert await road.to_player([down]) == [TEXTS[1]]
    await session.close()
    return Recording(
        name=noise_name(pattern, suite),
        prologue=b"ng1 hello" + hello + PROLOGUE,
        handshake=tuple(wire),
        records=(up, down),
        datagram=True,
    )


@pytest.fixture
def address(launch: Launch, tmp_path: Path) -> str:
    """A server whose static private key the attacker will have."""
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(SERVICE.hex())
    return launch("--listen", "127.0.0.1:0", "--identity", str(key)).address


@pytest.mark.parametrize("mode", RecordMode)
async def test_stolen_long_term_keys_do_not_open_recorded_traffic(address: str, mode: RecordMode) -> None:
    """Both static private keys and every byte are not enough; with one ephemeral key more the same attacker reads all.

    The second half proves that the first half's attacker was able to.
    """
    record = _record_noise if mode is RecordMode.NOISE else _record_datagram
    policy = noisegate.CallPolicy(packet_deadline=5.0)
    async with noisegate.connect(address, policy=policy) as client:
        assert (await client.capabilities()).static_key == public_key(SERVICE)
        recordings = [await record(client, pattern, suite) for pattern, suite in CASES]
    for recording in recordings:
        assert attack(recording, public_key(SERVICE), [SERVICE, PLAYER]) == [None, None], recording.name
        read = attack(recording, public_key(SERVICE), [SERVICE, PLAYER, EPHEMERAL])
        kind = b"\x01" if mode is RecordMode.DATAGRAM else b""
        assert read == [text + kind for text in TEXTS], recording.name
