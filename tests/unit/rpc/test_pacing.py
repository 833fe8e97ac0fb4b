"""Batches and long lists that are not done yet: how much of them there may be, and that others run meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import count

import pytest

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine.suspend import put_away
from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Code, Reply
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.state import TerminationReason
from noisegate_server.store.base import StoreLimits
from tests.support.engines import End, Engines, establish
from tests.support.rpc_table import reason
from tests.support.slow_vault import SlowVault
from tests.unit.rpc.test_waiting import CALLER


async def test_batches_that_wait_are_bounded_by_their_bytes(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is refused, has sealed nothing, and is served as soon as there is room; one alone always is."""
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    asleep, awake = (establish(engines, responder=engine).responder for _ in range(2))
    clock = engines.clock
    await put_away(engine.parts, [asleep.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.gate.clear()
    rpc = Rpc(parts=engine.parts, clock=lambda: clock.now, wall=lambda: clock.wall)
    function = build_table(rpc)[SERVICE_PREFIX + "EncryptBatch"].unary
    assert function is not None

    def seal(end: End, request_id: str) -> Reply | Awaitable[Reply]:
        request = pb.EncryptBatchRequest(
            session_ids=end.session_id, lengths=[5], plaintexts=b"hello", request_id=request_id
        )
        return function(Call(CALLER), request.SerializeToString())

    monkeypatch.setattr(limits, "MAX_UNDER_WAY_BYTES", 10)
    waiting, repeat = seal(asleep, "a"), seal(asleep, "a")
    assert not isinstance(waiting, tuple)
    assert repeat is waiting
    sealed = awake.datagrams.sealed
    refused = seal(awake, "b")
    assert isinstance(refused, tuple)
    assert (refused[0], reason(refused)) == (Code.UNAVAILABLE, "OVERLOADED")
    assert awake.datagrams.sealed == sealed
    vault.gate.set()
    assert (await waiting)[0] == 0
    assert rpc.under_way.held_bytes == 0
    reply = seal(awake, "b")
    assert isinstance(reply, tuple)
    assert reply[0] == 0
    assert rpc.under_way.held_bytes == 0


async def test_others_run_between_the_slices_of_a_long_list(engines: Engines) -> None:
    """Who ends meanwhile is not in it; everybody else is, once, and in order."""
    room = StoreLimits(sessions_per_peer=100)
    near, engine = engines.make(limits=room), engines.make(limits=room)
    ends = [establish(engines, initiator=near, responder=engine).responder for _ in range(40)]
    clock, reading = engines.clock, count()
    rpc = Rpc(
        parts=engine.parts,
        # Each look at the clock finds that more time has passed than a slice may take.
        clock=lambda: clock.now + next(reading) * limits.PAUSE_SECONDS,
        wall=lambda: clock.wall,
    )
    function = build_table(rpc)[SERVICE_PREFIX + "ListSessions"].unary
    assert function is not None
    waiting = function(Call(CALLER), pb.ListSessionsRequest(page_size=1_000).SerializeToString())
    assert not isinstance(waiting, tuple)
    engine.parts.store.end(ends[30].session, TerminationReason.CLOSED, clock.now)
    code, body = await waiting
    listed = pb.ListSessionsResponse.FromString(body)
    assert code == 0
    assert [each.session_id for each in listed.sessions] == [each.session_id for each in ends if each is not ends[30]]
    assert listed.next_page_token == ""


async def test_others_run_before_a_batch_is_begun_that_took_long_to_read(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has sealed nothing until then."""
    end = establish(engines).responder
    clock = engines.clock
    rpc = Rpc(parts=end.engine.parts, clock=lambda: clock.now, wall=lambda: clock.wall)
    function = build_table(rpc)[SERVICE_PREFIX + "EncryptBatch"].unary
    assert function is not None
    request = pb.EncryptBatchRequest(session_ids=end.session_id, lengths=[100], plaintexts=bytes(100))
    monkeypatch.setattr(limits, "LONG_REQUEST_BYTES", 100)
    sealed = end.datagrams.sealed
    waiting = function(Call(CALLER), request.SerializeToString())
    assert not isinstance(waiting, tuple)
    assert end.datagrams.sealed == sealed
    assert (await waiting)[0] == 0
    assert end.datagrams.sealed == sealed + 1
