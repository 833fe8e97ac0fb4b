"""Records of NOISE mode: a bare, ordered stream each way, and keys that change where the game says."""

from __future__ import annotations

import os

import pytest

from noisegate_server.engine.rotate import RECEIVE, REKEY, RENEGOTIATE, SEND, RotateCommand
from noisegate_server.session.constants import MAX_COUNTER, MAX_NOISE_PLAINTEXT, RESERVED_COUNTERS
from noisegate_server.session.errors import (
    DecryptFailed,
    EpochConflict,
    HandshakeFailed,
    InvalidField,
    MessageTooLarge,
    RekeyRequired,
)
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import End, Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint, secrets_of

SWITCH = RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True)


@pytest.fixture(params=list(Suite), ids=lambda suite: suite.name)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session between two engines."""
    return establish(engines, mode=RecordMode.NOISE, suite=request.param)


def negotiate(link: Link, psk: bytes = b"") -> None:
    """Run a renegotiation up to the point where both ends may switch."""
    turn, message = link.initiator, b""
    for _ in range(4):
        done = turn.rotate(RotateCommand(kind=RENEGOTIATE, message=message, psk=psk))
        if not done.to_peer:
            break
        turn, message = link.peer_of(turn), done.to_peer[0]
    assert all(end.noise.replacement is not None for end in link.ends)


def test_both_ways_and_empty_too(link: Link) -> None:
    """A record is 16 bytes longer than its plaintext, an empty one has 16 (row 4)."""
    for end in link.ends:
        assert len(end.send(b"")) == 16
        assert len(end.send(b"roll 3d6")) == 24
    link.settle()
    assert [end.received for end in link.ends] == [[b"", b"roll 3d6"]] * 2


def test_any_flipped_bit_is_refused_without_a_trace(link: Link) -> None:
    """The stream stands where it stood, and the genuine message opens after all (row 6)."""
    packet = link.initiator.seal(b"roll")
    before = fingerprint(link.responder.session)
    for bit in range(len(packet) * 8):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        assert outcome_of(link.responder, bytes(forged)) is DecryptFailed
    assert fingerprint(link.responder.session) == before
    assert outcome_of(link.responder, packet) == b"roll"


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_short_message_is_refused_without_a_trace(link: Link, length: int) -> None:
    """Less than a tag is no message (row 5)."""
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, bytes(length)) is DecryptFailed
    assert fingerprint(link.responder.session) == before


def test_out_of_order_replayed_and_reflected_do_not_open(link: Link) -> None:
    """Counters are implicit: what is not the next message of this direction does not open (rows 7, 12)."""
    first, second = link.initiator.seal(b"1"), link.initiator.seal(b"2")
    assert outcome_of(link.responder, second) is DecryptFailed
    assert outcome_of(link.responder, first) == b"1"
    assert outcome_of(link.responder, first) is DecryptFailed
    assert outcome_of(link.initiator, second) is DecryptFailed
    assert outcome_of(link.responder, second) == b"2"


def test_too_large_costs_no_counter(link: Link) -> None:
    """65,520 bytes are MESSAGE_TOO_LARGE without a trace, 65,519 fit (row 3)."""
    before = fingerprint(link.initiator.session)
    with pytest.raises(MessageTooLarge):
        link.initiator.seal(bytes(MAX_NOISE_PLAINTEXT + 1))
    assert fingerprint(link.initiator.session) == before
    packet = link.initiator.seal(bytes(MAX_NOISE_PLAINTEXT))
    assert len(packet) == 65_535
    assert outcome_of(link.responder, packet) == bytes(MAX_NOISE_PLAINTEXT)


def test_the_end_of_the_counters_is_refused_without_a_trace(link: Link) -> None:
    """Long before 2^64 - 1 sealing stops with REKEY_REQUIRED (row 11)."""
    link.initiator.noise.send.n = MAX_COUNTER - RESERVED_COUNTERS
    before = fingerprint(link.initiator.session)
    with pytest.raises(RekeyRequired):
        link.initiator.seal(b"roll")
    assert fingerprint(link.initiator.session) == before


def test_rekey_names_its_direction_and_both_ends_agree(link: Link) -> None:
    """The sender rekeys what it seals, the receiver what it opens, at the same counter; counters run on."""
    link.talk()
    sent = link.initiator.rekey(SEND)
    received = link.responder.rekey(RECEIVE)
    assert sent.counter == received.counter == 1
    link.talk()
    assert link.responder.received == [b"ping", b"ping"]
    with pytest.raises(InvalidField):
        link.initiator.rekey()


def test_rekey_at_one_end_only_does_not_open(link: Link) -> None:
    """A rekeyed message is not opened by the old key, and the old key is gone."""
    key = link.initiator.noise.send.key
    link.initiator.rekey(SEND)
    assert not any(key)
    assert outcome_of(link.responder, link.initiator.seal(b"roll")) is DecryptFailed


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK, Pattern.XXPSK3, Pattern.IKPSK2])
def test_a_renegotiation_changes_both_directions(engines: Engines, pattern: Pattern) -> None:
    """The session's own pattern runs again; the streams change where each end says, and count from 0."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=pattern)
    link.talk()
    old = [key for end in link.ends for key in (end.noise.send.key, end.noise.receive.key, end.noise.root)]
    negotiate(link, psk=os.urandom(32) if "PSK" in pattern.name else b"")
    assert [end.session.state for end in link.ends] == [SessionState.ROTATING] * 2
    for end in link.ends:
        done = end.rotate(SWITCH)
        assert (done.state, done.epoch) == (SessionState.ESTABLISHED, 1)
    assert not any(any(key) for key in old)
    link.talk()
    assert [end.noise.send.n for end in link.ends] == [1, 1]


def test_directions_change_one_by_one(engines: Engines) -> None:
    """Until an end says so, it seals and opens under the old keys."""
    link = establish(engines, mode=RecordMode.NOISE)
    negotiate(link)
    link.talk()
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True))
    packet = link.initiator.seal(b"roll")
    assert outcome_of(link.responder, packet) is DecryptFailed
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, switch_receive=True))
    assert outcome_of(link.responder, packet) == b"roll"
    link.responder.send(b"old keys still")
    link.settle()
    assert link.initiator.received[-1] == b"old keys still"


@pytest.mark.parametrize("end", ["initiator", "responder"])
def test_switching_without_new_keys_is_refused_without_a_trace(link: Link, end: str) -> None:
    """EPOCH_CONFLICT, and nothing has changed."""
    side: End = getattr(link, end)
    before = fingerprint(side.session)
    with pytest.raises(EpochConflict):
        side.rotate(SWITCH)
    assert fingerprint(side.session) == before


@pytest.mark.parametrize(
    "first",
    [RotateCommand(kind=RENEGOTIATE, switch_send=True), RotateCommand(kind=RENEGOTIATE, switch_receive=True)],
    ids=["send", "receive"],
)
def test_a_call_switches_all_that_it_names_or_nothing(engines: Engines, first: RotateCommand) -> None:
    """When one of two directions has changed already, asking for both changes neither."""
    link = establish(engines, mode=RecordMode.NOISE)
    negotiate(link)
    link.initiator.rotate(first)
    before = fingerprint(link.initiator.session)
    with pytest.raises(EpochConflict):
        link.initiator.rotate(SWITCH)
    assert fingerprint(link.initiator.session) == before


def test_a_spoiled_renegotiation_leaves_the_session_as_it_was(engines: Engines) -> None:
    """A message that fails leaves no trace, and the genuine one is still taken."""
    link = establish(engines, mode=RecordMode.NOISE)
    message = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
    answer = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message)).to_peer[0]
    before = fingerprint(link.initiator.session)
    with pytest.raises(HandshakeFailed):
        link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answer[:-1] + bytes((answer[-1] ^ 1,))))
    assert fingerprint(link.initiator.session) == before
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answer))
    for end in link.ends:
        end.rotate(SWITCH)
    link.talk()


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.XXPSK3])
def test_an_initiator_that_begins_anew_is_heard(engines: Engines, pattern: Pattern) -> None:
    """Its answer was lost with a connection: the responder, which waits for message 3, takes another message 1."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=pattern)
    psk = os.urandom(32) if pattern is Pattern.XXPSK3 else b""
    first = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, psk=psk)).to_peer[0]
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=first, psk=psk))
    pending = secrets_of(link.responder.session)
    negotiate(link, psk=psk)
    assert sum(not any(each) for each in pending) > 0
    for end in link.ends:
        end.rotate(SWITCH)
    link.talk()


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.XXPSK3])
@pytest.mark.parametrize("psk_again", [False, True])
def test_what_is_neither_message_3_nor_message_1_leaves_the_one_under_way(
    engines: Engines, pattern: Pattern, *, psk_again: bool
) -> None:
    """A garbled or cut third message would pass for a first one with a payload: it does not, and leaves no trace."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=pattern)
    psk = os.urandom(32) if pattern is Pattern.XXPSK3 else b""
    begun = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, psk=psk)).to_peer[0]
    answered = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=begun, psk=psk)).to_peer[0]
    third = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answered)).to_peer[0]
    before = fingerprint(link.responder.session)
    for message in (third[:-1] + bytes((third[-1] ^ 1,)), third[:-1], third[:31], b"x", third + b"x"):
        with pytest.raises(HandshakeFailed):
            link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message, psk=psk if psk_again else b""))
        assert fingerprint(link.responder.session) == before
    assert link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=third)).ready_to_switch


def test_a_second_renegotiation_before_the_switch_is_refused(engines: Engines) -> None:
    """While new keys wait, another rotation is EPOCH_CONFLICT (row 35)."""
    link = establish(engines, mode=RecordMode.NOISE)
    negotiate(link)
    before = fingerprint(link.initiator.session)
    with pytest.raises(EpochConflict):
        link.initiator.renegotiate()
    assert fingerprint(link.initiator.session) == before


@pytest.mark.parametrize(
    "command",
    [
        RotateCommand(kind=RENEGOTIATE, direction=SEND),
        RotateCommand(kind=RENEGOTIATE, switch_send=True, message=b"x"),
        RotateCommand(kind=REKEY, direction=SEND, message=b"x"),
        RotateCommand(kind=REKEY, direction=3),
    ],
    ids=str,
)
def test_a_command_that_makes_no_sense_is_refused_without_a_trace(engines: Engines, command: RotateCommand) -> None:
    """Fields that belong to another kind of rotation are INVALID_REQUEST."""
    link = establish(engines, mode=RecordMode.NOISE)
    before = fingerprint(link.initiator.session)
    with pytest.raises(InvalidField):
        link.initiator.rotate(command)
    assert fingerprint(link.initiator.session) == before


@pytest.mark.parametrize("stage", ["plain", "half", "ready"])
def test_everything_is_wiped_at_the_end(engines: Engines, stage: str) -> None:
    """At whatever stage of a rotation a session ends, each of its buffers is zero afterwards."""
    link = establish(engines, mode=RecordMode.NOISE, pattern=Pattern.XX)
    if stage == "half":
        link.initiator.renegotiate()
    elif stage == "ready":
        negotiate(link)
    buffers = secrets_of(link.initiator.session)
    assert sum(map(any, buffers)) >= 4
    link.initiator.engine.close(link.initiator.session_id)
    assert not any(map(any, buffers))
