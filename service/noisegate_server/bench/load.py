"""Unary calls from a fixed number of callers over a few connections."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc.aio

__all__ = ["Load"]

_CHANNELS: Final = 4
_IN_FLIGHT: Final = 64


class Load:
    """Calls of one raw-bytes method, its bodies in turn."""

    def __init__(self, address: str, method: str, bodies: Sequence[bytes]) -> None:
        self._channels = [
            grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
            for _ in range(_CHANNELS)
        ]
        self._calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(method, None, None) for channel in self._channels
        ]
        self._bodies = bodies

    async def run(self, count: int) -> list[tuple[int, bytes]]:
        """Make `count` calls: (index of its body, answer) of each. A refused call raises grpc.aio.AioRpcError."""
        left = iter(range(count))
        answers: list[tuple[int, bytes]] = []

        async def caller(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
            for number in left:
                body = number % len(self._bodies)
                answers.append((body, await call(self._bodies[body])))

        await asyncio.gather(*(caller(self._calls[n % _CHANNELS]) for n in range(_IN_FLIGHT)))
        return answers

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close(None)
