"""Both distributions build, share no file, and work when installed outside the checkout."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.image import Image

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"noisegate_server": ROOT / "service", "noisegate": ROOT / "clients" / "python"}
LISTENING = re.compile(r"noisegate listening on (127\.0\.0\.1:\d+)")

CALL = """
import sys
import grpc
from noisegate.v1 import session_crypto_service_pb2 as messages
from noisegate.v1.session_crypto_service_pb2_grpc import SessionCryptoServiceStub
with grpc.insecure_channel(sys.argv[1]) as channel:
    answer = SessionCryptoServiceStub(channel).GetCapabilities(messages.GetCapabilitiesRequest(), timeout=20)
print(answer.protocol_version, answer.server_version, len(answer.static_key))
"""

# Building and installing reach for the disk and, on a first run, for the package registry.
pytestmark = pytest.mark.timeout(300)


def project(path: str) -> dict[str, Any]:
    """The [project] table of a pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]
    return table


def requirements(name: str) -> set[str]:
    """The requirement lines of requirements/`name`.in."""
    lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-"))}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The two wheels, built from the checkout."""
    out = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, ROOT / "clients" / "python"):
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
        subprocess.run(command, check=True, capture_output=True)
    return sorted(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[Path], image: Image) -> Path:
    """The bin folder of a clean environment with the hashed server requirements and the two wheels: the image's."""
    folder = image.path("/opt/noisegate").resolve()
    python = str(folder / "bin" / "python")
    (packages,) = folder.glob("lib/python*/site-packages")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if ".dist-info/" not in name:
                    assert (packages / name).read_bytes() == archive.read(name), name
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "check"], check=True
    )
    return folder / "bin"


def clean_environment(home: Path) -> dict[str, str]:
    """No PYTHONPATH, no setting of the caller's shell."""
    return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"}


@contextmanager
def serving(command: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `noisegate serve --dev` and its HOST:PORT; killed at the end if it still runs."""
    with (
        (home / "stderr.txt").open("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [str(command), "serve", "--dev", "--listen", "127.0.0.1:0"],
            cwd=home,
            env=clean_environment(home),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = next(filter(None, map(LISTENING.search, process.stdout)), None)
            if found is None:
                errors.seek(0)
                pytest.fail(f"the server ended without listening: {errors.read()}")
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


def test_both_distributions_have_one_version_and_the_server_needs_that_sdk() -> None:
    """The stubs are one contract with the server, so they are released together."""
    server, sdk = project("pyproject.toml"), project("clients/python/pyproject.toml")
    assert server["version"] == sdk["version"]
    assert f"noisegate=={sdk['version']}" in server["dependencies"]


def test_the_hashed_lock_starts_from_the_declared_dependencies() -> None:
    """requirements/server.in says what pyproject.toml says, the SDK apart."""
    server, sdk = project("pyproject.toml"), project("clients/python/pyproject.toml")
    declared = set(server["dependencies"])
    assert requirements("server") == declared - {f"noisegate=={sdk['version']}"}
    assert set(sdk["dependencies"]) <= declared


def test_every_source_file_is_in_exactly_one_wheel(wheels: list[Path]) -> None:
    """Two distributions that share a file break each other when one is removed."""
    packed: list[str] = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            packed += [name for name in archive.namelist() if ".dist-info/" not in name]
    sources = [
        path.relative_to(root).as_posix()
        for package, root in SOURCES.items()
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    assert sorted(packed) == sorted(sources)
    assert {"noisegate/py.typed", "noisegate_server/py.typed"} <= set(packed)


def test_the_installed_server_answers_the_installed_sdk_and_stops_on_sigterm(installed: Path, tmp_path: Path) -> None:
    """What a user gets from the two wheels serves a call over a real socket and ends with exit code 0."""
    with serving(installed / "noisegate", tmp_path) as (process, address):
        call = [str(installed / "python"), "-I", "-c", CALL, address]
        answer = subprocess.run(
            call, cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.split() == ["1", project("pyproject.toml")["version"], "32"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_the_installed_demo_runs_to_its_end(installed: Path, tmp_path: Path) -> None:
    """`noisegate demo` needs nothing but the two wheels."""
    result = subprocess.run(
        [str(installed / "noisegate"), "demo"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
