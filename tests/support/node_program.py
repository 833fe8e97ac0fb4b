"""The TypeScript client, built for tests in its own folder, which git ignores: `dist`."""

from __future__ import annotations

import shutil
import subprocess

from tests.support.go_program import NotAvailable
from tests.support.server import ROOT

CLIENT = ROOT / "clients" / "typescript"


def build_client() -> str:
    """Install what the client needs, compile it where it has changed; the node command. NotAvailable without Node."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise NotAvailable("Node is not installed")
    made = subprocess.run(["tools/setup.sh", "typescript"], cwd=ROOT, capture_output=True, text=True, check=False)
    compiler = CLIENT / "node_modules" / ".bin" / "tsc"
    if made.returncode or not compiler.exists():
        raise NotAvailable(f"npm cannot install what {CLIENT.name} needs: {(made.stdout + made.stderr).strip()[:200]}")
    built = subprocess.run([compiler], cwd=CLIENT, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"{CLIENT} does not build:\n{built.stdout}")
    return node
