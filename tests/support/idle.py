"""Idle sessions leave memory, all of some shards at once."""

from __future__ import annotations

from collections.abc import Iterable

from noisegate_server.engine.parts import Parts
from noisegate_server.engine.slumber import leaving
from noisegate_server.engine.suspend import put_away


async def suspend_idle(parts: Parts, shards: Iterable[int], now: float, wall: float) -> None:
    """As the keeper does it in its looks, one after the other. Overloaded where the vault fails."""
    for group in leaving(parts, shards, used_before=now):
        if group:
            await put_away(parts, group, by_service=True, now=now, wall=wall)
