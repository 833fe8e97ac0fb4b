"""What a running service writes to its log: lines that a collector can read, few of them, and no secret."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import noisegate
from noisegate import Client, NoisegateError, Pattern, RotationKind, Suite
from tests.support.logs import lines, told
from tests.support.needles import of_datagram, of_noise
from tests.support.noise_client import CIPHERS, PSK, Setup, open_datagram, open_noise
from tests.support.server import RunningServer

PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
PLAINTEXT = b"the dragon sleeps under the third hill"


async def play(client: Client, suite: Suite) -> dict[str, bytes]:
    """Sessions of both modes through all of their lives; what nobody may read of them."""
    secrets = {"psk": PSK, "plaintext": PLAINTEXT}
    setup = Setup(pattern=Pattern.XXPSK3, suite=suite, peer_id="player-of-the-log", group="table-of-the-log")
    session, player = await open_noise(client, setup)
    secrets |= {f"NOISE {name}": each for name, each in of_noise(player).items()}
    assert player.open((await session.encrypt(PLAINTEXT)).packet) == PLAINTEXT
    await session.close()
    road = await open_datagram(client, Setup(pattern=Pattern.IK, suite=suite))
    secrets |= {f"DATAGRAM {name}": each for name, each in of_datagram(road.player).items()}
    await road.to_player((await road.session.rotate(RotationKind.RENEGOTIATE)).to_peer)
    await road.talk()
    secrets |= {f"rotated {name}": each for name, each in of_datagram(road.player).items()}
    for packet in (os.urandom(60), PLAINTEXT):
        try:
            await road.session.decrypt(packet)
        except NoisegateError:
            continue
    await road.session.suspend()
    await client.restore(road.session.id)
    secrets["session id"] = road.session.id
    return secrets


async def test_the_log_at_its_loudest_holds_no_secret_no_id_and_no_player(tmp_path: Path) -> None:
    """Searched as bytes, hexadecimal, base64 and Python's own form, with and without an error on the way."""
    keys = {name: os.urandom(32) for name in ("identity", "ticket-key", "blob-key")}
    for name, key in keys.items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(key.hex() + "\n")
    options = [part for name in keys for part in (f"--{name}", str(tmp_path / name))]
    server = RunningServer(
        ["--listen", "127.0.0.1:0", *options, "--state-file", str(tmp_path / "state"), "--log-level", "DEBUG"]
    )
    secrets = dict(keys)
    try:
        async with noisegate.connect(server.address, policy=PATIENT) as client:
            for suite in CIPHERS:
                secrets |= {f"{suite.name} {name}": each for name, each in (await play(client, suite)).items()}
        (tmp_path / "ticket-key").write_text("no key at all")
        server.signal(signal.SIGHUP)
        while not told(server.log(), "what was read before stays in use"):
            assert server.running
    finally:
        assert server.stop() == 0
    log = server.log()
    assert told(log, "stopped")
    for name, secret in secrets.items():
        for form in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]):
            assert form not in log, name
    assert "-of-the-log" not in log
    assert len(secrets) > 30


async def test_messages_calls_and_sessions_write_no_line() -> None:
    """However many there are: the log is the process's."""
    server = RunningServer(["--dev", "--listen", "127.0.0.1:0"])
    try:
        before = len(lines(server.log()))
        async with noisegate.connect(server.address, policy=PATIENT) as client:
            await play(client, Suite.CHACHA20_POLY1305_X25519)
        assert len(lines(server.log())) == before
    finally:
        assert server.stop() == 0


def test_a_person_can_have_text() -> None:
    """`--log-format console`."""
    server = RunningServer(["--dev", "--listen", "127.0.0.1:0", "--log-format", "console"])
    assert server.stop() == 0
    assert lines(server.log()) == []
    assert "what=callers" in server.log()
