"""The way of a batch, or of a long list: in slices, so that the longest one holds others up no longer than a short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from noisegate_server.engine.batch import Moment, Steps
from noisegate_server.engine.restore import wake
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc import limits
from noisegate_server.rpc.limits import PAUSE_SECONDS
from noisegate_server.session.errors import Overloaded, SessionError

if TYPE_CHECKING:
    from noisegate_server.rpc.unary import Rpc

__all__ = ["UnderWay", "pace"]

R = TypeVar("R")


class UnderWay:
    """The batches of one process that are not done: a batch's request stays in memory for as long as it pauses."""

    __slots__ = ("held_bytes",)

    def __init__(self) -> None:
        self.held_bytes = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """While a batch is served whose request has `size` bytes. Overloaded where there are too many others."""
        if self.held_bytes and self.held_bytes + size > limits.MAX_UNDER_WAY_BYTES:
            raise Overloaded("the batches under way are as many as the process has room for")
        self.held_bytes += size
        try:
            yield
        finally:
            self.held_bytes -= size


async def pace(rpc: Rpc, tenant: str, steps: Steps[R], first: float) -> R:
    """Run a batch that began at `first` to its result: let others run every PAUSE_SECONDS, bring its sessions back.

    One that was long enough to pause has a long answer, and leaves others a turn before its caller encodes that.
    """
    clock = rpc.clock
    began = first
    try:
        dormant = next(steps)
        while True:
            moment: Moment | None = None
            if dormant is not None:
                try:
                    await wake(rpc.parts, tenant, dormant, clock(), rpc.wall())
                except SessionError as error:
                    # The batch goes on at the next `send`: others have run here too.
                    steps.throw(error)
                moment = (began := clock()), rpc.wall()
            elif clock() - began >= PAUSE_SECONDS:
                await turn()
                moment = (began := clock()), rpc.wall()
            dormant = steps.send(moment)
    except StopIteration as done:
        if began > first and clock() - began >= PAUSE_SECONDS / 2:
            await turn()
        result: R = done.value
        return result
