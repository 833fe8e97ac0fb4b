"""Records of DATAGRAM mode: what opens, what does not, and that a refusal leaves no trace."""

from __future__ import annotations

import itertools

import pytest

from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.constants import (
    GRACE_S,
    MAX_COUNTER,
    MAX_DATAGRAM_PLAINTEXT,
    MAX_PHASES,
    RESERVED_COUNTERS,
    WINDOW,
)
from noisegate_server.session.errors import (
    CounterTooOld,
    DecryptFailed,
    MessageTooLarge,
    RekeyRequired,
    ReplayDetected,
)
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import Kind, PacketType
from noisegate_server.session.phases import PhaseReceiver
from noisegate_server.session.state import SessionState
from noisegate_server.session.suites import Suite
from tests.support.engines import ALL_OPTIONS, End, Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint

OPTIONS = [Options(), Options(mask=True), Options(pad=True), ALL_OPTIONS]


@pytest.fixture(params=list(itertools.product(Suite, OPTIONS)), ids=str)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session between two engines."""
    suite, options = request.param
    return establish(engines, suite=suite, options=options)


def test_both_ways_and_empty_too(link: Link) -> None:
    """What one end seals the other opens, an empty plaintext among them (security 7.2, row 4)."""
    for end in link.ends:
        end.send(b"roll 3d6")
        end.send(b"")
    link.settle()
    assert [end.received for end in link.ends] == [[b"roll 3d6", b""]] * 2


def test_a_record_is_32_bytes_longer_than_its_content(engines: Engines) -> None:
    """Header 15, kind 1, tag 16 (protocol, section 2); so an empty record has 32 bytes."""
    link = establish(engines)
    assert len(link.initiator.seal(b"")) == 32
    assert len(link.initiator.seal(b"x" * 100)) == 132


def test_any_flipped_bit_is_refused_without_a_trace(link: Link) -> None:
    """One bit at every position: DECRYPT_FAILED, nothing changed, and the genuine record opens after all (row 6)."""
    packet = link.initiator.seal(b"roll")
    before = fingerprint(link.responder.session)
    for bit in range(len(packet) * 8):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        assert outcome_of(link.responder, bytes(forged)) is DecryptFailed
    assert fingerprint(link.responder.session) == before
    assert link.responder.session.refused == len(packet) * 8
    assert outcome_of(link.responder, packet) == b"roll"


@pytest.mark.parametrize("length", [0, 1, 9, 15, 31])
def test_a_short_packet_is_refused_without_a_trace(link: Link, length: int) -> None:
    """Less than a header, a kind and a tag is no record (row 5)."""
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, link.initiator.seal(b"")[:length]) is DecryptFailed
    assert fingerprint(link.responder.session) == before


@pytest.mark.parametrize("kind", [kind for kind in PacketType if kind is not PacketType.RECORD])
def test_a_packet_of_another_type_is_no_record(engines: Engines, kind: PacketType) -> None:
    """The type is authenticated: a record that claims to be something else does not open."""
    link = establish(engines)
    packet = link.initiator.seal(b"roll")
    assert outcome_of(link.responder, bytes((0x08 | kind,)) + packet[1:]) is DecryptFailed


def test_a_replay_is_named_and_leaves_no_trace(link: Link) -> None:
    """The same record again: REPLAY_DETECTED (row 7)."""
    packet = link.initiator.seal(b"roll")
    assert outcome_of(link.responder, packet) == b"roll"
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, packet) is ReplayDetected
    assert fingerprint(link.responder.session) == before


def test_older_than_the_window_is_named_and_leaves_no_trace(engines: Engines) -> None:
    """1,024 behind the highest still opens, 1,025 behind is COUNTER_TOO_OLD (row 8)."""
    link = establish(engines)
    packets = [link.initiator.seal(b"%d" % number) for number in range(WINDOW + 2)]
    assert outcome_of(link.responder, packets[-1]) == b"%d" % (WINDOW + 1)
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, packets[0]) is CounterTooOld
    assert fingerprint(link.responder.session) == before
    assert outcome_of(link.responder, packets[1]) == b"1"


def test_a_forged_replay_says_nothing(engines: Engines) -> None:
    """Whether a counter was seen is told of authentic records alone: a forged old one is DECRYPT_FAILED."""
    link = establish(engines)
    packet = link.initiator.seal(b"roll")
    link.responder.open(packet)
    assert outcome_of(link.responder, packet[:-1] + bytes((packet[-1] ^ 1,))) is DecryptFailed


def test_records_may_come_in_any_order(link: Link) -> None:
    """`newest` is true of those alone that are above all before them."""
    packets = [link.initiator.seal(b"%d" % number) for number in range(4)]
    newest = [link.responder.open(packets[number]).newest for number in (1, 0, 3, 2)]
    assert newest == [True, False, True, False]
    assert sorted(link.responder.received) == [b"0", b"1", b"2", b"3"]


def test_header_of_one_session_with_the_body_of_another(engines: Engines) -> None:
    """Neither half of a spliced record helps the other (row 12)."""
    first, second = establish(engines), establish(engines)
    ours, theirs = first.initiator.seal(b"ours"), second.initiator.seal(b"other")
    for spliced in (ours[:15] + theirs[15:], theirs[:15] + ours[15:], theirs):
        before = fingerprint(first.responder.session)
        assert outcome_of(first.responder, spliced) is DecryptFailed
        assert fingerprint(first.responder.session) == before


def test_a_reflected_record_is_refused(link: Link) -> None:
    """What an end has sealed does not open at that end (row 12)."""
    packet = link.initiator.seal(b"roll")
    before = fingerprint(link.initiator.session)
    assert outcome_of(link.initiator, packet) is DecryptFailed
    assert fingerprint(link.initiator.session) == before


def test_associated_data_is_authenticated(link: Link) -> None:
    """Data opens with the associated data that it was sealed with, and with no other or none."""
    packet = link.initiator.seal(b"roll", b"seat 3")
    for wrong in (b"", b"seat 4", b"seat 3 "):
        assert outcome_of(link.responder, packet, wrong) is DecryptFailed
    assert outcome_of(link.responder, packet, b"seat 3") == b"roll"


def test_data_without_associated_data_does_not_pass_for_data_with(link: Link) -> None:
    """A receiver that expects associated data takes no data without it."""
    assert outcome_of(link.responder, link.initiator.seal(b"roll"), b"seat 3") is DecryptFailed


def test_control_records_open_whatever_the_caller_expects(engines: Engines) -> None:
    """A rotation step has no associated data of the game, and opens beside data that has."""
    link = establish(engines)
    link.initiator.renegotiate()
    opened = link.responder.open(link.responder.inbox.popleft(), b"seat 3")
    assert (opened.plaintext, opened.control) == (None, 1)


def test_too_large_costs_no_counter(link: Link) -> None:
    """One byte too many is MESSAGE_TOO_LARGE and leaves no trace; the largest plaintext fits (row 3)."""
    before = fingerprint(link.initiator.session)
    with pytest.raises(MessageTooLarge):
        link.initiator.seal(b"x" * (MAX_DATAGRAM_PLAINTEXT + 1))
    assert fingerprint(link.initiator.session) == before
    largest = b"x" * MAX_DATAGRAM_PLAINTEXT
    packet = link.initiator.seal(largest)
    assert len(packet) <= 65_507
    assert outcome_of(link.responder, packet) == largest


def test_the_hard_limit_refuses_data_and_keeps_counters_for_control(engines: Engines) -> None:
    """At the limit: REKEY_REQUIRED without a trace; a rotation still goes through and frees the session (row 11)."""
    limits = RotationLimits(soft_messages=4, hard_messages=RESERVED_COUNTERS + 8)
    policy = Policy(limits=limits)
    link = establish(engines, initiator=engines.make(policy=policy), responder=engines.make(policy=policy))
    sealed = []
    while link.initiator.datagrams.current.sender.counter < 8:
        sealed.append(link.initiator.engine.encrypt(link.initiator.session_id, b"roll").rotation_due)
    assert sealed[-1] is True
    before = fingerprint(link.initiator.session)
    with pytest.raises(RekeyRequired):
        link.initiator.seal(b"roll")
    assert fingerprint(link.initiator.session) == before
    link.initiator.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    link.talk()


def test_the_last_counter_is_never_sealed(engines: Engines) -> None:
    """Not even a control record goes out under a counter at the nonce's end, and none is opened (rows 10, 11)."""
    link = establish(engines)
    link.initiator.datagrams.current.sender.counter = MAX_COUNTER
    before = fingerprint(link.initiator.session)
    records = link.initiator.datagrams
    with pytest.raises(RekeyRequired):
        records.record(records.current, Kind.KEEP_ALIVE, b"", b"", link.initiator.engine.parts.aeads)
    assert fingerprint(link.initiator.session) == before


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_control_records_stop_at_the_hard_limit_and_opening_goes_on(engines: Engines, who: str) -> None:
    """What can no longer be sealed is left out; the record that would have had an answer opens all the same."""
    hard = RESERVED_COUNTERS + 8
    policy = Policy(limits=RotationLimits(soft_messages=4, hard_messages=hard))
    link = establish(engines, initiator=engines.make(policy=policy), responder=engines.make(policy=policy))
    end: End = getattr(link, who)
    peer, aeads = link.peer_of(end), end.engine.parts.aeads
    end.datagrams.current.sender.counter = hard - 1
    asks = [peer.datagrams.control(Kind.KEEP_ALIVE, b"\x01" + bytes(8), peer.engine.parts.aeads) for _ in range(2)]
    assert [len(end.open(ask).to_peer) for ask in asks] == [1, 0]
    before = fingerprint(end.session)
    with pytest.raises(RekeyRequired):
        end.datagrams.control(Kind.KEEP_ALIVE, b"", aeads)
    assert fingerprint(end.session) == before
    peer.renegotiate()
    while end.inbox:
        assert end.open(end.inbox.popleft()).to_peer == ()
    assert end.session.state is SessionState.ESTABLISHED
    assert end.engine.close(end.session_id) == ()


@pytest.mark.parametrize(
    ("soft", "hard"), [(0, RESERVED_COUNTERS), (8, RESERVED_COUNTERS + 8), (0, 1), (-1, 2**20), (2**23, 2**23)]
)
def test_limits_that_leave_no_time_to_rotate_are_refused(soft: int, hard: int) -> None:
    """The soft limit lies below the one for data, and data has a counter at least."""
    with pytest.raises(ValueError, match="soft_messages"):
        RotationLimits(soft_messages=soft, hard_messages=hard)
    assert RotationLimits(soft_messages=0, hard_messages=RESERVED_COUNTERS + 1).data_messages == 1


@pytest.mark.parametrize("ahead", [1, 2, MAX_PHASES - 1])
def test_phases_that_were_lost_are_caught_up(link: Link, ahead: int) -> None:
    """All records of the phases between may be lost: 63 ahead, the last phase there is, still opens (row 9)."""
    for _ in range(ahead):
        link.initiator.rekey()
    packet = link.initiator.seal(b"roll")
    assert outcome_of(link.responder, packet) == b"roll"
    assert link.responder.datagrams.current.receiver.phase == ahead


@pytest.mark.parametrize("phase", [MAX_PHASES, MAX_PHASES + 1, 127])
def test_a_phase_beyond_the_last_is_refused_without_a_trace(engines: Engines, phase: int) -> None:
    """64 and 65 phases ahead there is none: refused, and nothing is derived (row 9)."""
    link = establish(engines)
    packet = bytearray(link.initiator.seal(b"roll"))
    packet[10] = phase
    before, built = fingerprint(link.responder.session), len(link.responder.engine.parts.aeads)
    assert outcome_of(link.responder, bytes(packet)) is DecryptFailed
    assert fingerprint(link.responder.session) == before
    assert len(link.responder.engine.parts.aeads) == built


def test_a_passed_phase_opens_until_its_grace_ends(link: Link) -> None:
    """Records that a REKEY overtook open for 30 s, and then no more (row 13)."""
    early, late = link.initiator.seal(b"early"), link.initiator.seal(b"late")
    link.initiator.rekey()
    link.initiator.send(b"after")
    link.settle()
    link.clock.step(GRACE_S - 0.01)
    assert outcome_of(link.responder, early) == b"early"
    link.clock.step(0.01)
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, late) is DecryptFailed
    assert fingerprint(link.responder.session) == before


def test_passed_keys_are_wiped_at_the_next_call_after_their_grace(engines: Engines) -> None:
    """A session that goes on without another REKEY does not keep passed keys for its life."""
    link = establish(engines)
    link.initiator.rekey()
    link.initiator.send(b"after")
    link.settle()
    receiver = link.responder.datagrams.current.receiver
    assert isinstance(receiver, PhaseReceiver)
    key, _ = receiver.passed[0]
    link.clock.step(GRACE_S)
    link.responder.send(b"any call")
    assert not any(key)
    assert not receiver.passed


def test_rekey_needs_no_round_trip_and_counters_run_on(link: Link) -> None:
    """REKEY moves the phase alone: the next record has the next counter, under the same epoch."""
    before = link.responder.datagrams.current.sender.counter
    done = link.responder.rekey()
    assert (done.to_peer, done.epoch, done.counter) == ((), 0, before)
    link.talk()
    assert link.initiator.received == [b"ping"]


def test_the_connection_id_finds_the_session(link: Link) -> None:
    """In DATAGRAM mode a packet is enough to find its session."""
    packet = link.initiator.seal(b"roll")
    opened = link.responder.engine.decrypt(b"", packet)
    assert (opened.session_id, opened.plaintext) == (link.responder.session_id, b"roll")


def test_masked_headers_differ_for_the_same_counter_range(engines: Engines) -> None:
    """With the mask, no two of a hundred headers share their six hidden bytes with the plain ones."""
    link = establish(engines, options=Options(mask=True))
    plain = {bytes((0, 0)) + number.to_bytes(4, "big") for number in range(200)}
    assert len({link.initiator.seal(b"x")[9:15] for _ in range(100)} - plain) == 100
