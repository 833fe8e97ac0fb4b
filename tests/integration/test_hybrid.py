"""The hybrid suite over the wire, against players that run the second implementation: no line of code in common."""

from __future__ import annotations

import itertools
import os

import pytest

import noisegate
from noisegate import Client, Pattern, Protocol, RecordMode, Role, Suite
from tests.support.noise_client import ANONYMOUS, NAMES, PROLOGUE, PSK, WITHOUT_REMOTE, noise_name, public_key
from tests.support.second_noise import SecondNoise, crypt

HYBRID = Suite.MLKEM1024_X25519_CHACHA20_POLY1305


def player(pattern: Pattern, role: Role, service_key: bytes) -> SecondNoise:
    """The player's end; `role` is the service's part."""
    initiator = role is Role.RESPONDER
    return SecondNoise(
        pattern=noise_name(pattern, HYBRID).split("_")[1],
        initiator=initiator,
        prologue=PROLOGUE,
        psk=PSK if "psk" in NAMES[pattern] else b"",
        e=os.urandom(32),
        s=b"" if initiator and pattern in ANONYMOUS else os.urandom(32),
        rs=service_key if initiator and pattern not in WITHOUT_REMOTE else b"",
        kem=os.urandom(64 if initiator else 32),
    )


async def talk(session: noisegate.Session, other: SecondNoise, nonce: int = 0) -> None:
    """A record each way."""
    up, down = other.sends if other.initiator else other.sends[::-1]
    opened = await session.decrypt(crypt(up, nonce, b"up", b"", seal=True))
    assert opened.plaintext == b"up"
    sealed = await session.encrypt(b"down")
    assert crypt(down, nonce, sealed.packet, b"", seal=False) == b"down"


@pytest.mark.parametrize(("pattern", "role"), list(itertools.product(NAMES, Role)), ids=lambda each: each.name)
async def test_a_hybrid_player_and_the_service_understand_each_other(
    client: Client, pattern: Pattern, role: Role
) -> None:
    """Every pattern and role: the same hash, the hybrid name, and records both ways."""
    other = player(pattern, role, (await client.capabilities()).static_key)
    protocol = Protocol(pattern, HYBRID)
    if role is Role.RESPONDER:
        session = await client.respond(
            mode=RecordMode.NOISE, protocol=protocol, message=other.write(b"hi"), psk=other.psk, prologue=PROLOGUE
        )
        other.read(session.to_peer[0])
        if not other.sends:
            await session.proceed(other.write(b""))
    else:
        remote = b"" if pattern in WITHOUT_REMOTE else public_key(other.s)
        session = await client.initiate(
            mode=RecordMode.NOISE, protocol=protocol, remote_static_key=remote, psk=other.psk, prologue=PROLOGUE
        )
        other.read(session.to_peer[0])
        for message in await session.proceed(other.write(b"")):
            other.read(message)
    async with session:
        assert session.established is not None
        assert session.established.handshake_hash == other.h
        assert session.established.protocol_name == noise_name(pattern, HYBRID)
        await talk(session, other)


async def test_a_hybrid_player_comes_back_with_its_ticket(client: Client) -> None:
    """The ticket of a hybrid session resumes under NNhfs+psk0."""
    other = player(Pattern.IK, Role.RESPONDER, (await client.capabilities()).static_key)
    session = await client.respond(
        mode=RecordMode.NOISE, protocol=Protocol(Pattern.IK, HYBRID), message=other.write(b""), prologue=PROLOGUE
    )
    other.read(session.to_peer[0])
    issued = await session.issue_ticket()
    content = crypt(other.sends[1], 0, issued.to_peer[0], b"", seal=False)
    psk, ticket = content[8:40], content[40:]
    await session.close()
    again = SecondNoise(
        pattern="NNhfs+psk0",
        initiator=True,
        prologue=b"ng1 resume" + len(ticket).to_bytes(2, "big") + ticket + PROLOGUE,
        psk=psk,
        e=os.urandom(32),
        kem=os.urandom(64),
    )
    resumed = await client.respond_resume(
        mode=RecordMode.NOISE, message=again.write(b""), ticket=ticket, prologue=PROLOGUE
    )
    async with resumed:
        again.read(resumed.to_peer[0])
        assert resumed.established is not None
        assert resumed.established.handshake_hash == again.h
        assert resumed.established.protocol_name == "Noise_NNhfs+psk0_25519+MLKEM1024_ChaChaPoly_SHA256"
        await talk(resumed, again)


async def test_a_kem_key_that_is_none_is_handshake_failed(client: Client) -> None:
    """1,568 bytes with coefficients above q in XX's message 1, which has no tag: refused, not INTERNAL (row 23)."""
    with pytest.raises(noisegate.HandshakeFailed):
        await client.respond(
            mode=RecordMode.NOISE,
            protocol=Protocol(Pattern.XX, HYBRID),
            message=public_key(os.urandom(32)) + b"\xff" * 1568,
            prologue=PROLOGUE,
        )
