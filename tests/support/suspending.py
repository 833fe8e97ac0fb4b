"""Suspending and restoring in tests: at once, or begun and waiting for a slow vault."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from noisegate_server.engine import restore, suspend
from noisegate_server.session.errors import (
    SessionError,
)
from noisegate_server.session.state import RecordMode
from noisegate_server.store.suspended import Dormant
from tests.support.engines import TENANT, End, Engines, Link, at_once, establish
from tests.support.slow_vault import SlowVault

MODES = [RecordMode.NOISE, RecordMode.DATAGRAM]


async def turns(count: int = 8) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(waiting: Awaitable[Any]) -> Any:
    """The answer, or the class of the refusal."""
    try:
        return await waiting
    except (SessionError, Dormant) as refusal:
        return type(refusal)


def suspending(end: End, **options: bool) -> asyncio.Future[suspend.Suspended]:
    """A SuspendSession that has begun."""
    clock, parts = end.engine.clock, end.engine.parts
    options.setdefault("return_blob", False)
    return asyncio.ensure_future(
        suspend.suspend(parts, TENANT, end.session_id, now=clock.now, wall=clock.wall, **options)
    )


def restoring(end: End) -> asyncio.Future[restore.Restored]:
    """A RestoreSession that has begun."""
    clock, parts = end.engine.clock, end.engine.parts
    return asyncio.ensure_future(restore.restore(parts, TENANT, end.session_id, clock.now, clock.wall))


def put_away(end: End) -> None:
    """The service suspends the session by itself."""
    clock, parts = end.engine.clock, end.engine.parts
    at_once(suspend.put_away(parts, [end.session], by_service=True, now=clock.now, wall=clock.wall))


def wake(end: End, dormant: Dormant) -> None:
    """What answers a call for a session that the service has suspended."""
    clock, parts = end.engine.clock, end.engine.parts
    at_once(restore.wake(parts, TENANT, dormant, clock.now, clock.wall))


def come_back(link: Link, end: End) -> None:
    """Restore an end, and let both talk until all is at rest."""
    end.outbox.extend(end.engine.restore(end.session_id).to_peer)
    link.settle()
    link.talk()


def slow_link(engines: Engines, vault: SlowVault, mode: RecordMode = RecordMode.DATAGRAM) -> Link:
    """A session whose responder keeps its suspended ones in `vault`."""
    return establish(engines, mode=mode, responder=engines.make(vault=vault))
