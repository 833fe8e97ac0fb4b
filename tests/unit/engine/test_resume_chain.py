"""A chain of resumes: what goes from ticket to ticket, and where it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.errors import PolicyRejected, TicketRejected
from noisegate_server.session.hello import Flags
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from tests.support.engines import Engines, Link, resumed
from tests.support.tickets import give_ticket, resume_request, with_ticket

DAY = 86_400.0
MODES = pytest.mark.parametrize("mode", list(RecordMode))


def next_link(link: Link) -> Link:
    """The session resumed, with a ticket of its own."""
    link = resumed(link)
    if link.initiator.session.mode is RecordMode.DATAGRAM:
        link.talk()
    give_ticket(link)
    return link


@MODES
def test_a_chain_ends_seven_days_after_its_full_handshake(engines: Engines, mode: RecordMode) -> None:
    """Resumed every 23 hours it goes on for seven days and not longer, though no ticket is ever a day old."""
    start = engines.clock.wall
    link = with_ticket(engines, mode)
    times = 0
    while True:
        engines.clock.step(23 * 3_600.0)
        try:
            link = resumed(link)
            times += 1
            link.talk()
            assert link.responder.session.chain_end_wall == pytest.approx(start + 7 * DAY)
            give_ticket(link)
        except (TicketRejected, PolicyRejected):
            break
    assert times == int(7 * DAY // (23 * 3_600))
    assert engines.clock.wall - start == pytest.approx(8 * 23 * 3_600.0)


def test_the_last_tickets_live_until_the_end_of_the_chain_and_so_do_the_sessions(engines: Engines) -> None:
    """Neither a ticket nor a resumed session outlives it."""
    link = with_ticket(engines, responder=engines.make(policy=Policy(chain_lifetime=100.0)))
    engines.clock.step(60.0)
    link = resumed(link)
    assert link.responder.engine.issue(link.responder.session_id).expires_in == pytest.approx(40.0)
    for end in link.ends:
        if end is link.responder:
            assert end.session.lifetime_end - engines.clock.now == pytest.approx(40.0)
    give_ticket(link)
    engines.clock.step(39.0)
    request = resume_request(link)
    engines.clock.step(1.0)
    with pytest.raises(TicketRejected):
        link.responder.engine.accept_resume(request)


def test_an_initiator_keeps_to_the_end_of_its_own_chain(engines: Engines) -> None:
    """However long the player's ticket says that it lives."""
    link = with_ticket(engines, initiator=engines.make(policy=Policy(chain_lifetime=100.0)))
    engines.clock.step(99.0)
    link = resumed(link)
    assert link.initiator.session.lifetime_end - engines.clock.now == pytest.approx(1.0)
    give_ticket(link)
    engines.clock.step(1.0)
    with pytest.raises(TicketRejected):
        resume_request(link)


@MODES
def test_a_sessions_own_times_go_on_over_a_chain(engines: Engines, mode: RecordMode) -> None:
    """Idle time, lifetime and flags are those that its caller set, not the service's defaults."""
    options = Options(
        idle_timeout=33.0, lifetime=4_000.0, pad=mode is RecordMode.DATAGRAM, mask=mode is RecordMode.DATAGRAM
    )
    link = with_ticket(engines, mode, options=options)
    flags = link.responder.session.flags
    for _ in range(3):
        engines.clock.step(10.0)
        link = next_link(link)
        for end in link.ends:
            session = end.session
            assert (session.idle_timeout, session.lifetime) == (33.0, 4_000.0)
            assert session.flags == flags
            assert session.lifetime_end == pytest.approx(engines.clock.now + 4_000.0)
    assert bool(flags & Flags.PAD) is (mode is RecordMode.DATAGRAM)


def test_what_an_initiators_own_tickets_allow_goes_on_too(engines: Engines) -> None:
    """Early data that it takes from a player who comes back to it the other way round."""
    initiator = engines.make(policy=Policy(max_early=700))
    link = with_ticket(engines, options=Options(max_early=500), initiator=initiator)
    assert next_link(link).initiator.session.max_early == 500


def test_a_suite_that_was_taken_out_of_policy_is_not_resumed_by_us_either(engines: Engines) -> None:
    """The player's ticket is older than the policy."""
    link = with_ticket(engines, suite=Suite.AES256_GCM_X25519)
    engine = link.initiator.engine
    engine.parts = replace(engine.parts, policy=Policy(suites=(Suite.CHACHA20_POLY1305_X25519,)))
    with pytest.raises(TicketRejected):
        resume_request(link)


@pytest.mark.parametrize("step", [-3_600.0, -25 * 3_600.0, 25 * 3_600.0])
def test_a_clock_that_was_set_revives_no_ticket(engines: Engines, step: float) -> None:
    """By an hour or a day, forward and back again: used tickets stay used, old ones stay refused (row 47)."""
    link = with_ticket(engines)
    taker = link.responder.engine
    request = resume_request(link)
    taker.accept_resume(request)
    engines.clock.step(11.0)
    for wall in (step, -step, step, -step):
        engines.clock.wall += wall
        taker.sweep()
        with pytest.raises(TicketRejected):
            taker.accept_resume(request)


def test_a_ticket_that_was_too_old_once_is_so_when_the_clock_is_set_back(engines: Engines) -> None:
    """Where a used ticket of its age was forgotten meanwhile; a fresh one is not concerned."""
    link = with_ticket(engines)
    taker = link.responder.engine
    used = resume_request(link)
    give_ticket(link)
    taker.accept_resume(used)
    unused = resume_request(link)
    engines.clock.step(25 * 3_600.0)
    taker.sweep()
    engines.clock.wall -= 25 * 3_600.0
    for request in (used, unused):
        with pytest.raises(TicketRejected):
            taker.accept_resume(request)
