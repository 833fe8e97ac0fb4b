"""The one wrapper around every unary method: admit, parse, run once for a request_id, answer, never raise.

Encrypt and Decrypt run through here, so the straight path is short: one Python call to admit and one to the handler, no
object made but the request and the response.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any, Final

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Caller, Reply, Unary
from noisegate_server.rpc.eager import begin
from noisegate_server.rpc.errors import CallerForbidden, CallerUnauthenticated, Draining, defect, refusal
from noisegate_server.rpc.health import Health
from noisegate_server.rpc.pacing import UnderWay
from noisegate_server.rpc.policy import LOCAL, Policy
from noisegate_server.rpc.repeats import Owner, Repeats
from noisegate_server.rpc.running import Running
from noisegate_server.rpc.waiting import run
from noisegate_server.session.errors import MessageTooLarge
from noisegate_server.store.suspended import Dormant

__all__ = ["Row", "Rpc", "admission", "refuser", "unary"]

# A table holds handlers of different request types, so their types are Any here; the tests run every row.
Handler = Callable[[Any, str, Any, float, float], Any]
"""(parts, tenant, request, now, wall) -> response, or a coroutine of it in a row that `waits`."""

Encode = Callable[[Any], bytes]
"""response -> its serialised message."""

AtOnce = Callable[[Any, str, Any, float], bytes | None]
"""(parts, tenant, request, now) -> the serialised response; None, and nothing was done, where the handler has to."""

OwnerOf = Callable[[Any, Any], Owner]
"""(request, response or None for a refusal) -> whose an answer is."""


def ignore_defect(method: str, error: Exception) -> None:
    """The `on_defect` of tests that look at replies only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of one unary method beside its name."""

    request: Any
    """The request's protobuf class."""
    handle: Handler
    parse: Callable[[bytes], Any] | None = None
    """Bytes to what the handler takes, DecodeError for no message; None for protobuf's own."""
    encode: Encode = methodcaller("SerializeToString")
    """What the handler gives back to bytes; by default it is a protobuf message."""
    repeat_for: float = 0.0
    """Seconds for which a request_id is remembered; 0 where the request has none."""
    owner_of: OwnerOf | None = None
    """Set where `repeat_for` is."""
    by_name: bool = False
    """Must a policy name it for each caller that may call it? Its "*" and no policy at all do not allow it."""
    waits: bool = False
    """Is the handler a coroutine function? Then it runs at once, and becomes a task where it has to wait."""
    paced: bool = False
    """With `waits`: the handler gives `Steps` instead, for `rpc.pacing`."""
    at_once: AtOnce | None = None
    """Likewise, asked first: what has no need of steps it answers, without a coroutine."""
    longest: int = limits.MAX_REQUEST_BYTES
    """Bytes of the longest request."""


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
    under_way: UnderWay = field(default_factory=UnderWay)
    running: Running = field(default_factory=Running)
    refusals: Counter[type[Exception]] = field(default_factory=Counter)
    """How often calls were refused, by the error's type."""
    on_defect: Callable[[str, Exception], None] = ignore_defect
    """Told of an error that nobody foresaw. Must not raise, nor show the error's text, which may hold a secret."""


_NO_RIGHTS: Final[frozenset[str]] = frozenset()

Admit = Callable[[Call, int], str]
Refuse = Callable[[Exception, str], Reply]
RunOnce = Callable[[str, Any, bytes, float], Reply | Awaitable[Reply]]
"""(tenant, request, body, now) -> reply, for a request that has a request_id."""


def admission(method: str, rpc: Rpc, longest: int = limits.MAX_REQUEST_BYTES) -> Admit:
    """Makes the check that a call passes before its body is looked at: (call, body's length) -> tenant."""
    rights = rpc.policy.rights
    withheld = rights is None and method in rpc.policy.withheld
    health = rpc.health

    def admit(call: Call, size: int) -> str:
        caller = call.caller
        tenant = caller.tenant
        if not tenant:
            raise CallerForbidden("tenant") if caller.identity else CallerUnauthenticated
        if withheld or (rights is not None and method not in rights.get(caller.identity or LOCAL, _NO_RIGHTS)):
            raise CallerForbidden(method)
        if health.draining:
            raise Draining
        if size > longest:
            raise MessageTooLarge("request", longest)
        return tenant

    return admit


def refuser(method: str, rpc: Rpc) -> Refuse:
    """Makes the function from an exception to a reply: (error, request_id) -> reply."""
    on_defect, refusals = rpc.on_defect, rpc.refusals

    def refuse(error: Exception, request_id: str) -> Reply:
        refusals[type(error)] += 1
        reply = refusal(error)
        if reply is None:
            on_defect(method, error)
            reply = defect(request_id)
        # The frames behind an error may hold the error: a cycle, and with it a packet, a plaintext or a key's context,
        # would wait for the garbage collector, which does not look at what is old.
        error.__traceback__ = error.__context__ = None
        return reply

    return refuse


def unary(method: str, row: Row, rpc: Rpc, run_once: RunOnce) -> Unary:
    """The seam's function for one row; `run_once` serves the requests that have a request_id."""
    parts, clock, wall, repeats, health = rpc.parts, rpc.clock, rpc.wall, rpc.repeats, rpc.health
    handle, encode, waits, at_once = row.handle, row.encode, row.waits, row.at_once
    has_request_id = row.repeat_for > 0
    parse, longest = row.parse or row.request.FromString, row.longest
    admit, refuse = admission(method, rpc, longest), refuser(method, rpc)
    admitted: Caller | None = None

    def answer(call: Call, body: bytes) -> Reply | Awaitable[Reply]:
        nonlocal admitted
        request_id = ""
        try:
            # What a caller may do does not change: the same one as last time need not be asked again.
            caller = call.caller
            if caller is not admitted or health.draining or len(body) > longest:
                admit(call, len(body))
                admitted = caller
            tenant = caller.tenant
            request = parse(body)
            now = clock()
            if repeats.next_expiry <= now:
                repeats.expire(now)
            if has_request_id:
                request_id = request.request_id
                if request_id:
                    return run_once(tenant, request, body, now)
            if at_once is not None and (done := at_once(parts, tenant, request, now)) is not None:
                return 0, done
            if waits:
                return begin(_settle(row, rpc, tenant, request, None, refuse))
            try:
                response = handle(parts, tenant, request, now, wall())
            except Dormant as dormant:
                return begin(_settle(row, rpc, tenant, request, dormant, refuse))
            return 0, encode(response)
        except Exception as error:  # noqa: BLE001  # the outermost frame of every call: what is not foreseen is INTERNAL
            return refuse(error, request_id)

    return answer


async def _settle(row: Row, rpc: Rpc, tenant: str, request: Any, dormant: Dormant | None, refuse: Refuse) -> Reply:
    try:
        response = await run(row, rpc, tenant, request, dormant)
        return 0, row.encode(response)
    except Exception as error:  # noqa: BLE001  # likewise
        return refuse(error, "")
