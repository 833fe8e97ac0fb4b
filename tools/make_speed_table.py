"""Writes the README's tables of figures from what a run of the bench has printed.

`python -m tools.make_speed_table FILE [README]`: FILE is what `noisegate bench --json FILE` or `make bench-peers` has
written. Rows that it does not have keep the figures of the run before. What a row compares is in the file as well, so
that README and bench cannot say different things.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| `(?P<id>[a-z0-9-]+)` \| (?P<what>.*?) \| (?P<reference>.*?) \| (?P<seen>.*?) \|$", re.MULTILINE)


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def line(row: dict[str, Any]) -> str:
    """A line of the table."""
    seen = f"**{number(row['ratio'])}** ({number(row['low'])} to {number(row['high'])})"
    return f"| `{row['id']}` | {row['what']} | {row['reference']} | {seen} |"


def update(text: str, rows: Iterable[dict[str, Any]]) -> str:
    """The README with these rows in their places; KeyError for a row that has no place."""
    new = {row["id"]: line(row) for row in rows}
    places = {found["id"] for found in ROW.finditer(text)}
    if unknown := sorted(set(new) - places):
        raise KeyError(f"no line of the README begins with: {', '.join(unknown)}")
    return ROW.sub(lambda found: new.get(found["id"], found[0]), text)


def main() -> int:
    """Write it."""
    readme = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "README.md"
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    readme.write_text(update(readme.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
