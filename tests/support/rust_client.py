"""The Rust client, and what tests build with it. What it needs compiles once, for all of them and for all checkouts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support.go_program import NotAvailable
from tests.support.rust_program import CACHE

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = ROOT / "clients" / "rust"
DRIVER: Final = ROOT / "tests" / "conformance" / "drivers" / "rust"
_COMMAND: Final = Path(sys.executable).parent / "noisegate"


def cargo(package: Path, target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run cargo for a package, which leaves what it makes in `target`. NotAvailable without cargo or the crates.

    What is on the way to it is kept in the cache, under the hash of the manifests.
    """
    if shutil.which("cargo") is None:
        raise NotAvailable("cargo is not installed")
    manifests = b"\0".join((folder / "Cargo.toml").read_bytes() for folder in (CLIENT, DRIVER))
    environment = os.environ | {
        "CARGO_BUILD_BUILD_DIR": str(CACHE / f"rust-client-{sha256(manifests).hexdigest()[:16]}"),
        "CARGO_TARGET_DIR": str(target),
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
        "NOISEGATE_COMMAND": str(_COMMAND),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["cargo", *words], cwd=package, env=environment, capture_output=True, text=True, check=False
        )

    fetched = run("fetch", "--quiet")
    if fetched.returncode:
        raise NotAvailable(f"cargo cannot fetch the crates of {package.name}: {fetched.stderr.strip()[:200]}")
    return run(*arguments)


def rust_build(package: Path, target: Path, name: str) -> Path:
    """Build a package's program. NotAvailable without cargo or the crates."""
    built = cargo(package, target, "build", "--quiet", "--offline")
    if built.returncode:
        raise RuntimeError(f"{package} does not build:\n{built.stderr}")
    return target / "debug" / name
