"""Refuses tracked files that tie the repository to one machine or one package registry.

`python -m tools.check_tracked [ROOT]` reads what git tracks, and what it would track, below ROOT.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

# In pieces, or this file would refuse itself.
REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("index", "docker", "io"),
        ("rubygems", "org"),
        ("api", "nuget", "org"),
    )
)

# Options and fields that carry an address even where its host is unknown to the table above.
REGISTRY_SETTINGS = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links", '"resolved":' + ' "http')

LOCK_FILES = frozenset({"uv.lock", "pylock.toml", "Cargo.lock", "poetry.lock", "Pipfile.lock"})

# Absolute paths of a person's or a build machine's home; paths of an image or of /tmp are nobody's machine.
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:home|Users|root|work|workspace|builds)/[\w.-]+")
CONTENT_RULES = (
    ("a registry's host name", re.compile("|".join(rf"\b{re.escape(host)}\b" for host in REGISTRY_HOSTS))),
    ("a registry setting", re.compile("|".join(re.escape(setting) for setting in REGISTRY_SETTINGS))),
    ("a path of one machine", MACHINE_PATH),
)


def tracked(root: Path) -> list[str]:
    """Paths below root that git tracks, or would on `git add --all`, and that exist."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return sorted({name for name in listing.split("\0") if name and (root / name).is_file()})


def complaints_of(name: str, text: str) -> Iterator[str]:
    """Complaints about one file: at most one per rule and line."""
    if PurePosixPath(name).name in LOCK_FILES:
        yield f"{name}: a lock file that records addresses"
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in CONTENT_RULES:
            if pattern.search(line):
                yield f"{name}:{number}: {what}"


def complaints(root: Path, names: Iterable[str]) -> list[str]:
    """Complaints about every named file; files that are not text have only their names checked."""
    lines: list[str] = []
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = ""
        lines.extend(complaints_of(name, text))
    return lines


def main(arguments: list[str]) -> int:
    """Prints the complaints; returns the exit code."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    lines = complaints(root, tracked(root))
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
