"""The Rust client: its own tests, and the examples of its README as they stand there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.go_program import NotAvailable
from tests.support.quickstart import MOST_LINES, examples_of, greet, play_over_udp
from tests.support.rust_client import CLIENT, DRIVER, cargo
from tests.support.server import RunningServer
from tests.support.vectors import not_available

EXAMPLES = examples_of(CLIENT / "README.md", "rust")
WORLD = Path(__file__).parent / "rust" / "main.rs.txt"

# Nothing may be there yet: the first of them all builds what the client is built on.
pytestmark = pytest.mark.timeout(900)


def passes(package: Path, target: Path, *arguments: str) -> None:
    """Run cargo, whose output is the failure."""
    try:
        ran = cargo(package, target, *arguments)
    except NotAvailable as reason:
        not_available(str(reason))
    assert ran.returncode == 0, f"cargo {' '.join(arguments)} in {package}:\n{ran.stdout}{ran.stderr}"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what is built goes."""
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory, target: Path) -> Path:
    """The program that the README's examples make, its test included."""
    package = tmp_path_factory.mktemp("quickstart")
    manifest = (DRIVER / "Cargo.toml").read_text(encoding="utf-8")
    manifest = manifest.replace("noisegate-driver", "quickstart").replace("../../../../clients/rust", str(CLIENT))
    (package / "Cargo.toml").write_text(manifest, encoding="utf-8")
    (package / "src").mkdir()
    welcome, table, tick, test = EXAMPLES
    tests = f"#[cfg(test)]\nmod tests {{\n{test}}}\n"
    program = "\n".join((WORLD.read_text(encoding="utf-8"), welcome, table, tick, tests))
    (package / "src" / "main.rs").write_text(program, encoding="utf-8")
    passes(package, target, "test", "--quiet", "--offline")
    passes(package, target, "build", "--quiet", "--offline")
    return target / "debug" / "quickstart"


def test_the_code_is_formatted() -> None:
    """Also that of the driver."""
    if shutil.which("rustfmt") is None:
        not_available("rustfmt is not installed")
    files = [path for package in (CLIENT, DRIVER) for path in package.rglob("*.rs") if "target" not in path.parts]
    command = ["rustfmt", "--check", "--config-path", str(CLIENT), *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_its_own_tests_pass(target: Path) -> None:
    """Against a service that they start themselves, and against what shows what went over the wire."""
    passes(CLIENT, target, "test", "--quiet", "--offline")


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(EXAMPLES[0].splitlines()) <= MOST_LINES


def test_the_quickstart_greets_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome. The test example has run before."""
    greet([str(quickstart), "greet", server.address])


def test_the_udp_example_plays_with_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    play_over_udp([str(quickstart), "table", server.address])
