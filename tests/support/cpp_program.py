"""The C++ client and programs that use it: built once for all checkouts, in the user's cache folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.go_program import NotAvailable
from tests.support.rust_program import CACHE
from tests.support.server import ROOT

CLIENT: Final = ROOT / "clients" / "cpp"
_TOOLS: Final = ("cmake", "make", "g++", "protoc", "grpc_cpp_plugin")
_PARALLEL: Final = "2"
# What is built here runs for seconds; headers are read once for many files.
_QUICKLY: Final = "-DCMAKE_CXX_FLAGS=-O0"
_TOGETHER: Final = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=12")


def install_client() -> Path:
    """Build the client and install it, by CMake's own commands; the prefix. NotAvailable without Debian's gRPC."""
    # Also for what is in the cache already: it runs with gRPC's libraries, and a cache outlives a machine.
    subprocess.run(["tools/setup.sh", "cpp"], cwd=ROOT, capture_output=True, check=False)
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise NotAvailable(f"the C++ client needs {', '.join(missing)}: tools/setup.sh cpp")
    prefix = CACHE / f"cpp-{_digest(CLIENT)}"
    if prefix.exists():
        return prefix
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE) as scratch:
        build, installed = Path(scratch) / "build", Path(scratch) / "installed"
        try:
            _cmake("-S", CLIENT, "-B", build, f"-DCMAKE_INSTALL_PREFIX={installed}", _QUICKLY, *_TOGETHER)
        except RuntimeError as error:
            raise NotAvailable(f"the C++ client finds no gRPC: {error}") from error
        _cmake("--build", build, "--parallel", _PARALLEL)
        _cmake("--install", build)
        # Another checkout may have been first.
        if not prefix.exists():
            installed.rename(prefix)
    return prefix


def cpp_build(project: Path, program: str) -> Path:
    """Build a program of a CMake project that finds the client, unless one of the same sources is there."""
    prefix = install_client()
    place = CACHE / f"{prefix.name}-{program}-{_digest(project)}"
    if not place.exists():
        with TemporaryDirectory(dir=CACHE) as scratch:
            build = Path(scratch)
            _cmake("-S", project, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", _QUICKLY)
            _cmake("--build", build, "--parallel", _PARALLEL, "--target", program)
            if not place.exists():
                (build / program).rename(place)
    return place


def _cmake(*arguments: str | Path) -> None:
    ran = subprocess.run(["cmake", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"cmake {' '.join(map(str, arguments))}:\n{ran.stdout[-4_000:]}{ran.stderr[-4_000:]}")


def _digest(folder: Path, but: Sequence[str] = ("README.md", "test")) -> str:
    """Of every source below a folder."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in but:
            digest.update(f"\0{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
