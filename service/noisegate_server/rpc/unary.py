"""The one wrapper around every unary method: admit, parse, run once for a request_id, answer, never raise.

Encrypt and Decrypt run through here, so the straight path is short: one Python call to admit and one to the handler, no
object made but the request and the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Code, Reply, Unary
from noisegate_server.rpc.errors import CallerForbidden, CallerUnauthenticated, Draining, defect, refusal
from noisegate_server.rpc.health import Health
from noisegate_server.rpc.policy import LOCAL, Policy
from noisegate_server.rpc.repeats import Key, Repeats
from noisegate_server.session.errors import InvalidField, MessageTooLarge

__all__ = ["Row", "Rpc", "admission", "refuser", "unary"]

# A table holds handlers of different request types, so their types are Any here; the tests run every row.
Handler = Callable[[Any, str, Any, float, float], Any]
"""(parts, tenant, request, now, wall) -> response, or an awaitable of it in a row that `waits`."""

SessionOf = Callable[[Any, Any], bytes]
"""(request, response or None for a refusal) -> the session that an answer belongs to, or empty."""


def ignore_defect(method: str, error: Exception) -> None:
    """The `on_defect` of tests that look at replies only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one unary method beside its name."""

    request: Any
    """The request's protobuf class."""
    handle: Handler
    repeat_for: float = 0.0
    """Seconds for which a request_id is remembered; 0 where the request has none."""
    session_of: SessionOf | None = None
    """Set where `repeat_for` is."""
    closes: bool = False
    """Does success end the session, and with it the answers that are kept for it?"""
    waits: bool = False
    """Does the handler return an awaitable?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """What the methods share."""

    parts: Any
    """The engine's parts, handed to every handler."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds."""
    policy: Policy = field(default_factory=Policy)
    repeats: Repeats = field(default_factory=Repeats)
    health: Health = field(default_factory=Health)
    on_defect: Callable[[str, Exception], None] = ignore_defect
    """Told of an error that nobody foresaw. Must not raise, nor show the error's text, which may hold a secret."""


_NO_RIGHTS: Final[frozenset[str]] = frozenset()
_UNAVAILABLE: Final = int(Code.UNAVAILABLE)

Admit = Callable[[Call, int], str]
Refuse = Callable[[Exception, str], Reply]


def admission(method: str, rpc: Rpc) -> Admit:
    """Makes the check that a call passes before its body is looked at: (call, body's length) -> tenant."""
    rights = rpc.policy.rights
    health = rpc.health

    def admit(call: Call, size: int) -> str:
        caller = call.caller
        tenant = caller.tenant
        if not tenant:
            raise CallerForbidden("tenant") if caller.identity else CallerUnauthenticated
        if rights is not None and method not in rights.get(caller.identity or LOCAL, _NO_RIGHTS):
            raise CallerForbidden(method)
        if health.draining:
            raise Draining
        if size > limits.MAX_REQUEST_BYTES:
            raise MessageTooLarge("request", limits.MAX_REQUEST_BYTES)
        return tenant

    return admit


def refuser(method: str, rpc: Rpc) -> Refuse:
    """Makes the function from an exception to a reply: (error, request_id) -> reply."""
    on_defect = rpc.on_defect

    def refuse(error: Exception, request_id: str) -> Reply:
        reply = refusal(error)
        if reply is None:
            on_defect(method, error)
            reply = defect(request_id)
        return reply

    return refuse


def unary(method: str, row: Row, rpc: Rpc) -> Unary:
    """The seam's function for one row."""
    parts, clock, wall, repeats = rpc.parts, rpc.clock, rpc.wall, rpc.repeats
    handle, closes, waits = row.handle, row.closes, row.waits
    has_request_id = row.repeat_for > 0
    parse = row.request.FromString
    admit, refuse = admission(method, rpc), refuser(method, rpc)
    run_once = _once(method, row, rpc, refuse)

    def answer(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
        request_id = ""
        try:
            tenant = admit(call, len(body))
            request = parse(body)
            now = clock()
            if repeats.next_expiry <= now:
                repeats.expire(now)
            if has_request_id:
                request_id = request.request_id
                if request_id:
                    return run_once(tenant, request, body, now)
            response = handle(parts, tenant, request, now, wall())
            if waits:
                return asyncio.ensure_future(_settle(response, refuse, ""))
            if closes:
                repeats.forget(tenant, request.session_id)
            return 0, response.SerializeToString()
        except Exception as error:  # noqa: BLE001  # the outermost frame of every call: what is not foreseen is INTERNAL
            return refuse(error, request_id)

    return answer


async def _settle(response: Awaitable[Any], refuse: Refuse, request_id: str) -> Reply:
    try:
        return 0, (await response).SerializeToString()
    except Exception as error:  # noqa: BLE001  # likewise
        return refuse(error, request_id)


def _once(
    method: str, row: Row, rpc: Rpc, refuse: Refuse
) -> Callable[[str, Any, bytes, float], Reply | Awaitable[Reply]]:
    """Makes the way of a request that has a request_id: (tenant, request, body, now) -> reply."""
    parts, wall, repeats, handle = rpc.parts, rpc.wall, rpc.repeats, row.handle
    lifetime = row.repeat_for
    session_of = row.session_of if row.session_of is not None else _no_session

    def run_once(tenant: str, request: Any, body: bytes, now: float) -> Reply | Awaitable[Reply]:
        request_id = request.request_id
        if len(request_id.encode()) > limits.MAX_REQUEST_ID_BYTES:
            raise InvalidField("request_id", f"at most {limits.MAX_REQUEST_ID_BYTES} bytes")
        key = (tenant, method, request_id)
        digest = sha256(body).digest()
        known = repeats.find(key, digest, lifetime, now)
        if known is not None:
            return known
        if row.waits:
            waiting = asyncio.ensure_future(wait_once(key, digest, request))
            repeats.begin(key, digest, waiting)
            return waiting
        response = None
        try:
            response = handle(parts, tenant, request, now, wall())
            reply = 0, response.SerializeToString()
        except Exception as error:  # noqa: BLE001  # the outermost frame of every call: what is not foreseen is INTERNAL
            reply = refuse(error, request_id)
        keep(key, digest, request, response, reply, now)
        return reply

    async def wait_once(key: Key, digest: bytes, request: Any) -> Reply:
        response = None
        try:
            response = await handle(parts, key[0], request, rpc.clock(), wall())
            reply = 0, response.SerializeToString()
        except Exception as error:  # noqa: BLE001  # likewise
            reply = refuse(error, key[2])
        finally:
            repeats.end(key)
        keep(key, digest, request, response, reply, rpc.clock())
        return reply

    def keep(key: Key, digest: bytes, request: Any, response: Any, reply: Reply, now: float) -> None:
        if reply[0] == _UNAVAILABLE:
            return
        if row.closes and response is not None:
            repeats.forget(key[0], request.session_id)
        repeats.keep(key, digest, reply, session_id=session_of(request, response), lifetime=lifetime, now=now)

    return run_once


def _no_session(request: Any, response: Any) -> bytes:
    return b""
