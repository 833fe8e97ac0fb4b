"""A vault that outlives the process and answers when the test says so."""

from __future__ import annotations

import asyncio
import os

from noisegate_server.store.vault import MemoryVault, Revocation, VaultFailed


class SlowVault(MemoryVault):
    """As a file or a remote store behaves; a second instance of it knows what the first one knew."""

    def __init__(self, issuer: bytes | None = None) -> None:
        super().__init__(issuer or os.urandom(4))
        self.gate = asyncio.Event()
        """Calls wait for it."""
        self.broken = False
        """Calls fail, once they have waited."""
        self.asked = 0

    @property
    def survives(self) -> bool:
        return True

    async def spend(self, number: bytes, until_wall: float) -> bool:
        await self._turn()
        return await super().spend(number, until_wall)

    async def revoke(self, revocation: Revocation) -> None:
        await self._turn()
        await super().revoke(revocation)

    async def revoked(self) -> list[Revocation]:
        return list(self._revoked.values())

    async def _turn(self) -> None:
        self.asked += 1
        await self.gate.wait()
        if self.broken:
            raise VaultFailed("as the test wants")
