"""Calls for what the service has suspended: it comes back, and the call runs again, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from google.protobuf.message import Message

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.suspend import put_away
from noisegate_server.rpc.call import Call, Caller, Code, Reply, Table
from noisegate_server.rpc.table import SERVICE_PREFIX, build_table
from noisegate_server.rpc.unary import Rpc
from noisegate_server.session.errors import Overloaded
from tests.support.engines import TENANT, End, Engines, Link, establish
from tests.support.rpc_table import error_info, reason
from tests.support.slow_vault import SlowVault
from tests.support.suspending import MODES, outcome, suspending, turns
from tests.support.suspending import put_away as put_away_now

CALLER = Caller(identity="", tenant=TENANT)


def table_of(end: End) -> Table:
    """Every method, over this end's engine and its clock."""
    clock = end.engine.clock
    return build_table(Rpc(parts=end.engine.parts, clock=lambda: clock.now, wall=lambda: clock.wall))


def ask(table: Table, method: str, request: Message) -> Reply | Awaitable[Reply]:
    """One call, as a transport makes it."""
    function = table[SERVICE_PREFIX + method].unary
    assert function is not None
    return function(Call(CALLER), request.SerializeToString())


def encrypt(end: End, request_id: str = "", plaintext: bytes = b"hello") -> pb.EncryptRequest:
    """A message for the player."""
    return pb.EncryptRequest(session_id=end.session_id, request_id=request_id, plaintext=plaintext)


def read(link: Link, reply: Reply) -> None:
    """The player reads what an Encrypt gave."""
    assert reply[0] == 0, reply
    sealed = pb.EncryptResponse.FromString(reply[1])
    link.responder.outbox.extend((*sealed.to_peer, sealed.ciphertext))
    link.settle()


@pytest.mark.parametrize("request_id", ["", "r1"])
@pytest.mark.parametrize("mode", MODES)
def test_over_a_vault_in_memory_nothing_waits(
    engines: Engines, mode: session_pb2.RecordMode.ValueType, request_id: str
) -> None:
    """The answer of the call that brings a session back is a plain reply, and so is every other."""
    link = establish(engines, mode=mode)  # type: ignore[arg-type]  # the numbers are the same
    table = table_of(link.responder)
    put_away_now(link.responder)
    replies = [ask(table, "Encrypt", encrypt(link.responder, request_id)) for _ in range(2)]
    for reply in dict.fromkeys(replies):
        assert isinstance(reply, tuple)
        read(link, reply)
    assert link.initiator.received == [b"hello"] * (1 if request_id else 2)


@pytest.mark.parametrize("request_id", ["", "r1"])
async def test_a_call_waits_until_its_session_is_back(engines: Engines, request_id: str) -> None:
    """Its repeats wait with it and get the same bytes; the blob is taken once."""
    vault = SlowVault()
    link = establish(engines, responder=engines.make(vault=vault))
    end = link.responder
    clock = engines.clock
    vault.gate.set()
    await put_away(end.engine.parts, [end.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.gate.clear()
    table = table_of(end)
    asked = vault.asked
    waiting = [ask(table, "Encrypt", encrypt(end, request_id)) for _ in range(5 if request_id else 1)]
    await turns()
    futures = [asyncio.ensure_future(each) for each in waiting if not isinstance(each, tuple)]
    assert len(futures) == len(waiting)
    assert not any(each.done() for each in futures)
    vault.gate.set()
    replies = await asyncio.gather(*futures)
    assert len(set(replies)) == 1
    assert vault.asked == asked + 1
    read(link, replies[0])
    assert link.initiator.received == [b"hello"]


async def test_many_calls_bring_a_session_back_once(engines: Engines) -> None:
    """Each runs, none of them twice: the counters of what they sealed are all different, and all of it is read."""
    vault = SlowVault()
    link = establish(engines, responder=engines.make(vault=vault))
    end = link.responder
    clock = engines.clock
    vault.gate.set()
    await put_away(end.engine.parts, [end.session], by_service=True, now=clock.now, wall=clock.wall)
    table = table_of(end)
    waiting = [ask(table, "Encrypt", encrypt(end, plaintext=b"%d" % number)) for number in range(30)]
    replies = await asyncio.gather(*(each for each in waiting if not isinstance(each, tuple)))
    replies += [each for each in waiting if isinstance(each, tuple)]
    assert len(replies) == 30
    for reply in replies:
        read(link, reply)
    assert sorted(map(int, link.initiator.received)) == list(range(30))


async def test_a_call_whose_session_cannot_come_back_says_so(engines: Engines) -> None:
    """LOST, or Overloaded to be tried again; the repeat of the latter with the same request_id runs anew."""
    vault = SlowVault()
    vault.gate.set()
    link = establish(engines, responder=engines.make(vault=vault))
    end = link.responder
    table = table_of(end)
    clock = engines.clock

    async def reply(request_id: str) -> Reply:
        asked = ask(table, "Encrypt", encrypt(end, request_id))
        return asked if isinstance(asked, tuple) else await asked

    await put_away(end.engine.parts, [end.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.broken = True
    refused = await reply("r1")
    assert (refused[0], reason(refused)) == (Code.UNAVAILABLE, "OVERLOADED")
    vault.broken = False
    read(link, await reply("r1"))
    await put_away(end.engine.parts, [end.session], by_service=True, now=clock.now, wall=clock.wall)
    await vault.forget([end.session_id])
    refused = await reply("r2")
    assert reason(refused) == "SESSION_CLOSED"
    assert error_info(refused).metadata["cause"] == "LOST"


def test_every_method_wakes_a_session_but_those_that_look_at_it_or_end_it(engines: Engines) -> None:
    """GetSession and ListSessions see it suspended; CloseSession ends it without bringing it back."""
    link = establish(engines)
    end = link.responder
    table = table_of(end)
    put_away_now(end)
    looks: list[Message] = [pb.GetSessionRequest(session_id=end.session_id), pb.ListSessionsRequest()]
    for request in looks:
        reply = ask(table, type(request).__name__.removesuffix("Request"), request)
        assert isinstance(reply, tuple)
        assert reply[0] == 0
        assert end.engine.parts.store.counts().suspended == 1
    uses: list[Message] = [
        pb.RotateRequest(session_id=end.session_id, kind=pb.ROTATION_KIND_REKEY),
        pb.IssueTicketRequest(session_id=end.session_id),
        pb.DecryptRequest(session_id=end.session_id, ciphertext=bytes(64)),
        pb.ExportSecretRequest(session_id=end.session_id, label="voice", length=32),
    ]
    for request in uses:
        ask(table, type(request).__name__.removesuffix("Request"), request)
        assert end.engine.parts.store.counts().suspended == 0, request
        put_away_now(end)
    assert ask(table, "CloseSession", pb.CloseSessionRequest(session_id=end.session_id)) == (0, b"")
    assert end.engine.parts.store.counts().suspended == end.engine.parts.store.counts().sessions == 0


async def test_a_batch_looks_again_after_a_wait_that_came_to_nothing(engines: Engines) -> None:
    """A session that leaves memory while another one fails to come back is not used as it was found before.

    Its blob is made already: with the object nothing may be sealed or opened any more.
    """
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    asleep, leaver = (establish(engines, responder=engine).responder for _ in range(2))
    parts, clock = engine.parts, engines.clock
    await put_away(parts, [asleep.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.gate.clear()
    vault.broken = True
    table = table_of(leaver)
    ids = asleep.session_id + leaver.session_id
    waiting = ask(table, "EncryptBatch", pb.EncryptBatchRequest(session_ids=ids, lengths=[1, 1], plaintexts=b"ab"))
    assert not isinstance(waiting, tuple)
    await turns()
    records = leaver.datagrams
    sealed = records.sealed
    leaving = suspending(leaver)
    await turns()
    # Both waits fail, the batch's first, which goes on while the other session is still on its way out.
    vault.gate.set()
    await turns(2)
    assert records.sealed == sealed
    await turns(16)
    batch = pb.EncryptBatchResponse.FromString((await waiting)[1])
    assert [each.index for each in batch.errors][:1] == [0]
    assert await outcome(leaving) is Overloaded


async def test_a_batch_that_waits_keeps_nothing_of_a_session_that_is_closed_meanwhile(engines: Engines) -> None:
    """Its caller gets what was opened; the answer for repeats has forgotten it, as it does later."""
    vault = SlowVault()
    vault.gate.set()
    engine = engines.make(vault=vault)
    closing, asleep = (establish(engines, responder=engine) for _ in range(2))
    packets = [link.initiator.seal(b"up") for link in (closing, asleep)]
    parts, clock = engine.parts, engines.clock
    await put_away(parts, [asleep.responder.session], by_service=True, now=clock.now, wall=clock.wall)
    vault.gate.clear()
    table = table_of(closing.responder)
    request = pb.DecryptBatchRequest(
        session_ids=closing.responder.session_id + asleep.responder.session_id,
        request_id="tick 1",
        lengths=map(len, packets),
        ciphertexts=b"".join(packets),
    )
    waiting = ask(table, "DecryptBatch", request)
    assert not isinstance(waiting, tuple)
    await turns()
    close = pb.CloseSessionRequest(session_id=closing.responder.session_id)
    closed = ask(table, "CloseSession", close)
    assert isinstance(closed, tuple)
    assert closed[0] == 0
    vault.gate.set()
    first = pb.DecryptBatchResponse.FromString((await waiting)[1])
    # The other one's content came under keys from storage, and is not for the game.
    assert (first.plaintexts, list(first.lengths), len(first.errors)) == (b"up", [2, 0], 0)
    again = ask(table, "DecryptBatch", request)
    assert isinstance(again, tuple)
    kept = pb.DecryptBatchResponse.FromString(again[1])
    assert (kept.plaintexts, list(kept.lengths), kept.to_peer) == (b"", [0, 0], first.to_peer)
    assert [(each.index, each.reason) for each in kept.errors] == [(0, reasons.ERROR_REASON_REPLAY_DETECTED)]
