"""A certificate, its key or the roots of callers change while the service runs: new connections have them at once."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

import noisegate
from tests.integration.conftest import Launch
from tests.support.certificates import Authority
from tests.support.scrape import OPTION, metrics_url, scrape, value
from tests.support.server import RunningServer

DICE = "spiffe://game.example/dice"
PATIENT = noisegate.CallPolicy(control_deadline=10.0)


@pytest.fixture
def old() -> Authority:
    """Who has signed everything at the start."""
    return Authority()


@pytest.fixture
def new() -> Authority:
    """Who signs later, for a longer time."""
    return Authority(hours=5)


@pytest.fixture
def server(launch: Launch, tmp_path: Path, old: Authority, new: Authority) -> RunningServer:
    """With mutual TLS. A caller of whoever signs later checks it at its end."""
    (tmp_path / "identity").touch(mode=0o600)
    (tmp_path / "identity").write_text("42" * 32)
    options = old.write_server_files(tmp_path)
    later = new.tls(new.caller(DICE))
    return launch("--listen", "127.0.0.1:0", "--identity", str(tmp_path / "identity"), *OPTION, *options, tls=later)


def told(server: RunningServer, words: str) -> None:
    """Have the server look at its files, and wait until its log has these words once more."""
    count = server.log().count(words)
    server.signal(signal.SIGHUP)
    while server.log().count(words) == count:
        assert server.running


async def hours(server: RunningServer) -> list[float]:
    """When its own certificate and the roots of its callers end, by its metrics, in hours."""
    samples = await asyncio.to_thread(scrape, metrics_url(server))
    ends = "noisegate_tls_certificate_not_after_seconds"
    return [value(samples, ends, certificate=name) / 3_600 for name in ("server", "client_ca")]


async def test_new_connections_have_the_new_certificate_and_those_that_stand_go_on(
    server: RunningServer, tmp_path: Path, old: Authority, new: Authority
) -> None:
    """Roots too: who was known by the old ones alone is a stranger now, but for the connection that it has."""
    tls = old.tls(old.caller(DICE))
    first = await hours(server)
    async with noisegate.connect(server.address, tls=tls, policy=PATIENT) as before:
        await before.capabilities()
        new.write_server_files(tmp_path)
        told(server, "new connections have its certificate")
        async with noisegate.connect(server.address, tls=new.tls(new.caller(DICE)), policy=PATIENT) as after:
            await after.capabilities()
        await before.capabilities()
        assert [now - then for now, then in zip(await hours(server), first, strict=True)] == pytest.approx([4, 4], 0.1)
        impatient = noisegate.CallPolicy(control_deadline=1.0)
        stranger = noisegate.Tls(ca=new.certificate, certificate=(pair := old.caller(DICE))[0], key=pair[1])
        async with noisegate.connect(server.address, tls=stranger, policy=impatient) as late:
            with pytest.raises((noisegate.ServiceUnavailable, noisegate.DeadlineExceeded)):
                await late.capabilities()


async def test_a_certificate_without_its_key_leaves_the_one_before(
    server: RunningServer, tmp_path: Path, old: Authority, new: Authority
) -> None:
    """As in the moment between the two being written: it is said, and mended by the next look."""
    certificate, key = new.server()
    (tmp_path / "server.pem").write_bytes(certificate)
    told(server, "is not the key of --tls-certificate")
    async with noisegate.connect(server.address, tls=old.tls(old.caller(DICE)), policy=PATIENT) as client:
        await client.capabilities()
    (tmp_path / "server.key").write_bytes(key)
    (tmp_path / "callers.pem").write_bytes(new.certificate)
    told(server, "new connections have its certificate")
    async with noisegate.connect(server.address, tls=new.tls(new.caller(DICE)), policy=PATIENT) as client:
        await client.capabilities()
