"""`noisegate demo` as a person runs it; and against services that do not keep what it says, where it must fail."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from rich.console import Console

import noisegate
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.cli.demo import play
from noisegate_server.cli.demo_service import ServiceError, own_service
from noisegate_server.cli.demo_stage import ClaimError, Stage
from tests.integration.conftest import DEV, Launch

ROOT = Path(__file__).resolve().parents[2]
PATIENT = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0)
SENTENCES = (
    "asks noisegate what it can do",
    "Noise XX handshake",
    "the same handshake hash",
    "changes one bit of a record",
    "a replay is refused",
    "a new key agreement",
    "under the old keys",
    "single-use ticket",
    "after one round trip",
    "a ticket works once",
    "may ask about its sessions",
    "runs IK",
    "Nothing is left",
)


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, with its output going to a pipe."""
    command = [sys.executable, "-m", "noisegate_server", "demo", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_demo_tells_its_steps_and_ends_well() -> None:
    """Exit code 0, every sentence, plain lines without a terminal's codes."""
    result = demo()
    assert (result.returncode, result.stderr) == (0, "")
    for sentence in SENTENCES:
        assert sentence in result.stdout, sentence
    assert result.stdout.count("refused: DECRYPT_FAILED") == 3
    assert result.stdout.count("refused: REPLAY_DETECTED") == 1
    assert "\x1b" not in result.stdout
    numbers = [int(number) for number in re.findall(r"^ ?(\d+)\. ", result.stdout, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert f"Done: {len(numbers)} steps" in result.stdout
    assert all(word in result.stdout for word in ("noisegate serve --dev", "noisegate sessions", "noisegate keygen"))


def test_a_persons_own_settings_do_not_reach_the_demos_service() -> None:
    """They are for a service that people depend on."""
    result = demo(NOISEGATE_IDENTITY="/no/such/file", NOISEGATE_LISTEN="0.0.0.0:1")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_service_that_does_not_start_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its log, so that one sees why."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ServiceError, match="did not start"), own_service():
        pass


def test_the_demo_leaves_no_service_behind_when_it_is_ended() -> None:
    """SIGTERM in the middle of a step: the service's port is closed once the demo is gone."""
    command = [sys.executable, "-m", "noisegate_server", "demo", "--pause", "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("GetCapabilities" in line for line in lines)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{children[0]}").exists()


# --- services that lie --------------------------------------------------------------------------------------------

Answer = bytes | grpc.aio.AioRpcError
Lie = Callable[[Answer, list[bytes]], Answer]
"""(the service's answer, its earlier answers of this method) -> what the demo is told."""


def accepts(code: grpc.StatusCode, message: bytes) -> Lie:
    """Answers with a message where the service refuses with a code."""
    return lambda answer, _: message if not isinstance(answer, bytes) and answer.code() is code else answer


def repeats_itself(answer: Answer, earlier: list[bytes]) -> Answer:
    """Answers with what it answered last where the service refuses."""
    return answer if isinstance(answer, bytes) else earlier[-1]


def changed(kind: Any, change: Callable[[Any], None]) -> Lie:
    """Changes what the service answers."""

    def lie(answer: Answer, _: list[bytes]) -> Answer:
        if not isinstance(answer, bytes):
            return answer
        message = kind.FromString(answer)
        change(message)
        told: bytes = message.SerializeToString()
        return told

    return lie


def another_hash(message: pb.HandshakeResponse | pb.ResumeResponse) -> None:
    """Of a finished handshake."""
    if message.HasField("established"):
        message.established.handshake_hash = bytes(32)


def another_key(message: pb.GetCapabilitiesResponse) -> None:
    """That of nobody."""
    message.static_key = bytes(32)


def another_plaintext(message: pb.DecryptResponse) -> None:
    """Where there is one."""
    if message.plaintext:
        message.plaintext = b"I fold"


def another_player(message: pb.GetSessionResponse) -> None:
    """As the session's owner."""
    message.session.peer_id = "bob"


def one_session_more(message: pb.ListSessionsResponse) -> None:
    """That nobody began."""
    message.sessions.add(mode=session_pb2.RECORD_MODE_NOISE, role=session_pb2.ROLE_RESPONDER)


INVALID, FAILED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
OPENED = pb.DecryptResponse(plaintext=b"double six").SerializeToString()
SEALED = pb.EncryptResponse(ciphertext=bytes(40)).SerializeToString()
NOTHING_ROTATES = pb.RotateResponse(state=session_pb2.SESSION_STATE_ESTABLISHED).SerializeToString()

LIES: dict[str, tuple[str, Lie, str]] = {
    "a forged record is accepted": ("Decrypt", accepts(INVALID, OPENED), "Decrypt is refused with DecryptFailed"),
    "a replay is accepted": ("Decrypt", accepts(FAILED, OPENED), "Decrypt is refused with ReplayDetected"),
    "a spent ticket is accepted": ("Resume", repeats_itself, "Resume is refused with TicketRejected"),
    "an ended session seals": ("Encrypt", accepts(FAILED, SEALED), "Encrypt is refused with SessionClosed"),
    "the keys are not those of the player": (
        "Handshake", changed(pb.HandshakeResponse, another_hash), "the handshake hashes are equal",
    ),
    "the resumed keys are not those of the player": (
        "Resume", changed(pb.ResumeResponse, another_hash), "both ends have new keys",
    ),
    "the key is not the announced one": (
        "GetCapabilities", changed(pb.GetCapabilitiesResponse, another_key), "the key that noisegate announced",
    ),
    "the plaintext is another": ("Decrypt", changed(pb.DecryptResponse, another_plaintext), "opens at noisegate"),
    "no rotation begins": ("Rotate", lambda _, __: NOTHING_ROTATES, "the session is rotating"),
    "the session is another player's": (
        "GetSession", changed(pb.GetSessionResponse, another_player), "came back with the ticket",
    ),
    "a session is left": (
        "ListSessions", changed(pb.ListSessionsResponse, one_session_more), "every session has ended",
    ),
}  # fmt: skip
"""What the service does wrong: (method, how it is told, the claim that must not hold)."""


class Between(grpc.GenericRpcHandler):
    """Hands every call on to a service, and tells its answer of one method in another way."""

    def __init__(self, method: str, lie: Lie) -> None:
        self._method, self._lie = method, lie
        self._earlier: list[bytes] = []
        self.channel: grpc.aio.Channel | None = None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of any method: bytes in, bytes out."""

        async def handle(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            answer = await self._ask(details.method, request)
            if details.method.endswith(f"/{self._method}"):
                answer = self._lie(answer, self._earlier)
                if isinstance(answer, bytes):
                    self._earlier.append(answer)
            if isinstance(answer, grpc.aio.AioRpcError):
                # The stubs promise another type than grpc.aio has: it is a Metadata, which iterates over pairs.
                trailers = tuple(cast("grpc.aio.Metadata", answer.trailing_metadata()))
                await context.abort(answer.code(), answer.details() or "", trailers)
            return answer

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _ask(self, method: str, request: bytes) -> Answer:
        assert self.channel is not None
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(
            method, request_serializer=None, response_deserializer=None
        )
        try:
            answer: bytes = await ask(request, timeout=10)
        except grpc.aio.AioRpcError as refusal:
            return refusal
        return answer


@asynccontextmanager
async def standing_between(launch: Launch, between: Between) -> AsyncIterator[str]:
    """The address of a service whose answers pass through `between`, also those for its sessions."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((between,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    running = launch(*DEV, "--advertise", address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(running.address) as between.channel:
            yield address
    finally:
        await server.stop(0)


async def told(address: str) -> str:
    """The story of the service at `address`."""
    text = io.StringIO()
    async with noisegate.connect(address, policy=PATIENT) as client:
        await play(client, Stage(Console(file=text)))
    return text.getvalue()


async def test_the_story_holds_where_nobody_lies(launch: Launch) -> None:
    """What stands between is no reason for the failures below."""
    async with standing_between(launch, Between("Decrypt", lambda answer, _: answer)) as address:
        assert "Nothing is left" in await told(address)


@pytest.mark.parametrize("what", LIES)
async def test_the_demo_fails_where_the_service_does_not_keep_what_it_says(launch: Launch, what: str) -> None:
    """And names the claim that did not hold."""
    method, lie, claim = LIES[what]
    async with standing_between(launch, Between(method, lie)) as address:
        with pytest.raises(ClaimError, match=claim):
            await told(address)
