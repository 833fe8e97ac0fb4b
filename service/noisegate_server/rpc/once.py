"""The way of a request that has a request_id: run once, answered as often as it is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from hashlib import sha256
from typing import Any, Final

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Code, Reply
from noisegate_server.rpc.eager import begin
from noisegate_server.rpc.repeats import Key, Shared
from noisegate_server.rpc.unary import Row, Rpc, refuser
from noisegate_server.rpc.waiting import run
from noisegate_server.session.errors import InvalidField
from noisegate_server.store.suspended import Dormant

__all__ = ["Once"]

_UNAVAILABLE: Final = int(Code.UNAVAILABLE)


class Once:
    """One method's requests with a request_id."""

    __slots__ = ("_method", "_refuse", "_row", "_rpc")

    def __init__(self, method: str, row: Row, rpc: Rpc) -> None:
        self._method = method
        self._row = row
        self._rpc = rpc
        self._refuse = refuser(method, rpc)

    def run(self, tenant: str, request: Any, body: bytes, now: float) -> Reply | Awaitable[Reply]:
        """The answer that this request had or is about to have; runs it where it is new."""
        request_id = request.request_id
        if len(request_id.encode()) > limits.MAX_REQUEST_ID_BYTES:
            raise InvalidField("request_id", f"at most {limits.MAX_REQUEST_ID_BYTES} bytes")
        key = (tenant, self._method, request_id)
        digest = sha256(body).digest()
        repeats = self._rpc.repeats
        known = repeats.find(key, digest, self._row.repeat_for, now)
        if known is not None:
            return known
        if self._row.waits:
            return self._begin(key, digest, request, None)
        response = None
        try:
            response = self._row.handle(self._rpc.parts, tenant, request, now, self._rpc.wall())
            reply = 0, self._row.encode(response)
        except Dormant as dormant:
            return self._begin(key, digest, request, dormant)
        except Exception as error:  # noqa: BLE001  # the outermost frame of every call: what is not foreseen is INTERNAL
            reply = self._refuse(error, request_id)
        self._keep(key, digest, request, response, reply, now)
        return reply

    def _begin(self, key: Key, digest: bytes, request: Any, dormant: Dormant | None) -> Reply | Awaitable[Reply]:
        """Run what may have to wait; a repeat that comes meanwhile waits with it."""
        waiting = begin(self._wait(key, digest, request, dormant))
        if isinstance(waiting, asyncio.Task):
            self._rpc.repeats.begin(key, digest, waiting)
        return waiting

    async def _wait(self, key: Key, digest: bytes, request: Any, dormant: Dormant | None) -> Reply:
        rpc = self._rpc
        response = None
        try:
            response = await run(self._row, rpc, key[0], request, dormant)
            reply = 0, self._row.encode(response)
        except Exception as error:  # noqa: BLE001  # likewise
            reply = self._refuse(error, key[2])
        finally:
            closed = rpc.repeats.end(key)
        self._keep(key, digest, request, response, reply, rpc.clock(), closed)
        return reply

    def _keep(
        self,
        key: Key,
        digest: bytes,
        request: Any,
        response: Any,
        reply: Reply,
        now: float,
        closed: Sequence[bytes] = (),
    ) -> None:
        if reply[0] == _UNAVAILABLE:
            return
        row, repeats = self._row, self._rpc.repeats
        owner = row.owner_of(request, response) if row.owner_of is not None else b""
        if isinstance(owner, Shared):
            for session_id in closed:
                reply = owner.cut(reply, session_id)
        repeats.keep(key, digest, reply, owner=owner, lifetime=row.repeat_for, now=now)
