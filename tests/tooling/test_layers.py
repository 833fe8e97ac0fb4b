"""The import contracts refuse what they were written against."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "service/noisegate_server"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the contracts read."""
    for folder in (PACKAGE, "clients/python/noisegate"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> tuple[int, str]:
    """Exit code and output of import-linter over the copy."""
    path = os.pathsep.join(str(tree / folder) for folder in ("service", "clients/python"))
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    """Otherwise the refusals below would prove nothing."""
    code, output = lint(tree)
    assert code == 0, output


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("stray.py", "", "stray"),
        ("noise/stray.py", "import noisegate_server.session.errors", "A layer imports only what is below it"),
        ("store/stray.py", "import noisegate_server.trust", "A layer imports only what is below it"),
        ("noise/stray.py", "import time", "noise, session and trust have no"),
        ("engine/stray.py", "import asyncio", "engine and store have no"),
        ("engine/stray.py", "from noisegate.v1 import session_pb2", "engine and store have no"),
        ("rpc/stray.py", "import grpc", "transport.grpcio alone imports gRPC"),
        ("session/stray.py", "import cryptography", "alone import the crypto library"),
    ],
)
def test_a_stray_import_is_refused(tree: Path, module: str, line: str, expected: str) -> None:
    """Each contract, broken once; the output names it."""
    (tree / PACKAGE / module).write_text(line + "\n", encoding="utf-8")
    code, output = lint(tree)
    broken = [text for text in output.splitlines() if expected in text and "KEPT" not in text]
    assert code != 0
    assert broken, output
