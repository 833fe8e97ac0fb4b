"""AEAD contexts of hot keys: a bounded cache beside the sessions, because a context costs 2.2 KB and a key 32 bytes.

A context is not session state: it can be dropped at any time and is built again from its key. Keys that are wiped must
drop theirs, since a context holds a copy of the key.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from noisegate_server.noise.primitives import Aead, Cipher

UNCACHED: Final = 0
"""The serial of keys that are used once: no context is ever kept under it."""


class AeadCache:
    """Contexts by serial number; the oldest built goes first when the cache is full.

    Not safe for concurrent use: one event loop owns it.
    """

    __slots__ = ("_capacity", "_contexts", "_last", "get")

    def __init__(self, capacity: int = 16_384) -> None:
        self._capacity: Final = capacity
        # Not a dict: to find its oldest key, that one passes over every one before it that was deleted.
        self._contexts: Final[OrderedDict[int, Aead]] = OrderedDict()
        self._last = UNCACHED
        self.get: Final = self._contexts.get
        """The context of a serial, or None. Bound once: it stands in the path of every packet."""

    def __len__(self) -> int:
        return len(self._contexts)

    def serial(self) -> int:
        """A serial number for a key that has none yet; never given twice."""
        self._last += 1
        return self._last

    def build(self, serial: int, cipher: Cipher, key: bytes | bytearray) -> Aead:
        """Build the context of `key`, keep it under `serial` and return it."""
        contexts = self._contexts
        if len(contexts) >= self._capacity:
            contexts.popitem(last=False)
        context = contexts[serial] = cipher.new(key)
        return context

    def drop(self, serial: int) -> None:
        """Forget the context of a key that is being wiped."""
        self._contexts.pop(serial, None)
