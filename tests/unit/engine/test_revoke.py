"""RevokePeer: at once, for all that a player has, and for nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from noisegate_server.engine import redeem, revoke
from noisegate_server.engine.revoke import Revoked
from noisegate_server.noise import KeyPair
from noisegate_server.session.errors import (
    Overloaded,
    PeerRevoked,
    SessionClosed,
    SessionNotFound,
    TicketRejected,
)
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern
from noisegate_server.store.vault import MemoryVault
from tests.support.engines import TENANT, Engine, Engines, Link, at_once, establish
from tests.support.requests import initiation, response
from tests.support.slow_vault import SlowVault
from tests.support.tickets import give_ticket, resume_request, with_ticket

PLAYER = "ann"
"""Whom the responder's caller names in these tests."""
MODES = pytest.mark.parametrize("mode", list(RecordMode))


def revoked(engine: Engine, *, peer_id: str = "", static_key: bytes = b"", tenant: str = TENANT) -> Revoked:
    """RevokePeer, to its end."""
    return at_once(
        revoke.revoke(
            engine.parts,
            tenant,
            peer_id=peer_id,
            static_key=static_key,
            now=engine.clock.now,
            wall=engine.clock.wall,
        )
    )


def player_key(link: Link) -> bytes:
    """The initiator's static public key."""
    return link.initiator.engine.identity.public


def begun(link: Link, pattern: Pattern = Pattern.IK) -> bytes:
    """A new message 1 of the same player."""
    engine, taker = link.initiator.engine, link.responder.engine
    remote = taker.identity.public if pattern is Pattern.IK else b""
    return engine.initiate(initiation(pattern=pattern, remote_static_key=remote)).to_peer[0]


@MODES
@pytest.mark.parametrize("by", ["name", "key"])
def test_live_sessions_end_and_tickets_of_before_are_refused(engines: Engines, mode: RecordMode, by: str) -> None:
    """SESSION_CLOSED with the cause REVOKED, no resume, and nothing of it left but the tombstone."""
    link = with_ticket(engines, mode)
    taker = link.responder.engine
    request = resume_request(link)
    names = {"peer_id": PLAYER} if by == "name" else {"static_key": player_key(link)}
    assert revoked(taker, **names) == Revoked(sessions_ended=1)
    with pytest.raises(SessionClosed) as caught:
        taker.encrypt(link.responder.session_id, b"x")
    assert (caught.value.cause, caught.value.resumable) == ("REVOKED", False)
    with pytest.raises(TicketRejected):
        taker.accept_resume(request)
    assert taker.parts.store.counts().sessions == 0


def test_by_name_the_player_may_come_again_by_a_full_handshake(engines: Engines) -> None:
    """And the tickets of the new session are good."""
    link = with_ticket(engines)
    taker = link.responder.engine
    revoked(taker, peer_id=PLAYER)
    engines.clock.step(1.0)
    again = establish(engines, initiator=link.initiator.engine, responder=taker)
    give_ticket(again)
    assert taker.accept_resume(resume_request(again)).established is not None


def test_by_key_the_player_is_refused_as_soon_as_the_key_is_known(engines: Engines) -> None:
    """IK with message 1, XX with message 3: PEER_REVOKED to the caller, and no handshake is left."""
    link = establish(engines)
    taker = link.responder.engine
    revoked(taker, static_key=player_key(link))
    engines.clock.step(1.0)
    with pytest.raises(PeerRevoked):
        taker.respond(response(begun(link)))
    engine = link.initiator.engine
    first = engine.initiate(initiation(pattern=Pattern.XX))
    answered = taker.respond(response(first.to_peer[0]))
    third = engine.proceed(first.session_id, answered.to_peer[0])
    with pytest.raises(PeerRevoked):
        taker.proceed(answered.session_id, third.to_peer[0])
    with pytest.raises(SessionNotFound):
        taker.proceed(answered.session_id, third.to_peer[0])
    assert taker.parts.store.counts().sessions == 0
    with pytest.raises(PeerRevoked):
        taker.initiate(initiation(remote_static_key=player_key(link)))


def test_a_key_is_revoked_whatever_the_player_is_called(engines: Engines) -> None:
    """All of its sessions end, those of other keys with the same name live."""
    taker = engines.make()
    mine = [establish(engines, initiator=engines.make(), responder=taker) for _ in range(2)]
    key = player_key(mine[0])
    for _ in range(3):
        engines.clock.step(0.01)
        mine.append(establish(engines, initiator=mine[0].initiator.engine, responder=taker))
    assert revoked(taker, static_key=key) == Revoked(sessions_ended=4)
    assert taker.view(mine[1].responder.session_id).state == 2


@pytest.mark.parametrize("ended_before", [True, False])
def test_a_ticket_that_a_revoked_player_gave_us_is_used_no_more(engines: Engines, ended_before: bool) -> None:
    """Wiped with its session; where that had ended before, refused by its key."""
    link = with_ticket(engines)
    engine, session_id = link.initiator.engine, link.initiator.session_id
    kept = engine.parts.received.get((TENANT, session_id), engines.clock.now)
    assert kept is not None
    if ended_before:
        engine.close(session_id)
    revoked(engine, static_key=link.responder.engine.identity.public)
    with pytest.raises(PeerRevoked if ended_before else TicketRejected):
        engine.resume(session_id)
    assert any(kept.psk) is ended_before


def test_another_tenant_and_another_player_are_not_touched(engines: Engines) -> None:
    """Names and keys are the tenant's own."""
    link = with_ticket(engines)
    taker = link.responder.engine
    assert revoked(taker, peer_id=PLAYER, tenant="cards") == Revoked(sessions_ended=0)
    assert revoked(taker, static_key=player_key(link), tenant="cards") == Revoked(sessions_ended=0)
    assert revoked(taker, peer_id="bob") == Revoked(sessions_ended=0)
    assert taker.accept_resume(resume_request(link)).established is not None


def test_a_handshake_under_way_ends_too(engines: Engines) -> None:
    """By its name, before its key is known."""
    link = establish(engines)
    taker = link.responder.engine
    engines.clock.step(1.0)
    answered = taker.respond(response(begun(link, Pattern.XX)))
    assert revoked(taker, peer_id=PLAYER) == Revoked(sessions_ended=2)
    with pytest.raises(SessionNotFound):
        taker.proceed(answered.session_id, bytes(64))


async def test_a_resume_that_waits_for_the_vault_ends_too(engines: Engines) -> None:
    """The ticket was good when it came; the revocation came before the answer."""
    vault = SlowVault()
    link = with_ticket(engines, responder=engines.make(vault=vault))
    engine = link.responder.engine
    request = resume_request(link)
    waiting = asyncio.create_task(redeem.respond(engine.parts, TENANT, request, engine.clock.now, engine.clock.wall))
    await asyncio.sleep(0)
    ending = asyncio.create_task(
        revoke.revoke(engine.parts, TENANT, static_key=player_key(link), now=engine.clock.now, wall=engine.clock.wall)
    )
    for _ in range(5):
        await asyncio.sleep(0)
    vault.gate.set()
    assert (await ending).sessions_ended == 2
    with pytest.raises(TicketRejected):
        await waiting


def test_thousands_of_sessions_are_looked_through_in_slices(engines: Engines) -> None:
    """Others have their turn between two of them."""
    engine = engines.make()
    waits = 0
    coroutine = revoke.revoke(
        engine.parts, TENANT, static_key=KeyPair.generate(_fixed).public, now=1.0, wall=engine.clock.wall
    )
    for _ in range(1_100):
        engine.initiate(replace(initiation(pattern=Pattern.XX), peer_id=""))
    try:
        while True:
            coroutine.send(None)
            waits += 1
    except StopIteration:
        pass
    assert waits == 22


async def test_a_revocation_outlives_the_process_with_its_vault(engines: Engines) -> None:
    """What the vault knows is taken over at the start."""
    vault = SlowVault()
    vault.gate.set()
    link = with_ticket(engines, responder=engines.make(vault=vault))
    before = link.responder.engine
    request = resume_request(link)
    revoked(before, static_key=player_key(link))
    revoked(before, peer_id="eve")
    after = engines.make(identity=before.identity, ticket_keys=before.parts.ticket_keys, vault=vault)
    await revoke.recall(after.parts)
    assert len(after.parts.revocations) == 2
    with pytest.raises(TicketRejected):
        after.accept_resume(request)


def test_a_vault_that_cannot_keep_it_says_so_and_the_revocation_holds(engines: Engines) -> None:
    """Overloaded: to be repeated; meanwhile nothing of the player is taken."""
    vault = SlowVault()
    vault.gate.set()
    link = with_ticket(engines, responder=engines.make(vault=vault))
    taker = link.responder.engine
    request = resume_request(link)
    vault.broken = True
    with pytest.raises(Overloaded):
        revoked(taker, peer_id=PLAYER)
    with pytest.raises(TicketRejected):
        taker.accept_resume(request)
    vault.broken = False
    assert revoked(taker, peer_id=PLAYER) == Revoked(sessions_ended=0)
    assert isinstance(vault, MemoryVault)


def _fixed(count: int) -> bytes:
    return bytes(range(1, count + 1))
