"""The Go client: its own checks and tests, and the examples of its README as they stand there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.go_program import CLIENT, DRIVER, NotAvailable, go_build, module_on_the_client
from tests.support.quickstart import MOST_LINES, examples_of, greet, play_over_udp
from tests.support.server import ROOT, RunningServer
from tests.support.vectors import not_available

EXAMPLES = examples_of(CLIENT / "README.md", "go")
WORLD = Path(__file__).parent / "go" / "main.go.txt"
COMMAND = Path(sys.executable).parent / "noisegate"
MODULES = (CLIENT, DRIVER, ROOT / "tests" / "interop" / "flynn")

pytestmark = pytest.mark.timeout(600)


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
    welcome, table, tick, test = EXAMPLES
    (module / "main.go").write_text(
        "\n".join((WORLD.read_text(encoding="utf-8"), welcome, table, tick)), encoding="utf-8"
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
    assert len(EXAMPLES[0].splitlines()) <= MOST_LINES


def test_the_quickstart_greets_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    greet([str(quickstart), "greet", server.address])


def test_the_udp_example_plays_with_a_real_player(quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    play_over_udp([str(quickstart), "table", server.address])


def test_the_test_example_runs(quickstart: Path) -> None:
    """`noisegatetest` finds a service, starts it and stops it."""
    go(quickstart.parent, "test", "-count=1", "./...")
