"""Programs in Rust that tests run: built once for all checkouts, in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support.go_program import NotAvailable

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noisegate" / "programs"
_BY_PRODUCTS: Final = ("target", "Cargo.lock")


def cargo_build(project: Path, profile: str = "release") -> Path:
    """Build the program of a package, unless one of the same sources is there. NotAvailable without cargo or crates.

    Nothing is written beside the sources: the hash of all of them names the folder in which a copy is built.
    """
    sources = [path for path in sorted(project.rglob("*")) if path.is_file() and not _is_by_product(path, project)]
    digest = sha256(profile.encode())
    for path in sources:
        digest.update(f"\0{path.relative_to(project)}\0".encode() + path.read_bytes())
    place = CACHE / f"{project.name}-{digest.hexdigest()[:16]}"
    manifest = tomllib.loads((project / "Cargo.toml").read_text(encoding="utf-8"))
    name: str = manifest["package"]["name"]
    program = place / "target" / ("debug" if profile == "dev" else profile) / name
    if program.exists():
        return program
    if shutil.which("cargo") is None:
        raise NotAvailable("cargo is not installed")
    copy = place / "source"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(*_BY_PRODUCTS), dirs_exist_ok=True)
    fetched = subprocess.run(["cargo", "fetch", "--quiet"], cwd=copy, capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise NotAvailable(f"cargo cannot fetch the crates of {project.name}: {fetched.stderr.strip()[:200]}")
    command = ["cargo", "build", "--quiet", "--offline", "--profile", profile, "--target-dir", str(place / "target")]
    subprocess.run(command, cwd=copy, check=True)
    return program


def _is_by_product(path: Path, project: Path) -> bool:
    return path.relative_to(project).parts[0] in _BY_PRODUCTS
