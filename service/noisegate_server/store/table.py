"""Where the sessions themselves are: shards of two small dicts, by session id and by handle.

A dict stops the whole event loop while it grows: 264 ms for one of a million entries, 0.5 ms for one of 256 shards. The
shard comes from the last byte of the id: ids are random and ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, Generic

from noisegate_server.session.constants import SESSION_ID
from noisegate_server.store.base import Room, S

__all__ = ["SessionTable"]

_BYTES: Final = 256
_ID: Final = struct.Struct(f"{SESSION_ID}s")
_KNOWN: Final = 16_384
"""The most sessions of a tenant that are found without their shards: a dict that grows further stops the loop."""
_MISSED: Final = 8 * _KNOWN
"""So many others are looked for before these are forgotten: where all come up in any order, none is worth its place."""
_PASSED: Final = 8 * _MISSED
"""So many more are looked for before any is kept again."""


class SessionTable(Generic[S]):
    """The one place that holds sessions; all others hold handles.

    A handle is `serial * shards + shard`: its low bits say where to look, its order is the order of creation, and since
    a serial is never used again, a handle that outlives its session finds nothing.
    """

    __slots__ = (
        "_by_id", "_found", "_in_rooms", "_missed", "_rooms", "_serial", "_size", "by_handle", "by_last_byte", "mask",
    )  # fmt: skip

    def __init__(self, shards: int) -> None:
        if not 1 <= shards <= _BYTES or shards & (shards - 1):
            raise ValueError(f"shards must be a power of two, at most {_BYTES}")
        self.mask = shards - 1
        self._by_id: list[dict[bytes, S]] = [{} for _ in range(shards)]
        self.by_last_byte = [self._by_id[byte & self.mask] for byte in range(_BYTES)]
        """By the last byte of an id, the shard that the id is in."""
        self.by_handle: list[dict[int, S]] = [{} for _ in range(shards)]
        self._found: dict[str, dict[bytes, S]] = {}
        """By tenant and id, sessions of these shards that were looked for in company."""
        self._missed = 0
        """Sessions that were looked for in company and did not come to be among them, for want of room. Below 0: so
        many more are looked for before any comes to be."""
        self._rooms: dict[tuple[str, bytes], Room[S]] = {}
        """By tenant and ids, lists of sessions that all are here."""
        self._in_rooms = 0
        """Sessions in all of these together."""
        self._serial = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self.by_last_byte[session_id[-1]]

    def insert(self, session: S) -> int:
        """Keep a session; its new handle, which it also carries from now on. Its id is not in the table yet."""
        session.handle = self.new_handle(session.session_id)
        self.place(session)
        return session.handle

    def new_handle(self, session_id: bytes) -> int:
        """A handle above all before it, for the session of this id."""
        self._serial += 1
        return self._serial * (self.mask + 1) + (session_id[-1] & self.mask)

    def place(self, session: S) -> None:
        """Keep a session under the handle that it carries already. Its id is not in the table yet."""
        shard = session.handle & self.mask
        self._by_id[shard][session.session_id] = session
        self.by_handle[shard][session.handle] = session
        self._size += 1

    def find(self, handle: int) -> S | None:
        """The session with this handle; None once it has ended."""
        return self.by_handle[handle & self.mask].get(handle)

    def find_many(self, tenant: str, session_ids: Sequence[bytes]) -> list[S | None]:
        """The tenant's sessions with these ids of 24 bytes, in their order.

        Who asks for many asks for the same ones again a moment later: these are found without their shards.
        """
        known = self._found.get(tenant)
        if known is None:
            return self._look_for(tenant, session_ids)
        found: list[S | None] = list(map(known.get, session_ids))
        if not all(found):
            places = [at for at, session in enumerate(found) if session is None]
            for at, session in zip(places, self._look_for(tenant, [session_ids[at] for at in places]), strict=True):
                found[at] = session
        return found

    def _look_for(self, tenant: str, session_ids: Sequence[bytes]) -> list[S | None]:
        """The same by their shards."""
        # Of very many sessions neither the objects nor the entries are in a cache of the processor. So whatever needs
        # none of them is done before, and each step for all ids: while it waits for one, it fetches the next.
        list(map(hash, session_ids))
        shards = list(map(self.by_last_byte.__getitem__, b"".join(session_ids)[SESSION_ID - 1 :: SESSION_ID]))
        found: list[S | None] = list(map(dict.get, shards, session_ids))
        if [session.tenant for session in found if session is not None].count(tenant) < len(found):
            found = [session if session is not None and session.tenant == tenant else None for session in found]
        self._keep(tenant, session_ids, found)
        return found

    def _keep(self, tenant: str, session_ids: Sequence[bytes], found: Sequence[S | None]) -> None:
        """Let sessions that were looked for be found without their shards from now on, as far as there is room."""
        if self._missed < 0:
            self._missed += len(session_ids)
            return
        there = [(each, session) for each, session in zip(session_ids, found, strict=True) if session is not None]
        if there:
            # Not before: a caller that asks for sessions which it does not have leaves nothing here.
            known = self._found.setdefault(tenant, {})
            room = _KNOWN - len(known)
            known.update(there[:room])
            self._missed += max(0, len(there) - room)
            if self._missed >= _MISSED:
                del self._found[tenant]
                self._missed = -_PASSED

    def find_room(self, tenant: str, packed: bytes) -> Room[S]:
        """As `find_many`, for ids that lie one behind the other.

        A room is the same bytes tick after tick, until a session leaves: then every room is looked for anew.
        """
        key = (tenant, packed)
        room = self._rooms.get(key)
        if room is None:
            ids = [session_id for (session_id,) in _ID.iter_unpack(packed)]
            room = Room(self.find_many(tenant, ids))
            if all(room):
                if self._in_rooms + len(room) > _KNOWN:
                    self._leave_rooms()
                self._rooms[key] = room
                self._in_rooms += len(room)
        return room

    def _leave_rooms(self) -> None:
        self._rooms.clear()
        self._in_rooms = 0

    def remove(self, session: S) -> bool:
        """Let go of a session; False if it is not here."""
        handle = session.handle
        shard = handle & self.mask
        if self.by_handle[shard].get(handle) is not session:
            return False
        del self.by_handle[shard][handle]
        del self._by_id[shard][session.session_id]
        if (known := self._found.get(session.tenant)) is not None:
            known.pop(session.session_id, None)
            if not known:
                del self._found[session.tenant]
        if self._rooms:
            self._leave_rooms()
        self._size -= 1
        return True

    def drain(self) -> Iterator[S]:
        """Every session, a shard's worth at a time, so that each may be removed on the way."""
        for sessions in self.by_handle:
            yield from list(sessions.values())

    def is_empty(self) -> bool:
        """Whether no session is left in any of the dicts."""
        is_known = bool(self._found) or bool(self._rooms)
        return not self._size and not any(self._by_id) and not any(self.by_handle) and not is_known

    def per_shard(self) -> tuple[int, ...]:
        """Sessions in each shard."""
        return tuple(map(len, self._by_id))
