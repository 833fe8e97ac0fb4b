"""The Java client: its own checks and tests, and the examples of its README as they stand there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.go_program import NotAvailable
from tests.support.java_program import CLIENT, JavaClient, formatter, java, java_client, javac, maven
from tests.support.quickstart import MOST_LINES, examples_of, greet, play_over_udp
from tests.support.server import ROOT, RunningServer
from tests.support.vectors import not_available

EXAMPLES = examples_of(CLIENT / "README.md", "java")
WORLD = Path(__file__).parent / "java"
FORMATTED = (CLIENT / "src", ROOT / "tests" / "conformance" / "drivers" / "java")
COMMAND = Path(sys.executable).parent / "noisegate"

pytestmark = pytest.mark.timeout(600)


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
    welcome, table, tick, _ = EXAMPLES
    world = (WORLD / "Main.java.txt").read_text(encoding="utf-8")
    main = folder / "Main.java"
    main.write_text(world.replace("EXAMPLES", f"{welcome}\n{table}\n{tick}"), encoding="utf-8")
    return java(javac(client, [main], folder / "classes"), "Main")


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
    stranger = (WORLD / "imports.txt").read_text(encoding="utf-8") + EXAMPLES[3]
    (folder / "src" / "test" / "java" / "StrangerTest.java").write_text(stranger, encoding="utf-8")
    monkeypatch.setenv("NOISEGATE_COMMAND", str(COMMAND))
    maven(folder, "test")
    reports = [path.read_text(encoding="utf-8") for path in (folder / "target" / "surefire-reports").glob("*.xml")]
    assert any('testcase name="aStrangerIsTurnedAway"' in report for report in reports)
    assert sum(report.count("<testcase ") for report in reports) > 40


def test_the_quickstart_has_at_most_thirty_lines() -> None:
    """A promise of the README."""
    assert len(EXAMPLES[0].splitlines()) <= MOST_LINES


def test_the_quickstart_greets_a_real_player(quickstart: Sequence[str], server: RunningServer) -> None:
    """XX in three messages, the player's name, the welcome."""
    greet([*quickstart, "greet", server.address], reads_on=True)


def test_the_udp_example_plays_with_a_real_player(quickstart: Sequence[str], server: RunningServer) -> None:
    """A handshake over a socket, and three echoes."""
    play_over_udp([*quickstart, "table", server.address])
