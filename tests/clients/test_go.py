"""The Go client: its own checks and tests, and the examples of its README as they stand there."""

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
from tests.support.go_program import CLIENT, DRIVER, NotAvailable, go_build, module_on_the_client
from tests.support.noise_client import Setup, datagram_player, noise_player
from tests.support.server import ROOT, RunningServer
from tests.support.udp_echo import play
from tests.support.vectors import not_available

README = CLIENT / "README.md"
WORLD = Path(__file__).parent / "go" / "main.go.txt"
COMMAND = Path(sys.executable).parent / "noisegate"
SECONDS = 10.0
MODULES = (CLIENT, DRIVER, ROOT / "tests" / "interop" / "flynn")

pytestmark = pytest.mark.timeout(600)


def examples() -> list[str]:
    """The README's blocks of Go."""
    return re.findall(r"```go\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def go(module: Path, *arguments: str) -> None:
    """Run the go command, whose output is the failure."""
    environment = os.environ | {"NOISEGATE_COMMAND": str(COMMAND)}
    ran = subprocess.run(["go", *arguments], cwd=module, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"go {' '.join(arguments)} in {module}:\n{ran.stdout}{ran.stderr}"


@pytest.fixture(scope="module")
def available() -> None:
    """Go, and the modules that the client needs."""
    if shutil.which("go") is None:
        not_available("Go is not installed")
    if subprocess.run(["go", "mod", "download"], cwd=CLIENT, capture_output=True, check=False).returncode:
        not_available("Go cannot fetch the modules of clients/go")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with the README's examples in it, and the program that they make."""
    module = tmp_path_factory.mktemp("quickstart")
    module_on_the_client(module)
    greet, table, tick, test = examples()
    (module / "main.go").write_text(
        "\n".join((WORLD.read_text(encoding="utf-8"), greet, table, tick)), encoding="utf-8"
    )
    imports = ("errors", "testing", "github.com/noisegate/noisegate/clients/go/noisegatetest")
    named = (
        'noisegate "github.com/noisegate/noisegate/clients/go"',
        'pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"',
    )
    lines = ["package main", "import (", *(f'"{name}"' for name in imports), *named, ")", test]
    (module / "main_test.go").write_text("\n".join(lines), encoding="utf-8")
    try:
        return go_build(module, module / "quickstart")
    except NotAvailable as reason:
        not_available(str(reason))


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A service for the examples."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()


@pytest.mark.usefixtures("available")
def test_the_code_is_formatted_and_vetted() -> None:
    """Also that of the driver and of the peer, by the toolchain's own checks."""
    for module in MODULES:
        unformatted = subprocess.run(
            ["gofmt", "-l", "."], cwd=module, capture_output=True, text=True, check=True
        ).stdout
        assert unformatted == "", module
        go(module, "vet", "./...")


@pytest.mark.usefixtures("available")
def test_its_own_tests_pass() -> None:
    """Anew each time: Go does not know that the service may have changed."""
    go(CLIENT, "test", "-count=1", "-timeout=120s", "./...")


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
            host, _, port = process.stdout.readline().strip().rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect((host, int(port)))
                play(wire, datagram_player(Setup(pattern=Pattern.XX, prologue=b""), b""))
        finally:
            process.kill()


def test_the_test_example_runs(quickstart: Path) -> None:
    """`noisegatetest` finds a service, starts it and stops it."""
    go(quickstart.parent, "test", "-count=1", "./...")
