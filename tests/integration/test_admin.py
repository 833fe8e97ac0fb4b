"""AdminService on its listener: RevokePeer live, who may call it, and that no listener serves the other's methods."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import noisegate
import noisegate.admin
from examples.dice.noise_player import NoiseTicket
from noisegate import Pattern, SessionState, TerminationReason
from noisegate.v1 import admin_service_pb2 as admin_pb
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1.admin_service_pb2_grpc import AdminServiceStub
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
from noisegate_server.cli.revoke import addresses
from tests.integration.conftest import DEV, Launch
from tests.integration.test_early_data import bring
from tests.support.certificates import Authority
from tests.support.logs import listening
from tests.support.noise_client import Setup, open_noise
from tests.support.server import RunningServer, run_command

TENANT = "local"
PATIENT = noisegate.CallPolicy(packet_deadline=10.0, control_deadline=10.0)

Operated = Callable[..., tuple[RunningServer, str]]
"""(*options, tls=None) -> a server and the address of its operators' listener."""


@pytest.fixture
def operated(launch: Launch) -> Operated:
    """Starts a server with a listener for operators."""

    def start(*options: str, tls: noisegate.Tls | None = None) -> tuple[RunningServer, str]:
        server = launch(*(options or DEV), "--admin-listen", "127.0.0.1:0", tls=tls)
        return server, listening(server.log(), "operators")

    return start


async def test_a_revoked_player_is_out_at_once(operated: Operated) -> None:
    """Its sessions are closed with REVOKED, its tickets refused; others play on."""
    server, address = operated()
    async with (
        noisegate.connect(server.address, policy=PATIENT) as client,
        noisegate.admin.connect(address, policy=PATIENT) as operator,
    ):
        eve, player = await open_noise(client, Setup(peer_id="eve"))
        ticket = NoiseTicket.parse(player.open((await eve.issue_ticket()).to_peer[0]))
        bob, other = await open_noise(client, Setup(peer_id="bob"))
        revoked = await operator.revoke_peer(TENANT, peer_id="eve")
        assert (revoked.sessions_ended, revoked.suspended_deleted) == (1, 0)
        with pytest.raises(noisegate.SessionClosed) as caught:
            await eve.decrypt(player.seal(b"still here?"))
        assert caught.value.metadata["cause"] == "REVOKED"
        info = await client.get_session(eve.id)
        assert (info.state, info.termination_reason) == (SessionState.TERMINATED, TerminationReason.REVOKED)
        with pytest.raises(noisegate.TicketRejected):
            await bring(client, ticket, b"")
        assert (await bob.decrypt(other.seal(b"I am"))).plaintext == b"I am"
        again, _ = await open_noise(client, Setup(peer_id="eve"))
        await again.close()


async def test_a_revoked_key_is_refused_for_good(operated: Operated) -> None:
    """PEER_REVOKED as soon as the key is authenticated, whatever the player is called."""
    server, address = operated()
    setup = Setup(pattern=Pattern.IK, peer_id="eve")
    async with (
        noisegate.connect(server.address, policy=PATIENT) as client,
        noisegate.admin.connect(address, policy=PATIENT) as operator,
    ):
        session, _ = await open_noise(client, setup)
        assert session.established is not None
        key = session.established.remote_static_key
        assert (await operator.revoke_peer(TENANT, static_key=key)).sessions_ended == 1
        assert (await operator.revoke_peer(TENANT, static_key=key)).sessions_ended == 0
        for pattern in (Pattern.IK, Pattern.XX):
            with pytest.raises(noisegate.PeerRevoked):
                await open_noise(client, Setup(pattern=pattern, peer_id="innocent", static=setup.static))
        assert [each async for each in client.list_sessions()] == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (admin_pb.RevokePeerRequest(peer_id="eve"), "tenant"),
        (admin_pb.RevokePeerRequest(tenant="t" * 256, peer_id="eve"), "tenant"),
        (admin_pb.RevokePeerRequest(tenant="t"), "peer"),
        (admin_pb.RevokePeerRequest(tenant="t", peer_id=""), "peer"),
        (admin_pb.RevokePeerRequest(tenant="t", peer_id="e" * 65), "peer_id"),
        (admin_pb.RevokePeerRequest(tenant="t", static_key=bytes(31)), "static_key"),
    ],
)
async def test_a_request_that_names_nobody_is_refused_by_its_field(
    operated: Operated, request_: admin_pb.RevokePeerRequest, field: str
) -> None:
    """INVALID_REQUEST, and nothing is revoked."""
    _, address = operated()
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await AdminServiceStub(channel).RevokePeer(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_neither_listener_serves_the_others_methods(operated: Operated) -> None:
    """UNIMPLEMENTED; each has health and reflection of what it serves."""
    server, address = operated()
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await AdminServiceStub(channel).RevokePeer(admin_pb.RevokePeerRequest(tenant=TENANT, peer_id="eve"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SessionCryptoServiceStub(channel).GetCapabilities(pb.GetCapabilitiesRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="noisegate.v1.AdminService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        reflector: Any = reflection_pb2_grpc
        reflected = reflector.ServerReflectionStub(channel).ServerReflectionInfo(iter([listing]))
        names = {service.name async for each in reflected for service in each.list_services_response.service}
        assert "noisegate.v1.AdminService" in names
        assert "noisegate.v1.SessionCryptoService" not in names


async def test_operators_have_certificates_of_their_own(operated: Operated, tmp_path: Path) -> None:
    """A caller's certificate does not connect; an operator's does."""
    callers, operators = Authority(), Authority()
    identity = tmp_path / "identity"
    identity.touch(mode=0o600)
    identity.write_text("42" * 32 + "\n")
    roots = tmp_path / "operators.pem"
    roots.write_bytes(operators.certificate)
    mine = callers.caller("spiffe://game.example/match")
    server, address = operated(
        "--identity",
        str(identity),
        "--listen",
        "127.0.0.1:0",
        *callers.write_server_files(tmp_path),
        "--admin-client-ca",
        str(roots),
        tls=callers.tls(mine),
    )
    assert server.running
    certificate, key = operators.caller("spiffe://game.example/operator")
    operator = noisegate.Tls(ca=callers.certificate, certificate=certificate, key=key)
    async with noisegate.admin.connect(address, tls=operator, policy=PATIENT) as client:
        assert (await client.revoke_peer("spiffe://game.example/match", peer_id="eve")).sessions_ended == 0
    quick = noisegate.CallPolicy(control_deadline=2.0, attempts=1)
    async with noisegate.admin.connect(address, tls=callers.tls(mine), policy=quick) as client:
        with pytest.raises((noisegate.ServiceUnavailable, noisegate.DeadlineExceeded)):
            await client.revoke_peer("spiffe://game.example/match", peer_id="eve")


async def test_the_command_revokes(operated: Operated) -> None:
    """And says what it ended; what cannot be meant is refused before anything is called."""
    server, address = operated()
    async with noisegate.connect(server.address, policy=PATIENT) as client:
        await open_noise(client, Setup(peer_id="eve"))
        done = run_command("revoke", "--target", address, "--tenant", TENANT, "--peer-id", "eve")
        assert (done.returncode, done.stdout) == (0, "ended 1 sessions, deleted 0 suspended ones\n")
        assert [each async for each in client.list_sessions()] == []
    for wrong in (
        (),
        ("--peer-id", "eve", "--static-key", "00" * 32),
        ("--static-key", "00" * 31),
        ("--static-key", "zz" * 32),
    ):
        refused = run_command("revoke", "--target", address, "--tenant", TENANT, *wrong)
        assert refused.returncode == 2, refused.stderr


async def test_the_command_reaches_every_instance_and_names_those_that_do_not_answer(operated: Operated) -> None:
    """A player has sessions at several; what could be ended is ended, and the exit code says that it was not all."""
    servers = [operated() for _ in range(2)]
    for server, _ in servers:
        async with noisegate.connect(server.address, policy=PATIENT) as client:
            await open_noise(client, Setup(peer_id="eve"))
    targets = [word for _, address in servers for word in ("--target", address)]
    words = ("--tenant", TENANT, "--peer-id", "eve")
    gone = "127.0.0.1:1"
    partly = run_command("revoke", *targets, "--target", gone, *words)
    assert partly.returncode == 1
    ended = {f"{address}: ended 1 sessions, deleted 0 suspended ones" for _, address in servers}
    assert set(partly.stdout.splitlines()) == ended
    assert f"noisegate: not revoked at {gone}\n" in partly.stderr
    again = run_command("revoke", *targets, "--expect", "2", *words)
    assert (again.returncode, again.stderr) == (0, "")
    fewer = run_command("revoke", *targets, "--expect", "3", *words)
    assert (fewer.returncode, fewer.stderr) == (1, "noisegate: 2 instances found, and not 3\n")


async def test_the_command_checks_the_certificate_for_the_name_it_was_given(operated: Operated, tmp_path: Path) -> None:
    """The addresses behind a name are called, and the certificate has the name."""
    operators = Authority()
    certificate, key = operators.issue("pod", [x509.DNSName("noisegate.game.svc")])
    options = ["--identity", str(write(tmp_path / "identity", b"42" * 32)), "--listen", "127.0.0.1:0"]
    options += ["--tls-certificate", str(write(tmp_path / "pod.pem", certificate))]
    options += ["--tls-key", str(write(tmp_path / "pod.key", key))]
    options += ["--admin-client-ca", str(write(tmp_path / "ca.pem", operators.certificate))]
    server, address = operated(*options)
    mine = operators.caller("spiffe://game.example/operator")
    tls = ["--tls-ca", str(tmp_path / "ca.pem"), "--tls-certificate", str(write(tmp_path / "me.pem", mine[0]))]
    tls += ["--tls-key", str(write(tmp_path / "me.key", mine[1]))]
    words = ("revoke", "--target", address, "--tenant", TENANT, "--peer-id", "eve", *tls)
    assert run_command(*words).returncode == 1
    done = run_command(*words, "--server-name", "noisegate.game.svc")
    assert (done.returncode, done.stderr) == (0, "")
    assert server.stop() == 0


def write(path: Path, content: bytes) -> Path:
    """A file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(socket.AF_INET, "10.0.0.2"), (socket.AF_INET, "10.0.0.1")], ["10.0.0.1:7444", "10.0.0.2:7444"]),
        ([(socket.AF_INET6, "fd00::1"), (socket.AF_INET, "10.0.0.1")], ["10.0.0.1:7444"]),
        ([(socket.AF_INET6, "fd00::2"), (socket.AF_INET6, "fd00::1")], ["[fd00::1]:7444", "[fd00::2]:7444"]),
    ],
)
def test_a_name_leads_to_all_of_its_addresses(
    found: list[tuple[int, str]], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pod once, by the family that all pods have; the certificate is looked at for the name."""
    places = [(family, socket.SOCK_STREAM, 6, "", (number, 7444)) for family, number in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    assert addresses("pods.game.svc:7444") == dict.fromkeys(expected, "pods.game.svc")


def test_a_name_that_leads_nowhere_is_an_error() -> None:
    """One line and exit code 1."""
    done = run_command("revoke", "--target", "pods.invalid:7444", "--tenant", TENANT, "--peer-id", "eve")
    assert done.returncode == 1
    assert done.stderr.startswith("noisegate: --target: pods.invalid:7444: ")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--admin-listen", "0.0.0.0:0"), "--admin-listen"),
        (("--admin-listen", "nowhere"), "--admin-listen"),
        (("--admin-client-ca", "/dev/null"), "--admin-client-ca"),
        (("--admin-listen", "127.0.0.1:0", "--admin-client-ca", "/dev/null"), "--admin-client-ca"),
        (("--max-early-data", "16385"), "--max-early-data"),
    ],
)
def test_options_that_cannot_be_meant_end_the_start(options: tuple[str, ...], named: str) -> None:
    """Exit code 2, and the option that has to change."""
    ended = run_command("serve", *DEV, *options)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"noisegate: {named}: "), ended.stderr
