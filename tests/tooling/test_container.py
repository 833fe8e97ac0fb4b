"""The container image: what its Dockerfile says, and what a container of it does, without an engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from noisegate_server import __version__
from tests.support.image import ROOT, Image, Step, context, stages

# Installing reaches for the disk and, on a first run, for the package registry.
pytestmark = pytest.mark.timeout(300)

LISTENING = re.compile(r"noisegate listening on (127\.0\.0\.1:\d+)\n")


def value(stage: list[Step], name: str) -> str:
    """Of the one instruction of that name."""
    (found,) = (step.value for step in stage if step.name == name)
    return found


def test_what_runs_has_no_shell_no_root_and_no_step_of_its_own() -> None:
    """The last stage copies one folder; its words are a list, so that signals reach the service itself."""
    build, last = stages()
    assert build[0].value.endswith(" AS build")
    assert [step.name for step in last if step.name in ("RUN", "ADD")] == []
    assert value(last, "COPY") == "--from=build /opt/noisegate /opt/noisegate"
    assert value(last, "USER") == "65532:65532"
    assert value(last, "STOPSIGNAL") == "SIGTERM"
    assert value(last, "HEALTHCHECK") == "NONE"
    assert json.loads(value(last, "ENTRYPOINT")) == ["/opt/noisegate/bin/noisegate"]


def test_everything_that_is_installed_is_checked_by_its_hash_or_built_here() -> None:
    """Of the lock files, or from the sources beside them."""
    runs = [step.value for stage in stages() for step in stage if step.name == "RUN"]
    installs = [words for run in runs for words in run.split("&&") if " install" in words]
    assert len(installs) == 3
    for words in installs:
        assert "--require-hashes" in words or "--no-index" in words, words
    assert {name for words in installs for name in re.findall(r"-r (\S+)", words)} == {
        "requirements/build.txt",
        "requirements/server.txt",
    }


def test_nothing_is_sent_to_the_engine_but_what_is_copied() -> None:
    """No test, no tool, no key that lies about."""
    sources = [word for step in stages()[0] if step.name == "COPY" for word in step.value.split()[:-1]]
    for name in context():
        assert any(name == source or name.startswith(f"{source}/") for source in sources), name


def test_the_built_image_tells_its_version_and_has_no_installer(image: Image) -> None:
    """Nobody can add to what runs."""
    told = subprocess.run(image.words("--version"), capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == f"noisegate {__version__}\n"
    assert [path.name for path in image.path("/opt/noisegate/bin").glob("pip*")] == []
    assert "Usage" in subprocess.run(image.words(), capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_container_serves_and_stops_by_its_signal_and_writes_nothing(image: Image, tmp_path: Path) -> None:
    """Started by the words of ENTRYPOINT with the environment of the image alone, in an empty folder."""
    before = _listing(image.root)
    environment = {
        **image.environment,
        "PATH": os.pathsep.join((str(image.path("/opt/noisegate/bin")), os.environ["PATH"])),
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
    }
    with subprocess.Popen(
        image.words("serve", "--dev", "--listen", "127.0.0.1:0"),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as container:
        try:
            assert container.stdout is not None
            line = container.stdout.readline()
            listening = LISTENING.fullmatch(line)
            assert listening, line
            asked = subprocess.run(
                image.words("health", "--target", listening[1]),
                env=environment, capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            assert (asked.returncode, asked.stdout) == (0, "serving\n"), asked.stderr
            container.send_signal(getattr(signal, image.stop_signal))
            container.communicate(timeout=30)
        finally:
            container.kill()
    assert container.returncode == 0
    assert _listing(image.root) == before
    assert list(tmp_path.iterdir()) == []


def _listing(root: Path) -> set[tuple[str, int]]:
    """Every file with the time of its last change."""
    return {(str(path), path.lstat().st_mtime_ns) for path in root.rglob("*")}


def test_the_bill_of_materials_has_every_package_with_version_and_hashes() -> None:
    """`make sbom`, against the lock file."""
    subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    bill = json.loads((ROOT / "build" / "noisegate-server.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "noisegate-server"
    listed = {(each["name"], each["version"]) for each in bill["components"]}
    text = (ROOT / "requirements" / "server.txt").read_text(encoding="utf-8")
    assert listed == set(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))
    for each in bill["components"]:
        assert each["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256"
