"""AEAD contexts of hot keys: a bounded cache beside the sessions, because a context costs 2.2 KB and a key 32 bytes.

A context is not session state: it can be dropped at any time and is built again from its key. Who has a key finds its
context on itself, in one step; the cache knows who has one, and takes the oldest away when there are too many. Keys
that are wiped must drop theirs, since a context holds a copy of the key.

A full cache keeps the context of a key only once that is needed again soon. Of a million sessions that come up in any
order hardly one is: to keep its context would push out one that may be, and to take memory that was used 16,384
contexts ago costs more than to build in the same 2 KB again and again, which stay in the processor's cache.
"""

from __future__ import annotations

from typing import Final

from noisegate_server.noise.primitives import Aead, Cipher


class Keyed:
    """Who has a key of which the cache may keep the context."""

    __slots__ = ("aead", "asked", "place")

    aead: Aead | None
    """The context, while the cache keeps it. Nobody else holds on to it, so that the cache's bound is one."""
    place: int
    """The cache's: where it noted this one. Of no meaning while there is no context."""
    asked: int
    """The cache's: in which of its turns a context was needed last that it did not keep; 0 at first."""


class AeadCache:
    """Who has a context at present; where there is no room, the one that was kept first goes first.

    Not safe for concurrent use: one event loop owns it.
    """

    __slots__ = ("_capacity", "_left", "_next", "_owners", "_turn")

    def __init__(self, capacity: int = 16_384) -> None:
        self._capacity: Final = capacity
        self._owners: Final[list[Keyed | None]] = []
        """A ring in the order of building, with holes where a context was dropped."""
        self._next = 0
        self._turn = 2
        """Turns are of half as many contexts as are kept: who was asked for in this one or the last is wanted soon."""
        self._left = capacity // 2

    def __len__(self) -> int:
        return len(self._owners) - self._owners.count(None)

    def build(self, owner: Keyed, cipher: Cipher, key: bytes | bytearray) -> Aead:
        """Build the context of `key` and return it; `owner`, which has none yet, has it from here on if it is kept."""
        owners, place, capacity = self._owners, self._next, self._capacity
        if len(owners) < capacity:
            owners.append(owner)
        else:
            oldest = owners[place]
            if oldest is not None:
                turn = self._turn
                if self._left > 0:
                    self._left -= 1
                else:
                    self._left, self._turn = capacity // 2, turn + 1
                if turn - owner.asked > 1:
                    owner.asked = turn
                    return cipher.new(key)
                oldest.aead = None
            owners[place] = owner
        owner.place = place
        place += 1
        self._next = place if place < capacity else 0
        context = owner.aead = cipher.new(key)
        return context

    def drop(self, owner: Keyed) -> None:
        """Forget the context of a key that is being wiped, if there is one."""
        if owner.aead is not None:
            self._owners[owner.place] = None
            owner.aead = None
