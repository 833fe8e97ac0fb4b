"""A UDP player of the hybrid suite over the running service: what is larger than 1,200 bytes travels in fragments.

The player is the dice example's, written from docs/protocol.md alone; between it and the game's DatagramReceiver lies a
path that loses, repeats and reorders datagrams, and drops every one that is larger than it takes.
"""

from __future__ import annotations

import os
import time
from typing import Final

import pytest

from examples.dice.datagram_player import FLAG_DATAGRAM, FLAG_TICKETS, DatagramPlayer, Settings
from examples.dice.datagram_player import Protocol as WireProtocol
from noisegate import Client, Pattern, Protocol, RecordMode, Session, Suite
from tests.support.lossy_path import MTU, ROUNDS, Path
from tests.support.noise_client import PROLOGUE, WITHOUT_REMOTE, public_key

HYBRID: Final = Suite.MLKEM1024_X25519_CHACHA20_POLY1305


def hybrid_player(pattern: Pattern, service_key: bytes) -> DatagramPlayer:
    """A player that offers the hybrid alone; anonymous in NK."""
    settings = Settings(
        offer=(WireProtocol(int(pattern), int(HYBRID)),),
        flags=FLAG_DATAGRAM | FLAG_TICKETS,
        static=os.urandom(32),
        remote=None if pattern in WITHOUT_REMOTE else service_key,
        prologue=PROLOGUE,
        mtu=MTU,
    )
    return DatagramPlayer(settings, random_bytes=os.urandom, wall=time.time)


def name_of(session: Session | None) -> str:
    """The protocol that was run."""
    assert session is not None
    assert session.established is not None
    return session.established.protocol_name


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize(("pattern", "name"), [(Pattern.XX, "XXhfs"), (Pattern.IK, "IKhfs"), (Pattern.NK, "NKhfs")])
async def test_a_hybrid_player_lives_on_a_path_of_1200_bytes(
    client: Client, pattern: Pattern, name: str, loss: float
) -> None:
    """Handshake, rotation (IKhfs+psk1, or NKhfs+psk0 for an anonymous player) and resume (NNhfs+psk0), in fragments."""
    player = hybrid_player(pattern, (await client.capabilities()).static_key)
    path = Path(client, player, loss=loss, seed=int(pattern))
    path.put(player.start(path.now), to_player=False)
    await path.until("established", path.established)
    await path.say(b"before")
    assert name_of(path.session) == f"Noise_{name}_25519+MLKEM1024_ChaChaPoly_SHA256"
    first = path.session
    assert first is not None
    assert first.established is not None
    assert first.established.handshake_hash == player.handshake_hash
    shaken = path.seen["fragments"]
    assert shaken >= 4
    path.put(player.renegotiate(path.now), to_player=False)
    await path.until("rotated", lambda: player.epoch == 1)
    await path.say(b"after")
    assert (await first.describe()).epoch == 1
    rotated = path.seen["fragments"] - shaken
    assert rotated >= 4
    await path.until("a ticket", lambda: player.ticket is not None)
    path.session = None
    path.put(player.resume(path.now), to_player=False)
    await path.until("resumed", lambda: path.established() and player.epoch == 0)
    await path.say(b"again")
    assert name_of(path.session) == "Noise_NNhfs+psk0_25519+MLKEM1024_ChaChaPoly_SHA256"
    assert path.seen["fragments"] - shaken - rotated >= 4
    assert (path.seen["lost"] > 0) is (loss > 0)
    await first.close()


async def test_a_service_begins_with_a_hybrid_player_in_fragments(client: Client) -> None:
    """The first packet goes out through `cut`; what follows, the player's own sets included, as above."""
    player = hybrid_player(Pattern.XX, b"")
    path = Path(client, player, loss=0.2, seed=9)
    path.session = await client.initiate(
        mode=RecordMode.DATAGRAM, protocol=Protocol(Pattern.XX, HYBRID), prologue=PROLOGUE
    )
    path.receiver.add(path.session, "player")
    first = path.session.to_peer
    for _ in range(ROUNDS):
        if path.established():
            break
        # Repeated unchanged, in a new set; the player's answer is answered again too.
        path.put(path.receiver.cut(first), to_player=True)
        await path.run(2)
    await path.say(b"six")
    assert path.session.established is not None
    assert path.session.established.remote_static_key == public_key(player.own.settings.static or b"")
    assert path.seen["fragments"] >= 4
    await path.session.close()
