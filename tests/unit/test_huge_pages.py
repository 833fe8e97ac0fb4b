"""Huge pages: what is asked for, that the system gives it, and that nothing that lies there changes."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from noisegate_server.huge_pages import HUGE, HugePages, heap
from tests.support.vectors import not_available

SMALL = 4_096
RANGES = 6
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


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a test's own, of which nothing was used yet: some whole ranges of 2 MiB of it."""

    area: mmap.mmap
    first: int
    """Where the first of them begins in the area."""
    address: int
    """And in memory."""

    def use(self, ranges: int, *, without: int = 0) -> None:
        """Write to every page of the first ranges, but for so many at the end."""
        for at in self._pages(ranges, without):
            self.area[at : at + 8] = at.to_bytes(8, "big")

    def holds(self, ranges: int, *, without: int = 0) -> bool:
        """Whether all of that is there."""
        return all(self.area[at : at + 8] == at.to_bytes(8, "big") for at in self._pages(ranges, without))

    def huge(self) -> int:
        """Bytes in huge pages, of the mappings that this memory is in."""
        found, inside = 0, False
        for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
            first, _, rest = line.partition(" ")
            if "-" in first and not first.endswith(":"):
                low, high = (int(each, 16) for each in first.split("-"))
                inside = low < self.address + RANGES * HUGE and high > self.address
            elif inside and first == "AnonHugePages:":
                found += int(rest.split()[0]) * 1024
        return found

    def _pages(self, ranges: int, without: int) -> range:
        return range(self.first, self.first + ranges * HUGE - without * SMALL, SMALL)


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Taken anew."""
    with mmap.mmap(-1, (RANGES + 1) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        start = _address(area)
        address = -(-start // HUGE) * HUGE
        yield Memory(area, address - start, address)


def _address(area: mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(area)).from_buffer(area))


@pytest.fixture
def pages(memory: Memory, tmp_path: Path) -> HugePages:
    """For this memory alone: of what else this process has nothing is asked for."""
    maps = tmp_path / "maps"
    maps.write_text(f"{memory.address:x}-{memory.address + RANGES * HUGE:x} rw-p 00000000 00:00 0\n")
    pages = HugePages(maps)
    if not pages.is_supported:
        not_available("no pages of 4 KiB")
    return pages


def test_what_is_in_use_is_put_together_and_stays_as_it_is(memory: Memory, pages: HugePages) -> None:
    """Once; and a range of which a single page was never used is left alone, so that nothing becomes larger."""
    memory.use(4, without=1)
    before = memory.huge()
    assert all(seconds > 0 for seconds in pages.collapse())
    if not pages.is_supported:
        not_available("this Linux puts no pages together: it is older than 6.1, or made without")
    assert pages.collapsed == 3
    assert memory.huge() - before == 3 * HUGE
    assert memory.holds(4, without=1)
    assert not list(pages.collapse())
    memory.use(4)
    assert len(list(pages.collapse())) == 1


def test_a_system_that_puts_none_together_is_not_asked_again(memory: Memory, pages: HugePages) -> None:
    """It says so of the first range, as Linux does of one that must not have such pages."""
    memory.use(2)
    memory.area.madvise(mmap.MADV_NOHUGEPAGE)
    assert list(pages.collapse()) == []
    assert not pages.is_supported


def test_where_there_is_none_at_present_it_is_asked_again_later(memory: Memory, pages: HugePages) -> None:
    """ENOMEM, here of a range that was given back in between; the look ends there, and the next one begins anew."""
    memory.use(1)
    assert not pages._ask(HUGE)
    assert pages.is_supported
    assert len(list(pages.collapse())) == 1


def test_without_a_list_of_its_memory_nothing_is_asked_for(tmp_path: Path) -> None:
    """Where there is no proc file system, or none that may be read."""
    pages = HugePages(tmp_path / "maps")
    assert not pages.is_supported
    assert list(pages.collapse()) == []
