"""Huge pages: what is asked for, that the system gives it, and that nothing that lies there changes."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from noisegate_server import huge_pages
from noisegate_server.huge_pages import HUGE, HugePages, heap

SMALL = 4_096
MAPS = """\
55d000000000-55d000001000 r-xp 00000000 fe:01 1234                       /usr/bin/python3
55d000100000-55d000700000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f00001ff000 rw-p 00000000 00:00 0
7f0000200000-7f0000600000 rw-p 00000000 00:00 0
7f0000800000-7f0000c00000 rw-s 00000000 00:01 77                         /dev/shm/shared
7f0001000000-7f0001400000 rw-p 00000000 fe:01 1234                       /usr/lib/data of somebody
7f0002000000-7f0002400000 ---p 00000000 00:00 0
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_only_whole_ranges_of_memory_of_this_process_alone_are_asked_for() -> None:
    """No files, no stack, nothing that is shared or may not be used, and nothing that begins or ends beside them."""
    assert [hex(start) for start in heap(MAPS)] == [
        "0x55d000200000",
        "0x55d000400000",
        "0x7f0000200000",
        "0x7f0000400000",
    ]


@pytest.fixture
def memory() -> Iterator[tuple[mmap.mmap, int]]:
    """Six huge pages' worth of memory that nobody has touched yet, and where it begins."""
    with mmap.mmap(-1, 6 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        yield area, _where(area)


@pytest.fixture
def pages(memory: tuple[mmap.mmap, int], monkeypatch: pytest.MonkeyPatch) -> HugePages:
    """For this memory alone: what else this process has is not looked at."""
    area, start = memory

    def in_area(maps: str) -> list[int]:
        return [each for each in heap(maps) if start <= each < start + len(area)]

    monkeypatch.setattr(huge_pages, "heap", in_area)
    pages = HugePages()
    if not pages.is_supported:
        pytest.skip("no pages of 4 KiB, or no proc file system")
    return pages


def _where(area: mmap.mmap) -> int:
    view = (ctypes.c_char * len(area)).from_buffer(area)
    start = ctypes.addressof(view)
    del view
    return start


def _huge(start: int, end: int) -> int:
    """Bytes in huge pages, of the mappings that this range is in."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            low, high = (int(each, 16) for each in first.split("-"))
            inside = low < end and high > start
        elif inside and first == "AnonHugePages:":
            found += int(rest.split()[0]) * 1024
    return found


def test_what_is_in_use_is_put_together_and_stays_as_it_is(memory: tuple[mmap.mmap, int], pages: HugePages) -> None:
    """Ranges of which a page was never used are left alone: nothing becomes larger."""
    area, start = memory
    first = -(-start // HUGE) * HUGE - start
    for at in range(first, first + 3 * HUGE, SMALL):
        area[at : at + 8] = at.to_bytes(8, "big")
    for at in range(first + 3 * HUGE, first + 4 * HUGE - SMALL, SMALL):
        area[at : at + 8] = at.to_bytes(8, "big")
    before = _huge(start, start + len(area))
    assert all(seconds > 0 for seconds in pages.collapse())
    if not pages.is_supported:
        pytest.skip("this Linux puts no pages together: it is older than 6.1, or made without")
    assert pages.collapsed == 3
    assert not list(pages.collapse())
    assert _huge(start, start + len(area)) - before == 3 * HUGE
    for at in range(first, first + 4 * HUGE - SMALL, SMALL):
        assert area[at : at + 8] == at.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("error", "supported", "asked"), [(errno.EINVAL, False, 1), (errno.ENOMEM, True, 2), (errno.EBUSY, True, 2)]
)
def test_a_system_that_cannot_is_asked_once_and_one_without_room_again(
    memory: tuple[mmap.mmap, int],
    pages: HugePages,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
    supported: bool,
    asked: int,
) -> None:
    """A container's limit may be reached now and not later: then no other range is asked for until the next look."""
    area, start = memory
    area[:] = b"\1" * len(area)
    calls: list[int] = []

    def madvise(where: ctypes.c_void_p, _size: object, _advice: int) -> int:
        calls.append(where.value or 0)
        ctypes.set_errno(error)
        return -1

    one = -(-start // HUGE) * HUGE
    monkeypatch.setattr(pages, "_madvise", madvise)
    monkeypatch.setattr(huge_pages, "heap", lambda _maps: [one, one + HUGE])
    for _ in range(2):
        if pages.is_supported:
            assert list(pages.collapse()) == []
    assert pages.is_supported is supported
    assert calls == [one] * asked
