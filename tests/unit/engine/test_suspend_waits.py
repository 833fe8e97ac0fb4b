"""Suspend and restore while the vault works, and when it does not."""

from __future__ import annotations

import asyncio

import pytest

from noisegate_server.engine import restore
from noisegate_server.engine.parts import Parts
from noisegate_server.engine.revoke import revoke
from noisegate_server.session.constants import GRACE_S
from noisegate_server.session.errors import (
    BlobRejected,
    NotEstablished,
    Overloaded,
    SessionClosed,
)
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.store.suspended import Dormant
from tests.support.engines import TENANT, Engines
from tests.support.slow_vault import SlowVault
from tests.support.suspending import MODES, come_back, outcome, restoring, slow_link, suspending, turns


async def test_a_call_that_comes_while_the_session_leaves_finds_no_keys(engines: Engines) -> None:
    """It waits until the blob is durable, and is refused then; nothing is sealed after the blob was made."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    end = link.responder
    leaving = suspending(end)
    await turns()
    assert not leaving.done()
    with pytest.raises(Dormant) as dormant:
        end.engine.encrypt(end.session_id, b"no")
    waiting = asyncio.ensure_future(
        restore.wake(end.engine.parts, TENANT, dormant.value, engines.clock.now, engines.clock.wall)
    )
    await turns()
    assert not waiting.done()
    vault.gate.set()
    await waiting
    assert leaving.done()
    with pytest.raises(NotEstablished):
        end.engine.encrypt(end.session_id, b"no")


@pytest.mark.parametrize("mode", MODES)
async def test_of_many_that_restore_one_does_and_all_see_it_restored(engines: Engines, mode: RecordMode) -> None:
    """One keep-alive for the player, one blob taken, one session."""
    vault = SlowVault()
    link = slow_link(engines, vault, mode)
    end = link.responder
    leaving = suspending(end)
    coming = [restoring(end) for _ in range(50)]
    vault.gate.set()
    await leaving
    answers = await asyncio.gather(*coming)
    assert {answer.session.state for answer in answers} == {SessionState.ESTABLISHED}
    told = [packet for answer in answers for packet in answer.to_peer]
    assert len(told) == (1 if mode is RecordMode.DATAGRAM else 0)
    end.outbox.extend(told)
    link.settle()
    link.talk()


async def test_of_many_that_restore_one_blob_exactly_one_does(engines: Engines) -> None:
    """The others are refused."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    end = link.responder
    blob = (await suspending(end, return_blob=True)).blob
    clock, parts = engines.clock, end.engine.parts
    coming = [
        asyncio.ensure_future(outcome(restore.restore_blob(parts, TENANT, blob, clock.now, clock.wall)))
        for _ in range(50)
    ]
    await turns()
    vault.gate.set()
    answers = await asyncio.gather(*coming)
    assert answers.count(BlobRejected) == 49
    assert parts.store.counts().sessions == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_that_cannot_be_made_durable_goes_on(engines: Engines, mode: RecordMode) -> None:
    """Overloaded, to be tried again; both directions flow as if nothing had been."""
    vault = SlowVault()
    vault.gate.set()
    link = slow_link(engines, vault, mode)
    vault.broken = True
    assert await outcome(suspending(link.responder)) is Overloaded
    link.talk()
    assert link.responder.engine.view(link.responder.session_id).state == SessionState.ESTABLISHED


async def test_the_old_keys_of_a_session_that_stays_are_wiped_in_time(engines: Engines) -> None:
    """Its entry for that came up or was dropped while it was on its way out."""
    vault = SlowVault()
    vault.gate.set()
    link = slow_link(engines, vault, RecordMode.DATAGRAM)
    link.initiator.renegotiate()
    link.settle()
    vault.broken = True
    assert await outcome(suspending(link.responder)) is Overloaded
    assert link.responder.datagrams.previous is not None
    engines.clock.step(GRACE_S + 1)
    link.responder.engine.sweep()
    assert link.responder.datagrams.previous is None


@pytest.mark.parametrize("mode", MODES)
async def test_where_it_may_have_been_made_durable_only_fresh_keys_go_on(engines: Engines, mode: RecordMode) -> None:
    """A NOISE session ends: its keys might be in the file, and come back beside it. A salt protects DATAGRAM."""
    vault = SlowVault()
    vault.gate.set()
    link = slow_link(engines, vault, mode)
    vault.broken, vault.certain = True, False
    assert await outcome(suspending(link.responder)) is Overloaded
    if mode is RecordMode.DATAGRAM:
        link.talk()
    else:
        with pytest.raises(SessionClosed) as closed:
            link.responder.send(b"no")
        assert closed.value.cause == "LOST"


async def test_a_blob_that_cannot_be_had_at_present_can_be_had_later(engines: Engines) -> None:
    """Overloaded for restoring and closing; the session stays suspended. So for a blob of its caller's."""
    vault = SlowVault()
    vault.gate.set()
    link, other = slow_link(engines, vault), slow_link(engines, vault)
    end = link.responder
    clock = engines.clock
    await suspending(end)
    blob = (await suspending(other.responder, return_blob=True)).blob
    vault.broken = True
    assert await outcome(restoring(end)) is Overloaded
    with pytest.raises(Overloaded):
        end.engine.close(end.session_id)
    parts = other.responder.engine.parts
    assert await outcome(restore.restore_blob(parts, TENANT, blob, clock.now, clock.wall)) is Overloaded
    assert parts.store.leftovers() == ["expiry"]
    vault.broken = False
    come_back(link, end)
    assert await outcome(restore.restore_blob(parts, TENANT, blob, clock.now, clock.wall)) is not Overloaded


async def test_a_session_that_ends_while_it_moves_stays_ended(engines: Engines) -> None:
    """Revoked on its way out or back: the blob is deleted after it was kept, and nothing comes back."""
    vault = SlowVault()
    link, other = slow_link(engines, vault), slow_link(engines, vault)
    vault.gate.set()
    await suspending(other.responder)
    vault.gate.clear()
    leaving, coming = suspending(link.responder), restoring(other.responder)
    await turns()
    clock = engines.clock
    revoking = []
    for each in (link, other):
        parts: Parts = each.responder.engine.parts
        key = each.initiator.engine.identity.public
        revoking.append(asyncio.ensure_future(revoke(parts, TENANT, static_key=key, now=clock.now, wall=clock.wall)))
    await turns()
    vault.gate.set()
    await asyncio.gather(leaving, *revoking)
    assert await outcome(coming) is SessionClosed
    assert await outcome(restoring(link.responder)) is SessionClosed
    assert await vault.kept() == []


async def test_a_player_who_is_revoked_while_its_blob_is_used_stays_away(engines: Engines) -> None:
    """Between the blob's checks and the word that it is used."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    blob = (await suspending(link.responder, return_blob=True)).blob
    parts, clock = link.responder.engine.parts, engines.clock
    coming = asyncio.ensure_future(outcome(restore.restore_blob(parts, TENANT, blob, clock.now, clock.wall)))
    await turns()
    key = link.initiator.engine.identity.public
    revoking = asyncio.ensure_future(revoke(parts, TENANT, static_key=key, now=clock.now, wall=clock.wall))
    await turns()
    vault.gate.set()
    assert await coming is BlobRejected
    await revoking
    assert parts.store.counts().sessions == parts.store.counts().suspended == 0
