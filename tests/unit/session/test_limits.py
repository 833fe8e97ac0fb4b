"""Rotation by policy: age, messages and bytes; soft limits begin one, hard limits refuse data."""

from __future__ import annotations

import pytest

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.constants import (
    HARD_FAILURES,
    RATCHET_HARD_MESSAGES,
    RESERVED_COUNTERS,
    ROTATION_WISH_S,
    SOFT_FAILURES,
    WISH_SILENCE_S,
)
from noisegate_server.session.errors import DecryptFailed, RekeyRequired, SessionClosed
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import WANTS_ROTATION, Kind
from noisegate_server.session.state import RecordMode, SessionState
from tests.support.engines import Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint

NONE = RotationLimits(soft_age=1e9, hard_age=1e9)
"""Limits that no test reaches."""


def linked(
    engines: Engines,
    initiator: RotationLimits = NONE,
    responder: RotationLimits = NONE,
    *,
    ratchet: bool = False,
    mode: RecordMode = RecordMode.DATAGRAM,
) -> Link:
    """A session whose ends have these limits."""
    first, second = (engines.make(policy=Policy(limits=each)) for each in (initiator, responder))
    return establish(engines, mode=mode, initiator=first, responder=second, options=Options(ratchet=ratchet))


def test_an_old_epoch_makes_the_initiator_begin_inside_any_call(engines: Engines) -> None:
    """At 120 s the next Encrypt is answered with rotate-1 beside its record, and is marked."""
    link = linked(engines, RotationLimits())
    engines.clock.step(119.9)
    sealed = link.initiator.engine.encrypt(link.initiator.session_id, b"roll")
    assert (sealed.to_peer, sealed.rotation_due) == ((), False)
    engines.clock.step(0.1)
    sealed = link.initiator.engine.encrypt(link.initiator.session_id, b"roll")
    assert len(sealed.to_peer) == 1
    assert sealed.rotation_due
    assert link.initiator.session.state is SessionState.ROTATING
    link.responder.inbox.extend((*sealed.to_peer, sealed.ciphertext))
    link.settle()
    assert link.epochs() == (1, 1)
    sealed = link.initiator.engine.encrypt(link.initiator.session_id, b"roll")
    assert (sealed.to_peer, sealed.rotation_due) == ((), False)


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_control_records_alone_pass_the_soft_limit_too(engines: Engines, role: str) -> None:
    """A side that only answers keep-alives uses its keys as well: at the limit it rotates, or wants to."""
    limits = RotationLimits(soft_age=1e9, hard_age=1e9, soft_messages=12)
    link = linked(engines, *((limits, NONE) if role == "initiator" else (NONE, limits)))
    engines.clock.step(ROTATION_WISH_S)
    end = link.initiator if role == "initiator" else link.responder
    peer = link.peer_of(end)
    for _ in range(12):
        peer.outbox.append(peer.datagrams.control(Kind.KEEP_ALIVE, b"\x01" + bytes(8), peer.engine.parts.aeads))
        link.settle()
    peer.send(b"any call")
    link.settle()
    engines.clock.step(WISH_SILENCE_S)
    peer.send(b"any call")
    link.settle()
    assert link.epochs() == (1, 1)


def test_decrypt_begins_and_marks_as_well(engines: Engines) -> None:
    """A side that only opens rotates too, and its answers say that one is due."""
    link = linked(engines, RotationLimits())
    engines.clock.step(120.0)
    opened = link.initiator.open(link.responder.seal(b"roll"))
    assert len(opened.to_peer) == 1
    assert opened.rotation_due is True
    assert link.initiator.open(link.responder.seal(b"roll")).rotation_due is True
    link.settle()
    assert link.epochs() == (1, 1)
    assert link.initiator.open(link.responder.seal(b"roll")).rotation_due is False


def test_an_old_epoch_makes_the_responder_want_a_rotation(engines: Engines) -> None:
    """What it sends says so; after a second of silence a keep-alive does, in whatever call comes."""
    link = linked(engines, NONE, RotationLimits())
    engines.clock.step(120.0)
    assert link.responder.open(link.initiator.seal(b"1")).to_peer == ()
    assert link.responder.datagrams.wants_rotation == WANTS_ROTATION
    engines.clock.step(WISH_SILENCE_S / 2)
    assert link.responder.open(link.initiator.seal(b"2")).to_peer == ()
    engines.clock.step(WISH_SILENCE_S / 2)
    opened = link.responder.open(link.initiator.seal(b"3"))
    assert len(opened.to_peer) == 1
    assert opened.rotation_due is True
    link.settle()
    assert link.epochs() == (1, 1)
    assert link.responder.datagrams.wants_rotation == 0


def test_a_responder_that_talks_sends_no_keep_alive(engines: Engines) -> None:
    """Its data carries the wish: there is no silence to break."""
    link = linked(engines, NONE, RotationLimits())
    engines.clock.step(120.0)
    link.responder.seal(b"old")
    packets = []
    for _ in range(8):
        packets.append(link.responder.seal(b"roll"))
        assert not link.initiator.inbox
        engines.clock.step(WISH_SILENCE_S)
    assert link.responder.datagrams.current.number == 0
    link.initiator.open(packets[-1])
    link.settle()
    assert link.epochs() == (1, 1)


def test_both_ends_at_the_same_age_make_one_rotation(engines: Engines) -> None:
    """Both policies fall due at once: one new epoch, and no second one."""
    link = linked(engines, RotationLimits(), RotationLimits())
    engines.clock.step(120.0)
    for _ in range(3):
        link.talk()
        engines.clock.step(ROTATION_WISH_S)
    assert link.epochs() == (1, 1)
    assert [end.session.state for end in link.ends] == [SessionState.ESTABLISHED] * 2


@pytest.mark.parametrize("limits", [RotationLimits(soft_messages=6), RotationLimits(soft_bytes=400)])
def test_messages_and_bytes_make_a_rotation_due(engines: Engines, limits: RotationLimits) -> None:
    """100 bytes a record: the limit is found at the record that passes it, and the next call begins."""
    link = linked(engines, limits)
    every = []
    while link.initiator.datagrams.begun is None:
        every.append(link.initiator.engine.encrypt(link.initiator.session_id, bytes(100)))
        assert len(every) < 10
    marks = [each.rotation_due for each in every]
    assert marks[-2:] == [True, True]
    assert not any(marks[:-2])
    # The handshake's own records count as well.
    assert len(marks) in (6, 7)
    link.responder.inbox.extend(every[-1].to_peer)
    link.settle()
    assert link.epochs() == (1, 1)


def test_rekey_resets_no_limit(engines: Engines) -> None:
    """Neither the age nor the counts begin anew with a phase."""
    link = linked(engines, RotationLimits())
    engines.clock.step(119.0)
    link.initiator.rekey()
    engines.clock.step(1.0)
    assert link.initiator.engine.encrypt(link.initiator.session_id, b"roll").rotation_due


@pytest.mark.parametrize("by", ["age", "messages", "bytes"])
def test_a_hard_limit_refuses_data_in_encrypt_alone(engines: Engines, by: str) -> None:
    """REKEY_REQUIRED without a trace; Decrypt, control records and Rotate go on, and a rotation frees the session."""
    limits = RotationLimits(soft_messages=5, hard_messages=RESERVED_COUNTERS + 20, soft_bytes=500, hard_bytes=5_000)
    link = linked(engines, limits, RotationLimits())
    if by == "age":
        engines.clock.step(180.0)
    for number in range(100):
        try:
            link.initiator.seal(bytes(1_000) if by == "bytes" else b"")
        except RekeyRequired:
            break
        assert number < 20
    before = fingerprint(link.initiator.session)
    with pytest.raises(RekeyRequired):
        link.initiator.seal(b"roll")
    assert fingerprint(link.initiator.session) == before
    link.lose_everything()
    if by != "age":
        assert outcome_of(link.initiator, link.responder.seal(b"goes on")) == b"goes on"
    link.initiator.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    link.initiator.seal(b"roll")


def test_a_responder_past_its_age_is_freed_by_rotate(engines: Engines) -> None:
    """The game calls Rotate, as REKEY_REQUIRED says: the keep-alive with the wish leads to new keys."""
    link = linked(engines, NONE, RotationLimits())
    engines.clock.step(400.0)
    with pytest.raises(RekeyRequired):
        link.responder.seal(b"roll")
    link.responder.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    assert outcome_of(link.initiator, link.responder.seal(b"roll")) == b"roll"


def test_with_the_ratchet_the_limits_are_below_the_jump(engines: Engines) -> None:
    """Due after 8,192 messages, refused at 15,360 less the reserved ones; the last opens when all before are lost."""
    link = linked(engines, ratchet=True)
    limits = link.initiator.datagrams.limits
    assert (limits.soft_messages, limits.hard_messages) == (8_192, RATCHET_HARD_MESSAGES)
    start = link.initiator.datagrams.current.sender.counter
    whole = range(start, RATCHET_HARD_MESSAGES - RESERVED_COUNTERS - 2)
    sealed = [link.initiator.engine.encrypt(link.initiator.session_id, b"") for _ in whole]
    while link.initiator.datagrams.current.sender.counter < RATCHET_HARD_MESSAGES - RESERVED_COUNTERS:
        sealed.append(link.initiator.engine.encrypt(link.initiator.session_id, b""))
    with pytest.raises(RekeyRequired):
        link.initiator.seal(b"")
    assert next(each.counter for each in sealed if each.rotation_due) == 8_192
    last = sealed[-1]
    assert last.counter + 2 >= RATCHET_HARD_MESSAGES - RESERVED_COUNTERS
    assert outcome_of(link.responder, last.ciphertext) == b""


@pytest.mark.parametrize("ratchet", [True, False])
@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("when", ["before", "after"])
def test_without_room_for_control_the_policy_is_silent(engines: Engines, who: int, when: str, ratchet: bool) -> None:
    """Where nothing may be sealed any more, before the age or once a rotation is wanted, records open all the same."""
    link = linked(engines, *(RotationLimits() if side == who else NONE for side in (0, 1)), ratchet=ratchet)
    end = link.ends[who]
    peer = link.peer_of(end)
    opened = [peer.seal(b"roll") for _ in range(4)]
    full = RATCHET_HARD_MESSAGES if ratchet else RotationLimits().hard_messages
    if when == "before":
        end.datagrams.current.sender.counter = full
    for packet in opened:
        engines.clock.step(125.0)
        answer = end.engine.decrypt(end.session_id, packet)
        assert answer.plaintext == b"roll"
        if when == "before":
            assert (answer.to_peer, answer.rotation_due) == ((), True)
            assert end.session.state is SessionState.ESTABLISHED
            assert end.datagrams.rotate_at > engines.clock.now
        elif end.datagrams.current.sender.counter == full:
            assert answer.to_peer == ()
        end.datagrams.current.sender.counter = full
    with pytest.raises(RekeyRequired):
        end.renegotiate()
    assert end.datagrams.current.sender.counter == full


@pytest.mark.parametrize("limits", [RotationLimits(soft_messages=3), RotationLimits(soft_bytes=30)])
def test_noise_mode_is_marked_and_nothing_else(engines: Engines, limits: RotationLimits) -> None:
    """Answers say that a rotation is due by messages or bytes, not by age; nothing is sent and nothing refused."""
    link = linked(engines, limits, RotationLimits(), mode=RecordMode.NOISE)
    engines.clock.step(500.0)
    sealed = [link.initiator.engine.encrypt(link.initiator.session_id, bytes(10)) for _ in range(6)]
    assert [each.rotation_due for each in sealed] == [False] * 3 + [True] * 3
    assert {each.to_peer for each in sealed} == {()}
    opened = [link.responder.open(each.ciphertext) for each in sealed]
    assert not any(each.rotation_due for each in opened)
    assert link.initiator.open(link.responder.seal(b"")).rotation_due is True


@pytest.mark.parametrize("mode", RecordMode)
def test_many_failures_make_a_rotation_due(engines: Engines, mode: RecordMode) -> None:
    """The 2^20th record that does not open marks the session; one fewer does not."""
    link = linked(engines, mode=mode)
    link.initiator.session.refused = SOFT_FAILURES - 2
    forged = link.responder.seal(b"roll")[:-1] + b"\0"
    assert outcome_of(link.initiator, forged) is DecryptFailed
    assert not link.initiator.engine.encrypt(link.initiator.session_id, b"roll").rotation_due
    assert outcome_of(link.initiator, forged) is DecryptFailed
    sealed = link.initiator.engine.encrypt(link.initiator.session_id, b"roll")
    assert sealed.rotation_due
    assert bool(sealed.to_peer) is (mode is RecordMode.DATAGRAM)


def test_far_too_many_failures_end_the_session(engines: Engines) -> None:
    """At 2^35 its integrity limit is reached: wiped, and its owner is told why."""
    link = linked(engines)
    link.initiator.session.refused = HARD_FAILURES - 1
    forged = link.responder.seal(b"roll")[:-1] + b"\0"
    assert outcome_of(link.initiator, forged) is DecryptFailed
    with pytest.raises(SessionClosed) as closed:
        link.initiator.seal(b"roll")
    assert closed.value.cause == "EXHAUSTED"


def test_the_next_look_is_never_late() -> None:
    """Whatever the sizes, no limit is passed by more than the record that passes it."""
    limits = RotationLimits(soft_messages=50, hard_messages=RESERVED_COUNTERS + 80, soft_bytes=2_000, hard_bytes=3_000)
    for size in (0, 1, 37, 100):
        sealed = total = 0
        look_at = 0
        while not limits.is_hard_passed(sealed, total):
            if sealed >= look_at:
                look_at = limits.next_look(sealed, total, 100, due=limits.is_soft_passed(sealed, total))
                assert look_at > sealed
            sealed, total = sealed + 1, total + size
        assert sealed >= look_at
