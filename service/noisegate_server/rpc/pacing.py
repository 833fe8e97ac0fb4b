"""The way of a batch: in slices, so that the longest one holds up other calls no longer than a short one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from noisegate_server.engine.batch import Moment, Steps
from noisegate_server.engine.restore import wake
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc.limits import PAUSE_SECONDS
from noisegate_server.session.errors import SessionError

if TYPE_CHECKING:
    from noisegate_server.rpc.unary import Rpc

__all__ = ["pace"]

R = TypeVar("R")


async def pace(rpc: Rpc, tenant: str, steps: Steps[R]) -> R:
    """Run a batch to its result: let others run every PAUSE_SECONDS, bring its suspended sessions back."""
    clock = rpc.clock
    began = clock()
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
        result: R = done.value
        return result
