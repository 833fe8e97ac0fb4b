"""A hello is taken once: timestamps below the last one of a static key are refused, once that key is authenticated."""

from __future__ import annotations

import os
from typing import Any

import pytest

from noisegate_server.noise import KeyPair
from noisegate_server.session.constants import REPEAT_ANSWER_S
from noisegate_server.session.errors import SessionNotFound, SessionQuota, StaleHandshake
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.store.base import StoreLimits
from tests.support.engines import TENANT, WITH_PSK, Engine, Engines, Link, establish, resumed
from tests.support.requests import initiation, response

SUITE = Suite.CHACHA20_POLY1305_X25519
IKS = [Pattern.IK, Pattern.IKPSK1, Pattern.IKPSK2]
XXS = [Pattern.XX, Pattern.XXPSK3]
NKS = [Pattern.NK, Pattern.NKPSK0, Pattern.NKPSK2]


def hello_of(begin: Engine, pattern: Pattern, to: bytes, mode: RecordMode = RecordMode.DATAGRAM) -> Any:
    """A handshake that `begin` has begun with a hello, and the request with which a game passes it on."""
    psk = b"k" * 32 if pattern in WITH_PSK else b""
    begun = begin.initiate(
        initiation(
            mode=mode,
            pattern=pattern,
            offer=((pattern, SUITE),),
            psk=psk,
            remote_static_key=b"" if pattern in XXS else to,
        )
    )
    return begun, response(begun.to_peer[0], mode=mode, hello=begun.hello, psk=psk)


def sessions_of(engine: Engine) -> int:
    """How many sessions the engine keeps."""
    return engine.parts.store.counts().sessions


@pytest.mark.parametrize("pattern", IKS)
@pytest.mark.parametrize("mode", list(RecordMode))
def test_a_replayed_first_message_opens_no_session(engines: Engines, mode: RecordMode, pattern: Pattern) -> None:
    """IK proves its player in message 1: a recording of it is STALE_HANDSHAKE, before a session exists (row 30)."""
    first, second = engines.make(), engines.make()
    begun, request = hello_of(first, pattern, second.identity.public, mode)
    first.proceed(begun.session_id, second.respond(request).to_peer[0])
    engines.clock.step(REPEAT_ANSWER_S)
    with pytest.raises(StaleHandshake):
        second.respond(request)
    assert sessions_of(second) == 1


def test_an_earlier_hello_is_refused_after_a_later_one(engines: Engines) -> None:
    """A first message that was held back is as good as a replay; the next fresh one is taken."""
    first, second = engines.make(), engines.make()
    _, held_back = hello_of(first, Pattern.IK, second.identity.public)
    engines.clock.step(1.0)
    _, request = hello_of(first, Pattern.IK, second.identity.public)
    second.respond(request)
    with pytest.raises(StaleHandshake):
        second.respond(held_back)
    _, again = hello_of(first, Pattern.IK, second.identity.public)
    assert second.respond(again).established is not None


@pytest.mark.parametrize("pattern", XXS)
@pytest.mark.parametrize("mode", list(RecordMode))
def test_xx_is_refused_at_message_3_and_ends(engines: Engines, mode: RecordMode, pattern: Pattern) -> None:
    """Of two handshakes of one player the earlier is refused where the later has finished; nothing of it stays."""
    first, second = engines.make(), engines.make()
    early, early_request = hello_of(first, pattern, b"", mode)
    late, late_request = hello_of(first, pattern, b"", mode)
    answered = second.respond(early_request)
    third = first.proceed(early.session_id, answered.to_peer[0]).to_peer[0]
    other = second.respond(late_request)
    second.proceed(other.session_id, first.proceed(late.session_id, other.to_peer[0]).to_peer[0])
    with pytest.raises(StaleHandshake):
        second.proceed(answered.session_id, third)
    assert sessions_of(second) == 1
    with pytest.raises(SessionNotFound):
        second.view(answered.session_id)


@pytest.mark.parametrize("pattern", XXS)
def test_a_timestamp_that_nobody_has_proven_counts_for_nothing(engines: Engines, pattern: Pattern) -> None:
    """XX shows its key in message 3: a later hello that goes no further does not shut the player out."""
    first, second = engines.make(), engines.make()
    early, early_request = hello_of(first, pattern, b"")
    _, late_request = hello_of(first, pattern, b"")
    second.respond(late_request)
    answered = second.respond(early_request)
    third = first.proceed(early.session_id, answered.to_peer[0]).to_peer[0]
    assert second.proceed(answered.session_id, third).established is not None


@pytest.mark.parametrize("pattern", NKS)
def test_an_anonymous_player_has_the_skew_alone(engines: Engines, pattern: Pattern) -> None:
    """Without a static key there is nothing to compare: the same message is a new handshake."""
    first, second = engines.make(), engines.make()
    _, request = hello_of(first, pattern, second.identity.public, RecordMode.NOISE)
    answered = second.respond(request)
    engines.clock.step(REPEAT_ANSWER_S)
    assert second.respond(request).session_id != answered.session_id


def test_a_resume_has_no_timestamp_to_compare(engines: Engines) -> None:
    """Its ticket is spent, which is better; a handshake of the same player afterwards is not hindered either."""
    link = establish(engines, mode=RecordMode.NOISE)
    link.initiator.open(link.responder.engine.issue(link.responder.session_id).to_peer[0], ticket=True)
    again: Link = resumed(link)
    again.talk()
    first, second = link.initiator.engine, link.responder.engine
    assert second.respond(hello_of(first, Pattern.IK, second.identity.public)[1]).established is not None


@pytest.mark.parametrize("pattern", [Pattern.IK, Pattern.XX])
def test_a_hello_from_before_the_start_is_refused(engines: Engines, pattern: Pattern) -> None:
    """A service that has just started knows no player: what was sent to the one before it may be a replay."""
    first, identity = engines.make(), KeyPair.generate(os.urandom)
    begun, request = hello_of(first, pattern, identity.public)
    engines.clock.step(0.001)
    started = engines.make(identity=identity)
    if pattern is Pattern.IK:
        with pytest.raises(StaleHandshake):
            started.respond(request)
    else:
        answered = started.respond(request)
        third = first.proceed(begun.session_id, answered.to_peer[0]).to_peer[0]
        with pytest.raises(StaleHandshake):
            started.proceed(answered.session_id, third)
    assert sessions_of(started) == 0
    assert started.respond(hello_of(first, Pattern.IK, identity.public)[1]).established is not None


def test_who_was_turned_away_for_want_of_room_comes_again(engines: Engines) -> None:
    """A refusal that is nobody's replay does not use the hello up."""
    first, second = engines.make(), engines.make(limits=StoreLimits(sessions_per_peer=1))
    taken = second.respond(hello_of(engines.make(), Pattern.IK, second.identity.public)[1])
    _, request = hello_of(first, Pattern.IK, second.identity.public)
    with pytest.raises(SessionQuota):
        second.respond(request)
    second.close(taken.session_id)
    assert second.respond(request).established is not None


def test_another_tenant_s_players_are_others(engines: Engines) -> None:
    """The same packet to another tenant is no replay there (row 15)."""
    first, second = engines.make(), engines.make()
    _, request = hello_of(first, Pattern.IK, second.identity.public)
    second.respond(request, tenant=TENANT)
    assert second.respond(request, tenant="cards").established is not None


def test_a_repeat_within_ten_seconds_is_no_replay(engines: Engines) -> None:
    """The answer that got lost is given again, and no second session begins (row 19)."""
    first, second = engines.make(), engines.make()
    _, request = hello_of(first, Pattern.IK, second.identity.public)
    answered = second.respond(request)
    engines.clock.step(REPEAT_ANSWER_S - 0.1)
    assert second.respond(request) is answered
    assert sessions_of(second) == 1
