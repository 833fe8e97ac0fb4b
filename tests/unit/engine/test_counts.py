"""What an instance counts: each use and each outcome once, whatever way it took."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import pytest

from noisegate_server.engine.batch import Runs
from noisegate_server.engine.counts import Cause, HandshakeKind, Outcome, RotationKind
from noisegate_server.engine.handshake import Response
from noisegate_server.engine.open_batch import decrypt_batch
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.engine.rotate import RENEGOTIATE, SEND, RotateCommand
from noisegate_server.engine.seal_batch import broadcast, encrypt_batch, encrypt_runs
from noisegate_server.session.constants import ROTATION_WISH_S
from noisegate_server.session.errors import (
    DecryptFailed,
    HandshakeFailed,
    SessionError,
    SessionNotFound,
    TicketRejected,
)
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.state import RecordMode, SessionState, TerminationReason
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import TENANT, Engines, Link, establish, resumed
from tests.support.requests import initiation, response, resumption
from tests.support.tickets import resume_request, with_ticket

SUITE = Suite.CHACHA20_POLY1305_X25519
IK, XX = HandshakeKind(Pattern.IK, SUITE), HandshakeKind(Pattern.XX, SUITE)
UNKNOWN = HandshakeKind()
RENEGOTIATED = RotationKind.RENEGOTIATE


def run(steps: object) -> None:
    """A batch to its end."""
    for _ in steps:  # type: ignore[attr-defined]  # any Steps
        pass


def rotations(link: Link) -> list[dict[tuple[RotationKind, Cause], int]]:
    """What both ends have counted."""
    return [dict(end.engine.parts.counts.rotations) for end in link.ends]


@pytest.mark.parametrize("mode", list(RecordMode))
def test_messages_and_their_bytes_are_counted_when_they_are_sealed_and_opened(
    engines: Engines, mode: RecordMode
) -> None:
    """Plaintexts of the game: neither what the service says by itself nor what is refused."""
    link = establish(engines, mode=mode, settle=mode is RecordMode.DATAGRAM)
    counts = link.responder.engine.parts.counts
    sealed, opened = (counts.sealed, counts.sealed_bytes), (counts.opened, counts.opened_bytes)
    packet = link.initiator.seal(b"four")
    link.responder.open(packet)
    link.responder.seal(b"seven77")
    with pytest.raises(SessionError):
        link.responder.open(packet)
    assert (counts.sealed - sealed[0], counts.sealed_bytes - sealed[1]) == (1, 7)
    assert (counts.opened - opened[0], counts.opened_bytes - opened[1]) == (1, 4)


def test_a_batch_counts_as_its_items_would(engines: Engines) -> None:
    """Straight ones, runs of one session, and those that go their own way; refused ones by their reason."""
    link = establish(engines)
    parts, session_id = link.initiator.engine.parts, link.initiator.session_id
    counts, now, wall = parts.counts, engines.clock.now, engines.clock.wall
    before = counts.sealed, counts.sealed_bytes
    run(encrypt_runs(parts, TENANT, Runs.of([session_id], [3]), [b"a", b"bb", b"ccc"], [], now, wall))
    run(encrypt_batch(parts, TENANT, session_id * 2, [b"dddd", b"eeeee"], [], now, wall))
    run(encrypt_batch(parts, TENANT, os.urandom(24), [b"to nobody"], [], now, wall))
    run(broadcast(parts, TENANT, session_id, b"ffffff", b"", now, wall))
    assert (counts.sealed - before[0], counts.sealed_bytes - before[1]) == (6, 21)
    assert counts.refusals == {SessionNotFound: 1}
    packets = [link.responder.seal(text) for text in (b"one", b"three")]
    opened = counts.opened, counts.opened_bytes
    run(decrypt_batch(parts, TENANT, [], [*packets, b"junk" * 20], [], now, wall))
    assert (counts.opened - opened[0], counts.opened_bytes - opened[1]) == (2, 8)
    assert sum(counts.refusals.values()) == 2


def test_a_handshake_is_counted_once_by_pattern_suite_and_outcome(engines: Engines) -> None:
    """In both roles, when its last step is done."""
    link = establish(engines, pattern=Pattern.XX)
    for end in link.ends:
        assert end.engine.parts.counts.handshakes == {(XX, Outcome.ESTABLISHED): 1}


def test_a_handshake_that_comes_to_nothing_says_why(engines: Engines) -> None:
    """Before it has a session: failed or refused. With one: the reason of its end."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(remote_static_key=second.identity.public))
    with pytest.raises(HandshakeFailed):
        second.respond(_broken(begun.to_peer[0]))
    with pytest.raises(HandshakeFailed):
        second.respond(_broken(b"no packet at all"))
    engines.clock.step(60)
    first.sweep()
    assert first.parts.counts.handshakes == {(IK, "handshake_timeout"): 1}
    assert second.parts.counts.handshakes == {(IK, Outcome.FAILED): 1, (UNKNOWN, Outcome.FAILED): 1}


def _broken(message: bytes) -> Response:
    return response(message[:-1] + bytes((message[-1] ^ 1,)))


def test_a_player_that_is_told_to_begin_anew_is_a_retry(engines: Engines) -> None:
    """What it offered is not what the policy prefers."""
    first = engines.make(policy=Policy(suites=(Suite.AES256_GCM_X25519, SUITE)))
    second = engines.make(policy=Policy(suites=(Suite.AES256_GCM_X25519, SUITE)))
    offer = ((Pattern.IK, SUITE), (Pattern.IK, Suite.AES256_GCM_X25519))
    begun = first.initiate(initiation(remote_static_key=second.identity.public, offer=offer))
    assert second.respond(response(begun.to_peer[0])).retry
    assert second.parts.counts.handshakes == {(UNKNOWN, Outcome.RETRY): 1}


def test_a_resume_is_none_of_the_handshakes(engines: Engines) -> None:
    """Both ends count it as a resume."""
    first = with_ticket(engines, RecordMode.DATAGRAM)
    link = resumed(first)
    for end in link.ends:
        assert end.engine.parts.counts.resumes == {Outcome.ESTABLISHED: 1}
        assert end.engine.parts.counts.handshakes == {(IK, Outcome.ESTABLISHED): 1}


def test_a_ticket_that_comes_again_is_a_replay_and_rejected(engines: Engines) -> None:
    """Another packet with it, not the same one again."""
    link = with_ticket(engines, RecordMode.DATAGRAM)
    engine = link.responder.engine
    request = resume_request(link)
    engine.accept_resume(request)
    with pytest.raises(TicketRejected):
        engine.accept_resume(replace(request, prologue=b"another"))
    counts = engine.parts.counts
    assert counts.ticket_replays == 1
    assert counts.resumes == {Outcome.ESTABLISHED: 1, Outcome.REJECTED: 1}
    assert counts.ended == {}


def test_early_data_is_counted_by_what_became_of_it(engines: Engines) -> None:
    """Once accepted, once not wanted."""
    options, policy = Options(tickets=True, max_early=100), Policy(max_early=100)
    responder = engines.make(policy=policy)
    for accept in (True, False):
        link = with_ticket(engines, RecordMode.DATAGRAM, options=options, responder=responder)
        begun = link.initiator.engine.resume(link.initiator.session_id, b"", b"jump")
        responder.accept_resume(replace(resumption(begun, RecordMode.DATAGRAM), accept_early=accept))
    assert responder.parts.counts.early == {True: 1, False: 1}


def test_a_rotation_is_counted_when_it_is_done_by_who_wanted_it(engines: Engines) -> None:
    """The caller at its end, the player at the other one."""
    link = establish(engines)
    engines.clock.step(ROTATION_WISH_S + 1)
    link.initiator.renegotiate()
    assert [end.engine.parts.counts.rotating for end in link.ends] == [1, 0]
    assert rotations(link) == [{}, {}]
    link.settle()
    assert [end.engine.parts.counts.rotating for end in link.ends] == [0, 0]
    assert rotations(link) == [{(RENEGOTIATED, Cause.CALLER): 1}, {(RENEGOTIATED, Cause.PEER): 1}]


@pytest.mark.parametrize(
    ("limits", "cause"),
    [
        (RotationLimits(soft_age=20.0, hard_age=60.0), Cause.AGE),
        (RotationLimits(soft_messages=6), Cause.MESSAGES),
        (RotationLimits(soft_bytes=100), Cause.BYTES),
    ],
)
def test_a_rotation_by_policy_names_its_limit(engines: Engines, limits: RotationLimits, cause: Cause) -> None:
    """Of age, messages and bytes."""
    link = establish(engines, initiator=engines.make(policy=Policy(limits=limits)))
    engines.clock.step(30.0 if cause is Cause.AGE else 5.0)
    for _ in range(8):
        link.initiator.send(bytes(20))
    link.settle()
    assert rotations(link)[0] == {(RENEGOTIATED, cause): 1}


def test_a_rekey_is_counted_at_once(engines: Engines) -> None:
    """In both modes."""
    link = establish(engines)
    link.initiator.rekey()
    noise = establish(engines, mode=RecordMode.NOISE, settle=False)
    noise.initiator.rekey(SEND)
    for each in (link, noise):
        assert rotations(each)[0] == {(RotationKind.REKEY, Cause.CALLER): 1}


def test_a_stepwise_rotation_counts_when_both_directions_have_switched(engines: Engines) -> None:
    """NOISE mode: the caller's steps."""
    link = establish(engines, mode=RecordMode.NOISE, settle=False)
    first = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
    second = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=first)).to_peer[0]
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=second))
    assert [end.engine.parts.counts.rotating for end in link.ends] == [1, 1]
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True))
    assert rotations(link)[0] == {}
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, switch_receive=True))
    assert rotations(link)[0] == {(RENEGOTIATED, Cause.CALLER): 1}
    assert [end.engine.parts.counts.rotating for end in link.ends] == [0, 1]


def test_a_session_that_comes_back_rotates_because_of_that(engines: Engines) -> None:
    """It left memory once, came back once, and agrees on new keys with its player."""
    link = establish(engines)
    engine = link.initiator.engine
    engine.suspend(link.initiator.session_id)
    back = engine.restore(link.initiator.session_id)
    counts = engine.parts.counts
    assert (counts.suspended, counts.restored) == (1, 1)
    link.initiator.outbox.extend(back.to_peer)
    link.settle()
    assert set(counts.rotations) == {(RENEGOTIATED, Cause.RESTORE)}
    assert link.initiator.session.state is SessionState.ESTABLISHED


def test_a_session_that_ends_while_it_rotates_rotates_no_more(engines: Engines) -> None:
    """And its end is counted by its reason; a second end is none."""
    link = establish(engines)
    link.initiator.renegotiate()
    engine = link.initiator.engine
    engine.close(link.initiator.session_id)
    with suppress(SessionError):
        engine.close(link.initiator.session_id)
    assert engine.parts.counts.rotating == 0
    assert engine.parts.counts.ended == {TerminationReason.CLOSED: 1}


def test_a_session_that_leaves_memory_while_it_rotates_rotates_no_more(engines: Engines) -> None:
    """Until it is back."""
    link = establish(engines)
    link.initiator.renegotiate()
    link.initiator.engine.suspend(link.initiator.session_id)
    assert link.initiator.engine.parts.counts.rotating == 0


def test_refusals_of_single_calls_are_the_edges_to_count(engines: Engines) -> None:
    """The engine counts those in batches alone, else they would be counted twice."""
    link = establish(engines)
    with pytest.raises(DecryptFailed):
        link.responder.open(os.urandom(60))
    assert link.responder.engine.parts.counts.refusals == {}
