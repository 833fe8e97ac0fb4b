"""The TypeScript client and what is written on it, built for tests in their own folders, which git ignores: `dist`.

Once in a run: many tests need them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.go_program import NotAvailable
from tests.support.server import ROOT

CLIENT = ROOT / "clients" / "typescript"
BROWSER = ROOT / "examples" / "browser"
NOISEGATE_COMMAND = str(Path(sys.executable).parent / "noisegate")


@cache
def _installed(part: str, folder: Path) -> str:
    """A folder with what it needs, by the part of tools/setup.sh that brings it; the node command. NotAvailable."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise NotAvailable("Node is not installed")
    made = subprocess.run(["tools/setup.sh", part], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode or not (folder / "node_modules" / ".bin" / "tsc").exists():
        raise NotAvailable(f"npm cannot install what {folder.name} needs: {(made.stdout + made.stderr).strip()[:200]}")
    return node


@cache
def _compile(folder: Path) -> None:
    compiler = folder / "node_modules" / ".bin" / "tsc"
    built = subprocess.run([compiler], cwd=folder, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"{folder} does not build:\n{built.stdout}")


def build_client() -> str:
    """Install what the client needs, compile it where it has changed; the node command. NotAvailable without Node."""
    node = _installed("typescript", CLIENT)
    _compile(CLIENT)
    return node


def install_noise_c() -> str:
    """Install what examples/browser needs, noise-c.wasm among it; the node command. NotAvailable."""
    return _installed("browser", BROWSER)


def build_browser() -> str:
    """The client and examples/browser, installed and compiled; the node command. NotAvailable without Node."""
    build_client()
    node = install_noise_c()
    _compile(BROWSER)
    return node


def run_tests(node: str, folder: Path) -> None:
    """Run a folder's tests, whose output is the failure."""
    environment = os.environ | {"NOISEGATE_COMMAND": NOISEGATE_COMMAND}
    command = [node, "--test", *sorted(map(str, folder.glob("*.test.js")))]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# pass 0" not in ran.stdout
