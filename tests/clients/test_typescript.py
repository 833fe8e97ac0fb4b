"""The TypeScript client: its own tests, and the examples of its README as they stand there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.go_program import NotAvailable
from tests.support.node_program import CLIENT, build_client, run_tests
from tests.support.quickstart import MOST_LINES, examples_of, greet, play_over_udp
from tests.support.server import RunningServer
from tests.support.vectors import not_available

EXAMPLES = examples_of(CLIENT / "README.md", "ts")
WORLD = Path(__file__).parent / "typescript" / "main.ts.txt"
COMPILER_OPTIONS = ("--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--skipLibCheck")

pytestmark = pytest.mark.timeout(300)


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
    welcome, table, tick, test = EXAMPLES
    program = "\n".join((welcome, table, tick, WORLD.read_text(encoding="utf-8")))
    (folder / "main.ts").write_text(program, encoding="utf-8")
    (folder / "stranger.test.ts").write_text(test, encoding="utf-8")
    compiler = str(CLIENT / "node_modules" / ".bin" / "tsc")
    command = [compiler, *COMPILER_OPTIONS, "main.ts", "stranger.test.ts"]
    compiled = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stdout
    return folder


def test_its_own_tests_pass(node: str) -> None:
    """Against a service that they start themselves."""
    run_tests(node, CLIENT / "dist" / "test")


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(EXAMPLES[0].splitlines()) <= MOST_LINES


def test_the_quickstart_greets_a_real_player(node: str, quickstart: Path, server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    greet([node, str(quickstart / "main.js"), "greet", server.address], reads_on=True)


def test_the_udp_example_plays_with_a_real_player(node: str, quickstart: Path, server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    play_over_udp([node, str(quickstart / "main.js"), "table", server.address])


def test_the_test_example_runs(node: str, quickstart: Path) -> None:
    """`startService` finds a service, starts it and stops it."""
    run_tests(node, quickstart)
