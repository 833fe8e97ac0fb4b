"""The Java client: its own checks and tests, and the examples of its README as they stand there."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from noisegate import Pattern
from tests.support.go_program import NotAvailable
from tests.support.java_program import CLIENT, JavaClient, formatter, java, java_client, javac, maven
from tests.support.noise_client import Setup, datagram_player, noise_player
from tests.support.server import ROOT, RunningServer
from tests.support.udp_echo import play
from tests.support.vectors import not_available

README = CLIENT / "README.md"
WORLD = Path(__file__).parent / "java"
FORMATTED = (CLIENT / "src", ROOT / "tests" / "conformance" / "drivers" / "java")
COMMAND = Path(sys.executable).parent / "noisegate"
SECONDS = 10.0

pytestmark = pytest.mark.timeout(600)


def examples() -> list[str]:
    """The README's blocks of Java."""
    return re.findall(r"```java\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def client() -> JavaClient:
    """The client, installed by Maven."""
    try:
        return java_client()
    except NotAvailable as reason:
        not_available(str(reason))


@pytest.fixture(scope="module")
def quickstart(client: JavaClient, tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The command of a program with the README's examples in it, but for its words."""
    folder = tmp_path_factory.mktemp("quickstart")
    greet, table, tick, _ = examples()
    world = (WORLD / "Main.java.txt").read_text(encoding="utf-8")
    main = folder / "Main.java"
    main.write_text(world.replace("EXAMPLES", f"{greet}\n{table}\n{tick}"), encoding="utf-8")
    return java(javac(client, [main], folder / "classes"), "Main")


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A service for the examples."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()


def test_the_code_is_formatted() -> None:
    """Also that of the driver, by google-java-format."""
    files = [str(path) for folder in FORMATTED for path in sorted(folder.rglob("*.java"))]
    try:
        command = [*formatter(), "--dry-run", *files]
    except NotAvailable as reason:
        not_available(str(reason))
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_the_compiler_has_no_warnings(client: JavaClient, tmp_path: Path) -> None:
    """Of what is written by hand; the driver is compiled so, too."""
    javac(client, sorted((CLIENT / "src").rglob("*.java")), tmp_path / "classes")


def test_its_own_tests_pass_and_so_does_the_example_of_one(
    client: JavaClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one JVM, by Maven, against services that they start themselves."""
    shutil.copytree(client.folder.parents[1], tmp_path / "copy")
    folder = tmp_path / "copy" / "clients" / "java"
    stranger = (WORLD / "imports.txt").read_text(encoding="utf-8") + examples()[3]
    (folder / "src" / "test" / "java" / "StrangerTest.java").write_text(stranger, encoding="utf-8")
    monkeypatch.setenv("NOISEGATE_COMMAND", str(COMMAND))
    maven(folder, "test")
    reports = [path.read_text(encoding="utf-8") for path in (folder / "target" / "surefire-reports").glob("*.xml")]
    assert any('testcase name="aStrangerIsTurnedAway"' in report for report in reports)
    assert sum(report.count("<testcase ") for report in reports) > 40


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(examples()[0].splitlines()) <= 30


def test_the_quickstart_greets_a_real_player(quickstart: Sequence[str], server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    player = noise_player(Setup(pattern=Pattern.XX, prologue=b""), b"")
    command = [*quickstart, "greet", server.address]
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


def test_the_udp_example_plays_with_a_real_player(quickstart: Sequence[str], server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    with subprocess.Popen([*quickstart, "table", server.address], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
                wire.connect(("127.0.0.1", port))
                play(wire, datagram_player(Setup(pattern=Pattern.XX, prologue=b""), b""))
        finally:
            process.kill()
