"""The languages, one row each: how its driver is made, and what a machine may lack for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DRIVERS: Final = Path(__file__).resolve().parents[1] / "drivers"


class NotAvailable(Exception):
    """This machine cannot build the driver; says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language."""

    name: str
    """As the table shows it."""
    build: Callable[[Path], Sequence[str]]
    """Makes the driver, with what it needs of its own in a scratch folder; the command that runs it. NotAvailable."""


def _python(_: Path) -> Sequence[str]:
    return [sys.executable, "-m", "tests.conformance.drivers.python.driver"]


def _go(scratch: Path) -> Sequence[str]:
    return [str(go_build(DRIVERS / "go", scratch / "go-driver"))]


def go_build(module: Path, program: Path) -> Path:
    """Build the program of a Go module. Go's own cache, outside of the checkout, keeps what did not change."""
    if shutil.which("go") is None:
        raise NotAvailable("Go is not installed")
    fetched = subprocess.run(["go", "mod", "download"], cwd=module, capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise NotAvailable(f"Go cannot fetch the modules of {module.name}: {fetched.stderr.strip()[:200]}")
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."], cwd=module, capture_output=True, text=True, check=False
    )
    if built.returncode:
        raise RuntimeError(f"{module} does not build:\n{built.stderr}")
    return program


LANGUAGES: Final[Sequence[Language]] = (
    Language(name="Python", build=_python),
    Language(name="Go", build=_go),
)
