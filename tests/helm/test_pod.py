"""The rendered pod really starts: its words, environment and volumes are those of a service that answers and drains."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

import noisegate
import noisegate.admin
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
from noisegate_server.config import capacity
from tests.support.certificates import Authority
from tests.support.chart import profiles, rendered
from tests.support.image import entrypoint
from tests.support.logs import told
from tests.support.noise_client import Setup, open_noise
from tests.support.pod import Cluster, Pod

PROFILES = profiles()
DICE = "spiffe://game.example/dice"
MIB = 1024 * 1024
PATIENT = noisegate.CallPolicy(packet_deadline=10.0, control_deadline=10.0)


@pytest.fixture
def callers() -> Authority:
    """Signs games and, in these tests, the service itself."""
    return Authority()


@pytest.fixture
def operators() -> Authority:
    """Signs nobody else."""
    return Authority()


@pytest.fixture
def cluster(tmp_path: Path, callers: Authority, operators: Authority) -> Cluster:
    """The Secrets that the chart's README asks for, and those of its fullest set of values."""
    certificate, key = callers.server()
    keys = {
        name: f"{number:02x}".encode() * 32 for number, name in enumerate(("identity.key", "ticket.key", "blob.key"), 1)
    }
    return Cluster(
        tmp_path,
        {
            "noisegate-keys": keys | {"identity.chess.key": b"09" * 32},
            "noisegate-tls": {"tls.crt": certificate, "tls.key": key, "ca.crt": callers.certificate},
            "callers": {"ca.crt": callers.certificate},
            "operators": {"ca.crt": operators.certificate},
        },
    )


def start(cluster: Cluster, profile: str, values: dict[str, object] | None = None) -> Pod:
    """The first pod of a profile, which says in its log where it listens."""
    return Pod(cluster, rendered(PROFILES[profile], {"config.log_level": "INFO"} | (values or {})), entrypoint())


async def stub_call(address: str, tls: noisegate.Tls, name: str, request: Any) -> Any:
    """A call to this very pod: its advertised name is known in a cluster alone."""
    async with grpc.aio.secure_channel(address, tls.credentials()) as channel:
        return await getattr(SessionCryptoServiceStub(channel), name)(request, timeout=10)


async def test_a_pod_answers_its_probes_its_callers_and_its_operators(
    cluster: Cluster, callers: Authority, operators: Authority
) -> None:
    """Each at its port, and each those alone who belong there."""
    with start(cluster, "everything") as pod:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert await pod.probe(probe), probe
        async with noisegate.connect(
            pod.address("grpc"), tls=callers.tls(callers.caller(DICE)), policy=PATIENT
        ) as game:
            session, _ = await open_noise(game, Setup(pattern=noisegate.Pattern.IK))
            assert session.endpoint == "games-noisegate-0.games-noisegate-pods.arena.svc.cluster.local:7443"
        stranger = callers.tls(callers.caller("spiffe://game.example/stranger"))
        async with noisegate.connect(pod.address("grpc"), tls=stranger, policy=PATIENT) as game:
            with pytest.raises(noisegate.CallerForbidden):
                await game.capabilities()
        operator = operators.caller("spiffe://game.example/operator")
        tls = noisegate.Tls(ca=callers.certificate, certificate=operator[0], key=operator[1])
        async with noisegate.admin.connect(pod.address("admin"), tls=tls) as admin:
            assert (await admin.revoke_peer("dice", peer_id="eve")).sessions_ended == 0
        assert "noisegate_sessions" in pod.scrape()
        assert pod.terminate() == 0
    assert "defect" not in pod.log


def mark(pod: Pod, *, version: int) -> None:
    """Its state file as one that this version of the state has written."""
    with closing(sqlite3.connect(pod.path("/var/lib/noisegate/noisegate.state"))) as connection:
        connection.execute(f"PRAGMA user_version = {version}").fetchall()


async def test_sessions_are_there_again_when_the_pod_is(cluster: Cluster, callers: Authority) -> None:
    """SIGTERM suspends them to the volume of the pod, within its grace; the next one with that volume goes on.

    A version that does not know how they are kept, as after a rollback, says so and leaves them to the one that does.
    """
    tls = callers.tls(callers.caller(DICE))
    with start(cluster, "everything") as pod:
        async with noisegate.connect(pod.address("grpc"), tls=tls, policy=PATIENT) as game:
            session, player = await open_noise(game, Setup(pattern=noisegate.Pattern.IK, peer_id="ann"))
        assert pod.terminate() == 0
    mark(pod, version=2)
    with pytest.raises(AssertionError, match="version 2 of the state, where this one has 1: run that one again"):
        start(cluster, "everything")
    mark(pod, version=1)
    with start(cluster, "everything") as pod:
        sealed = await stub_call(
            pod.address("grpc"), tls, "Encrypt", pb.EncryptRequest(session_id=session.id, plaintext=b"six")
        )
        assert player.open(sealed.ciphertext) == b"six"
        assert pod.terminate() == 0


async def test_a_pod_that_drains_lives_and_is_not_ready(cluster: Cluster, callers: Authority) -> None:
    """Kubernetes takes it out of the Service and does not kill it."""
    with start(cluster, "everything", {"shutdown.drain": 5}) as pod:
        stopping = asyncio.create_task(asyncio.to_thread(pod.terminate))
        while await pod.probe("readinessProbe"):
            pass
        assert await pod.probe("livenessProbe")
        assert await stopping == 0


async def test_keys_and_certificates_that_change_in_their_secrets_reach_a_running_pod(cluster: Cluster) -> None:
    """The kubelet swaps the files under it; nothing has to be restarted."""
    with start(cluster, "default") as pod:
        first = cluster.secrets["noisegate-keys"]["ticket.key"]
        cluster.secrets["noisegate-keys"]["ticket.key"] = b"07" * 32 + b"\n" + first
        authority = Authority()
        certificate, key = authority.server()
        cluster.secrets["noisegate-tls"] = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.certificate}
        pod.mount()
        while not all(told(pod.log, "read again", option=option) for option in ("--ticket-key", "--tls-certificate")):
            assert await pod.probe("livenessProbe")
        tls = authority.tls(authority.caller(DICE))
        async with noisegate.connect(pod.address("grpc"), tls=tls, policy=PATIENT) as game:
            assert (await game.capabilities()).static_key
        assert pod.terminate() == 0


@pytest.mark.parametrize("profile", ["default", "sidecar"])
def test_the_memory_that_a_pod_may_have_is_enough_for_all_its_sessions(cluster: Cluster, profile: str) -> None:
    """The sum of docs/operate.md, with the process as it is after its start."""
    with start(cluster, profile) as pod:
        assert pod.resident_bytes() < capacity.PROCESS
        assert pod.terminate() == 0
    limit = pod.container["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    needed = capacity.memory_bytes(int(pod.environment()["NOISEGATE_MAX_SESSIONS"]))
    assert needed <= int(limit.removesuffix("Mi")) * MIB <= needed * 1.3


async def test_a_pod_of_an_ipv6_cluster_answers_at_its_address(cluster: Cluster) -> None:
    """Every listener but that of a sidecar's own pod."""
    with start(cluster, "default", {"ipv6": True}) as pod:
        assert all(pod.address(port).startswith("[::1]:") for port in ("grpc", "health", "metrics"))
        assert await pod.probe("readinessProbe")
        assert "noisegate_sessions" in pod.scrape()
        assert pod.terminate() == 0


async def test_a_sidecar_serves_its_pod_alone_and_without_credentials(cluster: Cluster) -> None:
    """On loopback, with no certificate anywhere."""
    with start(cluster, "sidecar") as pod:
        assert await pod.probe("readinessProbe")
        async with noisegate.connect(pod.address("grpc"), policy=PATIENT) as game:
            session, player = await open_noise(game, Setup())
            assert player.open((await session.encrypt(b"six")).packet) == b"six"
        assert pod.environment()["NOISEGATE_LISTEN"].startswith("127.0.0.1:")
        assert pod.terminate() == 0
