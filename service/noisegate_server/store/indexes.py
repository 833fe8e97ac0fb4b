"""Ways to sessions other than their id: by tenant, player or group (many), and by connection id (one).

Both hold handles and never sessions, drop a key with its last handle, and are split into shards for the reason given in
`table`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from xxhash import xxh3_64_intdigest

from noisegate_server.store.base import ConnectionIdTaken
from noisegate_server.store.handles import HandleSet

__all__ = ["ConnectionIndex", "Key", "PostingIndex"]

Key = tuple[str, str]
"""Tenant, and a name that is the tenant's own: a `peer_id` or a `group`; empty in the index of tenants."""

_SMALL: Final = 16
"""Up to so many handles are a plain tuple: 176 bytes rather than about 400, and most players have one session."""


class PostingIndex:
    """From a key to the handles of its sessions, in ascending order."""

    __slots__ = ("_mask", "_shards")

    def __init__(self, shards: int) -> None:
        self._mask = shards - 1
        self._shards: list[dict[Key, tuple[int, ...] | HandleSet]] = [{} for _ in range(shards)]

    def _shard(self, key: Key) -> dict[Key, tuple[int, ...] | HandleSet]:
        # Callers choose these names; Python's own hash of strings is keyed, so they cannot choose the shard.
        return self._shards[hash(key) & self._mask]

    def count(self, key: Key) -> int:
        """How many sessions the key has."""
        return len(self._shard(key).get(key, ()))

    def add(self, key: Key, handle: int) -> None:
        """Put in a handle above all others; a new session's always is."""
        shard = self._shard(key)
        handles = shard.get(key, ())
        if isinstance(handles, HandleSet):
            handles.append(handle)
        elif len(handles) < _SMALL:
            shard[key] = (*handles, handle)
        else:
            large = HandleSet()
            for each in (*handles, handle):
                large.append(each)
            shard[key] = large

    def remove(self, key: Key, handle: int) -> None:
        """Take a handle out, and the key with the last one; one that is not there is left alone."""
        shard = self._shard(key)
        handles = shard.get(key)
        if handles is None:
            return
        if isinstance(handles, HandleSet):
            handles.remove(handle)
            # Half of _SMALL, so that a key at the boundary does not change its form at every step.
            if len(handles) <= _SMALL // 2:
                shard[key] = tuple(handles.page(-1, _SMALL))
            return
        left = tuple(each for each in handles if each != handle)
        if left:
            shard[key] = left
        else:
            del shard[key]

    def page(self, key: Key, after: int, limit: int) -> list[int]:
        """The first `limit` handles of the key above `after`, in order."""
        handles = self._shard(key).get(key, ())
        if isinstance(handles, HandleSet):
            return handles.page(after, limit)
        start = bisect_right(handles, after)
        return list(handles[start : start + limit])

    def is_empty(self) -> bool:
        """Whether no key is left."""
        return not any(self._shards)


class ConnectionIndex:
    """From a tenant's connection id to the one session that has it (design of DATAGRAM packets)."""

    __slots__ = ("_mask", "_shards")

    def __init__(self, shards: int) -> None:
        self._mask = shards - 1
        self._shards: list[dict[tuple[str, bytes], int]] = [{} for _ in range(shards)]

    def find(self, tenant: str, connection_id: bytes) -> int:
        """The handle of the session; 0, which is no session's, for none."""
        return self._shards[xxh3_64_intdigest(connection_id) & self._mask].get((tenant, connection_id), 0)

    def require_free(self, tenant: str, connection_id: bytes) -> None:
        """Errors: ConnectionIdTaken."""
        if self.find(tenant, connection_id):
            raise ConnectionIdTaken

    def bind(self, tenant: str, connection_id: bytes, handle: int) -> None:
        """Let the id find this session. Errors: ConnectionIdTaken by another one; a repeat does nothing."""
        shard = self._shards[xxh3_64_intdigest(connection_id) & self._mask]
        if shard.setdefault((tenant, connection_id), handle) != handle:
            raise ConnectionIdTaken

    def unbind(self, tenant: str, connection_id: bytes, handle: int) -> None:
        """Forget the id if it is this session's."""
        shard = self._shards[xxh3_64_intdigest(connection_id) & self._mask]
        if shard.get((tenant, connection_id)) == handle:
            del shard[tenant, connection_id]

    def is_empty(self) -> bool:
        """Whether no id is left."""
        return not any(self._shards)
