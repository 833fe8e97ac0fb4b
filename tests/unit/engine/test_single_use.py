"""A ticket is for once: over a vault that waits, fails or was there before us, whoever comes in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from noisegate_server.engine import redeem
from noisegate_server.engine.opening import resume_handshake
from noisegate_server.engine.outcomes import Early, ResumeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.constants import REPEAT_ANSWER_S
from noisegate_server.session.errors import Overloaded, SessionError, TicketRejected
from noisegate_server.session.hello import resume_prologue
from noisegate_server.session.packets import ResumeStep1, decode_resume, encode_resume
from noisegate_server.session.state import TerminationReason
from noisegate_server.session.ticket import open_ticket
from tests.support.engines import TENANT, Engine, Engines, Link
from tests.support.slow_vault import SlowVault
from tests.support.tickets import resume_request, with_ticket

EARLY = Options(max_early=100)
POLICY = Policy(max_early=100)


def slow_link(engines: Engines, vault: SlowVault) -> Link:
    """A session with a ticket whose use is written to `vault`."""
    return with_ticket(engines, options=EARLY, responder=engines.make(policy=POLICY, vault=vault))


def coming(engine: Engine, request: ResumeRequested) -> asyncio.Task[ResumeStep]:
    """The resume under way, as far as it comes."""
    clock = engine.clock
    return asyncio.create_task(redeem.respond(engine.parts, TENANT, request, clock.now, clock.wall))


async def turns(count: int = 5) -> None:
    """Let everything that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(waiting: Awaitable[ResumeStep]) -> ResumeStep | type[SessionError]:
    """The answer or the class of the refusal."""
    try:
        return await waiting
    except SessionError as refusal:
        return type(refusal)


async def test_there_is_no_answer_before_the_use_is_durable(engines: Engines) -> None:
    """While the vault works the session is unfinished; afterwards it is there."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    engine = link.responder.engine
    first = coming(engine, resume_request(link, early_data=b"jump"))
    await turns()
    assert not first.done()
    assert engine.parts.store.counts().half_open == 1
    vault.gate.set()
    answer = await first
    assert (answer.early, answer.early_data) == (Early.ACCEPTED, b"jump")
    assert engine.parts.store.counts().half_open == 0


async def test_a_repeat_waits_for_the_first_answer(engines: Engines) -> None:
    """Ten copies of one packet while the vault works: one use, one session, one delivery, ten equal answers."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    request = resume_request(link, early_data=b"jump")
    waiting = [coming(link.responder.engine, request) for _ in range(10)]
    await turns()
    vault.gate.set()
    answers = await asyncio.gather(*waiting)
    assert vault.asked == 1
    assert len({answer.to_peer for answer in answers}) == len({answer.session_id for answer in answers}) == 1
    assert [answer.early_data for answer in answers].count(b"jump") == 1
    assert link.responder.engine.parts.store.counts().sessions == 2


async def test_another_packet_with_the_ticket_is_refused_at_once(engines: Engines) -> None:
    """It does not wait: whoever came first has the ticket, whatever becomes of it."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    request = resume_request(link)
    second = _with_new_ephemeral(link, request)
    first = coming(link.responder.engine, request)
    await turns()
    assert await outcome(coming(link.responder.engine, second)) is TicketRejected
    vault.gate.set()
    assert (await first).established is not None


async def test_a_vault_that_fails_leaves_no_session_and_the_ticket(engines: Engines) -> None:
    """Overloaded, to be tried again; so are the repeats that waited. Once the vault works, the ticket is good."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    request = resume_request(link, early_data=b"jump")
    engine = link.responder.engine
    vault.broken = True
    waiting = [coming(engine, request) for _ in range(3)]
    await turns()
    vault.gate.set()
    assert [await outcome(each) for each in waiting] == [Overloaded] * 3
    assert vault.asked == 1
    assert engine.parts.store.counts().sessions == 1
    assert not engine.parts.redeeming
    vault.broken = False
    assert (await coming(engine, request)).early_data == b"jump"


async def test_what_an_earlier_process_used_is_refused(engines: Engines) -> None:
    """A new instance over the same vault and keys, as after kill -9: TICKET_REJECTED; an unused ticket is good."""
    vault = SlowVault()
    vault.gate.set()
    link, other = slow_link(engines, vault), slow_link(engines, vault)
    before = link.responder.engine
    request = resume_request(link, early_data=b"jump")
    await coming(before, request)
    after = engines.make(identity=before.identity, ticket_keys=before.parts.ticket_keys, policy=POLICY, vault=vault)
    assert await outcome(coming(after, request)) is TicketRejected
    assert after.parts.store.counts().sessions == 0
    after = engines.make(
        identity=other.responder.engine.identity,
        ticket_keys=other.responder.engine.parts.ticket_keys,
        policy=POLICY,
        vault=vault,
    )
    assert (await coming(after, resume_request(other, early_data=b"jump"))).early is Early.ACCEPTED


async def test_a_new_vault_cannot_vouch_for_older_tickets(engines: Engines) -> None:
    """Without what the process before knew: the resume is taken, its early data never."""
    link = slow_link(engines, SlowVault())
    before = link.responder.engine
    vault = SlowVault()
    vault.gate.set()
    after = engines.make(identity=before.identity, ticket_keys=before.parts.ticket_keys, policy=POLICY, vault=vault)
    answer = await coming(after, resume_request(link, early_data=b"jump"))
    assert (answer.early, answer.early_data) == (Early.REJECTED, b"")


async def test_a_session_that_ends_while_the_vault_works_has_no_answer(engines: Engines) -> None:
    """Revoked or closed meanwhile: TICKET_REJECTED, and the ticket is spent."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    engine = link.responder.engine
    request = resume_request(link)
    first = coming(engine, request)
    await turns()
    (session,) = [each for each in engine.parts.store.select(TENANT)[0] if each.is_half_open]
    engine.parts.store.end(session, TerminationReason.REVOKED, engines.clock.now)
    vault.gate.set()
    assert await outcome(first) is TicketRejected
    assert await outcome(coming(engine, request)) is TicketRejected


async def test_a_thousand_different_packets_with_one_ticket_make_one_session(engines: Engines) -> None:
    """Each knows the PSK and has an ephemeral key of its own: one is accepted, 999 are refused (row 37)."""
    vault = SlowVault()
    link = slow_link(engines, vault)
    request = resume_request(link, early_data=b"jump")
    packets = [request, *(_with_new_ephemeral(link, request) for _ in range(999))]
    waiting = [asyncio.create_task(outcome(coming(link.responder.engine, each))) for each in packets]
    await turns()
    vault.gate.set()
    answers = await asyncio.gather(*waiting)
    accepted = [each for each in answers if isinstance(each, ResumeStep)]
    assert [each.early_data for each in accepted] == [b"jump"]
    assert answers.count(TicketRejected) == 999
    assert link.responder.engine.parts.store.counts().sessions == 2


def test_after_ten_seconds_a_repeat_is_refused(engines: Engines) -> None:
    """The answer is forgotten, the use is not."""
    vault = SlowVault()
    vault.gate.set()
    link = slow_link(engines, vault)
    request = resume_request(link)
    link.responder.engine.accept_resume(request)
    engines.clock.step(REPEAT_ANSWER_S)
    with pytest.raises(TicketRejected):
        link.responder.engine.accept_resume(request)


def _with_new_ephemeral(link: Link, request: ResumeRequested) -> ResumeRequested:
    """Another RESUME packet of somebody who holds the same ticket and its PSK."""
    parts = link.responder.engine.parts
    packet = decode_resume(request.message)
    assert isinstance(packet, ResumeStep1)
    ticket = open_ticket(parts.ticket_keys, TENANT, packet.ticket, link.clock.wall)
    handshake = resume_handshake(
        parts, ticket.suite, bytes(ticket.psk), resume_prologue(packet.hello, packet.ticket, b""), initiator=True
    )
    return replace(request, message=encode_resume(replace(packet, message=handshake.write_message(b"jump"))))
