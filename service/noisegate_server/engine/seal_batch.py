"""EncryptBatch and Broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noisegate_server.engine.batch import Runs, Sparse, Steps, serve
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import encrypt
from noisegate_server.session.batch import LARGEST, SealedRecords, seal_each, seal_run, seal_same
from noisegate_server.session.constants import MAX_ASSOCIATED_DATA, SESSION_ID
from noisegate_server.session.errors import MessageTooLarge
from noisegate_server.session.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBatch:
    """The records of a batch, one entry for each item; where one was refused, of no length."""

    records: SealedRecords
    sparse: Sparse


def encrypt_batch(
    parts: Parts,
    tenant: str,
    runs: Runs,
    plaintexts: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    wall: float,
) -> Steps[SealedBatch]:
    """Seal every plaintext for the session of its run. `associated` is as long as `plaintexts`, or empty for none."""
    work = _Sealing(parts, tenant, runs, plaintexts, associated)
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
    """What both have in common."""

    __slots__ = ("parts", "records", "simple", "sparse", "tenant")

    def __init__(self, parts: Parts, tenant: str, largest: int, largest_associated: int) -> None:
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
        records = self.records
        records.pieces.append(sealed.ciphertext)
        records.lengths.append(len(sealed.ciphertext))
        records.counters.append(sealed.counter)
        records.epochs.append(sealed.epoch)
        if sealed.rotation_due:
            self.sparse.rotation_due.append(index)
        if sealed.to_peer:
            self.sparse.to_peer.append((index, sealed.to_peer))

    def refused(self) -> None:
        """An item without a record."""
        records = self.records
        records.lengths.append(0)
        records.counters.append(0)
        records.epochs.append(0)


class _Sealing(_Work):
    """A batch of plaintexts."""

    __slots__ = ("associated", "plaintexts", "runs", "sizes")

    def __init__(
        self, parts: Parts, tenant: str, runs: Runs, plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> None:
        self.runs = runs
        self.plaintexts = plaintexts
        self.sizes = list(map(len, plaintexts))
        self.associated = associated or [b""] * len(plaintexts)
        super().__init__(parts, tenant, max(self.sizes, default=0), max(map(len, associated), default=0))

    def find(self, start: int, stop: int, _now: float) -> Sequence[Session | None]:
        """The sessions of these runs."""
        if not self.simple:
            return [None] * (stop - start)
        return self.parts.store.get_many(self.tenant, self.runs.session_ids[start:stop])

    def straight(self, sessions: Sequence[Session | None], start: int, at: int, now: float) -> int:
        """Seal runs as far as they are simple."""
        starts, aeads, records = self.runs.starts, self.parts.aeads, self.records
        stop = starts[start + len(sessions)]
        if stop - at == len(sessions):
            plaintexts, sizes, associated = self.plaintexts[at:stop], self.sizes[at:stop], self.associated[at:stop]
            done = seal_each(sessions, plaintexts, sizes, associated, now, aeads, records)
            self.count(done, sum(sizes[:done]))
            return done
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


class _Broadcasting(_Work):
    """One plaintext for many sessions."""

    __slots__ = ("associated_data", "plaintext", "session_ids")

    def __init__(self, parts: Parts, tenant: str, session_ids: bytes, plaintext: bytes, associated_data: bytes) -> None:
        self.session_ids = session_ids
        self.plaintext = plaintext
        self.associated_data = associated_data
        super().__init__(parts, tenant, len(plaintext), len(associated_data))

    def find(self, start: int, stop: int, _now: float) -> Sequence[Session | None]:
        """The sessions of these items."""
        if not self.simple:
            return [None] * (stop - start)
        return self.parts.store.get_room(self.tenant, self.session_ids, SESSION_ID)[start:stop]

    def straight(self, sessions: Sequence[Session | None], _start: int, _at: int, now: float) -> int:
        """Seal as far as the sessions are simple."""
        done = seal_same(sessions, self.plaintext, self.associated_data, now, self.parts.aeads, self.records)
        self.count(done, done * len(self.plaintext))
        return done

    def one(self, run: int, index: int, now: float, _wall: float) -> None:
        """Seal an item as Encrypt does."""
        session_id = self.session_ids[run * SESSION_ID : (run + 1) * SESSION_ID]
        self.seal(session_id, index, self.plaintext, self.associated_data, now)
