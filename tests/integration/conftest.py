"""Servers for the integration tests: real processes, real sockets, one way to get them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

import noisegate
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
from tests.support.server import RunningServer

TRANSPORTS = {"grpcio": ()}
"""Name of a transport to the options that choose it; each integration test runs once over each."""

DEV = ("--dev", "--listen", "127.0.0.1:0")

Launch = Callable[..., RunningServer]
"""(*options, tls=None) -> a running server; without options a --dev one. `tls` is for the check at its end."""


if TYPE_CHECKING:
    from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceAsyncStub


@pytest.fixture(scope="session", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    """The transport that a server serves with."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[dict[str, RunningServer]]:
    """Servers that outlive a test, by transport; checked and stopped when the last test is over."""
    running: dict[str, RunningServer] = {}
    yield running
    for server in running.values():
        _check_and_stop(server, None)


@pytest.fixture
def server(transport: str, shared_servers: dict[str, RunningServer], sealed_file: Callable[[], Path]) -> RunningServer:
    """One server for all tests that need nothing special of it."""
    running = shared_servers.get(transport)
    if running is None:
        running = RunningServer([*DEV, *TRANSPORTS[transport]], sealed_file())
        shared_servers[transport] = running
    return running


@pytest.fixture
def launch(transport: str, sealed_file: Callable[[], Path]) -> Iterator[Launch]:
    """Starts servers of the test's own; each is checked and stopped at the end."""
    started: list[tuple[RunningServer, noisegate.Tls | None]] = []

    def start(*options: str, tls: noisegate.Tls | None = None) -> RunningServer:
        running = RunningServer([*(options or DEV), *TRANSPORTS[transport]], sealed_file())
        started.append((running, tls))
        return running

    yield start
    for running, tls in started:
        _check_and_stop(running, tls)


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[noisegate.Client]:
    """An SDK client of the shared server, patient enough for a busy machine."""
    policy = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
    async with noisegate.connect(server.address, policy=policy) as connected:
        yield connected


@pytest.fixture
async def stub(server: RunningServer) -> AsyncIterator[SessionCryptoServiceAsyncStub]:
    """The contract's own stub: what an SDK of another language has to work with."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield SessionCryptoServiceStub(channel)


def _check_and_stop(server: RunningServer, tls: noisegate.Tls | None) -> None:
    """Every session can be closed, none is left, and the server never met a defect."""
    try:
        if server.running and "stopping" not in server.log():
            _close_all(server.address, tls)
        code = server.stop()
        log = server.log()
        assert "defect" not in log, log
        assert "Traceback" not in log, log
        assert code in (0, -9), log
    finally:
        if server.running:
            server.kill()


def _close_all(address: str, tls: noisegate.Tls | None) -> None:
    channel = grpc.insecure_channel(address) if tls is None else grpc.secure_channel(address, tls.credentials())
    with channel:
        stub = SessionCryptoServiceStub(channel)
        for _ in range(1_000):
            sessions = stub.ListSessions(pb.ListSessionsRequest(page_size=1_000), timeout=10).sessions
            if not sessions:
                return
            for session in sessions:
                # Its own time may have come between the two calls; the list shows whether it is gone.
                with suppress(grpc.RpcError):
                    stub.CloseSession(pb.CloseSessionRequest(session_id=session.session_id), timeout=10)
        pytest.fail("there are sessions that cannot be closed")
