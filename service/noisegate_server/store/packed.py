"""Idle sessions in as few bytes as they need, and the way from a packed one back to an object."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any, Final, Generic, Protocol

from xxhash import xxh3_64_intdigest

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.record_layout import Glance
from noisegate_server.store.base import S
from noisegate_server.store.compact import CompactIndex
from noisegate_server.store.slots import LARGEST, Slots

__all__ = ["MAX_SHARED", "PackedSessions", "Packer"]

_HEAD: Final = struct.Struct(">QHHI")
"""Of a slot: the session's handle, the number of what it shares with others, the length of its record, and in which
second the entry for its end comes up."""
_SECOND: Final = struct.Struct(">I")
_SECOND_AT: Final = _HEAD.size - _SECOND.size
MAX_SHARED: Final = 16_384
"""Different things that sessions can share: the dict of them grows in steps of a few milliseconds at most."""
MAX_SHARED_PER_TENANT: Final = 4_096
"""Those of one tenant, so that none keeps the sessions of another from being packed."""


class Packer(Protocol[S]):
    """How sessions become records: what a store does not know of them."""

    def idle_since(self, session: S) -> float:
        """When the session was used last, monotonic seconds."""

    def packable(self, session: S) -> bool:
        """Whether a record keeps all of it."""

    def pack(self, session: S) -> tuple[Hashable, bytearray]:
        """What it shares with others, and its record, which the store wipes. The session stays as it is."""

    def spend(self, session: S) -> None:
        """Wipe an object whose record is the session from here on."""

    def unpack(self, shared: Any, record: memoryview) -> S:
        """The session of a record, which the store wipes. Keeps no view of it."""

    def owner(self, shared: Any, record: memoryview) -> tuple[str, bytes]:
        """Tenant and session id of a record."""

    def expires_at(self, slot: memoryview, at: int) -> float:
        """When the session of the record that begins there ends by itself (monotonic seconds), and no more."""

    def glance(self, shared: Any, record: memoryview, handle: int, reference: int) -> Glance:
        """What can be seen of a record without unpacking it. The last two are the store's."""


class _SharedTable:
    """What packed sessions share, by number; each is here as long as a session needs it."""

    __slots__ = ("_free", "_needed", "_numbers", "_per_tenant", "rows")

    def __init__(self) -> None:
        self.rows: list[Hashable] = []
        self._needed: list[int] = []
        """By how many sessions each is."""
        self._numbers: dict[Hashable, int] = {}
        self._per_tenant: Counter[str] = Counter()
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, shared: Hashable, tenant: str) -> int:
        """The number under which it is, for one session more of the tenant; -1 where there is no room for another."""
        number = self._numbers.get(shared, -1)
        if number < 0:
            if len(self._numbers) >= MAX_SHARED or self._per_tenant[tenant] >= MAX_SHARED_PER_TENANT:
                return -1
            self._per_tenant[tenant] += 1
            if self._free:
                number = self._free.pop()
            else:
                number = len(self.rows)
                self.rows.append(None)
                self._needed.append(0)
            self._numbers[shared] = number
            self.rows[number] = shared
        self._needed[number] += 1
        return number

    def give_back(self, number: int, tenant: str) -> None:
        """One session of its tenant needs it no more."""
        self._needed[number] -= 1
        if self._needed[number]:
            return
        shared, self.rows[number] = self.rows[number], None
        self._free.append(number)
        del self._numbers[shared]
        self._per_tenant[tenant] -= 1
        if not self._per_tenant[tenant]:
            del self._per_tenant[tenant]


class PackedSessions(Generic[S]):
    """Records by handle and by session id. Whoever takes one out has the only copy."""

    __slots__ = ("_by_handle", "_by_id", "_mask", "_packer", "_shared", "_slots", "per_shard")

    def __init__(self, packer: Packer[S], shards: int, buckets: int) -> None:
        """`buckets`: of each shard of the two indexes."""
        self._packer = packer
        self._slots = Slots()
        self._shared = _SharedTable()
        self._by_handle = CompactIndex(shards, buckets)
        self._by_id = CompactIndex(shards, buckets)
        self._mask = shards - 1
        self.per_shard = [0] * shards

    def __len__(self) -> int:
        return len(self._by_handle)

    def put(self, session: S) -> bool:
        """Keep a session's record in its place and wipe the object; False, and nothing done, where it cannot be."""
        digest = xxh3_64_intdigest(session.session_id)
        if self._by_id.first(digest):
            # One of two ids with one digest would not be found: who looks by it takes the first and compares.
            return False
        shared, record = self._packer.pack(session)
        length = _HEAD.size + len(record)
        number = self._shared.take(shared, session.tenant) if length <= LARGEST else -1
        if number < 0:
            wipe(record)
            return False
        reference = self._slots.take(length)
        slot = self._slots.slot(reference)
        _HEAD.pack_into(slot, 0, session.handle, number, len(record), session.expiry_second)
        slot[_HEAD.size : length] = record
        wipe(record)
        self._by_handle.add(session.handle, reference)
        self._by_id.add(digest, reference)
        self.per_shard[session.handle & self._mask] += 1
        self._packer.spend(session)
        return True

    def glance(self, handle: int) -> Glance | None:
        """What can be seen of the session with this handle; None where it is not here."""
        reference = self._by_handle.first(handle)
        return self.glance_at(reference, self._slots.slot(reference)) if reference else None

    def glance_at(self, reference: int, slot: memoryview) -> Glance:
        """The same, where its slot is known."""
        handle, number, _, record = _read(slot)
        return self._packer.glance(self._shared.rows[number], record, handle, reference)

    def expiry(self, handle: int) -> tuple[float, int, int, memoryview] | None:
        """When the session with this handle ends by itself, and in which second the entry for that comes up.

        Then the reference of its slot, and the slot, which is good until the next call. None where it is not here.
        """
        reference = self._by_handle.first(handle)
        if not reference:
            return None
        slot = self._slots.slot(reference)
        return self._packer.expires_at(slot, _HEAD.size), _SECOND.unpack_from(slot, _SECOND_AT)[0], reference, slot

    def note_expiry(self, slot: memoryview, second: int) -> None:
        """The entry for its end comes up in another second now."""
        _SECOND.pack_into(slot, _SECOND_AT, second)

    def record_of(self, tenant: str, session_id: bytes) -> tuple[Any, memoryview] | None:
        """What the tenant's session of this id shares, and its record, to read and to write at once."""
        reference = self._by_id.first(xxh3_64_intdigest(session_id))
        if not reference:
            return None
        _, number, _, record = _read(self._slots.slot(reference))
        shared = self._shared.rows[number]
        return (shared, record) if self._packer.owner(shared, record) == (tenant, session_id) else None

    def glance_by_id(self, session_id: bytes) -> Glance | None:
        """Likewise, by its id."""
        reference = self._by_id.first(xxh3_64_intdigest(session_id))
        glance = self.glance_at(reference, self._slots.slot(reference)) if reference else None
        return glance if glance is not None and glance.session_id == session_id else None

    def take(self, handle: int) -> S | None:
        """The session with this handle, which is here no more; None where it was not."""
        reference = self._by_handle.first(handle)
        if not reference:
            return None
        slot = self._slots.slot(reference)
        _, number, second, record = _read(slot)
        session = self._packer.unpack(self._shared.rows[number], record)
        session.handle, session.expiry_second = handle, second
        self._by_handle.remove(handle, reference)
        self._forget(handle, session.session_id, session.tenant, reference, slot)
        return session

    def drop(self, glance: Glance) -> bool:
        """Wipe the record of a session that has ended; False if it is not here."""
        reference = glance.reference
        if not (reference and self._by_handle.remove(glance.handle, reference)):
            # Unpacked and packed again since, or gone, or nobody has said where it lay.
            reference = self._by_handle.first(glance.handle)
            if not self._by_handle.remove(glance.handle, reference):
                return False
        self._forget(glance.handle, glance.session_id, glance.tenant, reference, self._slots.slot(reference))
        return True

    def shard(self, number: int) -> Iterator[int]:
        """The handles of one shard, as they are when they come up."""
        return self._by_handle.shard(number)

    def records(self, number: int) -> Iterator[tuple[int, Any, memoryview]]:
        """(handle, what it shares, record) of each of one shard, as it is when it comes up; a view, to read at once."""
        for handle in list(self._by_handle.shard(number)):
            if reference := self._by_handle.first(handle):
                _, shared, _, record = _read(self._slots.slot(reference))
                yield handle, self._shared.rows[shared], record

    def is_empty(self) -> bool:
        """Whether nothing is left, what sessions shared among it."""
        return not (len(self._by_handle) or len(self._by_id) or len(self._shared) or len(self._slots))

    def _forget(self, handle: int, session_id: bytes, tenant: str, reference: int, slot: memoryview) -> None:
        """All but the way there by the handle."""
        self._shared.give_back(_HEAD.unpack_from(slot)[1], tenant)
        self._slots.free(reference, slot)
        self._by_id.remove(xxh3_64_intdigest(session_id), reference)
        self.per_shard[handle & self._mask] -= 1


def _read(slot: memoryview) -> tuple[int, int, int, memoryview]:
    """Handle, number of what is shared, second of the entry for its end, and record."""
    handle, number, length, second = _HEAD.unpack_from(slot)
    return handle, number, second, slot[_HEAD.size : _HEAD.size + length]
