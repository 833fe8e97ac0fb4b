"""Refuses files of code and RPC functions that have grown too long to hold in one's head.

`python -m tools.check_sizes [ROOT]`: hand-written files of at most 400 lines, functions in the rpc package of at most
25 (docstrings not counted).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

FILE_LINES = 400
RPC_FUNCTION_LINES = 25

FOLDERS = ("service", "clients", "examples", "tests", "tools")
SUFFIXES = frozenset({".py", ".go", ".ts", ".mjs", ".java", ".cc", ".h", ".rs"})
NOT_OURS = frozenset({"node_modules", "dist", "target"})
GENERATED = ("clients/python/noisegate/v1/", "clients/go/noisegate/v1/", "clients/typescript/src/noisegate/v1/")
RPC = "service/noisegate_server/rpc"

# What may be longer, with the reason: "path" for a file, "path::function" for a function. An exception that nothing
# needs any longer is refused as well, so the table never outgrows the code.
EXCEPTIONS: Mapping[str, str] = {
    "service/noisegate_server/rpc/unary.py::unary": "the straight path of every call: each function split off costs it",
    "service/noisegate_server/rpc/unary.py::answer": "as `unary`, of which it is the inside",
    "service/noisegate_server/rpc/convert/one_content.py::_read": "hot: fields are read in the open, with no call each",
}


def source_files(root: Path) -> Iterator[tuple[str, str]]:
    """(path below root, text) of every hand-written file of code."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            ours = not name.startswith(GENERATED) and NOT_OURS.isdisjoint(name.split("/"))
            if path.suffix in SUFFIXES and ours and path.is_file():
                yield name, path.read_text(encoding="utf-8")


def functions(text: str) -> Iterator[tuple[str, int]]:
    """(name, lines from `def` to its end, decorators and docstring not counted) of every function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            has_docstring = ast.get_docstring(node, clean=False) is not None
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def oversized(root: Path) -> Iterator[tuple[str, int, int]]:
    """(key of the exceptions table, lines, limit) of everything that is too long."""
    for name, text in source_files(root):
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            yield name, lines, FILE_LINES
        if name.startswith(RPC + "/"):
            for function, length in functions(text):
                if length > RPC_FUNCTION_LINES:
                    yield f"{name}::{function}", length, RPC_FUNCTION_LINES


def complaints(root: Path, exceptions: Mapping[str, str]) -> list[str]:
    """One line for each thing that is too long and for each exception that nothing needs."""
    found = {key: (lines, limit) for key, lines, limit in oversized(root)}
    too_long = [
        f"{key}: {lines} lines, at most {limit}" for key, (lines, limit) in found.items() if key not in exceptions
    ]
    stale = [f"{key}: an exception that nothing needs" for key in exceptions if key not in found]
    return too_long + stale


def main(arguments: list[str]) -> int:
    """Prints the complaints; returns the exit code."""
    # The exceptions are this tree's: of another one they say nothing.
    lines = (
        complaints(Path(arguments[0]), {}) if arguments else complaints(Path(__file__).resolve().parents[1], EXCEPTIONS)
    )
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
