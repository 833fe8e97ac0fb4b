"""ExportSecret over the wire: the player's own derivation, rotations, and who may ask at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import noisegate
from noisegate import Client, Pattern, Role, RotationKind
from tests.integration.conftest import Launch
from tests.support import written_out
from tests.support.certificates import Authority
from tests.support.noise_client import Setup, open_datagram, open_noise
from tests.support.server import run_command

CALLER = "spiffe://example.org/voice"
PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)


@pytest.mark.parametrize("role", Role)
async def test_a_noise_player_derives_the_same_secret(client: Client, role: Role) -> None:
    """With a library that knows nothing of noisegate, from its own handshake."""
    session, player = await open_noise(client, Setup(role=role))
    async with session:
        for label, context, length in (("voice", b"", 32), ("voice", b"table 7", 16), ("é" * 32, bytes(1_024), 255)):
            expected = written_out.exporter(player.export_secret, label, context, length)
            assert await session.export_secret(label, context=context, length=length) == expected


async def test_a_datagram_player_derives_the_same_secret_as_long_as_the_session_lives(client: Client) -> None:
    """It is bound to the session, not to an epoch: through a rotation, and through a suspension."""
    road = await open_datagram(client, Setup(pattern=Pattern.IK))
    await road.talk()
    expected = road.player.exporter(b"voice", b"", 32)
    assert await road.session.export_secret("voice") == expected
    await road.to_player((await road.session.rotate(RotationKind.RENEGOTIATE)).to_peer)
    await road.talk()
    assert (await road.session.describe()).epoch == 1
    assert await road.session.export_secret("voice") == expected
    await road.session.suspend()
    with pytest.raises(noisegate.NotEstablished):
        await road.session.export_secret("voice")
    await road.to_player((await client.restore(road.session.id)).to_peer)
    assert await road.session.export_secret("voice") == expected == road.player.exporter(b"voice", b"", 32)
    await road.session.close()


@pytest.mark.parametrize(("methods", "allowed"), [(None, False), ('["*"]', False), ('["*", "ExportSecret"]', True)])
async def test_nobody_may_export_whom_the_policy_does_not_name(
    launch: Launch, tmp_path: Path, methods: str | None, allowed: bool
) -> None:
    """Neither without a policy file nor by "*": a key that leaves the service must be somebody's decision."""
    authority = Authority()
    tls = authority.tls(authority.caller(CALLER))
    identity = tmp_path / "identity.key"
    assert run_command("keygen", "--out", str(identity)).returncode == 0
    options = ["--listen", "127.0.0.1:0", "--identity", str(identity), *authority.write_server_files(tmp_path)]
    if methods is not None:
        policy = tmp_path / "policy.toml"
        policy.write_text(f'[[caller]]\nid = "{CALLER}"\ntenant = "t"\nmethods = {methods}\n', encoding="utf-8")
        options += ["--policy", str(policy)]
    server = launch(*options, tls=tls)
    async with noisegate.connect(server.address, tls=tls, policy=PATIENT) as client:
        session, player = await open_noise(client, Setup())
        async with session:
            if allowed:
                assert await session.export_secret("voice") == written_out.exporter(
                    player.export_secret, "voice", b"", 32
                )
            else:
                with pytest.raises(noisegate.CallerForbidden) as refused:
                    await session.export_secret("voice")
                assert refused.value.metadata["permission"].endswith("/ExportSecret")
