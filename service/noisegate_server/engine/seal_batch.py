"""EncryptBatch and Broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from noisegate_server.engine.batch import SLICE, Runs, Sparse, Steps, serve
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import encrypt
from noisegate_server.session.batch import ADDED, LARGEST, SealedRecords, seal_each, seal_run, seal_same
from noisegate_server.session.constants import MAX_ASSOCIATED_DATA, SESSION_ID
from noisegate_server.session.errors import MessageTooLarge
from noisegate_server.session.packed_seal import seal_packed
from noisegate_server.session.room import RoomPath, SealedRoom, prepare_room
from noisegate_server.session.sealed import Sealed
from noisegate_server.session.session import Session

PART: Final = 512
"""Sessions of a room that are sealed for in one go, some two thirds of a millisecond."""
_PACKED_AT_ONCE: Final = 32
"""Items after which a batch may pause where sessions are packed: each takes some times as long as an object."""
_ANEW: Final = 8
"""Of so many calls for one room the second looks for its path, where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBatch:
    """The records of a batch, one entry for each item; where one was refused, of no length."""

    records: SealedRecords
    sparse: Sparse


class SealedAtOnce(NamedTuple):
    """A batch of a room, every item sealed. A tuple, which is made in half the time."""

    pieces: Sequence[bytes]
    """The records one behind the other."""
    size: int
    """Bytes of the plaintexts together."""
    counters: Sequence[int]
    epochs: Sequence[int]


def encrypt_at_once(
    parts: Parts, tenant: str, session_ids: bytes, plaintexts: Sequence[bytes], sizes: Sequence[int], now: float
) -> SealedAtOnce | None:
    """As `encrypt_batch`, for a room whose path holds and no more than PART items. None, and nothing done, otherwise.

    `sizes` are those of the plaintexts. There are as many as session ids.
    """
    path = _path_at_once(parts, tenant, session_ids, max(sizes), now)
    if path is None:
        return None
    return _sealed_at_once(parts, path, path.seal_each(plaintexts, sizes, (), now, parts.aeads), sum(sizes))


def broadcast_at_once(
    parts: Parts, tenant: str, session_ids: bytes, plaintext: bytes, associated_data: bytes, now: float
) -> SealedAtOnce | None:
    """As `broadcast`, likewise."""
    if len(associated_data) > MAX_ASSOCIATED_DATA:
        return None
    path = _path_at_once(parts, tenant, session_ids, len(plaintext), now)
    if path is None:
        return None
    size = len(plaintext) * len(path.epochs)
    return _sealed_at_once(parts, path, path.seal_same(plaintext, associated_data, now, parts.aeads), size)


def _path_at_once(parts: Parts, tenant: str, session_ids: bytes, largest: int, now: float) -> RoomPath | None:
    if largest > LARGEST:
        return None
    room = parts.store.get_room(tenant, session_ids)
    path: RoomPath | None = room.paths.get(0)
    return path if path is not None and len(room) <= PART and path.holds(now) else None


def _sealed_at_once(parts: Parts, path: RoomPath, sealed: SealedRoom | None, size: int) -> SealedAtOnce | None:
    if sealed is None:
        return None
    counters, pieces = sealed
    counts = parts.counts
    counts.sealed += len(counters)
    counts.sealed_bytes += size
    return SealedAtOnce(pieces, size, counters, path.epochs)


def encrypt_batch(
    parts: Parts,
    tenant: str,
    session_ids: bytes,
    plaintexts: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    wall: float,
) -> Steps[SealedBatch]:
    """Seal a plaintext for each session; their ids lie one behind the other.

    `associated` is as long as `plaintexts`, or empty for none.
    """
    work = _Each(parts, tenant, session_ids, plaintexts, associated)
    yield from serve(work, range(len(plaintexts) + 1), now, wall)
    return SealedBatch(records=work.records, sparse=work.sparse)


def encrypt_runs(
    parts: Parts,
    tenant: str,
    runs: Runs,
    plaintexts: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    wall: float,
) -> Steps[SealedBatch]:
    """Seal every plaintext for the session of its run. `associated`: as in `encrypt_batch`."""
    work = _InRuns(parts, tenant, runs, plaintexts, associated)
    yield from serve(work, runs.starts, now, wall)
    return SealedBatch(records=work.records, sparse=work.sparse)


def broadcast(
    parts: Parts,
    tenant: str,
    session_ids: bytes,
    plaintext: bytes,
    associated_data: bytes,
    now: float,
    wall: float,
) -> Steps[SealedBatch]:
    """Seal one plaintext for every session; their ids lie one behind the other."""
    work = _Broadcasting(parts, tenant, session_ids, plaintext, associated_data)
    yield from serve(work, range(len(session_ids) // SESSION_ID + 1), now, wall)
    return SealedBatch(records=work.records, sparse=work.sparse)


class _Work:
    """What all have in common."""

    __slots__ = ("at_once", "parts", "records", "simple", "sparse", "tenant")

    def __init__(self, parts: Parts, tenant: str, largest: int, largest_associated: int) -> None:
        self.at_once = SLICE
        self.parts = parts
        self.tenant = tenant
        self.simple = largest <= LARGEST and largest_associated <= MAX_ASSOCIATED_DATA
        """No item is over a limit, so that none has to be looked at for it."""
        self.records = SealedRecords()
        self.sparse = Sparse()

    def count(self, items: int, size: int) -> None:
        """So many were sealed, of so many bytes together."""
        counts = self.parts.counts
        counts.sealed += items
        counts.sealed_bytes += size

    def seal(self, session_id: bytes, index: int, plaintext: bytes, associated_data: bytes, now: float) -> None:
        """Seal an item as Encrypt does."""
        if len(associated_data) > MAX_ASSOCIATED_DATA:
            raise MessageTooLarge("associated_data", MAX_ASSOCIATED_DATA)
        sealed = encrypt(self.parts, self.tenant, session_id, plaintext, associated_data, now)
        self.keep(sealed)
        if sealed.rotation_due:
            self.sparse.rotation_due.append(index)
        if sealed.to_peer:
            self.sparse.to_peer.append((index, sealed.to_peer))

    def keep(self, sealed: Sealed) -> None:
        """The record of an item."""
        records = self.records
        records.pieces.append(sealed.ciphertext)
        records.lengths.append(len(sealed.ciphertext))
        records.counters.append(sealed.counter)
        records.epochs.append(sealed.epoch)

    def refused(self) -> None:
        """An item without a record."""
        records = self.records
        records.lengths.append(0)
        records.counters.append(0)
        records.epochs.append(0)


class _InRuns(_Work):
    """Many plaintexts of each session."""

    __slots__ = ("associated", "plaintexts", "runs", "sizes")

    def __init__(
        self, parts: Parts, tenant: str, runs: Runs, plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> None:
        self.runs = runs
        self.plaintexts = plaintexts
        self.sizes = list(map(len, plaintexts))
        self.associated = associated or [b""] * len(plaintexts)
        super().__init__(parts, tenant, max(self.sizes, default=0), max(map(len, associated), default=0))

    def together(self, _run: int, _now: float) -> int:
        """Each run is served at once anyway."""
        return 0

    def find(self, start: int, stop: int, _now: float) -> Sequence[Session | None]:
        """The sessions of these runs."""
        if not self.simple:
            return [None] * (stop - start)
        return self.parts.store.get_many(self.tenant, self.runs.session_ids[start:stop])

    def straight(self, sessions: Sequence[Session | None], start: int, _at: int, now: float) -> int:
        """Seal runs as far as they are simple."""
        starts, aeads, records = self.runs.starts, self.parts.aeads, self.records
        for done, session in enumerate(sessions):
            at, stop = starts[start + done], starts[start + done + 1]
            plaintexts, sizes, associated = self.plaintexts[at:stop], self.sizes[at:stop], self.associated[at:stop]
            if not seal_run(session, plaintexts, sizes, associated, now, aeads, records):
                return done
            self.count(stop - at, sum(sizes))
        return len(sessions)

    def one(self, run: int, index: int, now: float, _wall: float) -> None:
        """Seal an item as Encrypt does."""
        self.seal(self.runs.session_ids[run], index, self.plaintexts[index], self.associated[index], now)


class _InRoom(_Work):
    """One item of each session; who asks for a room asks for it again."""

    __slots__ = ("scattered", "session_ids")

    def __init__(self, parts: Parts, tenant: str, session_ids: bytes, largest: int, largest_associated: int) -> None:
        self.scattered = False
        """Not all of them are objects: to look for the whole room in each of its parts would find none again."""
        self.session_ids = session_ids
        super().__init__(parts, tenant, largest, largest_associated)

    def together(self, run: int, now: float) -> int:
        """Seal for a part of the room by its path."""
        if not self.simple or self.scattered:
            return 0
        room = self.parts.store.get_room(self.tenant, self.session_ids)
        if not all(room):
            self.scattered, self.at_once = True, _PACKED_AT_ONCE
            return 0
        if run == 0:
            room.uses += 1
        path: RoomPath | None = room.paths.get(run)
        if path is None or not path.holds(now):
            if room.uses % _ANEW != 2:
                return 0
            path = room.paths[run] = prepare_room(room[run : run + PART], now)
        return 0 if path is None else self.seal_by(path, run, now)

    def seal_by(self, path: RoomPath, start: int, now: float) -> int:
        """Seal the items from `start` on by a path that holds; how many."""
        raise NotImplementedError

    def take(self, path: RoomPath, sealed: SealedRoom | None, lengths: Sequence[int], size: int) -> int:
        """What a path has sealed: records of these lengths, of plaintexts of `size` bytes together; how many items."""
        if sealed is None:
            return 0
        counters, pieces = sealed
        records = self.records
        # Joined while they are warm: their memory is that of the next ones.
        records.pieces.append(b"".join(pieces))
        records.lengths += lengths
        records.counters += counters
        records.epochs += path.epochs
        self.count(len(counters), size)
        return len(counters)

    def find(self, start: int, stop: int, _now: float) -> Sequence[Session | None]:
        """The sessions of these items."""
        if not self.simple:
            return [None] * (stop - start)
        if self.scattered:
            return self.parts.store.get_many(self.tenant, [self.session_id(run) for run in range(start, stop)])
        return self.parts.store.get_room(self.tenant, self.session_ids)[start:stop]

    def straight(self, sessions: Sequence[Session | None], start: int, _at: int, now: float) -> int:
        """Seal as far as the sessions are simple, or packed and can stay so."""
        done = 0
        while True:
            done += self.seal_some(sessions[done:], start + done, now)
            packed = self.seal_packed(sessions, start, done, now) if self.simple else 0
            done += packed
            if not packed or done == len(sessions):
                return done

    def seal_some(self, sessions: Sequence[Session | None], start: int, now: float) -> int:
        """Seal for objects, whose first item is `start`; how many."""
        raise NotImplementedError

    def seal_packed(self, sessions: Sequence[Session | None], start: int, first: int, now: float) -> int:
        """Seal for those from `first` on that are packed, straight from their records; how many."""
        parts, tenant, done, size = self.parts, self.tenant, first, 0
        while done < len(sessions) and sessions[done] is None:
            found = parts.store.packed_record(tenant, self.session_id(start + done))
            sealing = None if found is None else parts.packer.sealing(found[0])
            if found is None or sealing is None:
                break
            plaintext, associated_data = self.item(start + done)
            sealed = seal_packed(sealing, found[1], plaintext, associated_data, now)
            if sealed is None:
                break
            self.keep(sealed)
            size += len(plaintext)
            done += 1
        self.count(done - first, size)
        return done - first

    def item(self, index: int) -> tuple[bytes, bytes]:
        """What is to be sealed, and what goes with it."""
        raise NotImplementedError

    def one(self, run: int, index: int, now: float, _wall: float) -> None:
        """Seal an item as Encrypt does."""
        self.seal(self.session_id(run), index, *self.item(index), now)

    def session_id(self, run: int) -> bytes:
        """Whose an item is."""
        return self.session_ids[run * SESSION_ID : (run + 1) * SESSION_ID]


class _Each(_InRoom):
    """A plaintext for each session."""

    __slots__ = ("associated", "plaintexts", "sizes")

    def __init__(
        self, parts: Parts, tenant: str, session_ids: bytes, plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> None:
        self.plaintexts = plaintexts
        self.sizes = list(map(len, plaintexts))
        self.associated = associated
        super().__init__(parts, tenant, session_ids, max(self.sizes, default=0), max(map(len, associated), default=0))

    def seal_by(self, path: RoomPath, start: int, now: float) -> int:
        """Seal by the room's path."""
        stop = start + PART
        plaintexts, sizes, associated = self.plaintexts[start:stop], self.sizes[start:stop], self.associated[start:stop]
        sealed = path.seal_each(plaintexts, sizes, associated, now, self.parts.aeads)
        return self.take(path, sealed, [size + ADDED for size in sizes], sum(sizes))

    def seal_some(self, sessions: Sequence[Session | None], start: int, now: float) -> int:
        """Seal a plaintext for each."""
        stop = start + len(sessions)
        plaintexts, sizes = self.plaintexts[start:stop], self.sizes[start:stop]
        associated = self.associated[start:stop] or [b""] * len(sizes)
        done = seal_each(sessions, plaintexts, sizes, associated, now, self.parts.aeads, self.records)
        self.count(done, sum(sizes[:done]))
        return done

    def item(self, index: int) -> tuple[bytes, bytes]:
        """Each has its own."""
        return self.plaintexts[index], self.associated[index] if self.associated else b""


class _Broadcasting(_InRoom):
    """One plaintext for many sessions."""

    __slots__ = ("associated_data", "plaintext")

    def __init__(self, parts: Parts, tenant: str, session_ids: bytes, plaintext: bytes, associated_data: bytes) -> None:
        self.plaintext = plaintext
        self.associated_data = associated_data
        super().__init__(parts, tenant, session_ids, len(plaintext), len(associated_data))

    def seal_by(self, path: RoomPath, _start: int, now: float) -> int:
        """Seal by the room's path."""
        sealed = path.seal_same(self.plaintext, self.associated_data, now, self.parts.aeads)
        size, count = len(self.plaintext), len(path.epochs)
        return self.take(path, sealed, [size + ADDED] * count, size * count)

    def seal_some(self, sessions: Sequence[Session | None], _start: int, now: float) -> int:
        """Seal the plaintext for each."""
        done = seal_same(sessions, self.plaintext, self.associated_data, now, self.parts.aeads, self.records)
        self.count(done, done * len(self.plaintext))
        return done

    def item(self, _index: int) -> tuple[bytes, bytes]:
        """All have the same."""
        return self.plaintext, self.associated_data
