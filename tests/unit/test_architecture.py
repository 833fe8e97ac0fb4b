"""The layers hold: the import contracts pass, and the seam can be used without gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "service"), str(ROOT / "clients" / "python")])}


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return result.stdout


def test_the_import_contracts_hold() -> None:
    """Layers, grpc, purity and cryptography, as pyproject.toml has them."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    result = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", ["rpc.table", "rpc.health", "rpc.streams", "transport.streams", "config"])
def test_everything_behind_the_seam_loads_without_grpc(module: str) -> None:
    """Otherwise a second transport would bring the first one along."""
    code = f"import sys, noisegate_server.{module}; print('grpc' in sys.modules)"
    assert python(code).strip() == "False"


def test_one_place_catches_what_nobody_foresaw() -> None:
    """Broad handlers stand at the outermost frames alone: call, repeat, stream, adapter, task, thread."""
    package = ROOT / "service" / "noisegate_server"
    broad = {str(path.relative_to(package)) for path in package.rglob("*.py") if "except Exception" in path.read_text()}
    assert broad == {
        "rpc/unary.py",
        "rpc/once.py",
        "rpc/streams.py",
        "transport/grpcio.py",
        "server.py",
        "vault/worker.py",
    }
