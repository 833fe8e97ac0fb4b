"""Any mix of calls for one session while it moves in and out of memory, over a vault that lets them wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.rpc.call import Call, Caller, Reply
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.errors import Overloaded
from noisegate_server.session.state import RecordMode, SessionState
from tests.support.engines import TENANT, Engines, Link, establish
from tests.support.idle import suspend_idle
from tests.support.rpc_table import error_info
from tests.support.slow_vault import SlowVault
from tests.support.suspending import turns

CALLER = Caller(identity="", tenant=TENANT)
EXPECTED = {"NOT_ESTABLISHED", "OVERLOADED", "SESSION_CLOSED"}
"""Refusals that such a mix may bring about."""

REQUESTS: dict[str, Callable[[bytes], Message]] = {
    "Encrypt": lambda session_id: pb.EncryptRequest(session_id=session_id, plaintext=b"hi"),
    "SuspendSession": lambda session_id: pb.SuspendSessionRequest(session_id=session_id),
    "RestoreSession": lambda session_id: pb.RestoreSessionRequest(session_id=session_id),
    "ChangeNetwork": lambda session_id: pb.ChangeNetworkRequest(
        session_id=session_id, network=session_pb2.NETWORK_CELLULAR
    ),
    "GetSession": lambda session_id: pb.GetSessionRequest(session_id=session_id),
    "IssueTicket": lambda session_id: pb.IssueTicketRequest(session_id=session_id),
}
steps = st.lists(st.sampled_from([*REQUESTS, "idle", "open", "shut", "break", "mend", "turn"]), max_size=25)


async def run(link: Link, vault: SlowVault, script: list[str]) -> list[Reply]:
    """Every call of the script, begun in its order; all of them have ended."""
    end = link.responder
    clock, parts = end.engine.clock, end.engine.parts
    table = build_table(Rpc(parts=parts, clock=lambda: clock.now, wall=lambda: clock.wall))
    waiting: list[Awaitable[Reply]] = []
    replies: list[Reply] = []

    async def sleep() -> None:
        with suppress(Overloaded):
            await suspend_idle(parts, range(parts.store.shards), clock.now, clock.wall)

    sleeping: list[asyncio.Future[None]] = []
    for step in script:
        match step:
            case "open":
                vault.gate.set()
            case "shut":
                vault.gate.clear()
            case "break" | "mend":
                vault.broken = step == "break"
            case "idle":
                sleeping.append(asyncio.ensure_future(sleep()))
            case "turn":
                await turns(3)
            case method:
                function = table[SERVICE_PREFIX + method].unary
                assert function is not None
                reply = function(Call(CALLER), REQUESTS[method](end.session_id).SerializeToString())
                if isinstance(reply, tuple):
                    replies.append(reply)
                else:
                    waiting.append(reply)
    vault.gate.set()
    await asyncio.gather(*sleeping)
    return replies + list(await asyncio.gather(*waiting))


@given(script=steps, mode=st.sampled_from(list(RecordMode)))
@settings(max_examples=250, deadline=None)
def test_a_session_is_in_one_place_whatever_comes_when(script: list[str], mode: RecordMode) -> None:
    """In memory or in the vault, never in both or neither; nobody meets a defect; at the end both directions flow."""

    async def live() -> None:
        engines, vault = Engines(), SlowVault()
        link = establish(engines, mode=mode, responder=engines.make(vault=vault))
        end = link.responder
        for reply in await run(link, vault, script):
            assert reply[0] == 0 or error_info(reply).reason in EXPECTED, error_info(reply)
        counts = end.engine.parts.store.counts()
        assert counts.sessions + counts.suspended == 1
        assert len(await vault.kept()) == counts.suspended
        vault.broken = False
        clock = engines.clock
        if mode is RecordMode.DATAGRAM:
            # What was sealed meanwhile is lost: the ends find each other again all the same.
            clock.step(0.3)
            end.outbox.extend(end.engine.restore(end.session_id).to_peer)
            end.send(b"here")
            link.settle()
            link.talk()
        else:
            end.engine.restore(end.session_id)
        assert end.engine.view(end.session_id).state in {SessionState.ESTABLISHED, SessionState.ROTATING}
        engines.assert_nothing_is_left()

    asyncio.run(live())
