"""The chart as Helm renders it, and the tools that check it, from `.helm`, which `tools/setup.sh helm` makes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.vectors import not_available

__all__ = ["CHART", "CHECKED", "ROOT", "Resource", "profiles", "render", "rendered", "run_tool", "schemas"]

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "noisegate"
CHECKED: Final = ROOT / ".helm"

Resource = dict[str, Any]
"""One rendered resource."""


def run_tool(
    tool: str, *arguments: str, text: str | None = None, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Helm, kubeconform or helm-unittest to its end, without this user's settings; skips where it is missing."""
    path = CHECKED / "bin" / tool
    if not path.is_file():
        not_available(f"{tool} is missing: tools/setup.sh helm builds it, with Go")
    return subprocess.run(
        [str(path), *arguments],
        input=text,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def schemas() -> list[str]:
    """The releases of Kubernetes whose schemas are at hand, oldest first."""
    found = [path.name for path in (CHECKED / "schemas").glob("*")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def profiles() -> dict[str, list[Path]]:
    """What of the chart is rendered: a name, and the files of values that belong to it."""
    files = {path.name.removesuffix("-values.yaml"): [path] for path in sorted((CHART / "ci").glob("*-values.yaml"))}
    files["sidecar"] = [CHART / "values-sidecar.yaml", *files["sidecar"]]
    return files


def render(
    files: Sequence[Path] = (), values: Mapping[str, object] | None = None, *, namespace: str = "arena"
) -> subprocess.CompletedProcess[str]:
    """`helm template` of release `games`; `values` by dotted name come on top of the files."""
    named = [f"--values={path}" for path in files]
    # As JSON, because this YAML and Helm's do not agree on which texts need quotes.
    text = json.dumps(_nested(values or {}))
    return run_tool(
        "helm", "template", "games", str(CHART), "--namespace", namespace, *named, "--values", "-", text=text
    )


def rendered(
    files: Sequence[Path] = (), values: Mapping[str, object] | None = None, *, namespace: str = "arena"
) -> list[Resource]:
    """The resources of a rendering that succeeds."""
    done = render(files, values, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return nested
