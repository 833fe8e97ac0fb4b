"""Memory of this process in pages of 2 MiB instead of 4 KiB, where Linux gives them: madvise(2), MADV_COLLAPSE (6.1).

Of very many sessions each packet meets some ten objects that are in no cache of the processor, each on a page of its
own; and to look up where that page is costs about as much as to fetch from it, since the tables that say so are in no
cache either. A page of 2 MiB needs one entry of them where there were 512.

By default the system gives such pages only to who asks, and Python's allocator does not ask. To put one together takes
some milliseconds, in which the process gets no other memory: so a thread of its own does it, half of the time, for what
is new alone. And only where all 512 pages are in use already, so that nothing becomes larger by it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["HUGE", "HugePages", "keep_huge"]

HUGE: Final = 2 * 1024 * 1024
_PAGE: Final = 4_096
_MADV_COLLAPSE: Final = 25
_MAPS: Final = Path("/proc/self/maps")
"""proc(5): a line for each mapping, with its addresses, rights, offset, device, inode and name."""
_HEAP: Final = {"", "[heap]"}
_LATER: Final = {errno.EAGAIN, errno.EBUSY, errno.ENOMEM}
"""No such page is free, or the container's limit is reached."""
_REST: Final = 1.0
"""Seconds until it looks for more where it has found some."""
_LONG_REST: Final = 5.0
"""And where it has not."""


def keep_huge() -> threading.Thread:
    """From here on put the memory of this process into huge pages as it comes into use, if the system does it at all.

    A thread, and no task of the loop: that may be busy for as long as memory grows.
    """
    thread = threading.Thread(target=_keep_huge, name="huge pages", daemon=True)
    thread.start()
    return thread


def _keep_huge() -> None:
    pages = HugePages()
    while pages.is_supported:
        found = False
        for seconds in pages.collapse():
            # As long again: who waits for memory comes before the next.
            time.sleep(seconds)
            found = True
        time.sleep(_REST if found else _LONG_REST)


class HugePages:
    """What has been asked for so far. One thread at a time."""

    def __init__(self, maps: Path = _MAPS) -> None:
        self._maps: Final = maps
        self.is_supported = os.sysconf("SC_PAGE_SIZE") == _PAGE and maps.exists()
        """Whether it is worth another try."""
        self._asked: set[int] = set()
        """Where the ranges begin that were asked for. One that is given back, and comes again, is left as it is."""
        self.collapsed = 0
        """How many the system has put together."""
        self._in_use = ctypes.create_string_buffer(HUGE // _PAGE)
        try:
            # Over in some microseconds, and so without giving up the interpreter's lock; the other is not.
            self._mincore = ctypes.PyDLL(None).mincore
            self._madvise = ctypes.CDLL(None, use_errno=True).madvise
        except (AttributeError, OSError):
            self.is_supported = False

    def collapse(self) -> Iterator[float]:
        """Ask for what has come into use, page by page; the seconds of CPU time that each has taken.

        It ends where the system has none to give at present: to ask for the next ones would keep it busy for nothing.
        """
        try:
            maps = self._maps.read_text(encoding="utf-8", errors="replace")
        except OSError:
            self.is_supported = False
            return
        for start in heap(maps):
            if start not in self._asked and self._is_in_use(start):
                began = time.thread_time()
                if not self._ask(start):
                    return
                yield time.thread_time() - began

    def _is_in_use(self, start: int) -> bool:
        """Whether the system has given memory for each of its pages."""
        failed: int = self._mincore(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), self._in_use)
        return not failed and 0 not in self._in_use.raw

    def _ask(self, start: int) -> bool:
        """Ask for one huge page; False where it makes no sense to ask for another one now, or ever."""
        failed: int = self._madvise(ctypes.c_void_p(start), ctypes.c_size_t(HUGE), _MADV_COLLAPSE)
        error = ctypes.get_errno() if failed else 0
        if error in _LATER:
            return False
        self._asked.add(start)
        self.collapsed += not failed
        self.is_supported = self.collapsed > 0 or error != errno.EINVAL
        return self.is_supported


def heap(maps: str) -> Iterator[int]:
    """Where the ranges of 2 MiB begin, themselves at a multiple of it, that are memory of this process alone."""
    for line in maps.splitlines():
        addresses, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights == "rw-p" and inode == "0" and "".join(name).strip() in _HEAP:
            first, _, end = addresses.partition("-")
            yield from range(-(-int(first, 16) // HUGE) * HUGE, int(end, 16) // HUGE * HUGE, HUGE)
