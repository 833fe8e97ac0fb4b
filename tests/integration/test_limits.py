"""Limits of rotation against a running service: a tenant's from its policy file, a session's from its options."""

from __future__ import annotations

from pathlib import Path

import pytest

import noisegate
from noisegate import Client, Pattern, RotationKind, RotationLimits, SessionOptions
from tests.integration.conftest import DEV, Launch
from tests.support.noise_client import Setup, open_datagram, open_noise
from tests.support.server import run_command

PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
POLICY = """
[[caller]]
id = "local"
tenant = "dice"
methods = ["*"]

[[tenant]]
name = "dice"
datagram = { soft_messages = 20 }
noise = { soft_messages = 5, hard_messages = 2_048 }
"""


async def test_a_tenants_limits_rotate_its_sessions(launch: Launch, tmp_path: Path) -> None:
    """DATAGRAM by itself, inside Encrypt and Decrypt; NOISE by a mark for the game, and REKEY_REQUIRED at the end."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    server = launch(*DEV, "--policy", str(policy))
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        road = await open_datagram(client, Setup(pattern=Pattern.IK))
        for _ in range(40):
            await road.talk()
        assert (await road.session.describe()).epoch >= 1
        await road.session.close()

        session, player = await open_noise(client, Setup())
        marks = [(await session.encrypt(b"six")).rotation_due for _ in range(7)]
        assert marks == [False] * 5 + [True] * 2
        for _ in range(2_048 - 1_024 - 7):
            await session.encrypt(b"")
        with pytest.raises(noisegate.RekeyRequired):
            await session.encrypt(b"")
        assert (await session.decrypt(player.seal(b"roll"))).plaintext == b"roll"
        await session.close()
        with pytest.raises(noisegate.InvalidRequest) as refused:
            await open_noise(client, Setup(), SessionOptions(rotation=RotationLimits(soft_messages=6)))
        assert "respond.options.rotation.soft_messages" in str(refused.value)


async def test_a_sessions_own_limits_are_kept_and_told(client: Client) -> None:
    """A lower soft limit marks answers; a REKEY does not reset it, a RENEGOTIATE does; a higher one is refused."""
    session, player = await open_noise(client, Setup(), SessionOptions(rotation=RotationLimits(soft_bytes=100)))
    async with session:
        assert not (await session.encrypt(bytes(100))).rotation_due
        assert (await session.encrypt(b"")).rotation_due
        await session.rotate(RotationKind.REKEY, direction=noisegate.Direction.SEND)
        assert (await session.encrypt(b"")).rotation_due
        fresh = player.renegotiate()
        step = await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
        fresh.read_handshake(step.to_peer[0])
        await session.rotate(RotationKind.RENEGOTIATE, message=fresh.write_handshake())
        await session.rotate(RotationKind.RENEGOTIATE, switch_send=True, switch_receive=True)
        assert not (await session.encrypt(b"")).rotation_due
    with pytest.raises(noisegate.InvalidRequest, match="at most"):
        await open_noise(client, Setup(), SessionOptions(rotation=RotationLimits(soft_messages=2**21)))


def test_a_server_with_limits_that_cannot_be_meant_does_not_start(tmp_path: Path) -> None:
    """It says which, on one line, before it answers anybody."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.replace("= 20", "= 0.5"), encoding="utf-8")
    done = run_command("serve", *DEV, "--policy", str(policy))
    assert done.returncode == 2
    assert "tenant.0.datagram.soft_messages" in done.stderr
