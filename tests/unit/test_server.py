"""The composition root in this process: files, callers' identities over mTLS, and the way it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

import noisegate
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.config import ConfigError, HostPort, read_config
from noisegate_server.rpc.health import SERVICE
from noisegate_server.server import Server
from tests.support.certificates import Authority
from tests.support.engine_table import XX
from tests.support.noise_client import Setup, open_noise
from tests.support.rpc_table import Clock

METHOD = "/noisegate.v1.SessionCryptoService/GetCapabilities"
MATCH, CHAT = "spiffe://game.example/match", "spiffe://game.example/chat"
KEY = "4242424242424242424242424242424242424242424242424242424242424242\n"


def secret(path: Path, text: str | bytes, mode: int = 0o600) -> str:
    """Writes a file that only its owner may read."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


@asynccontextmanager
async def serving(**values: Any) -> AsyncIterator[tuple[Server, HostPort]]:
    """A server on a free port."""
    server = Server(read_config({"listen": "127.0.0.1:0", **values}))
    bound = await server.start()
    try:
        yield server, bound
    finally:
        await server.stop(now=True)


async def capabilities(channel: Any) -> pb.GetCapabilitiesResponse:
    """One whole call; Any, because the published types want serialisers, of which raw bytes have none."""
    answer = await channel.unary_unary(METHOD)(b"")
    return pb.GetCapabilitiesResponse.FromString(answer)


def reason(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's reason of a refusal as it came over the wire."""
    pairs: Any = error.trailing_metadata()
    details = dict(pairs)["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    found: str = info.reason
    return found


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Authority, dict[str, Any]]:
    """An authority, and the options of a server that demands its certificates."""
    authority = Authority()
    certificate, key = authority.server()
    values = {
        "identity": [secret(tmp_path / "identity", KEY)],
        "tls_certificate": secret(tmp_path / "server.pem", certificate),
        "tls_key": secret(tmp_path / "server.key", key),
        "tls_client_ca": secret(tmp_path / "ca.pem", authority.certificate),
    }
    return authority, values


def channel(bound: HostPort, authority: Authority, *uris: str) -> Any:
    """A channel of a caller whose certificate has these names."""
    certificate, key = authority.caller(*uris)
    credentials = grpc.ssl_channel_credentials(authority.certificate, key, certificate)
    return grpc.aio.secure_channel(str(bound), credentials)


def plain(bound: HostPort) -> Any:
    """A channel of a caller without credentials."""
    return grpc.aio.insecure_channel(str(bound))


async def test_a_caller_with_a_spiffe_id_is_served(tls: tuple[Authority, dict[str, Any]]) -> None:
    """And is told where this instance is."""
    authority, values = tls
    async with serving(**values) as (_, bound), channel(bound, authority, MATCH) as caller:
        assert (await capabilities(caller)).endpoint == str(bound)


@pytest.mark.parametrize("uris", [(), (MATCH, CHAT), ("https://game.example/",)])
async def test_a_certificate_without_exactly_one_spiffe_id_is_refused(
    tls: tuple[Authority, dict[str, Any]], uris: tuple[str, ...]
) -> None:
    """Its common name reads like one, and does not count."""
    authority, values = tls
    async with serving(**values) as (_, bound), channel(bound, authority, *uris) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await capabilities(caller)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason(caught.value) == "CALLER_UNAUTHENTICATED"


async def test_a_certificate_of_another_authority_does_not_connect(tls: tuple[Authority, dict[str, Any]]) -> None:
    """Nor does a caller without one."""
    authority, values = tls
    stranger = Authority()
    certificate, key = stranger.caller(MATCH)
    for credentials in (
        grpc.ssl_channel_credentials(authority.certificate, key, certificate),
        grpc.ssl_channel_credentials(authority.certificate),
    ):
        async with serving(**values) as (_, bound), grpc.aio.secure_channel(str(bound), credentials) as caller:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await capabilities(caller)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_callers_see_their_own_sessions_only(tls: tuple[Authority, dict[str, Any]], tmp_path: Path) -> None:
    """Two identities are two tenants; with a policy file they may share one, and have the methods that it names."""
    authority, values = tls
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'[[caller]]\nid = "{MATCH}"\ntenant = "game"\nmethods = ["*"]\n'
        f'[[caller]]\nid = "{CHAT}"\ntenant = "game"\nmethods = ["ListSessions"]\n'
    )
    for extra, expected in (({}, 0), ({"policy": str(policy)}, 1)):
        async with (
            serving(**values, **extra) as (_, bound),
            channel(bound, authority, MATCH) as match,
            channel(bound, authority, CHAT) as chat,
        ):
            begin = pb.InitiateHandshake(mode=session_pb2.RECORD_MODE_NOISE, protocol=XX)
            body = pb.HandshakeRequest(initiate=begin).SerializeToString()
            await match.unary_unary("/noisegate.v1.SessionCryptoService/Handshake")(body)
            listed = await chat.unary_unary("/noisegate.v1.SessionCryptoService/ListSessions")(b"")
            assert len(pb.ListSessionsResponse.FromString(listed).sessions) == expected
            if extra:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await capabilities(chat)
                assert reason(caught.value) == "CALLER_FORBIDDEN"


async def test_tenants_have_the_identity_that_was_given_for_them(tmp_path: Path) -> None:
    """`TENANT=FILE` goes before the default; X25519 of the key is in RFC 7748's own words another library's."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415  # the one user here

    identity = [secret(tmp_path / "default", "11" * 32), f"local={secret(tmp_path / 'local', KEY)}"]
    async with serving(identity=identity) as (_, bound), grpc.aio.insecure_channel(str(bound)) as caller:
        expected = X25519PrivateKey.from_private_bytes(b"\x42" * 32).public_key().public_bytes_raw()
        assert (await capabilities(caller)).static_key == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
async def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    path = secret(tmp_path / "identity", KEY, mode)
    with pytest.raises(ConfigError, match=r"--identity: .*chmod 600"):
        await Server(read_config({"listen": "127.0.0.1:0", "identity": [path]})).start()


@pytest.mark.parametrize("text", ["", "42" * 31, "42" * 33, "zz" * 32, "00" * 32, KEY + KEY, "\u00e9" * 32])
async def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    """Its content may be another secret."""
    path = secret(tmp_path / "identity", text)
    with pytest.raises(ConfigError) as caught:
        await Server(read_config({"listen": "127.0.0.1:0", "identity": [path]})).start()
    assert caught.value.option == "--identity"
    assert text.strip() == "" or text.strip() not in str(caught.value)


@pytest.mark.parametrize("option", ["identity", "policy", "ticket_key"])
async def test_a_missing_file_is_named_by_its_option(tmp_path: Path, option: str) -> None:
    """Rather than by a traceback."""
    missing = str(tmp_path / "missing")
    values = {"identity": [missing]} if option == "identity" else {"dev": True, option: missing}
    with pytest.raises(ConfigError) as caught:
        await Server(read_config({"listen": "127.0.0.1:0", **values})).start()
    assert caught.value.option == f"--{option.replace('_', '-')}"


async def test_a_taken_port_is_named_by_its_option() -> None:
    """The most frequent reason of a failed start."""
    async with serving(dev=True) as (_, bound):
        with pytest.raises(ConfigError) as caught:
            await Server(read_config({"listen": str(bound), "dev": True})).start()
    assert caught.value.option == "--listen"


@pytest.mark.parametrize(("advertise", "expected"), [("game.example:1", "game.example:1"), ("", None)])
async def test_the_advertised_address_is_what_callers_are_told(advertise: str, expected: str | None) -> None:
    """Without one it is the address that it listens on."""
    async with serving(dev=True, advertise=advertise) as (_, bound), plain(bound) as caller:
        assert (await capabilities(caller)).endpoint == (expected or str(bound))


async def test_stopping_tells_watchers_refuses_new_calls_and_ends() -> None:
    """Readiness goes first, so that load balancers look elsewhere; the stop itself does not hang on open streams."""
    async with serving(dev=True) as (server, bound), plain(bound) as caller:
        watch = caller.unary_stream("/grpc.health.v1.Health/Watch")(
            health_pb2.HealthCheckRequest(service=SERVICE).SerializeToString()
        )
        first = health_pb2.HealthCheckResponse.FromString(await watch.read())
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.wait_for(server.stop(), 5)
        second = health_pb2.HealthCheckResponse.FromString(await watch.read())
        assert second.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stopping_server_says_draining_before_its_port_closes() -> None:
    """A caller learns more from that than from a refused connection; health still answers."""
    async with serving(dev=True, drain=60) as (server, bound), plain(bound) as caller:
        assert (await capabilities(caller)).protocol_version == 1
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await capabilities(caller)
        assert reason(caught.value) == "DRAINING"
        body = await caller.unary_unary("/grpc.health.v1.Health/Check")(b"")
        assert health_pb2.HealthCheckResponse.FromString(body).status == health_pb2.HealthCheckResponse.SERVING
        stopping.cancel()


async def test_what_suspending_took_is_not_taken_from_the_last_spans_and_metrics() -> None:
    """They have what calls have left of theirs."""
    now, left = [0.0], []

    class Suspending:
        async def drain(self, seconds: float) -> None:
            now[0] += seconds

    class Sending:
        async def stop(self, seconds: float) -> None:
            left.append(seconds)

    options = {"listen": "127.0.0.1:0", "dev": True, "drain": 0, "grace": 3, "suspend_grace": 60}
    server = Server(read_config(options), clock=lambda: now[0])
    await server.start()
    server._keeper, server._telemetry = Suspending(), Sending()  # type: ignore[assignment]  # all that a stop asks of them
    await server.stop()
    assert left == [3.0]


async def test_what_is_over_is_swept_without_a_call() -> None:
    """A handshake that nobody finishes leaves memory by itself; here at a clock that jumps."""
    clock = Clock()
    server = Server(read_config({"listen": "127.0.0.1:0", "dev": True}), clock=clock)
    bound = await server.start()
    async with plain(bound) as caller:
        begin = pb.InitiateHandshake(mode=session_pb2.RECORD_MODE_NOISE, protocol=XX)
        body = pb.HandshakeRequest(initiate=begin).SerializeToString()
        await caller.unary_unary("/noisegate.v1.SessionCryptoService/Handshake")(body)
        assert server.sessions == 1
        clock.now += 11.0
        await asyncio.wait_for(_until(lambda: server.sessions == 0), 5)
    await server.stop(now=True)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # the sweeper is the server's own task and tells nobody
        await asyncio.sleep(0.01)


async def test_suites_and_patterns_are_the_operators_choice() -> None:
    """What callers are told is what he allows, in his order."""
    async with (
        serving(dev=True, suites=["AES256_GCM_X25519"], patterns=["IK", "XX"]) as (_, bound),
        grpc.aio.insecure_channel(str(bound)) as channel,
    ):
        told = (await capabilities(channel)).protocols
        assert [each.name for each in told] == ["Noise_IK_25519_AESGCM_SHA256", "Noise_XX_25519_AESGCM_SHA256"]


async def test_limits_of_rotation_are_the_operators_choice() -> None:
    """A session that was made under them has them."""
    async with (
        serving(dev=True, rotation_soft_messages=2) as (_, bound),
        noisegate.connect(str(bound)) as client,
    ):
        session, _ = await open_noise(client, Setup())
        assert [(await session.encrypt(b"x")).rotation_due for _ in range(3)] == [False, False, True]
