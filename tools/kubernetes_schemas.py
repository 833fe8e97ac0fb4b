"""Lays out the JSON schemas of Kubernetes' own resources as kubeconform reads them, without a network.

`python -m tools.kubernetes_schemas PACKAGE OUT`: PACKAGE is an unpacked kubernetes-validate, as
requirements/kubernetes.txt names it. Its files have addresses for names, and refer to one of definitions by such an
address; those in OUT have none, and refer to the file beside them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

VERSIONS: Final = ("1.30.0", "1.37.0")
"""The oldest release that the chart is for (`kubeVersion`) and the newest with published schemas."""

_ADDRESS: Final = '"/api/_definitions.json#'
_BESIDE: Final = '"_definitions.json#'
_KIND: Final = "x-kubernetes-group-version-kind"


def lay_out(package: Path, out: Path) -> int:
    """Writes `OUT/VERSION/KIND-GROUP-VERSION.json`, unknown fields refused; returns how many files."""
    written = 0
    for version in VERSIONS:
        source = package / "kubernetes_validate" / "kubernetes-json-schema" / f"v{version}-local-strict"
        folder = out / version
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.glob("*.json")):
            text = path.read_text(encoding="utf-8")
            if _KIND in text:
                schema = json.loads(text.replace(_ADDRESS, _BESIDE))
                schema.pop("$id", None)
                (folder / path.name).write_text(json.dumps(schema), encoding="utf-8")
                written += 1
    return written


def main(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    package, out = (Path(argument) for argument in arguments)
    if lay_out(package, out) < 2 * len(VERSIONS):
        print(f"{package}: has no schemas of Kubernetes {', '.join(VERSIONS)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
