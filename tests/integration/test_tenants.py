"""Mutual TLS, and two tenants on one service: what is another's does not exist."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from cryptography import x509

import noisegate
from noisegate import Client, RecordMode
from noisegate.v1 import session_crypto_service_pb2 as pb
from tests.integration.bad_input_cases import UNKNOWN_ID, WITH_ID, named
from tests.integration.conftest import DEV, Launch
from tests.integration.raw import SERVICE, aio_method, trailers
from tests.support.certificates import Authority, Pair
from tests.support.noise_client import PROLOGUE, Setup, Udp, noise_player, open_datagram, open_noise
from tests.support.server import RunningServer, run_command

ALICE, BOB = "spiffe://example.org/match/alice", "spiffe://example.org/match/bob"
POLICY = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0, attempts=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Signs the server's and the callers' certificates."""
    return Authority()


@pytest.fixture
def mutual(launch: Launch, authority: Authority, tmp_path: Path) -> RunningServer:
    """A server that demands certificates; each caller is its own tenant."""
    tls = authority.tls(authority.caller("spiffe://example.org/check"))
    return launch(*DEV, *authority.write_server_files(tmp_path), tls=tls)


@pytest.fixture
async def clients(mutual: RunningServer, authority: Authority) -> AsyncIterator[tuple[Client, Client]]:
    """Alice and Bob; their sessions are closed at the end."""
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(
                noisegate.connect(mutual.address, tls=authority.tls(authority.caller(name)), policy=POLICY)
            )
            for name in (ALICE, BOB)
        ]
        yield both[0], both[1]
        for client in both:
            for info in [each async for each in client.list_sessions()]:
                await client.adopt(info).close()
            assert [each async for each in client.list_sessions()] == []


def _channel(address: str, authority: Authority, caller: Pair) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(address, authority.tls(caller).credentials())


async def _answer(channel: grpc.aio.Channel, method: str, body: bytes) -> tuple[object, ...]:
    """Everything of an answer that a caller can see, times apart."""
    try:
        return (grpc.StatusCode.OK, await aio_method(channel, method)(body, timeout=10))
    except grpc.aio.AioRpcError as error:
        return (error.code(), error.details(), trailers(error))


async def test_a_foreign_session_answers_like_an_unknown_one(
    clients: tuple[Client, Client], mutual: RunningServer, authority: Authority
) -> None:
    """Every RPC, in both modes, in every state: code, text and details are the same bytes, and nothing changes."""
    alice, _ = clients
    session, player = await open_noise(alice, Setup())
    udp = await open_datagram(alice, Setup())
    await udp.talk()
    half_player = noise_player(Setup(), (await alice.capabilities()).static_key)
    half = await alice.respond(
        mode=RecordMode.NOISE,
        protocol=noisegate.Protocol(noisegate.Pattern.XX),
        message=half_player.write_handshake(),
        prologue=PROLOGUE,
    )
    half_player.read_handshake(half.to_peer[0])
    message_3 = half_player.write_handshake()
    ended, _ = await open_noise(alice, Setup())
    await ended.close()
    away = await open_datagram(alice, Setup())
    await away.session.suspend()
    record, packet = player.seal(b"mine"), udp.player.send(b"mine")

    def requests(session_id: bytes) -> list[tuple[str, bytes]]:
        plain = [
            (method, named(method, session_id).SerializeToString())
            for method in WITH_ID
            if method not in ("Rotate", "ChangeNetwork")
        ]
        rotates = [pb.RotateRequest(session_id=session_id, kind=kind, direction=1) for kind in (1, 2)]  # type: ignore[arg-type]  # enum numbers
        decrypts = [pb.DecryptRequest(session_id=session_id, ciphertext=each) for each in (record, packet)]
        changes = [
            pb.ChangeNetworkRequest(session_id=session_id, network=network)  # type: ignore[arg-type]  # likewise
            for network in (1, 2, 3)
        ]
        proceed = pb.HandshakeRequest(proceed=pb.ProceedHandshake(session_id=session_id, message=message_3))
        resume = pb.ResumeRequest(proceed=pb.ProceedResume(session_id=session_id, message=message_3))
        initiate = pb.ResumeRequest(initiate=pb.InitiateResume(session_id=session_id, prologue=PROLOGUE))
        return [
            *plain,
            *(("Rotate", each.SerializeToString()) for each in rotates),
            *(("ChangeNetwork", each.SerializeToString()) for each in changes),
            *(("Decrypt", each.SerializeToString()) for each in decrypts),
            ("Handshake", proceed.SerializeToString()),
            ("Resume", resume.SerializeToString()),
            ("Resume", initiate.SerializeToString()),
        ]

    async with _channel(mutual.address, authority, authority.caller(BOB)) as channel:
        for foreign in (session.id, udp.session.id, half.id, ended.id, away.session.id):
            for (method, body), (_, unknown) in zip(requests(foreign), requests(UNKNOWN_ID), strict=True):
                answer = await _answer(channel, method, body)
                assert answer == await _answer(channel, method, unknown), method
                assert answer[0] in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
        by_connection = pb.GetSessionRequest(connection_id=udp.session.connection_id).SerializeToString()
        nowhere = pb.GetSessionRequest(connection_id=b"\x55" * 8).SerializeToString()
        assert await _answer(channel, "GetSession", by_connection) == await _answer(channel, "GetSession", nowhere)
        found = await _answer(channel, "Decrypt", pb.DecryptRequest(ciphertext=packet).SerializeToString())
        assert found[0] is grpc.StatusCode.NOT_FOUND
        listed = await _answer(channel, "ListSessions", b"")
        assert listed == (grpc.StatusCode.OK, b"")

    assert (await session.decrypt(record)).plaintext == b"mine"
    assert (await udp.session.decrypt(packet)).plaintext == b"mine"
    await half.proceed(message_3)
    assert (await half.decrypt(half_player.seal(b"x"))).plaintext == b"x"
    away.join(await alice.restore(away.session.id))
    await away.to_player(away.session.to_peer)
    await away.talk()
    described = await session.describe()
    assert (described.sealed, described.opened, described.refused) == (0, 1, 0)


async def test_tenants_have_keys_names_and_request_ids_of_their_own(clients: tuple[Client, Client]) -> None:
    """The same peer, group and request_id at two tenants are two things."""
    alice, bob = clients
    assert (await alice.capabilities()).static_key != (await bob.capabilities()).static_key
    hers, _ = await open_noise(alice, Setup(peer_id="p", group="g"))
    his, _ = await open_noise(bob, Setup(peer_id="p", group="g"))
    assert [each.session_id async for each in alice.list_sessions(group="g")] == [hers.id]
    assert [each.session_id async for each in bob.list_sessions(peer_id="p")] == [his.id]


async def test_a_ticket_is_worth_nothing_at_another_tenant(clients: tuple[Client, Client]) -> None:
    """Bob cannot resume Alice's player, and his attempt does not spend the ticket."""
    alice, bob = clients
    udp = await open_datagram(alice, Setup())
    await udp.talk()
    ticket = udp.player.ticket
    packet = udp.player.resume(time.monotonic(), ticket)[0]
    with pytest.raises(noisegate.TicketRejected):
        await bob.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE)
    again = Udp(udp.player, await alice.respond_resume(mode=RecordMode.DATAGRAM, message=packet, prologue=PROLOGUE))
    await again.to_player(again.session.to_peer)
    await again.talk()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param((), id="no name but a common name"),
        pytest.param((x509.DNSName("alice"),), id="a host's name"),
        pytest.param((x509.UniformResourceIdentifier("https://example.org/alice"),), id="a URI of another kind"),
        pytest.param((x509.UniformResourceIdentifier("spiffe://example.org"),), id="a trust domain alone"),
        pytest.param((x509.UniformResourceIdentifier(ALICE), x509.UniformResourceIdentifier(BOB)), id="two SPIFFE ids"),
    ],
)
async def test_a_certificate_without_one_spiffe_id_is_nobody(
    mutual: RunningServer, authority: Authority, names: tuple[x509.GeneralName, ...]
) -> None:
    """The authority signed it, so that the connection stands; but no call is answered."""
    caller = authority.issue(ALICE, names)
    async with noisegate.connect(mutual.address, tls=authority.tls(caller), policy=POLICY) as client:
        with pytest.raises(noisegate.CallerUnauthenticated):
            await client.capabilities()


async def test_strangers_do_not_get_a_connection(mutual: RunningServer, authority: Authority) -> None:
    """No certificate, one of another authority, plaintext, and a server of another authority: nobody gets through."""
    other = Authority()
    stranger = other.caller(ALICE)
    wrong_caller = noisegate.Tls(ca=authority.certificate, certificate=stranger[0], key=stranger[1])
    good = authority.caller(ALICE)
    wrong_server = noisegate.Tls(ca=other.certificate, certificate=good[0], key=good[1])
    for tls in (authority.tls(None), wrong_caller, wrong_server, None):
        async with noisegate.connect(mutual.address, tls=tls, policy=POLICY) as client:
            with pytest.raises((noisegate.ServiceUnavailable, noisegate.DeadlineExceeded)):
                await client.capabilities()
    async with noisegate.connect(mutual.address, tls=authority.tls(good), policy=POLICY) as client:
        assert (await client.capabilities()).protocol_version == 1


async def test_tls_without_client_certificates_serves_the_local_tenant(
    launch: Launch, authority: Authority, tmp_path: Path
) -> None:
    """On loopback the server may prove itself alone."""
    tls = authority.tls(None)
    server = launch(*DEV, *authority.write_server_files(tmp_path, mutual=False), tls=tls)
    async with noisegate.connect(server.address, tls=tls, policy=POLICY) as client:
        session, player = await open_noise(client, Setup())
        assert player.open((await session.encrypt(b"x")).packet) == b"x"


async def test_a_policy_file_gives_tenants_and_methods(launch: Launch, authority: Authority, tmp_path: Path) -> None:
    """Two identities share a tenant; one may only look; whoever is not listed may nothing."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'[[caller]]\nid = "{ALICE}"\ntenant = "dice"\nmethods = ["*"]\n'
        f'[[caller]]\nid = "{BOB}"\ntenant = "dice"\nmethods = ["GetSession", "ListSessions"]\n'
    )
    tls = authority.tls(authority.caller(ALICE))
    server = launch(*DEV, *authority.write_server_files(tmp_path), "--policy", str(policy), tls=tls)
    async with AsyncExitStack() as stack:
        alice, bob, carol = [
            await stack.enter_async_context(
                noisegate.connect(server.address, tls=authority.tls(authority.caller(name)), policy=POLICY)
            )
            for name in (ALICE, BOB, "spiffe://example.org/match/carol")
        ]
        session, _ = await open_noise(alice, Setup(peer_id="shared"))
        assert [each.session_id async for each in bob.list_sessions()] == [session.id]
        with pytest.raises(noisegate.CallerForbidden) as refused:
            await bob.session(session.id).encrypt(b"no")
        assert refused.value.metadata == {"permission": f"/{SERVICE}/Encrypt"}
        with pytest.raises(noisegate.CallerForbidden):
            await carol.capabilities()
        assert (await session.describe()).sealed == 0


def _refused_start(*options: str) -> subprocess.CompletedProcess[str]:
    done = run_command("serve", *options)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done


def test_without_credentials_only_loopback_is_served(authority: Authority, tmp_path: Path) -> None:
    """Another address, with no or half credentials, is refused, and the message names what to give."""
    key = tmp_path / "identity"
    assert run_command("keygen", "--out", str(key)).returncode == 0
    one_sided = authority.write_server_files(tmp_path, mutual=False)
    for options in ((), tuple(one_sided)):
        said = _refused_start("--listen", "0.0.0.0:0", "--identity", str(key), *options).stderr
        assert "--listen" in said
        assert "--tls-client-ca" in said
        assert "127.0.0.1" in said


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_an_identity_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says which file and how to mend it, and never what is in it."""
    key = tmp_path / "identity"
    key.write_text("51" * 32)
    key.chmod(mode)
    said = _refused_start("--listen", "127.0.0.1:0", "--identity", str(key)).stderr
    assert "chmod 600" in said
    assert str(key) in said
    assert "5151" not in said


def test_a_tls_key_that_others_may_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    """It is as secret as the identity."""
    options = authority.write_server_files(tmp_path)
    (tmp_path / "server.key").chmod(0o644)
    assert "--tls-key" in _refused_start(*DEV, *options).stderr
