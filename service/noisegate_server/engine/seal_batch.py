"""EncryptBatch and Broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noisegate_server.engine.batch import Runs, Sparse, Steps, serve
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import encrypt
from noisegate_server.session.batch import KIND, LARGEST, SealedRecords, seal_each, seal_run
from noisegate_server.session.constants import MAX_ASSOCIATED_DATA
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
    work = _Sealing(parts, tenant, runs, plaintexts, associated or [b""] * len(plaintexts))
    yield from serve(work, runs.counts, now, wall)
    return SealedBatch(records=work.records, sparse=work.sparse)


def broadcast(
    parts: Parts,
    tenant: str,
    session_ids: Sequence[bytes],
    plaintext: bytes,
    associated_data: bytes,
    now: float,
    wall: float,
) -> Steps[SealedBatch]:
    """Seal one plaintext for every session."""
    items = len(session_ids)
    work = _Sealing(parts, tenant, Runs.of(session_ids, ()), [plaintext] * items, [associated_data] * items)
    work.inners = [plaintext + KIND] * items
    yield from serve(work, work.runs.counts, now, wall)
    return SealedBatch(records=work.records, sparse=work.sparse)


class _Sealing:
    """A batch of plaintexts."""

    __slots__ = (
        "associated", "ids", "inners", "parts", "plaintexts", "records", "runs", "simple", "sparse", "tenant",
    )  # fmt: skip

    def __init__(
        self, parts: Parts, tenant: str, runs: Runs, plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> None:
        self.parts = parts
        self.tenant = tenant
        self.runs = runs
        self.plaintexts = plaintexts
        self.associated = associated
        self.inners: Sequence[bytes] = ()
        """The plaintexts with their kind, where all sessions have the same one."""
        self.simple = (
            max(map(len, plaintexts), default=0) <= LARGEST
            and max(map(len, associated), default=0) <= MAX_ASSOCIATED_DATA
        )
        """No item is over a limit, so that none has to be looked at for it."""
        self.records = SealedRecords()
        self.sparse = Sparse()

    def find(self, start: int, stop: int, now: float) -> Sequence[Session | None]:
        """The sessions of these runs."""
        if not self.simple:
            return [None] * (stop - start)
        return self.parts.store.get_many(self.tenant, self.runs.session_ids[start:stop], now)

    def straight(self, sessions: Sequence[Session | None], start: int, at: int, now: float) -> int:
        """Seal runs as far as they are simple."""
        counts = self.runs.counts[start : start + len(sessions)]
        plaintexts, kind = (self.inners, b"") if self.inners else (self.plaintexts, KIND)
        stop, aeads = at + sum(counts), self.parts.aeads
        if stop - at == len(counts):
            done = seal_each(sessions, plaintexts[at:stop], self.associated[at:stop], now, aeads, self.records, kind)
            self._count(at, at + done)
            return done
        for done, (session, count) in enumerate(zip(sessions, counts, strict=True)):
            end = at + count
            if not seal_run(session, plaintexts[at:end], self.associated[at:end], now, aeads, self.records, kind):
                return done
            self._count(at, end)
            at = end
        return len(counts)

    def _count(self, start: int, stop: int) -> None:
        """These items were sealed."""
        counts = self.parts.counts
        counts.sealed += stop - start
        counts.sealed_bytes += sum(map(len, self.plaintexts[start:stop]))

    def one(self, run: int, index: int, now: float, wall: float) -> None:
        """Seal an item as Encrypt does."""
        associated_data = self.associated[index]
        if len(associated_data) > MAX_ASSOCIATED_DATA:
            raise MessageTooLarge("associated_data", MAX_ASSOCIATED_DATA)
        session_id, plaintext = self.runs.session_ids[run], self.plaintexts[index]
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
