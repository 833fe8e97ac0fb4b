"""The languages, one row each: how its driver is made, and what a machine may lack for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.cpp_program import cpp_build
from tests.support.go_program import go_build
from tests.support.java_program import java, java_client, javac
from tests.support.node_program import build_client
from tests.support.rust_client import rust_build

DRIVERS: Final = Path(__file__).resolve().parents[1] / "drivers"


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


def _typescript(_: Path) -> Sequence[str]:
    return [build_client(), str(DRIVERS / "typescript" / "driver.mjs")]


def _java(scratch: Path) -> Sequence[str]:
    return java(javac(java_client(), sorted((DRIVERS / "java").glob("*.java")), scratch / "java-driver"), "Driver")


def _cpp(_: Path) -> Sequence[str]:
    return [str(cpp_build(DRIVERS / "cpp", "driver"))]


def _rust(scratch: Path) -> Sequence[str]:
    return [str(rust_build(DRIVERS / "rust", scratch / "rust", "noisegate-driver"))]


LANGUAGES: Final[Sequence[Language]] = (
    Language(name="Python", build=_python),
    Language(name="Go", build=_go),
    Language(name="TypeScript", build=_typescript),
    Language(name="Java", build=_java),
    Language(name="C++", build=_cpp),
    Language(name="Rust", build=_rust),
)
