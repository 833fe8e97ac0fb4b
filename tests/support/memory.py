"""The memory of a running process, searched for secrets that a test knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.vectors import not_available

_PAGE = 4_096
_SLICE = 4 * 1024 * 1024
_ZEROS = bytes(_PAGE)


def regions(pid: int) -> list[tuple[int, int]]:
    """(first address, one after the last) of all memory that the process may write: heap, stacks, arenas."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="ascii", errors="replace").splitlines():
        span, rights, *_ = line.split()
        if rights.startswith("rw"):
            first, _, last = span.partition("-")
            found.append((int(first, 16), int(last, 16)))
    return found


def _written(pid: int) -> Iterator[bytes]:
    """All pages that are not empty, those that follow each other in one piece."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for first, last in regions(pid):
            pages: list[bytes] = []
            for start in range(first, last, _SLICE):
                memory.seek(start)
                try:
                    data = memory.read(min(_SLICE, last - start))
                except OSError:
                    # Mapped, and not to be read: a guard page, or the kernel's own.
                    data = b""
                for at in range(0, len(data), _PAGE):
                    page = data[at : at + _PAGE]
                    if page != _ZEROS:
                        pages.append(page)
                    elif pages:
                        yield b"".join(pages)
                        pages.clear()
            if pages:
                yield b"".join(pages)


def count(pid: int, needles: Mapping[str, bytes]) -> dict[str, int]:
    """How often each needle lies in the process's writable memory; skips where the system does not let us read it."""
    found = dict.fromkeys(needles, 0)
    try:
        for piece in _written(pid):
            for name, needle in needles.items():
                found[name] += piece.count(needle)
    except PermissionError:
        not_available("the memory of another process cannot be read here: run as root, or allow ptrace of children")
    return found
