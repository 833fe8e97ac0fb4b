"""Ways to sessions other than their id: by tenant, player or group (many), and by connection id (one).

All hold handles and never sessions, drop a key with its last handle, and are split into shards for the reason given in
`table`. A key is 64 bits of Python's own hash, which is keyed: callers choose these names, but not where they go, and
that any two of a million meet has a chance of 1 in 37 million. Then two players share a quota, or a new connection id
counts as taken and another one is drawn; whoever looks a session up compares its tenant and its names, so none is ever
shown to anybody else.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Protocol

from noisegate_server.store.base import ConnectionIdTaken
from noisegate_server.store.compact import CompactIndex
from noisegate_server.store.handles import HandleSet

__all__ = ["ConnectionIndex", "Indexed", "Indexes", "Key", "PostingIndex"]

Key = tuple[str, str]
"""Tenant, and a name that is the tenant's own: a `peer_id` or a `group`; empty in the index of tenants."""

_SMALL: Final = 16
"""Up to so many handles are a plain tuple: 176 bytes rather than about 400."""
_KEY: Final = 2**64 - 1


class Indexed(Protocol):
    """What the indexes ask of a session, in whatever form it is."""

    @property
    def handle(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def peer_id(self) -> str: ...
    @property
    def group(self) -> str: ...
    def connection_ids(self) -> tuple[bytes, ...]: ...


class PostingIndex:
    """From a key to the handles of its sessions, in ascending order. Most players have one session, without a row."""

    __slots__ = ("_mask", "_shards", "_single")

    def __init__(self, shards: int, buckets: int = 1) -> None:
        self._mask = shards - 1
        self._single = CompactIndex(shards, buckets)
        self._shards: list[dict[int, tuple[int, ...] | HandleSet]] = [{} for _ in range(shards)]

    def count(self, key: Key) -> int:
        """How many sessions the key has."""
        number = hash(key) & _KEY
        return 1 if self._single.first(number) else len(self._shards[number & self._mask].get(number, ()))

    def add(self, key: Key, handle: int) -> None:
        """Put in a handle above all others; a new session's always is."""
        number = hash(key) & _KEY
        shard = self._shards[number & self._mask]
        handles = shard.get(number)
        if handles is None:
            first = self._single.first(number)
            if not first:
                self._single.add(number, handle)
                return
            self._single.remove(number, first)
            handles = (first,)
        if isinstance(handles, HandleSet):
            handles.append(handle)
        elif len(handles) < _SMALL:
            shard[number] = (*handles, handle)
        else:
            large = HandleSet()
            for each in (*handles, handle):
                large.append(each)
            shard[number] = large

    def remove(self, key: Key, handle: int) -> None:
        """Take a handle out, and the key with the last one; one that is not there is left alone."""
        number = hash(key) & _KEY
        shard = self._shards[number & self._mask]
        handles = shard.get(number)
        if handles is None:
            self._single.remove(number, handle)
            return
        if isinstance(handles, HandleSet):
            handles.remove(handle)
            # Half of _SMALL, so that a key at the boundary does not change its form at every step.
            if handles.size <= _SMALL // 2:
                shard[number] = tuple(handles.page(-1, _SMALL))
            return
        left = tuple([each for each in handles if each != handle])
        if len(left) > 1:
            shard[number] = left
        else:
            del shard[number]
            for each in left:
                self._single.add(number, each)

    def page(self, key: Key, after: int, limit: int) -> list[int]:
        """The first `limit` handles of the key above `after`, in order."""
        number = hash(key) & _KEY
        single = self._single.first(number)
        handles = (single,) if single else self._shards[number & self._mask].get(number, ())
        if isinstance(handles, HandleSet):
            return handles.page(after, limit)
        start = bisect_right(handles, after)
        return list(handles[start : start + limit])

    def is_empty(self) -> bool:
        """Whether no key is left."""
        return not len(self._single) and not any(self._shards)


class ConnectionIndex:
    """From a tenant's connection id to the one session that has it (design of DATAGRAM packets)."""

    __slots__ = ("_handles",)

    def __init__(self, shards: int, buckets: int = 1) -> None:
        self._handles = CompactIndex(shards, buckets)

    def find(self, tenant: str, connection_id: bytes) -> int:
        """The handle of the session; 0, which is no session's, for none. Compare the session's tenant."""
        return self._handles.first(hash((tenant, connection_id)) & _KEY)

    def require_free(self, tenant: str, connection_id: bytes) -> None:
        """Errors: ConnectionIdTaken."""
        if self.find(tenant, connection_id):
            raise ConnectionIdTaken

    def bind(self, tenant: str, connection_id: bytes, handle: int) -> None:
        """Let the id find this session. Errors: ConnectionIdTaken by another one; a repeat does nothing."""
        owner = self.find(tenant, connection_id)
        if not owner:
            self._handles.add(hash((tenant, connection_id)) & _KEY, handle)
        elif owner != handle:
            raise ConnectionIdTaken

    def unbind(self, tenant: str, connection_id: bytes, handle: int) -> None:
        """Forget the id if it is this session's."""
        self._handles.remove(hash((tenant, connection_id)) & _KEY, handle)

    def is_empty(self) -> bool:
        """Whether no id is left."""
        return not len(self._handles)


class Indexes:
    """All of them together, for a store that keeps its sessions in whatever form."""

    __slots__ = ("connections", "groups", "peers", "tenants")

    def __init__(self, shards: int, buckets: int) -> None:
        """`buckets`: of each shard, where a key has one session as a rule."""
        self.tenants = PostingIndex(shards)
        self.peers = PostingIndex(shards, buckets)
        self.groups = PostingIndex(shards)
        self.connections = ConnectionIndex(shards, buckets)

    def require_free(self, session: Indexed) -> None:
        """Whether all connection ids of a new session are free. Errors: ConnectionIdTaken."""
        for connection_id in session.connection_ids():
            self.connections.require_free(session.tenant, connection_id)

    def add(self, session: Indexed) -> None:
        """Let all names and connection ids find a new session."""
        handle, tenant = session.handle, session.tenant
        for connection_id in session.connection_ids():
            self.connections.bind(tenant, connection_id, handle)
        self.tenants.add((tenant, ""), handle)
        if session.peer_id:
            self.peers.add((tenant, session.peer_id), handle)
        if session.group:
            self.groups.add((tenant, session.group), handle)

    def remove(self, session: Indexed) -> None:
        """Let nothing find the session any more."""
        handle, tenant = session.handle, session.tenant
        for connection_id in session.connection_ids():
            self.connections.unbind(tenant, connection_id, handle)
        self.tenants.remove((tenant, ""), handle)
        if session.peer_id:
            self.peers.remove((tenant, session.peer_id), handle)
        if session.group:
            self.groups.remove((tenant, session.group), handle)

    def page(self, tenant: str, peer_id: str, group: str, after: int, limit: int) -> list[int]:
        """The first `limit` handles above `after` of the player, otherwise the group, otherwise the tenant."""
        if peer_id:
            return self.peers.page((tenant, peer_id), after, limit)
        if group:
            return self.groups.page((tenant, group), after, limit)
        return self.tenants.page((tenant, ""), after, limit)

    def filled(self) -> dict[str, bool]:
        """The name of each, and whether anything is left in it."""
        return {name: not getattr(self, name).is_empty() for name in self.__slots__}
