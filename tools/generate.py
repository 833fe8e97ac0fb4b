"""Writes the Python stubs of proto/noisegate/v1 into clients/python/noisegate/v1.

The generator lives in .venv-codegen (requirements/codegen.txt): an old protoc, so that the stubs load on old and new
protobuf runtimes. `python -m tools.generate` writes, `python -m tools.generate --check` only compares.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATOR = ROOT / ".venv-codegen" / "bin"
PACKAGE = Path("noisegate") / "v1"
COMMITTED = ROOT / "clients" / "python" / PACKAGE
INIT = '"""Generated from proto/noisegate/v1 by `make generate`; do not edit."""\n'


def run_protoc(out: Path) -> None:
    """Generates every stub below `out`; raises CalledProcessError where protoc refuses a file."""
    protos = sorted((PROTO / PACKAGE).glob("*.proto"))
    services = [proto for proto in protos if "\nservice " in proto.read_text(encoding="utf-8")]
    plugins = [f"--plugin={name}={GENERATOR / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    protoc = [str(GENERATOR / "python"), "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins]
    # A file without a service would get an empty _pb2_grpc.py that imports grpc for nothing.
    for outputs, files in (
        (("--python_out", "--mypy_out"), protos),
        (("--grpc_python_out", "--mypy_grpc_out"), services),
    ):
        arguments = [f"{output}=quiet:{out}" if "mypy" in output else f"{output}={out}" for output in outputs]
        subprocess.run([*protoc, *arguments, *map(str, files)], check=True)
    (out / PACKAGE / "__init__.py").write_text(INIT, encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """File name -> bytes of every Python file and stub in `folder`."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.py*")) if path.is_file()}


def differences(fresh: dict[str, bytes], committed: dict[str, bytes]) -> list[str]:
    """Names of files that are missing, left over or different."""
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main(arguments: list[str]) -> int:
    """Generates, or with --check says what is stale; returns the exit code."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: python -m tools.generate [--check]", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        run_protoc(out)
        fresh = contents(out / PACKAGE)
        stale = differences(fresh, contents(COMMITTED))
        if check:
            for name in stale:
                print(f"stale generated file: {COMMITTED.relative_to(ROOT) / name} (make generate)")
            return 1 if stale else 0
        COMMITTED.mkdir(parents=True, exist_ok=True)
        for name in stale:
            if name in fresh:
                shutil.copyfile(out / PACKAGE / name, COMMITTED / name)
            else:
                (COMMITTED / name).unlink()
            print(f"generated {COMMITTED.relative_to(ROOT) / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
