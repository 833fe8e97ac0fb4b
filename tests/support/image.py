"""The Dockerfile, read by its parse tree and walked without an engine: its steps, in a folder in place of the root.

Only what this Dockerfile uses is known; anything else is an error, so that nothing is passed over in silence.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dockerfile_parse import DockerfileParser

__all__ = ["Image", "Step", "context", "entrypoint", "stages", "walk"]

ROOT: Final = Path(__file__).resolve().parents[2]
_STEP_SECONDS: Final = 280
_ABSOLUTE: Final = re.compile(r"(?<![\w./])/(?=build|opt)")
"""Where a path of the image begins that a step writes to."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    name: str
    value: str


def stages() -> list[list[Step]]:
    """The instructions of each stage, its FROM first; what stands before the first is left out."""
    parser = DockerfileParser(path=str(ROOT / "Dockerfile"))
    found: list[list[Step]] = []
    for each in parser.structure:
        step = Step(each["instruction"], each["value"])
        if step.name == "FROM":
            found.append([])
        if found and step.name != "COMMENT":
            found[-1].append(step)
    return found


def entrypoint() -> list[str]:
    """The words of ENTRYPOINT, where the environment of the tests is in the image's place."""
    (words,) = (json.loads(step.value) for step in stages()[-1] if step.name == "ENTRYPOINT")
    return [str(Path(sys.executable).with_name(Path(words[0]).name)), *words[1:]]


def context() -> Iterator[str]:
    """What .dockerignore lets through of the files that git tracks: `*`, then exceptions by exact path."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in sorted(filter(None, listing.split("\0"))):
        if (ROOT / name).is_file() and any(name == each or name.startswith(f"{each}/") for each in kept):
            yield name


@dataclass(slots=True)
class Image:
    """What the last stage leaves: its files below `root`, and how a container of it starts."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    user: str = ""
    stop_signal: str = ""

    def path(self, inside: str) -> Path:
        """Where a path of the image is."""
        return self.root / inside.lstrip("/")

    def words(self, *arguments: str) -> list[str]:
        """A container's command line, with `arguments` in place of CMD."""
        first, *rest = self.entrypoint
        return [str(self.path(first)), *rest, *(arguments or self.command)]


def walk(folder: Path) -> Image:
    """Build as an engine would, below `folder`. AssertionError for an instruction that is not known here."""
    built: dict[str, Path] = {}
    image = Image(folder)
    for number, stage in enumerate(stages()):
        image = Image(folder / str(number))
        image.root.mkdir(parents=True)
        folder_of_steps = image.root
        for step in stage:
            match step.name:
                case "FROM":
                    name = step.value.partition(" AS ")[2]
                    built[name or str(number)] = image.root
                case "WORKDIR":
                    folder_of_steps = image.path(step.value)
                    folder_of_steps.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    _copy(step.value, folder_of_steps, image, built)
                case "RUN":
                    _run(step.value, folder_of_steps, image)
                case "ENV":
                    image.environment |= dict(word.split("=", 1) for word in shlex.split(step.value))
                case "ENTRYPOINT":
                    image.entrypoint = json.loads(step.value)
                case "CMD":
                    image.command = json.loads(step.value)
                case "USER":
                    image.user = step.value
                case "STOPSIGNAL":
                    image.stop_signal = step.value
                case _:
                    assert step.name in ("LABEL", "EXPOSE", "HEALTHCHECK"), step
    return image


def _run(text: str, folder: Path, image: Image) -> None:
    # Its base has `python` on the path; here that is the one which runs the tests.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = _ABSOLUTE.sub(f"{image.root}/", text)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _copy(text: str, folder: Path, image: Image, built: dict[str, Path]) -> None:
    *sources, target = shlex.split(text)
    if sources[0].startswith("--from="):
        stage = built[sources.pop(0).removeprefix("--from=")]
        (source,) = sources
        # Environments know their own path: the stages share it in an image, so here the copy is a link.
        destination = image.path(target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.symlink_to(stage / source.lstrip("/"))
        return
    sent = list(context())
    for source in sources:
        names = [name for name in sent if name == source or name.startswith(f"{source}/")]
        assert names, f"COPY {source}: .dockerignore lets nothing of it through"
        for name in names:
            inside = Path(target, Path(name).name if name == source else Path(name).relative_to(source))
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / inside)
