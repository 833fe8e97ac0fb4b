"""Writes the committed stubs of proto/noisegate/v1, one language after the other.

protoc lives in .venv-codegen (requirements/codegen.txt): an old one, so that the stubs load on old and new protobuf
runtimes. `python -m tools.generate` writes, `python -m tools.generate --check` only compares. A language whose tools
this machine does not have is passed over, with the reason; with NOISEGATE_REQUIRE_ALL=1 that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATOR = ROOT / ".venv-codegen" / "bin"
GO_PLUGINS = ROOT / ".setup" / "protoc-gen-go"
TYPESCRIPT = ROOT / "clients" / "typescript"
ES_PLUGIN = TYPESCRIPT / "node_modules" / ".bin" / "protoc-gen-es"
PACKAGE = Path("noisegate") / "v1"
GO_MODULE = "github.com/noisegate/noisegate/clients/go"
INIT = '"""Generated from proto/noisegate/v1 by `make generate`; do not edit."""\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language whose stubs are committed."""

    name: str
    """For people."""
    client: Path
    """Its folder in the repository, below which noisegate/v1 has nothing but stubs."""
    suffixes: tuple[str, ...]
    """Of the files that are stubs."""
    generate: Callable[[Path], None]
    """Writes noisegate/v1 below a folder; raises CalledProcessError where protoc refuses a file."""
    missing: Callable[[], str] = lambda: ""
    """What this machine lacks for it; empty for nothing."""


def protoc(protos: Sequence[Path], plugins: Sequence[Path], *options: str) -> None:
    """Runs protoc over some files; raises CalledProcessError where it refuses one."""
    command = [str(GENERATOR / "python"), "-m", "grpc_tools.protoc", f"-I{PROTO}"]
    command += [f"--plugin={plugin.name}={plugin}" for plugin in plugins]
    subprocess.run([*command, *options, *map(str, protos)], check=True)


def contract() -> list[Path]:
    """Every file of the contract."""
    return sorted((PROTO / PACKAGE).glob("*.proto"))


def python_stubs(out: Path) -> None:
    """Messages and services with their types."""
    plugins = [GENERATOR / "protoc-gen-mypy", GENERATOR / "protoc-gen-mypy_grpc"]
    services = [proto for proto in contract() if "\nservice " in proto.read_text(encoding="utf-8")]
    protoc(contract(), plugins, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    # A file without a service would get an empty _pb2_grpc.py that imports grpc for nothing.
    protoc(services, plugins, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")
    (out / PACKAGE / "__init__.py").write_text(INIT, encoding="utf-8")


def go_stubs(out: Path) -> None:
    """One package, noisegatev1; only services give a _grpc.pb.go."""
    plugins = [GO_PLUGINS / "protoc-gen-go", GO_PLUGINS / "protoc-gen-go-grpc"]
    options = [f"--{kind}_{which}" for kind in ("go", "go-grpc") for which in (f"out={out}", f"opt=module={GO_MODULE}")]
    protoc(contract(), plugins, *options)


def go_missing() -> str:
    """The plugins are built by Go."""
    if (GO_PLUGINS / "protoc-gen-go").exists():
        return ""
    return "Go is not installed" if shutil.which("go") is None else "tools/setup.sh go has not run"


def typescript_stubs(out: Path) -> None:
    """Messages, and services as descriptors, which the SDK calls by; ESM, so imports name the compiled files."""
    protoc(contract(), [ES_PLUGIN], f"--es_out={out}", "--es_opt=target=ts,import_extension=js")


def typescript_missing() -> str:
    """The plugin is a development dependency of the client."""
    if ES_PLUGIN.exists():
        return ""
    return "Node is not installed" if shutil.which("npm") is None else "tools/setup.sh typescript has not run"


def descriptors(out: Path) -> None:
    """The contract in one file, comments included: the client's own build makes the stubs of that."""
    (out / PACKAGE).mkdir(parents=True)
    whole = out / PACKAGE / "contract.binpb"
    protoc(contract(), [], f"--descriptor_set_out={whole}", "--include_imports", "--include_source_info")


LANGUAGES: Sequence[Language] = (
    Language(name="Python", client=ROOT / "clients" / "python", suffixes=(".py", ".pyi"), generate=python_stubs),
    Language(name="Go", client=ROOT / "clients" / "go", suffixes=(".go",), generate=go_stubs, missing=go_missing),
    Language(
        name="TypeScript",
        client=TYPESCRIPT / "src",
        suffixes=(".ts",),
        generate=typescript_stubs,
        missing=typescript_missing,
    ),
    Language(name="C++", client=ROOT / "clients" / "cpp", suffixes=(".binpb",), generate=descriptors),
    Language(name="Rust", client=ROOT / "clients" / "rust" / "proto", suffixes=(".binpb",), generate=descriptors),
)


def contents(folder: Path, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """File name -> bytes of every stub in `folder`."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.suffix in suffixes}


def differences(fresh: dict[str, bytes], committed: dict[str, bytes]) -> list[str]:
    """Names of files that are missing, left over or different."""
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def bring(language: Language, *, check: bool) -> bool:
    """Writes the stubs of one language, or says which are stale; whether all is as it should be."""
    committed = language.client / PACKAGE
    with tempfile.TemporaryDirectory() as scratch:
        language.generate(Path(scratch))
        made = Path(scratch) / PACKAGE
        fresh = contents(made, language.suffixes)
        stale = differences(fresh, contents(committed, language.suffixes))
        for name in stale:
            path = committed / name
            if check:
                print(f"stale generated file: {path.relative_to(ROOT)} (make generate)")
                continue
            if name in fresh:
                committed.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made / name, path)
            else:
                path.unlink()
            print(f"generated {path.relative_to(ROOT)}")
    return not (check and stale)


def main(arguments: list[str]) -> int:
    """Generates, or with --check says what is stale; returns the exit code."""
    check = arguments == ["--check"]
    if arguments and not check:
        print("usage: python -m tools.generate [--check]", file=sys.stderr)
        return 2
    good = True
    for language in LANGUAGES:
        if reason := language.missing():
            print(f"stubs for {language.name} are passed over: {reason}")
            good &= os.environ.get("NOISEGATE_REQUIRE_ALL") != "1"
        else:
            good &= bring(language, check=check)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
