"""Ticket keys and revocations of a running service: read again without a restart, and kept over a crash."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from pathlib import Path

import pytest

import noisegate
import noisegate.admin
from examples.dice.noise_player import NoiseTicket
from noisegate import Client, Pattern, SessionOptions
from tests.integration.conftest import Launch
from tests.integration.test_admin import PATIENT, TENANT
from tests.integration.test_early_data import bring, noise_ticket
from tests.support.logs import listening
from tests.support.noise_client import Setup, Udp, open_datagram, open_noise
from tests.support.server import RunningServer

ATTEMPTS = 5_000


def key_file(folder: Path, *keys: str) -> str:
    """A file of keys, renamed over the one before."""
    fresh, path = folder / "fresh", folder / "keys"
    fresh.touch(mode=0o600)
    fresh.write_text("\n".join(keys) + "\n")
    fresh.replace(path)
    return str(path)


def key_id(key: str) -> bytes:
    """How a ticket of this key begins."""
    return sha256(b"noisegate ticket key id\0" + bytes.fromhex(key)).digest()[:8]


async def ticket_under(client: Client, key: str) -> NoiseTicket:
    """A ticket, once the service seals under this key."""
    for _ in range(ATTEMPTS):
        ticket = await noise_ticket(client, options=SessionOptions())
        if ticket.ticket[:8] == key_id(key):
            return ticket
    pytest.fail("the service does not take the key")


@pytest.mark.parametrize("told", [True, False])
async def test_ticket_keys_change_while_players_play(launch: Launch, tmp_path: Path, told: bool) -> None:
    """By SIGHUP and by itself: new tickets under the new key, those of the one before still good, older ones not."""
    first, second, third = (os.urandom(32).hex() for _ in range(3))
    path = key_file(tmp_path, first)
    server = launch("--dev", "--listen", "127.0.0.1:0", "--ticket-key", path)

    def changed(*keys: str) -> None:
        key_file(tmp_path, *keys)
        if told:
            server.signal(signal.SIGHUP)

    async with noisegate.connect(server.address, policy=PATIENT) as client:
        oldest, old = await ticket_under(client, first), await ticket_under(client, first)
        live, player = await open_noise(client, Setup())
        changed(second, first)
        newer = await ticket_under(client, second)
        await (await bring(client, old, b""))[0].close()
        changed(third, second)
        newest = await ticket_under(client, third)
        with pytest.raises(noisegate.TicketRejected):
            await bring(client, oldest, b"")
        for ticket in (newer, newest):
            await (await bring(client, ticket, b""))[0].close()
        assert (await live.decrypt(player.seal(b"undisturbed"))).plaintext == b"undisturbed"
        await live.close()
    for secret in (first, second, third):
        assert secret not in server.log()


async def blob_under(client: Client, key: str) -> tuple[Udp, bytes]:
    """A player whose session is in a blob of this key, once the service seals under it."""
    for _ in range(ATTEMPTS):
        road = await open_datagram(client, Setup())
        blob = (await road.session.suspend(return_blob=True)).blob
        if blob[:8] == sha256(b"noisegate blob key id\0" + bytes.fromhex(key)).digest()[:8]:
            return road, blob
    pytest.fail("the service does not take the key")


async def test_blob_keys_change_while_players_are_away(launch: Launch, tmp_path: Path) -> None:
    """What the key of before has sealed comes back; what the one before that has, does not."""
    first, second, third = (os.urandom(32).hex() for _ in range(3))
    server = launch("--dev", "--listen", "127.0.0.1:0", "--blob-key", key_file(tmp_path, first))
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        (road, blob), (_, oldest) = await blob_under(client, first), await blob_under(client, first)
        key_file(tmp_path, second, first)
        await blob_under(client, second)
        road.join(await client.restore(blob=blob))
        await road.to_player(road.session.to_peer)
        await road.talk()
        key_file(tmp_path, third, second)
        await blob_under(client, third)
        with pytest.raises(noisegate.BlobRejected):
            await client.restore(blob=oldest)
        await road.talk()
    for secret in (first, second, third):
        assert secret not in server.log()


async def test_a_hangup_without_files_of_keys_does_nothing(launch: Launch) -> None:
    """SIGHUP ends no service."""
    server = launch("--dev", "--listen", "127.0.0.1:0")
    server.signal(signal.SIGHUP)
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        await client.capabilities()
    assert server.running


async def test_revocations_outlive_a_crash_with_a_state_file(launch: Launch, tmp_path: Path) -> None:
    """A key stays refused, and so do the tickets of a name; without the file both would be forgotten."""
    identity = key_file(tmp_path, os.urandom(32).hex())
    tickets = tmp_path / "tickets"
    tickets.touch(mode=0o600)
    tickets.write_text(os.urandom(32).hex() + "\n")

    def start() -> tuple[RunningServer, str]:
        server = launch(
            *("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"),
            *("--identity", identity, "--ticket-key", str(tickets), "--state-file", str(tmp_path / "state")),
        )
        return server, listening(server.log(), "operators")

    before, address = start()
    eve = Setup(pattern=Pattern.IK, peer_id="eve")
    async with (
        noisegate.connect(before.address, policy=PATIENT) as client,
        noisegate.admin.connect(address, policy=PATIENT) as operator,
    ):
        session, _ = await open_noise(client, eve)
        assert session.established is not None
        ticket = await noise_ticket(client, "bob")
        await operator.revoke_peer(TENANT, static_key=session.established.remote_static_key)
        await operator.revoke_peer(TENANT, peer_id="bob")
    before.kill()
    after, _ = start()
    async with noisegate.connect(after.address, policy=PATIENT) as client:
        with pytest.raises(noisegate.PeerRevoked):
            await open_noise(client, eve)
        with pytest.raises(noisegate.TicketRejected):
            await bring(client, ticket, b"")
        await (await bring(client, await noise_ticket(client, "bob"), b""))[0].close()
