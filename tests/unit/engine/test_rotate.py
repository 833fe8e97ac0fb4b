"""The Rotate call: what it answers and what it refuses; the protocol behind it is tested in unit/session."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from noisegate_server.engine.rotate import RECEIVE, REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.session.constants import HARD_MESSAGES, MAX_PHASES, ROTATION_WISH_S
from noisegate_server.session.errors import (
    EpochConflict,
    HandshakeFailed,
    InvalidField,
    NotEstablished,
    RekeyRequired,
    SessionNotFound,
)
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import Pattern
from tests.support.engines import End, Engines, establish
from tests.support.fingerprint import fingerprint
from tests.support.requests import initiation


@pytest.mark.parametrize(
    "command",
    [
        RotateCommand(kind=RENEGOTIATE, message=b"x"),
        RotateCommand(kind=RENEGOTIATE, switch_send=True),
        RotateCommand(kind=RENEGOTIATE, switch_receive=True),
        RotateCommand(kind=RENEGOTIATE, psk=bytes(32)),
        RotateCommand(kind=REKEY, direction=RECEIVE),
    ],
    ids=str,
)
def test_fields_of_noise_mode_are_refused_in_datagram_mode(engines: Engines, command: RotateCommand) -> None:
    """DATAGRAM carries its rotation in records: INVALID_REQUEST, and nothing has begun."""
    link = establish(engines)
    before = fingerprint(link.initiator.session)
    with pytest.raises(InvalidField):
        link.initiator.rotate(command)
    assert fingerprint(link.initiator.session) == before


def test_a_half_open_or_unknown_session_does_not_rotate(engines: Engines) -> None:
    """NOT_ESTABLISHED while the handshake runs, SESSION_NOT_FOUND for an id that is nobody's."""
    engine = engines.make()
    begun = engine.initiate(initiation(pattern=Pattern.XX))
    before = fingerprint(engine.session(begun.session_id))
    with pytest.raises(NotEstablished):
        engine.rotate(begun.session_id, RotateCommand(kind=RENEGOTIATE))
    assert fingerprint(engine.session(begun.session_id)) == before
    with pytest.raises(SessionNotFound):
        engine.rotate(os.urandom(24), RotateCommand(kind=RENEGOTIATE))


def test_the_answer_says_how_far_it_is(engines: Engines) -> None:
    """ROTATING with something for the peer at both ends; ESTABLISHED under epoch 1 when all has arrived."""
    link = establish(engines)
    engines.clock.step(11.0)
    for end in link.ends:
        done = end.renegotiate()
        assert (done.state, done.epoch, len(done.to_peer)) == (SessionState.ROTATING, 0, 1)
    link.settle()
    for end in link.ends:
        view = end.engine.view(end.session_id)
        assert (view.state, view.epoch) == (SessionState.ESTABLISHED, 1)


def test_rotation_keeps_the_session_alive(engines: Engines) -> None:
    """A Rotate call is use."""
    link = establish(engines)
    engines.clock.step(100.0)
    link.initiator.rekey()
    assert link.initiator.session.last_used == engines.clock.now


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_a_rekey_past_the_last_phase_begins_a_renegotiation(engines: Engines, who: str) -> None:
    """The 64th REKEY does what RENEGOTIATE would: the initiator starts, the responder asks; phases begin anew."""
    link = establish(engines)
    engines.clock.step(ROTATION_WISH_S)
    end: End = getattr(link, who)
    for _ in range(MAX_PHASES - 1):
        assert end.rekey().to_peer == ()
    done = end.rekey()
    assert (done.state, done.epoch, len(done.to_peer)) == (SessionState.ROTATING, 0, 1)
    assert end.datagrams.current.sender.phase == MAX_PHASES - 1
    link.talk()
    assert link.epochs() == (1, 1)
    assert end.session.state is SessionState.ESTABLISHED
    assert end.rekey().to_peer == ()
    assert end.datagrams.current.sender.phase == 1
    link.talk()


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_where_no_record_may_be_sealed_no_rotation_begins(engines: Engines, who: str) -> None:
    """Past the hard limit of control records: REKEY_REQUIRED, without a trace, and the session still opens."""
    link = establish(engines)
    end: End = getattr(link, who)
    end.datagrams.current.sender.counter = HARD_MESSAGES
    before = fingerprint(end.session)
    with pytest.raises(RekeyRequired):
        end.renegotiate()
    assert fingerprint(end.session) == before
    assert end.open(link.peer_of(end).seal(b"roll")).plaintext == b"roll"


@pytest.mark.parametrize("psk", [b"", bytes(31), bytes(33)], ids=len)
def test_a_psk_pattern_needs_its_psk_again(engines: Engines, psk: bytes) -> None:
    """NOISE: the session's own pattern runs, with its pre-shared key of 32 bytes (row 26)."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=Pattern.IKPSK2)
    before = fingerprint(link.initiator.session)
    with pytest.raises(InvalidField):
        link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, psk=psk))
    assert fingerprint(link.initiator.session) == before


def test_the_responder_of_a_noise_session_does_not_begin(engines: Engines) -> None:
    """The Noise initiator begins; a message that answers nothing is refused."""
    link = establish(engines, mode=RecordMode.NOISE)
    before = fingerprint(link.responder.session)
    with pytest.raises(InvalidField):
        link.responder.renegotiate()
    assert fingerprint(link.responder.session) == before
    with pytest.raises(InvalidField):
        link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=bytes(48)))


@pytest.mark.parametrize("mode", list(RecordMode))
def test_only_the_session_s_own_peer_renegotiates(engines: Engines, mode: RecordMode) -> None:
    """A first message that belongs to another session between the same two keys changes nothing (row 12)."""
    link = establish(engines, mode=mode)
    other = establish(engines, mode=mode, initiator=link.initiator.engine, responder=link.responder.engine)
    if mode is RecordMode.NOISE:
        message = other.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
        before = fingerprint(link.responder.session)
        with pytest.raises(Exception, match="handshake failed"):
            link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message))
        assert fingerprint(link.responder.session) == before
    else:
        other.initiator.renegotiate()
        begun = other.initiator.datagrams.begun
        assert begun is not None
        record = link.initiator.datagrams.control(Kind.ROTATE_1, begun.message, link.initiator.engine.parts.aeads)
        assert link.responder.open(record).to_peer == ()
        assert link.responder.datagrams.next is None
    link.talk()


STEP = RotateCommand(kind=RENEGOTIATE)


def changed(end: End, *, sends: bool) -> None:
    """One direction of an end is under the new keys."""
    end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=sends, switch_receive=not sends))


def assert_flows(end: End, peer: End) -> None:
    """What an end seals opens at the other one."""
    assert peer.open(end.seal(b"roll")).plaintext == b"roll"


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK])
def test_a_renegotiation_of_which_the_initiator_lost_its_part_begins_anew(engines: Engines, pattern: Pattern) -> None:
    """A suspension takes an unfinished handshake away; what the responder has of it gives way to the next."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=pattern)
    initiator, responder = link.ends
    [first] = initiator.rotate(STEP).to_peer
    responder.rotate(replace(STEP, message=first))
    initiator.engine.suspend(initiator.session_id)
    initiator.engine.restore(initiator.session_id)

    [again] = initiator.rotate(STEP).to_peer
    [answer] = responder.rotate(replace(STEP, message=again)).to_peer
    for third in initiator.rotate(replace(STEP, message=answer)).to_peer:
        assert responder.rotate(replace(STEP, message=third)).ready_to_switch
    for end, peer in (link.ends, link.ends[::-1]):
        changed(end, sends=True)
        changed(peer, sends=False)
        assert_flows(end, peer)
    assert initiator.noise.h == responder.noise.h
    assert [each.session.state for each in link.ends] == [SessionState.ESTABLISHED] * 2


def test_a_renegotiation_begins_anew_no_more_once_a_direction_has_changed(engines: Engines) -> None:
    """EPOCH_CONFLICT, and nothing has changed: the half that is left to do is still there."""
    link = establish(engines, mode=RecordMode.NOISE)
    initiator, responder = link.ends
    [first] = initiator.rotate(STEP).to_peer
    [second] = responder.rotate(replace(STEP, message=first)).to_peer
    initiator.rotate(replace(STEP, message=second))
    for end, command in ((initiator, STEP), (responder, replace(STEP, message=os.urandom(len(first))))):
        changed(end, sends=end is initiator)
        before = fingerprint(end.session)
        with pytest.raises(EpochConflict):
            end.rotate(command)
        assert fingerprint(end.session) == before
    assert_flows(initiator, responder)


def test_a_repeated_last_message_gets_the_same_answer_and_a_garbled_one_changes_nothing(engines: Engines) -> None:
    """The new keys that it gave stay what they were."""
    for pattern in (Pattern.IK, Pattern.XX):
        link = establish(engines, mode=RecordMode.NOISE, pattern=pattern)
        initiator, responder = link.ends
        [message] = initiator.rotate(STEP).to_peer
        done = responder.rotate(replace(STEP, message=message))
        while not done.ready_to_switch:
            [message] = initiator.rotate(replace(STEP, message=done.to_peer[0])).to_peer
            done = responder.rotate(replace(STEP, message=message))
        before = fingerprint(responder.session)
        assert responder.rotate(replace(STEP, message=message)).to_peer == done.to_peer
        with pytest.raises(HandshakeFailed):
            responder.rotate(replace(STEP, message=message[:-1] + bytes([message[-1] ^ 1])))
        assert fingerprint(responder.session) == before
