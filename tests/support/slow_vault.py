"""A vault that outlives the process and answers when the test says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence

from noisegate_server.store.vault import KeptSession, MemoryVault, Revocation, VaultFailed


class SlowVault(MemoryVault):
    """As a file or a remote store behaves; a second instance of it knows what the first one knew."""

    def __init__(self, issuer: bytes | None = None) -> None:
        super().__init__(issuer or os.urandom(4))
        self.gate = asyncio.Event()
        """Calls wait for it."""
        self.broken = False
        """Calls fail, once they have waited."""
        self.certain = True
        self.cause = "as the test wants"
        """What failed was not done."""
        self.asked = 0
        self.asking = asyncio.Event()
        """Set by a call."""

    @property
    def survives(self) -> bool:
        return True

    async def spend(self, number: bytes, until_wall: float) -> bool:
        await self._turn()
        return await super().spend(number, until_wall)

    async def keep(self, sessions: Sequence[KeptSession]) -> None:
        await self._turn()
        await super().keep(sessions)

    async def take(self, session_id: bytes) -> bytes | None:
        await self._turn()
        return await super().take(session_id)

    async def forget(self, session_ids: Iterable[bytes]) -> None:
        await self._turn()
        await super().forget(session_ids)

    async def settle(self) -> None:
        await self._turn()

    async def revoke(self, revocation: Revocation) -> None:
        await self._turn()
        await super().revoke(revocation)

    async def revoked(self) -> list[Revocation]:
        return list(self._revoked.values())

    async def _turn(self) -> None:
        self.asked += 1
        self.asking.set()
        await self.gate.wait()
        if self.broken:
            raise VaultFailed(self.cause, certain=self.certain)
