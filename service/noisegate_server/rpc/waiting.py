"""The way of a call that has to wait: for the vault, or for a session that the service has suspended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from noisegate_server.engine.restore import wake
from noisegate_server.engine.waiting import turn
from noisegate_server.rpc import limits
from noisegate_server.rpc.pacing import pace
from noisegate_server.session.errors import Overloaded
from noisegate_server.store.suspended import Dormant

if TYPE_CHECKING:
    from noisegate_server.rpc.unary import Row, Rpc

__all__ = ["run"]

_TURNS: Final = 64
"""How often a session may leave memory again before its call is told to try later."""


async def run(row: Row, rpc: Rpc, tenant: str, request: Any, dormant: Dormant | None = None) -> Any:
    """A method's response. Where its session is suspended, which `dormant` may say, it comes back first.

    A use case that meets a suspended session has done nothing yet, so that it can run again.
    """
    for _ in range(_TURNS):
        if dormant is not None:
            await wake(rpc.parts, tenant, dormant, rpc.clock(), rpc.wall())
        try:
            if row.paced:
                size = request.ByteSize()
                with rpc.under_way.hold(size):
                    if size > limits.LONG_REQUEST_BYTES:
                        await turn()
                    began = rpc.clock()
                    return await pace(rpc, tenant, row.handle(rpc.parts, tenant, request, began, rpc.wall()), began)
            response = row.handle(rpc.parts, tenant, request, rpc.clock(), rpc.wall())
            return await response if row.waits else response
        except Dormant as met:
            # Its traceback leads to this frame.
            dormant = met.with_traceback(None)
    raise Overloaded("the session is on its way in or out of memory")
