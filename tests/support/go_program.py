"""Programs in Go that tests run: built once for a run, with Go's own cache outside of the checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.support.server import ROOT

CLIENT: Final = ROOT / "clients" / "go"
DRIVER: Final = ROOT / "tests" / "conformance" / "drivers" / "go"


class NotAvailable(Exception):
    """This machine cannot build a program; says what it lacks."""


def module_on_the_client(folder: Path) -> None:
    """Make a folder a module that needs what the driver of tests/conformance does: this checkout's Go client."""
    text = (DRIVER / "go.mod").read_text(encoding="utf-8").replace("../../../../clients/go", str(CLIENT))
    (folder / "go.mod").write_text(text, encoding="utf-8")
    shutil.copyfile(DRIVER / "go.sum", folder / "go.sum")


def go_build(module: Path, program: Path) -> Path:
    """Build the program of a module, checked by its go.sum. NotAvailable without Go or without the modules."""
    if shutil.which("go") is None:
        raise NotAvailable("Go is not installed")
    fetched = subprocess.run(["go", "mod", "download"], cwd=module, capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise NotAvailable(f"Go cannot fetch the modules of {module.name}: {fetched.stderr.strip()[:200]}")
    command = ["go", "build", "-mod=readonly", "-o", str(program), "."]
    built = subprocess.run(command, cwd=module, capture_output=True, text=True, check=False)
    if built.returncode:
        raise RuntimeError(f"{module} does not build:\n{built.stderr}")
    return program
