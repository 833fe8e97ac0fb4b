"""Steps in which a session goes on in a new one by a ticket, and in which somebody shows a used ticket again."""

from __future__ import annotations

from dataclasses import replace

from noisegate_server.engine.outcomes import Early, ResumeStep
from noisegate_server.session.errors import HandshakeFailed, SessionQuota, TicketRejected
from noisegate_server.session.state import RecordMode
from tests.support.life import IDLE_S, Life
from tests.support.owners import Owner
from tests.support.requests import resumption

REPEATED_S = 10.0
"""How long a repeated packet gets the same answer (docs/protocol.md, section 6)."""


def resume(life: Life, asked: int, answered: int, early: bool, is_closed: bool) -> None:
    """The player's side resumes: its packet arrives `asked` times, the answer `answered` times.

    Where both do, the new session takes the place of the old one, which `is_closed` or left to its idle time.
    """
    player, service = life.owner(0), life.owner(1)
    if player is None or service is None:
        return
    payload = b"early %d" % next(life.numbers) if early else b""
    try:
        begun = player.engine.resume(player.session_id, b"", payload)
    except TicketRejected:
        return
    request = replace(resumption(begun, RecordMode.DATAGRAM), accept_early=True)
    life.requests.append(request)
    steps = [step for step in (_show(life, service, number) for number in [len(life.requests) - 1] * asked) if step]
    if not steps or not answered:
        return
    assert {step.to_peer for step in steps} == {steps[0].to_peer}, "a repeat has another answer"
    for _ in range(answered):
        finished = player.engine.finish_resume(b"", steps[0].to_peer[0])
        assert finished.established is not None
        taken = Early.ACCEPTED if payload in life.early else Early.REJECTED
        assert finished.early is (taken if early else Early.NONE)
    _change_over(life, player, begun, is_closed=is_closed)
    _change_over(life, service, steps[0], is_closed=is_closed)
    life.clear()


def show_again(life: Life, place: int, pick: int) -> None:
    """Somebody who has recorded a RESUME packet shows it to whoever has the responder's side by now."""
    owner = life.owner(1, pick)
    if life.requests and owner is not None:
        _show(life, owner, place % len(life.requests))


def _show(life: Life, owner: Owner, number: int) -> ResumeStep | None:
    """One RESUME packet arrives: early data is delivered once, ever."""
    request, now = life.requests[number], life.clock.now
    key = owner.engine.parts.instance, number
    try:
        step = owner.engine.accept_resume(request)
    except (TicketRejected, HandshakeFailed, SessionQuota):
        return None
    assert now < life.redeemed.setdefault(key, now) + REPEATED_S, "a used ticket was taken again"
    if step.early_data:
        assert step.early is Early.ACCEPTED
        assert step.early_data not in life.early, "early data was delivered twice"
        life.early.add(step.early_data)
    return step


def _change_over(life: Life, owner: Owner, step: ResumeStep, *, is_closed: bool) -> None:
    if is_closed:
        owner.engine.close(owner.session_id)
    side = life.sides[owner.side]
    side.owners.clear()
    side.frozen.clear()
    side.replayable.clear()
    life.has_returned = life.is_forked = False
    life.take_over(owner.side, owner.engine, step.session_id)
    assert owner.engine.session(step.session_id).idle_timeout == IDLE_S
