"""What the processor is said to have, before a library that asks for it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

TELLS = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("cryptography", "grpc"):
            print(name, os.environ.get("OPENSSL_ia32cap"))

sys.meta_path.insert(0, Watch())
from noisegate_server.cli import serve
import noisegate_server.server
"""
WIDE = {"F": 16, "BW": 30}
"""Bits of CPUID leaf 7, EBX: without the one OpenSSL has no code of 512 bits, without the other gRPC's BoringSSL."""


def told(**environment: str) -> dict[str, str]:
    """By library, what it finds in the variable when it is loaded by the command."""
    inherited = {name: value for name, value in os.environ.items() if name != "OPENSSL_ia32cap"}
    done = subprocess.run(
        [sys.executable, "-c", TELLS], env=inherited | environment, capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_the_command_takes_wide_instructions_from_both_libraries() -> None:
    """Before either is loaded; nothing else is taken."""
    found = told()
    assert set(found) == {"cryptography", "grpc"}
    (mask,) = set(found.values())
    assert mask == f":~{sum(1 << bit for bit in WIDE.values()):#x}"


def test_what_the_operator_says_stays() -> None:
    """An own value of OPENSSL_ia32cap(3)."""
    assert told(OPENSSL_ia32cap=":~0x0") == {"cryptography": ":~0x0", "grpc": ":~0x0"}
