"""What must outlive memory: suspended sessions, used tickets, revocations. The interface, and the one in memory.

Its methods are coroutines, because a file or a remote store has to wait; of the vault in memory none ever does. A use
case that calls one takes or fences first, then waits, then commits: no session is held across the wait. What a method
promises is durable, as far as the vault is, when it returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final, Protocol

__all__ = ["KeptSession", "MemoryVault", "Revocation", "Vault", "VaultFailed"]


_SPARE_ENTRIES: Final = 64
"""Entries of what is gone that a queue may hold beside as many as there are living ones."""


class VaultFailed(Exception):
    """The vault could not do what it was asked for: a full disk, a broken file, a closed vault."""

    def __init__(self, cause: str, *, certain: bool = True) -> None:
        super().__init__(f"the vault failed: {cause}")
        self.cause = cause
        """In the vault's own words: of SQLite the name of the error."""
        self.certain = certain
        """Nothing was done. Otherwise it may turn out at the next start that it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """A suspended session as the vault keeps it; everything but the sealed blob is there to find it by."""

    session_id: bytes
    """24 bytes."""
    tenant: str
    peer_id: str
    group: str
    mode: int
    """A `RecordMode`."""
    remote_static: bytes
    """The peer's static key, 32 bytes or empty."""
    connection_ids: tuple[bytes, ...]
    """DATAGRAM: those under which the peer's packets may come."""
    by_service: bool
    """The service suspended it: the first call for it brings it back."""
    resumable: bool
    """The peer has a ticket of it."""
    suspended_wall: float
    """Unix seconds."""
    expires_wall: float
    """When it can come back no more: unix seconds."""
    blob: bytes = field(repr=False)
    """Sealed (session/blob.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A player who was revoked: by name or by static key; the other one is empty."""

    tenant: str
    peer_id: str = ""
    static_key: bytes = b""
    revoked_wall: float
    """Unix seconds: tickets and blobs of this moment or before are refused."""


class Vault(Protocol):
    """Obligations of every vault. Times are unix seconds, because what is kept may outlive the process.

    Each method is atomic. They are done in the order of their calls, and their callers go on in that order. Any of them
    raises VaultFailed where it could not be done.
    """

    @property
    def issuer(self) -> bytes:
        """4 bytes, at random, that stand in tickets: a ticket with them was never used unless this vault knows it.

        Of a vault in memory they are new at each start, of a durable one they are as old as what it knows.
        """

    @property
    def survives(self) -> bool:
        """Whether what it keeps outlives the process."""

    async def kept(self) -> list[KeptSession]:
        """Every suspended session, for the index that is made of them at a start; without their blobs (empty)."""

    async def revoked(self) -> list[Revocation]:
        """Every revocation, likewise."""

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        """Keep suspended sessions, all or none, each in the place of one with the same id."""

    async def take(self, session_id: bytes) -> bytes | None:
        """The blob of a suspended session, gone from the vault when this returns; None where it is not there."""

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        """Delete suspended sessions; ids that are not there do no harm."""

    async def spend(self, number: bytes, until_wall: float) -> bool:
        """Mark a single-use number (16 bytes: a ticket's id, a blob's) as used until `until_wall`.

        True the first time, False ever after: of any number of calls for one number exactly one is told True. Once
        `expire` has deleted a number, every one that ends no later counts as used: a clock that was set forward and
        back again revives none.
        """

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation, in the place of an earlier one of the same player."""

    async def expire(self, wall: float, budget: int) -> None:
        """Delete what is over at `wall`, `budget` rows of each kind at most."""

    async def settle(self) -> None:
        """Return once all that was asked for before is done, and its callers have gone on."""

    async def close(self) -> None:
        """Do what was asked for, then let go of whatever is held. No call comes after it."""


class MemoryVault:
    """A vault that ends with the process."""

    __slots__ = ("_floor", "_issuer", "_kept", "_kept_ends", "_revoked", "_spent", "_spent_ends")

    def __init__(self, issuer: bytes) -> None:
        self._issuer: Final = issuer
        self._kept: Final[dict[bytes, KeptSession]] = {}
        self._kept_ends: Final[list[tuple[float, bytes]]] = []
        """A heap: when to look at which session. One that was taken, and maybe kept again, leaves its entry behind."""
        self._spent: Final[set[bytes]] = set()
        self._spent_ends: Final[list[tuple[float, bytes]]] = []
        """Likewise, of numbers, which never come back."""
        self._floor = -math.inf
        """The latest end of a number that was deleted."""
        self._revoked: Final[dict[tuple[str, str, bytes], Revocation]] = {}

    @property
    def issuer(self) -> bytes:
        return self._issuer

    @property
    def survives(self) -> bool:
        return False

    async def kept(self) -> list[KeptSession]:
        return [replace(session, blob=b"") for session in self._kept.values()]

    async def revoked(self) -> list[Revocation]:
        return list(self._revoked.values())

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        for session in sessions:
            self._kept[session.session_id] = session
            heappush(self._kept_ends, (session.expires_wall, session.session_id))
        if len(self._kept_ends) > 2 * len(self._kept) + _SPARE_ENTRIES:
            self._kept_ends[:] = sorted((each.expires_wall, each.session_id) for each in self._kept.values())

    async def take(self, session_id: bytes) -> bytes | None:
        kept = self._kept.pop(session_id, None)
        return None if kept is None else kept.blob

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        for session_id in session_ids:
            self._kept.pop(session_id, None)

    async def spend(self, number: bytes, until_wall: float) -> bool:
        if number in self._spent or until_wall <= self._floor:
            return False
        self._spent.add(number)
        heappush(self._spent_ends, (until_wall, number))
        return True

    async def revoke(self, revocation: Revocation) -> None:
        self._revoked[revocation.tenant, revocation.peer_id, revocation.static_key] = revocation

    async def expire(self, wall: float, budget: int) -> None:
        for end, number in _over(self._spent_ends, wall, budget):
            self._spent.discard(number)
            self._floor = max(self._floor, end)
        for end, session_id in _over(self._kept_ends, wall, budget):
            kept = self._kept.get(session_id)
            if kept is not None and kept.expires_wall == end:
                del self._kept[session_id]

    async def settle(self) -> None:
        return

    async def close(self) -> None:
        self._kept.clear()
        self._kept_ends.clear()
        self._spent.clear()
        self._spent_ends.clear()
        self._revoked.clear()


def _over(ends: list[tuple[float, bytes]], wall: float, budget: int) -> Iterator[tuple[float, bytes]]:
    """Takes off those whose time has come, `budget` at most."""
    for _ in range(budget):
        if not ends or ends[0][0] > wall:
            return
        yield heappop(ends)
