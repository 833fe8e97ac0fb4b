"""DecryptBatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from noisegate_server.engine.batch import SLICE, Sparse, Steps, serve
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.records import decrypt
from noisegate_server.session.batch import OpenedRecords, open_items
from noisegate_server.session.constants import MAX_ASSOCIATED_DATA, SESSION_ID
from noisegate_server.session.errors import MessageTooLarge, SessionError
from noisegate_server.session.packets import peek
from noisegate_server.session.session import Session
from noisegate_server.store.suspended import Dormant

_NOBODY = bytes(SESSION_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBatch:
    """What the records of a batch held, one entry for each item; where one was refused, of no length."""

    records: OpenedRecords
    sparse: Sparse
    controls: list[tuple[int, int, bytes]]
    """(index, number of the contract's ControlKind, what it answers) of what was nothing for the game."""
    early: list[int]
    """Items whose handshake is not confirmed yet."""
    session_ids: list[bytes]
    """Of every item, where the request named none; zeros where it was refused."""


def decrypt_batch(
    parts: Parts,
    tenant: str,
    session_ids: Sequence[bytes],
    packets: Sequence[bytes],
    associated: Sequence[bytes],
    now: float,
    wall: float,
) -> Steps[OpenedBatch]:
    """Open every packet, in its session or, where none is named, in that of its connection id.

    `session_ids` and `associated` are as long as `packets`, or empty.
    """
    items = len(packets)
    work = _Opening(parts, tenant, session_ids, packets, associated or [b""] * items)
    yield from serve(work, range(items + 1), now, wall)
    return OpenedBatch(
        records=work.records,
        sparse=work.sparse,
        controls=work.controls,
        early=work.early,
        session_ids=work.session_ids,
    )


@dataclass(slots=True)
class _Opening:
    """A batch of packets."""

    parts: Parts
    tenant: str
    named: Sequence[bytes]
    packets: Sequence[bytes]
    associated: Sequence[bytes]
    records: OpenedRecords = field(default_factory=OpenedRecords)
    sparse: Sparse = field(default_factory=Sparse)
    controls: list[tuple[int, int, bytes]] = field(default_factory=list)
    early: list[int] = field(default_factory=list)
    session_ids: list[bytes] = field(default_factory=list)
    at_once: int = SLICE

    def together(self, _run: int, _now: float) -> int:
        """Every packet has its own window to look at."""
        return 0

    def find(self, start: int, stop: int, now: float) -> Sequence[Session | None]:
        """The sessions of these runs that are objects: to unpack a slice of them at once would be a long pause."""
        if not self.named:
            return [self._sender(packet, now) for packet in self.packets[start:stop]]
        return self.parts.store.get_many(self.tenant, self.named[start:stop])

    def straight(self, sessions: Sequence[Session | None], _start: int, at: int, now: float) -> int:
        """Open packets by `open_items`."""
        stop = at + len(sessions)
        opened = open_items(
            sessions, self.packets[at:stop], self.associated[at:stop], now, self.parts.aeads, self.records
        )
        counts = self.parts.counts
        counts.opened += opened
        counts.opened_bytes += sum(self.records.lengths[at : at + opened])
        if not self.named:
            self.session_ids += [session.session_id for session in sessions[:opened] if session is not None]
        return opened

    def one(self, run: int, index: int, now: float, wall: float) -> None:
        """Open an item as Decrypt does."""
        associated_data = self.associated[index]
        if len(associated_data) > MAX_ASSOCIATED_DATA:
            raise MessageTooLarge("associated_data", MAX_ASSOCIATED_DATA)
        session_id = self.named[run] if self.named else b""
        opened = decrypt(
            self.parts, self.tenant, session_id, self.packets[index], associated_data, ticket=False, now=now, wall=wall
        )
        content = opened.plaintext or b""
        records = self.records
        records.pieces.append(content)
        records.lengths.append(len(content))
        records.counters.append(opened.counter)
        records.epochs.append(opened.epoch)
        records.newest.append(opened.newest)
        if not self.named:
            self.session_ids.append(opened.session_id)
        if opened.plaintext is None:
            self.controls.append((index, opened.control, opened.answered))
        if opened.early:
            self.early.append(index)
        if opened.rotation_due:
            self.sparse.rotation_due.append(index)
        if opened.to_peer:
            self.sparse.to_peer.append((index, opened.to_peer))

    def refused(self) -> None:
        """An item without content."""
        records = self.records
        records.lengths.append(0)
        records.counters.append(0)
        records.epochs.append(0)
        records.newest.append(0)
        if not self.named:
            self.session_ids.append(_NOBODY)

    def _sender(self, packet: bytes, now: float) -> Session | None:
        seen = peek(packet)
        if seen is None:
            return None
        try:
            return self.parts.store.get_by_connection(self.tenant, seen[1], now, unpack=False)
        except (SessionError, Dormant):
            return None
