"""The C++ client: its own tests, and the examples of its README as they stand there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cpp_program import CLIENT, cpp_build
from tests.support.go_program import NotAvailable
from tests.support.quickstart import MOST_LINES, examples_of, greet, play_over_udp
from tests.support.server import RunningServer
from tests.support.vectors import not_available

EXAMPLES = examples_of(CLIENT / "README.md", "cpp")
WORLD = Path(__file__).parent / "cpp"
COMMAND = Path(sys.executable).parent / "noisegate"

# A first build compiles the client.
pytestmark = pytest.mark.timeout(900)


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
    *program, stranger = EXAMPLES
    (folder / "examples.h").write_text("\n".join(program), encoding="utf-8")
    (folder / "stranger.cc").write_text(stranger, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def quickstart(project: Path) -> Path:
    """The program that the examples make."""
    return built(project, "quickstart")


def test_its_own_tests_pass() -> None:
    """Against a service that they start themselves, and against one that answers as they want."""
    assert ", 0 failed" in run(built(CLIENT / "test", "tests"))


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(EXAMPLES[0].splitlines()) <= MOST_LINES


def test_the_quickstart_greets_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    greet([str(quickstart), "greet", server.address])


def test_the_udp_example_plays_with_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    play_over_udp([str(quickstart), "table", server.address])


def test_the_test_example_runs(project: Path) -> None:
    """`Service` finds a service, starts it and stops it."""
    run(built(project, "stranger"))
