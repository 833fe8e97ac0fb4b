"""Writes the state diagram of service/DESIGN.md from the transition table of session/state.py.

`python -m tools.make_state_diagram` writes, `python -m tools.make_state_diagram --check` only compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from noisegate_server.session.state import TRANSITIONS, SessionState

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "service" / "DESIGN.md"
BEGIN: Final = "```mermaid\nstateDiagram-v2\n"
END: Final = "```\n"


def diagram() -> str:
    """The block's lines: every transition of the table in its order, and where a life begins and ends."""
    lines = [f"[*] --> {SessionState.HANDSHAKING.name}"]
    lines += [f"{before.name} --> {after.name}: {event.name}" for (before, event), after in TRANSITIONS.items()]
    lines.append(f"{SessionState.TERMINATED.name} --> [*]")
    return "".join(f"    {line}\n" for line in lines)


def replaced(text: str) -> str:
    """The document with the diagram of now. ValueError where it has no block for it."""
    begin = text.index(BEGIN) + len(BEGIN)
    return text[:begin] + diagram() + text[text.index(END, begin) :]


def main(arguments: list[str]) -> int:
    """Writes the diagram, or with --check says whether it is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.make_state_diagram [--check]", file=sys.stderr)
        return 2
    text = FILE.read_text(encoding="utf-8")
    fresh = replaced(text)
    if not arguments:
        FILE.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        print("the state diagram of service/DESIGN.md is stale: python -m tools.make_state_diagram")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
