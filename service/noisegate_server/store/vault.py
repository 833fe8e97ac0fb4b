"""What must outlive memory: suspended sessions, used tickets, revocations. The interface, and the one in memory.

Its methods are coroutines, because a file or a remote store has to wait; of the vault in memory none ever does. A use
case that calls one takes or fences first, then waits, then commits: no session is held across the wait. What a method
promises is durable, as far as the vault is, when it returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ["KeptSession", "MemoryVault", "Revocation", "Vault"]


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
    """Obligations of every vault. Times are unix seconds, because what is kept may outlive the process."""

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

    async def keep(self, session: KeptSession) -> None:
        """Keep a suspended session, in the place of one with the same id."""

    async def take(self, session_id: bytes) -> bytes | None:
        """The blob of a suspended session, gone from the vault when this returns; None where it is not there."""

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        """Delete suspended sessions; ids that are not there do no harm."""

    async def spend(self, number: bytes, until_wall: float) -> bool:
        """Mark a single-use number (16 bytes: a ticket's id, a blob's) as used until `until_wall`.

        True the first time, False ever after: of any number of calls for one number exactly one is told True.
        """

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation, in the place of an earlier one of the same player."""

    async def expire(self, wall: float, budget: int) -> None:
        """Delete what is over at `wall`, `budget` rows of each kind at most."""

    async def close(self) -> None:
        """Let go of whatever is held."""


class MemoryVault:
    """A vault that ends with the process."""

    __slots__ = ("_issuer", "_kept", "_revoked", "_spent")

    def __init__(self, issuer: bytes) -> None:
        self._issuer: Final = issuer
        self._kept: Final[dict[bytes, KeptSession]] = {}
        self._spent: Final[dict[bytes, float]] = {}
        self._revoked: Final[dict[tuple[str, str, bytes], Revocation]] = {}

    @property
    def issuer(self) -> bytes:
        return self._issuer

    @property
    def survives(self) -> bool:
        return False

    async def kept(self) -> list[KeptSession]:
        return []

    async def revoked(self) -> list[Revocation]:
        return []

    async def keep(self, session: KeptSession) -> None:
        self._kept[session.session_id] = session

    async def take(self, session_id: bytes) -> bytes | None:
        kept = self._kept.pop(session_id, None)
        return None if kept is None else kept.blob

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        for session_id in session_ids:
            self._kept.pop(session_id, None)

    async def spend(self, number: bytes, until_wall: float) -> bool:
        if number in self._spent:
            return False
        self._spent[number] = until_wall
        return True

    async def revoke(self, revocation: Revocation) -> None:
        self._revoked[revocation.tenant, revocation.peer_id, revocation.static_key] = revocation

    async def expire(self, wall: float, budget: int) -> None:
        # All of one kind live about equally long, so the oldest are the first to be over.
        for number in [number for number, _ in zip(self._spent, range(budget), strict=False)]:
            if self._spent[number] <= wall:
                del self._spent[number]
        for session_id in [session_id for session_id, _ in zip(self._kept, range(budget), strict=False)]:
            if self._kept[session_id].expires_wall <= wall:
                del self._kept[session_id]

    async def close(self) -> None:
        self._kept.clear()
        self._spent.clear()
        self._revoked.clear()
