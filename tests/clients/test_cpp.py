"""The C++ client: its own tests, and the examples of its README as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noisegate import Pattern
from tests.support.cpp_program import CLIENT, cpp_build
from tests.support.go_program import NotAvailable
from tests.support.noise_client import Setup, datagram_player, noise_player
from tests.support.server import RunningServer
from tests.support.udp_echo import play
from tests.support.vectors import not_available

README = CLIENT / "README.md"
WORLD = Path(__file__).parent / "cpp"
COMMAND = Path(sys.executable).parent / "noisegate"
SECONDS = 10.0

# A first build compiles the client.
pytestmark = pytest.mark.timeout(900)


def examples() -> list[str]:
    """The README's blocks of C++."""
    return re.findall(r"```cpp\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def built(project: Path, program: str) -> Path:
    """A program that uses the client."""
    try:
        return cpp_build(project, program)
    except NotAvailable as reason:
        not_available(str(reason))


def run(program: Path) -> str:
    """What a program says that must end well; its output is the failure."""
    environment = os.environ | {"NOISEGATE_COMMAND": str(COMMAND)}
    ran = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"exit code {ran.returncode}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the README's examples in it."""
    folder = tmp_path_factory.mktemp("quickstart")
    for path in WORLD.iterdir():
        shutil.copyfile(path, folder / path.name)
    *program, stranger = examples()
    (folder / "examples.h").write_text("\n".join(program), encoding="utf-8")
    (folder / "stranger.cc").write_text(stranger, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def quickstart(project: Path) -> Path:
    """The program that the examples make."""
    return built(project, "quickstart")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A service for the examples."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()


def test_its_own_tests_pass() -> None:
    """Against a service that they start themselves, and against one that answers as they want."""
    assert ", 0 failed" in run(built(CLIENT / "test", "tests"))


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(examples()[0].splitlines()) <= 30


def test_the_quickstart_greets_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    player = noise_player(Setup(pattern=Pattern.XX, prologue=b""), b"")
    command = [str(quickstart), "greet", server.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def send(message: bytes) -> None:
            assert process.stdin is not None
            process.stdin.write(len(message).to_bytes(2, "big") + message)
            process.stdin.flush()

        def read() -> bytes:
            assert process.stdout is not None
            return process.stdout.read(int.from_bytes(process.stdout.read(2), "big"))

        send(player.write_handshake())
        player.read_handshake(read())
        send(player.write_handshake())
        send(player.seal(b"ann"))
        assert player.open(read()) == b"welcome, ann"
        assert process.wait(SECONDS) == 0


def test_the_udp_example_plays_with_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    with subprocess.Popen([quickstart, "table", server.address], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect(("127.0.0.1", port))
                play(wire, datagram_player(Setup(pattern=Pattern.XX, prologue=b""), b""))
        finally:
            process.kill()


def test_the_test_example_runs(project: Path) -> None:
    """`Service` finds a service, starts it and stops it."""
    run(built(project, "stranger"))
