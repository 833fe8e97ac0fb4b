"""Answers that are given again: the memory behind `request_id`.

A caller whose answer got lost repeats its call with the same request_id and the same body and gets the same answer, and
nothing happens twice. Answers may hold plaintext, so the memory is short in every direction: in number, in bytes, in
time, and per session. What was pushed out early is not repeated but run again, as if it had had no request_id; so the
tenant whose answers take most room makes room for those of all.
"""

from __future__ import annotations

import math
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Reply
from noisegate_server.rpc.errors import IdempotencyConflict

__all__ = ["Key", "Owner", "Repeats", "Shared"]

Key = tuple[str, str, str]
"""Tenant, full method name, request_id."""

_ENTRY_BYTES: Final = 512
"""What an entry costs beside its answer: its keys, its digest and three places in dicts, rounded up."""


class Shared(NamedTuple):
    """What is known of an answer that many sessions have a part in."""

    owners: bytes
    """The session of each item, all ids as long; of no session where it has none."""
    without: Callable[[bytes, Sequence[int]], bytes]
    """(answer, numbers of items) -> the answer that has forgotten what these items held."""

    def cut(self, reply: Reply, session_id: bytes) -> Reply:
        """The answer without the part of this session; itself where it has none."""
        owners, length = self.owners, len(session_id)
        items = [at // length for at in range(0, len(owners), length) if owners[at : at + length] == session_id]
        return (reply[0], self.without(reply[1], items)) if items else reply


class _Running(NamedTuple):
    digest: bytes
    answer: Future[Reply]
    closed: list[bytes]


_MANY: Final = b"many"
"""In the place of a session's id, for shared answers; no id is so short."""

Owner = bytes | Shared
"""The session that an answer belongs to, empty for none; or what many have of it."""


class _Entry(NamedTuple):
    digest: bytes
    reply: Reply
    owner: Owner
    lifetime: float
    expires: float


class _Cut(NamedTuple):
    """A session that has left memory, and where its part is still to be taken out."""

    tenant: str
    session_id: bytes
    keys: dict[Key, None]
    """Of shared answers that were kept before; the last one is next."""


class _Holding:
    """What one tenant's answers take."""

    __slots__ = ("held_bytes", "queues")

    def __init__(self) -> None:
        self.held_bytes = 0
        self.queues: dict[float, OrderedDict[Key, None]] = {}
        """By lifetime, so that each is ordered by the time at which its entries go."""

    def oldest(self) -> list[tuple[float, Key]]:
        """(lifetime, key) of the oldest answer of each lifetime."""
        return [(lifetime, next(iter(queue))) for lifetime, queue in self.queues.items()]


class Repeats:
    """Answers by request_id, oldest first.

    One event loop uses it; nothing here waits. `now` is monotonic seconds.
    """

    __slots__ = (
        "_by_owner", "_bytes", "_count", "_cuts", "_max_bytes", "_max_entries", "_queues", "_running", "_tenants",
        "next_expiry",
    )  # fmt: skip

    def __init__(self, *, max_entries: int = limits.MAX_REPEATS, max_bytes: int = limits.MAX_REPEAT_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        # A queue for each lifetime, so that each is ordered by the time at which its entries go.
        self._queues: dict[float, OrderedDict[Key, _Entry]] = {
            limits.REPEAT_SECONDS: OrderedDict(),
            limits.HANDSHAKE_REPEAT_SECONDS: OrderedDict(),
        }
        self._by_owner: dict[tuple[str, bytes], dict[Key, tuple[float, Owner]]] = {}
        """By tenant and session, or _MANY; with the lifetime of each, oldest first."""
        self._tenants: dict[str, _Holding] = {}
        self._running: dict[Key, _Running] = {}
        self._cuts: deque[_Cut] = deque()
        self._count = 0
        self._bytes = 0
        self.next_expiry = math.inf
        """No answer goes before this moment; compared by every call, so that no call has to ask."""

    def __len__(self) -> int:
        return self._count

    @property
    def held_bytes(self) -> int:
        """What the answers take, their bookkeeping included."""
        return self._bytes

    def find(self, key: Key, digest: bytes, lifetime: float, now: float) -> Reply | Future[Reply] | None:
        """The answer that this request had, or the running one's; None for a new request.

        Raises IdempotencyConflict where the request_id came with another body.
        """
        if self._running and (running := self._running.get(key)) is not None:
            if running.digest != digest:
                raise IdempotencyConflict
            return running.answer
        entry = self._queues[lifetime].get(key)
        if entry is None or entry.expires <= now:
            return None
        if entry.digest != digest:
            raise IdempotencyConflict
        if self._cuts and isinstance(entry.owner, Shared):
            for cut in self._cuts:
                if key in cut.keys:
                    self._take_out(cut, key)
            entry = self._queues[lifetime][key]
        return entry.reply

    def begin(self, key: Key, digest: bytes, answer: Future[Reply]) -> None:
        """Remember a call that waits; its repeats wait for the same answer. `end` takes it off."""
        self._running[key] = _Running(digest, answer, [])

    def end(self, key: Key) -> Sequence[bytes]:
        """The waiting call has its answer; the tenant's sessions that were closed meanwhile."""
        running = self._running.pop(key, None)
        return () if running is None else running.closed

    def keep(self, key: Key, digest: bytes, reply: Reply, *, owner: Owner, lifetime: float, now: float) -> None:
        """Remember an answer for `lifetime` seconds."""
        queue = self._queues[lifetime]
        if key in queue:
            self._drop(lifetime, key)
        entry = queue[key] = _Entry(digest, reply, owner, lifetime, now + lifetime)
        holding = self._tenants.get(key[0])
        if holding is None:
            holding = self._tenants[key[0]] = _Holding()
        holding.queues.setdefault(lifetime, OrderedDict())[key] = None
        self._count += 1
        self._weigh(key[0], _size(entry))
        self.next_expiry = min(self.next_expiry, entry.expires)
        if owner:
            place = owner if isinstance(owner, bytes) else _MANY
            keys = self._by_owner.setdefault((key[0], place), {})
            keys[key] = lifetime, owner
            if len(keys) > (limits.MAX_REPEATS_PER_SESSION if place is owner else limits.MAX_SHARED_REPEATS):
                oldest = next(iter(keys))
                self._drop(keys[oldest][0], oldest)
        while self._count > self._max_entries or self._bytes > self._max_bytes:
            self._make_room()

    def forget(self, tenant: str, session_id: bytes, *, shared: bool = True) -> None:
        """Drop every answer of a session that has left memory: they may hold its plaintexts.

        With `shared` also its part of answers that it shares with others. Where those are many, `cut` finishes it.
        """
        for key, (lifetime, _) in list(self._by_owner.get((tenant, session_id), {}).items()):
            self._drop(lifetime, key)
        if not shared:
            return
        for key, running in self._running.items():
            if key[0] == tenant:
                running.closed.append(session_id)
        # All of the tenant's are looked through: an index would cost every item of every batch, this some endings.
        keys = self._by_owner.get((tenant, _MANY))
        if keys is None:
            return
        if len(self._cuts) >= limits.MAX_CUTS:
            for key in list(keys):
                self._drop(keys[key][0], key)
            return
        self._cuts.append(_Cut(tenant, session_id, dict.fromkeys(keys)))
        self.cut(limits.CUT_AT_ONCE)

    def cut(self, budget: int) -> int:
        """Take sessions that have left memory out of at most `budget` shared answers; how many were looked at."""
        left = budget
        while self._cuts and left > 0:
            cut = self._cuts[0]
            while cut.keys and left > 0:
                left -= 1
                self._take_out(cut, cut.keys.popitem()[0])
            if not cut.keys:
                self._cuts.popleft()
        return budget - left

    def _take_out(self, cut: _Cut, key: Key) -> None:
        lifetime, owner = self._by_owner.get((cut.tenant, _MANY), {}).get(key, (0.0, b""))
        if not isinstance(owner, Shared) or cut.session_id not in owner.owners:
            return
        entry = self._queues[lifetime][key]
        less = self._queues[lifetime][key] = entry._replace(reply=owner.cut(entry.reply, cut.session_id))
        self._weigh(cut.tenant, _size(less) - _size(entry))

    def expire(self, now: float, budget: int = 32) -> int:
        """Drop at most `budget` answers whose time has passed; returns how many."""
        dropped = 0
        for lifetime, queue in self._queues.items():
            while queue and dropped < budget:
                key, entry = next(iter(queue.items()))
                if entry.expires > now:
                    break
                self._drop(lifetime, key)
                dropped += 1
        oldest = [next(iter(queue.values())).expires for queue in self._queues.values() if queue]
        self.next_expiry = min(oldest, default=math.inf)
        return dropped

    def clear(self) -> None:
        """Drop every answer."""
        for queue in self._queues.values():
            queue.clear()
        self._by_owner.clear()
        self._tenants.clear()
        self._cuts.clear()
        self._count = self._bytes = 0
        self.next_expiry = math.inf

    def _weigh(self, tenant: str, more: int) -> None:
        self._bytes += more
        self._tenants[tenant].held_bytes += more

    def _make_room(self) -> None:
        """Drop the oldest answer of the tenant whose answers take most room."""
        # Tenants stand in the configuration, and those that have answers here have called within seconds: a few.
        largest = max(self._tenants.values(), key=attrgetter("held_bytes"))
        lifetime, key = min(largest.oldest(), key=lambda head: self._queues[head[0]][head[1]].expires)
        self._drop(lifetime, key)

    def _drop(self, lifetime: float, key: Key) -> None:
        entry = self._queues[lifetime].pop(key)
        tenant, owner = key[0], entry.owner
        self._count -= 1
        self._weigh(tenant, -_size(entry))
        queues = self._tenants[tenant].queues
        del queues[lifetime][key]
        if not queues[lifetime]:
            del queues[lifetime]
        if not queues:
            del self._tenants[tenant]
        if owner:
            place = owner if isinstance(owner, bytes) else _MANY
            del self._by_owner[tenant, place][key]
            if not self._by_owner[tenant, place]:
                del self._by_owner[tenant, place]


def _size(entry: _Entry) -> int:
    owners = len(entry.owner.owners) if isinstance(entry.owner, Shared) else 0
    return len(entry.reply[1]) + owners + _ENTRY_BYTES
