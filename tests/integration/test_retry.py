"""RETRY over the running service, with real packets, and an attacker who would have the classical suite.

The player's hybrid handshakes are tests/support/second_noise.py's, its classical ones `noiseprotocol`'s; packets and
hellos are put together here from docs/protocol.md, section 2.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

import noisegate
from examples.dice.datagram_player import DatagramPlayer, Settings
from examples.dice.datagram_player import Protocol as WireProtocol
from examples.dice.noise_player import NoiseRefusedError
from noisegate import Client, DatagramReceiver, Pattern, Protocol, RecordMode, Session, SessionOptions, Suite
from tests.support.lossy_path import ROUNDS, Path
from tests.support.noise_client import PROLOGUE, Setup, noise_player
from tests.support.second_noise import SecondNoise
from tests.support.written_out import schedule, seal, sha256

HYBRID, CLASSICAL = Suite.MLKEM1024_X25519_CHACHA20_POLY1305, Suite.CHACHA20_POLY1305_X25519
OFFER = bytes((2, 1, 3, 1, 1))
"""Two protocols: XX hybrid, XX classical."""
DATAGRAM = 16
ADDRESS = ("203.0.113.9", 5_000)
ADDRESS_ON_PATH = "player"


def hello(choice: int, *, offer: bytes = OFFER, flags: int = DATAGRAM, ahead: float = 0.0) -> bytes:
    """A player's hello."""
    return bytes((1, flags)) + int((time.time() + ahead) * 1000).to_bytes(8, "big") + offer + bytes((choice,))


def first_packet(hello: bytes, message: bytes) -> bytes:
    """HANDSHAKE, step 1."""
    return b"\x09" + bytes(8) + b"\x01" + len(hello).to_bytes(2, "big") + hello + b"\0" + message


def retry(refused: bytes, tail: bytes) -> bytes:
    """RETRY to a packet: reason, and what belongs to it."""
    return b"\x0e" + bytes(8) + sha256(refused)[:8] + tail


def hybrid_end(hello: bytes, *, initiator: bool) -> SecondNoise:
    """One end of XXhfs under a hello."""
    return SecondNoise(
        pattern="XXhfs",
        initiator=initiator,
        prologue=b"ng1 hello" + hello + PROLOGUE,
        e=os.urandom(32),
        kem=os.urandom(64 if initiator else 32),
        s=os.urandom(32),
    )


def classical_end(hello: bytes) -> Any:
    """The initiating end of XX under a hello."""
    return noise_player(Setup(prologue=b"ng1 hello" + hello + PROLOGUE), b"")


async def answer_to(client: Client, packet: bytes) -> Session:
    """What the service says to a player's first packet; PlayerMustRetry where it sends the player elsewhere."""
    return await client.respond(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)


async def turned_away(client: Client, packet: bytes) -> bytes:
    """The RETRY to a first packet."""
    with pytest.raises(noisegate.PlayerMustRetry) as caught:
        await answer_to(client, packet)
    (answer,) = caught.value.to_peer
    assert len(answer) < len(packet)
    return answer


async def shake_hands(client: Client, hello: bytes) -> tuple[Session, SecondNoise]:
    """A hybrid handshake that the player begins, and a record of the player that opens."""
    player = hybrid_end(hello, initiator=True)
    session = await answer_to(client, first_packet(hello, player.write(b"")))
    (answer,) = session.to_peer
    assert (answer[:1], answer[9:10]) == (b"\x09", b"\x02")
    player.read(answer[10:])
    await session.proceed(b"\x09" + answer[1:9] + b"\x03" + player.write(b""))
    assert session.established is not None
    assert session.established.handshake_hash == player.h
    record = {
        "direction": "i2r", "counter": 0, "epoch": 0, "phase": 0, "kind": 1, "content": b"roll".hex(),
        "associated_data": "", "padded": False, "masked": False,
    }  # fmt: skip
    sealed = seal(1, schedule(player.h, *player.sends), answer[1:9], record)
    assert (await session.decrypt(bytes.fromhex(sealed["packet"]))).plaintext == b"roll"
    return session, player


async def test_a_player_is_sent_to_the_services_choice(client: Client) -> None:
    """A classical first packet gets RETRY with choice 0 and the granted flags; the hybrid one after it a session."""
    first = hello(1)
    packet = first_packet(first, classical_end(first).write_handshake())
    assert await turned_away(client, packet) == retry(packet, bytes((1, 0, 31)))
    session, _ = await shake_hands(client, hello(0))
    assert session.established is not None
    assert session.established.protocol_name == "Noise_XXhfs_25519+MLKEM1024_ChaChaPoly_SHA256"


async def test_a_player_with_a_wrong_clock_is_told_the_time(client: Client) -> None:
    """An hour ahead is refused with the service's time, and a hello by that time is taken."""
    first = hello(0, ahead=3_600.0)
    packet = first_packet(first, hybrid_end(first, initiator=True).write(b""))
    answer = await turned_away(client, packet)
    assert answer[:19] == retry(packet, b"\x02\0")
    assert len(answer) == 27
    told = int.from_bytes(answer[19:], "big") / 1000
    assert abs(told - time.time()) < 5.0
    await shake_hands(client, hello(0, ahead=told - time.time()))


async def test_a_player_who_is_lured_to_less_gets_nowhere(client: Client) -> None:
    """The attacker forges RETRY 'choose classical', offer intact: the service sends the player back up."""
    wanted = hello(0)
    first_packet(wanted, hybrid_end(wanted, initiator=True).write(b""))  # which the attacker keeps
    lured = hello(1)
    packet = first_packet(lured, classical_end(lured).write_handshake())
    assert (await turned_away(client, packet))[17:] == bytes((1, 0, 31))


async def test_a_stripped_offer_ends_at_message_two(client: Client) -> None:
    """XX's message 1 has no tag, so the service answers under the cut hello; the player's prologue is another."""
    lured = hello(1)
    player = classical_end(lured)
    cut = hello(0, offer=bytes((1, 1, 1)))
    session = await answer_to(client, first_packet(cut, player.write_handshake()))
    with pytest.raises(NoiseRefusedError):
        player.read_handshake(session.to_peer[0][10:])
    assert session.established is None
    with pytest.raises(noisegate.HandshakeFailed):
        await session.proceed(b"\x09" + session.connection_id + b"\x03" + bytes(64))
    await session.close()


async def test_a_service_that_is_lured_to_less_gets_nowhere(client: Client) -> None:
    """It follows a forged RETRY once; the player sends it back up; its first attempt still works."""
    receiver: DatagramReceiver[tuple[str, int]] = DatagramReceiver(client)
    session = await client.initiate(
        mode=RecordMode.DATAGRAM,
        protocol=Protocol(Pattern.XX, HYBRID),
        offer=[Protocol(Pattern.XX, HYBRID), Protocol(Pattern.XX, CLASSICAL)],
        prologue=PROLOGUE,
        options=SessionOptions(ratchet=True),
    )
    receiver.add(session, ADDRESS)
    (first,) = session.to_peer
    forged = retry(first, bytes((1, 1, 31)))
    ((lured, _),) = (await receiver.receive(forged, ADDRESS)).to_send
    assert (lured[12:14], lured[22:28]) == (bytes((1, DATAGRAM | 1)), OFFER + b"\x01")
    genuine = retry(lured, bytes((1, 0, 31)))
    assert (await receiver.receive(genuine, ADDRESS)).refused == "HANDSHAKE_STATE"
    again = await receiver.receive(forged, ADDRESS)
    assert again.to_send == ((lured, ADDRESS),)
    player = hybrid_end(first[12:28], initiator=False)
    player.read(first[29:])
    answer = b"\x09" + session.connection_id + b"\x02" + player.write(b"")
    heard = await receiver.receive(answer, ADDRESS)
    assert heard.established
    player.read(heard.to_send[0][0][10:])
    assert session.established is not None
    assert session.established.handshake_hash == player.h
    await session.close()


async def test_a_service_goes_where_the_player_sends_it(client: Client) -> None:
    """The player runs the hybrid alone: the classical attempt is refused, the hybrid one answered."""
    session = await client.initiate(
        mode=RecordMode.DATAGRAM,
        protocol=Protocol(Pattern.XX, CLASSICAL),
        offer=[Protocol(Pattern.XX, HYBRID), Protocol(Pattern.XX, CLASSICAL)],
        prologue=PROLOGUE,
    )
    (again,) = await session.proceed(retry(session.to_peer[0], bytes((1, 0, 16))))
    player = hybrid_end(again[12:28], initiator=False)
    player.read(again[29:])
    for message in await session.proceed(b"\x09" + session.connection_id + b"\x02" + player.write(b"")):
        player.read(message[10:])
    assert session.established is not None
    assert session.established.handshake_hash == player.h
    await session.close()


def dice_player(*, choice: int = 0, clock: Callable[[], float] = time.time) -> DatagramPlayer:
    """A player that prefers the hybrid, with a first choice and a clock of its own."""
    settings = Settings(
        offer=(WireProtocol(1, int(HYBRID)), WireProtocol(1, int(CLASSICAL))),
        choice=choice,
        static=os.urandom(32),
        prologue=PROLOGUE,
    )
    return DatagramPlayer(settings, random_bytes=os.urandom, wall=clock)


@pytest.mark.parametrize("loss", [0.0, 0.3])
async def test_a_player_with_a_wrong_choice_and_clock_gets_in(client: Client, loss: float) -> None:
    """Two RETRYs on a bad path, the last first packet in fragments; the receiver keeps nothing of the first ones."""
    player = dice_player(choice=1, clock=lambda: time.time() - 86_400)
    path = Path(client, player, loss=loss, seed=3)
    path.put(player.start(path.now), to_player=False)
    await path.until("established", path.established)
    await path.say(b"in")
    assert path.session is not None
    assert path.session.established is not None
    assert path.session.established.protocol_name.startswith("Noise_XXhfs_")
    assert path.seen["RETRY_CHOOSE"] >= 1
    assert path.seen["RETRY_CLOCK"] >= 1
    assert len(path.receiver) == 1
    await path.session.close()


@pytest.mark.parametrize("loss", [0.0, 0.2])
async def test_a_service_follows_a_player_on_a_bad_path(client: Client, loss: float) -> None:
    """It begins with the classical suite, the player wants the hybrid: RETRY in, another first packet out."""
    player = dice_player()
    path = Path(client, player, loss=loss, seed=5)
    path.session = session = await client.initiate(
        mode=RecordMode.DATAGRAM,
        protocol=Protocol(Pattern.XX, CLASSICAL),
        offer=[Protocol(Pattern.XX, HYBRID), Protocol(Pattern.XX, CLASSICAL)],
        prologue=PROLOGUE,
    )
    path.receiver.add(session, ADDRESS_ON_PATH)
    first = path.receiver.cut(session.to_peer)
    for _ in range(ROUNDS):
        if path.established():
            break
        path.put(first, to_player=True)
        await path.run(2)
    await path.say(b"in")
    assert session.established is not None
    assert session.established.protocol_name.startswith("Noise_XXhfs_")
    assert path.seen["fragments"] >= 4
    await session.close()
