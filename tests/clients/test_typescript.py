"""The TypeScript client: its own tests, and the examples of its README as they stand there."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from noisegate import Pattern
from tests.support.go_program import NotAvailable
from tests.support.node_program import CLIENT, build_client, run_tests
from tests.support.noise_client import Setup, datagram_player, noise_player
from tests.support.server import RunningServer
from tests.support.udp_echo import play
from tests.support.vectors import not_available

README = CLIENT / "README.md"
WORLD = Path(__file__).parent / "typescript" / "main.ts.txt"
SECONDS = 10.0
COMPILER_OPTIONS = ("--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--skipLibCheck")

pytestmark = pytest.mark.timeout(300)


def examples() -> list[str]:
    """The README's blocks of TypeScript."""
    return re.findall(r"```ts\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def node() -> str:
    """The node command, with the client compiled."""
    try:
        return build_client()
    except NotAvailable as reason:
        not_available(str(reason))


@pytest.fixture(scope="module")
def quickstart(node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the client installed, and the README's examples compiled in it."""
    folder = tmp_path_factory.mktemp("quickstart")
    modules = folder / "node_modules"
    (modules / "@noisegate").mkdir(parents=True)
    (modules / "@noisegate" / "client").symlink_to(CLIENT)
    (modules / "@types").symlink_to(CLIENT / "node_modules" / "@types")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    greet, table, tick, test = examples()
    program = "\n".join((greet, table, tick, WORLD.read_text(encoding="utf-8")))
    (folder / "main.ts").write_text(program, encoding="utf-8")
    (folder / "stranger.test.ts").write_text(test, encoding="utf-8")
    compiler = str(CLIENT / "node_modules" / ".bin" / "tsc")
    command = [compiler, *COMPILER_OPTIONS, "main.ts", "stranger.test.ts"]
    compiled = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stdout
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A service for the examples."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()


def test_its_own_tests_pass(node: str) -> None:
    """Against a service that they start themselves."""
    run_tests(node, CLIENT / "dist" / "test")


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(examples()[0].splitlines()) <= 30


def test_the_quickstart_greets_a_real_player(node: str, quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    player = noise_player(Setup(pattern=Pattern.XX, prologue=b""), b"")
    command = [node, str(quickstart / "main.js"), "greet", server.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, player.write_handshake())
        player.read_handshake(read(process.stdout))
        send(process.stdin, player.write_handshake())
        send(process.stdin, player.seal(b"ann"))
        assert player.open(read(process.stdout)) == b"welcome, ann"
        process.stdin.close()
        assert process.wait(SECONDS) == 0


def send(stream: IO[bytes], message: bytes) -> None:
    """One message, in the framing of the example's world."""
    stream.write(len(message).to_bytes(2, "big") + message)
    stream.flush()


def read(stream: IO[bytes]) -> bytes:
    """One message, likewise."""
    return stream.read(int.from_bytes(stream.read(2), "big"))


def test_the_udp_example_plays_with_a_real_player(node: str, quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    command = [node, str(quickstart / "main.js"), "table", server.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect(("127.0.0.1", port))
                play(wire, datagram_player(Setup(pattern=Pattern.XX, prologue=b""), b""))
        finally:
            process.kill()


def test_the_test_example_runs(node: str, quickstart: Path) -> None:
    """`startService` finds a service, starts it and stops it."""
    run_tests(node, quickstart)
