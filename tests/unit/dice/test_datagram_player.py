from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from examples.dice.datagram_player import DatagramPlayer, NotPossibleError, PacketRefusedError, Protocol, Settings
from tests.unit.dice.pair import (
    IK,
    IKPSK2,
    INITIATOR_STATIC,
    NK,
    RESPONDER_STATIC,
    XX,
    established_pair,
    make_pair,
    public_key,
)

PATTERNS_AND_SUITES = [(pattern, suite) for pattern in (XX, IK, NK, IKPSK2) for suite in (1, 2)]
ALL_FLAGS = 2 | 4 | 8 | 16


def refused(player: DatagramPlayer, packet: bytes, now: float = 0.0) -> None:
    """The packet must be refused."""
    with pytest.raises(PacketRefusedError):
        player.receive(packet, now)


@pytest.mark.parametrize(("pattern", "suite"), PATTERNS_AND_SUITES)
@pytest.mark.parametrize("flags", [16, ALL_FLAGS, 1 | ALL_FLAGS])
def test_players_agree_talk_rotate_and_resume(pattern: int, suite: int, flags: int) -> None:
    """Every pattern and suite: handshake, records, rekey, rotation from either side, resume and its rotation."""
    pair = established_pair(pattern, suite, flags)
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    assert pair.initiator.connection_id == pair.responder.connection_id != bytes(8)
    for player in (pair.initiator, pair.responder):
        player.rekey()
    pair.talk()
    pair.deliver(pair.initiator.renegotiate(0.0), pair.responder)
    assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
    pair.talk()
    pair.clock.now = 11.0
    pair.deliver(pair.responder.renegotiate(11.0), pair.initiator)
    assert (pair.initiator.epoch, pair.responder.epoch) == (2, 2)
    pair.talk()
    assert (pair.initiator.ticket is not None) == bool(flags & 8)
    if flags & 8:
        before = pair.initiator.handshake_hash
        pair.deliver(pair.initiator.resume(11.0), pair.responder)
        assert pair.initiator.handshake_hash == pair.responder.handshake_hash != before
        pair.talk()
        pair.deliver(pair.initiator.renegotiate(11.0), pair.responder)
        assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
        pair.talk()


@given(data=st.data())
@examples(max_examples=60, deadline=None)
def test_a_forged_record_changes_nothing(data: st.DataObject) -> None:
    """One flipped bit anywhere: refused; then the genuine record and all later traffic still work."""
    pair = established_pair(IK, 1, data.draw(st.sampled_from([16, ALL_FLAGS, 1 | ALL_FLAGS])))
    if data.draw(st.booleans()):
        pair.initiator.rekey()
    packet = pair.initiator.send(b"roll")
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    forged = bytearray(packet)
    forged[bit // 8] ^= 1 << bit % 8
    refused(pair.responder, bytes(forged))
    assert pair.deliver([packet], pair.responder) == [b"roll"]
    pair.talk()


@given(junk=st.binary(max_size=200), kind=st.sampled_from([0x09, 0x0A, 0x0B, 0x0C, 0x0E, 0x17]))
@examples(max_examples=150, deadline=None)
def test_junk_is_refused_in_every_state(junk: bytes, kind: int) -> None:
    """Random bytes behind any type raise PacketRefusedError and nothing else."""
    pair = make_pair(XX)
    for player in (pair.initiator, pair.responder):
        refused(player, bytes([kind]) + junk)
    (packet,) = pair.initiator.start(0.0)
    for player in (pair.initiator, pair.responder):
        refused(player, bytes([kind]) + junk)
    pair.deliver([packet], pair.responder)
    for player in (pair.initiator, pair.responder):
        refused(player, bytes([kind]) + junk)
    pair.talk()


def test_a_record_opens_once_and_late_ones_within_the_window() -> None:
    """Replays are refused; 1,024 records of lateness are not."""
    pair = established_pair(IK)
    packets = [pair.initiator.send(b"%d" % number) for number in range(1026)]
    assert pair.deliver([packets[1025]], pair.responder) == [b"1025"]
    refused(pair.responder, packets[1025])
    refused(pair.responder, packets[0])
    assert pair.deliver([packets[1]], pair.responder) == [b"1"]
    refused(pair.responder, packets[1])


def test_a_spoofed_step_2_does_not_kill_a_handshake() -> None:
    """Messages are read on a copy: the genuine answer still counts; after 16 spoofs the attempt ends."""
    pair = make_pair(XX)
    (packet,) = pair.initiator.start(0.0)
    (answer,) = pair.responder.receive(packet, 0.0).to_send
    for _ in range(15):
        refused(pair.initiator, answer[:-1] + bytes([answer[-1] ^ 1]))
    step_3 = pair.initiator.receive(answer, 0.0).to_send
    refused(pair.responder, step_3[0][:-1] + bytes([step_3[0][-1] ^ 1]))
    pair.deliver(step_3, pair.responder)
    pair.talk()

    other = make_pair(XX)
    (answer,) = other.responder.receive(other.initiator.start(0.0)[0], 0.0).to_send
    for _ in range(16):
        refused(other.initiator, answer[:-1] + bytes([answer[-1] ^ 1]))
    refused(other.initiator, answer)


def test_steps_are_repeated_unchanged_and_answered_alike() -> None:
    """Step 1 goes again after 1, 1.5, 2.25, 3.375 s, and a new hello with a new key after 9 s."""
    pair = make_pair(IK)
    (packet,) = pair.initiator.start(0.0)
    times = [tenth / 10 for tenth in range(100)]
    repeats = [(now, again) for now in times for again in pair.initiator.tick(now)]
    assert [round(now, 3) for now, _ in repeats] == [1.0, 2.5, 4.8, 8.2, 9.0]
    assert [again == packet for _, again in repeats] == [True] * 4 + [False]
    fresh = repeats[-1][1]
    assert fresh[25:57] != packet[25:57]

    first = pair.responder.receive(packet, 0.0).to_send
    assert pair.responder.receive(packet, 9.0).to_send == first
    refused(pair.responder, packet, 11.0)


def test_step_3_is_repeated_until_a_record_opens() -> None:
    """A lost step 3 goes again; the responder answers each with a keep-alive, which ends the repeats."""
    pair = make_pair(XX)
    (answer,) = pair.responder.receive(pair.initiator.start(0.0)[0], 0.0).to_send
    step_3 = pair.initiator.receive(answer, 0.0).to_send
    assert pair.initiator.tick(1.0) == step_3
    first, second = (pair.responder.receive(step_3[0], now).to_send[0] for now in (1.0, 20.0))
    assert first != second
    assert pair.initiator.receive(second, 20.0).plaintexts == []
    assert pair.initiator.tick(30.0) == []


def test_what_both_must_agree_on_is_bound() -> None:
    """Another prologue, psk or responder key: no session."""
    for change in ("prologue", "static", "psk"):
        pair = make_pair(IKPSK2)
        mine = pair.responder.own.settings
        pair.responder.own.settings = {
            "prologue": replace(mine, prologue=b"table 8"),
            "static": replace(mine, static=bytes(range(64, 96))),
            "psk": replace(mine, psk=b"q" * 32),
        }[change]
        (packet,) = pair.initiator.start(0.0)
        if change == "psk":  # it enters with message 2
            refused(pair.initiator, pair.responder.receive(packet, 0.0).to_send[0])
        else:
            refused(pair.responder, packet)


def test_our_own_static_key_is_refused() -> None:
    """A peer that shows our own key is a reflection."""
    pair = make_pair(XX)
    mirror = replace(pair.responder.own.settings, static=INITIATOR_STATIC)
    responder = DatagramPlayer(mirror, random_bytes=random.Random(9).randbytes, wall=pair.clock.wall)
    (answer,) = responder.receive(pair.initiator.start(0.0)[0], 0.0).to_send
    refused(pair.initiator, answer)


def test_a_pinned_responder_key_is_checked_in_xx() -> None:
    """An initiator that expects a static key accepts no other."""
    pair = make_pair(XX)
    pair.initiator.own.settings = replace(pair.initiator.own.settings, remote=public_key(bytes(range(64, 96))))
    (answer,) = pair.responder.receive(pair.initiator.start(0.0)[0], 0.0).to_send
    refused(pair.initiator, answer)


def test_timestamps_must_be_near_and_rise() -> None:
    """Two minutes of skew at most, then RETRY; a later handshake of the same key needs a later timestamp."""
    pair = make_pair(IK)
    (old,) = pair.initiator.start(0.0)
    pair.clock.now = 121.0
    assert pair.responder.receive(old, 0.0).to_send[0][0] == 0x0E
    pair.clock.now = 0.0
    (newer,) = pair.initiator.start(0.0)
    assert pair.responder.receive(newer, 0.0).to_send[0][0] == 0x09
    refused(pair.responder, old)


def test_a_responder_knows_no_time_before_its_start_and_forgets_the_oldest_keys() -> None:
    """A hello of before its start may be a replay; of forgotten keys the newest timestamp is the floor for all."""
    pair = make_pair(IK)
    pair.clock.now = -5.0
    (before,) = pair.initiator.start(0.0)
    pair.clock.now = 0.0
    refused(pair.responder, before)
    for number in range(258):
        pair.clock.now = float(number) / 100
        stranger = make_pair(IK, seed=number + 2).initiator
        stranger.own.settings = replace(stranger.own.settings, static=random.Random(number).randbytes(32))
        stranger.own.wall = pair.clock.wall
        (packet,) = stranger.start(0.0)
        assert pair.responder.receive(packet, pair.clock.now).to_send
    pair.clock.now = 0.005
    unknown = make_pair(IK, seed=999).initiator
    unknown.own.wall = pair.clock.wall
    refused(pair.responder, unknown.start(0.0)[0])


def test_a_handshake_is_finished_in_ten_seconds_or_not_at_all() -> None:
    """A step 3 that comes later than 10 s after step 1 makes no session."""
    pair = make_pair(XX)
    (answer,) = pair.responder.receive(pair.initiator.start(0.0)[0], 0.0).to_send
    step_3 = pair.initiator.receive(answer, 0.0).to_send[0]
    refused(pair.responder, step_3, 10.1)
    assert not pair.responder.established
    assert pair.initiator.tick(10.0)[0] == step_3
    (fresh,) = pair.initiator.tick(10.1)  # the initiator begins anew by itself
    assert (fresh[0], fresh[9]) == (0x09, 1)
    pair.clock.now = 10.1
    pair.deliver([fresh], pair.responder)
    pair.talk()


def test_the_responders_order_decides_through_retry() -> None:
    """The initiator's choice is not the responder's: RETRY, then the same offer with the right choice."""
    pair = make_pair(IK)
    offer = (Protocol(XX, 2), Protocol(IK, 1))
    pair.initiator.own.settings = replace(pair.initiator.own.settings, offer=offer, choice=1)
    pair.responder.own.settings = replace(pair.responder.own.settings, offer=(Protocol(XX, 2), Protocol(XX, 1)))
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    pair.talk()


def test_a_lost_rotation_is_repeated_until_it_is_confirmed() -> None:
    """rotate-1, rotate-2 and the question after it may all be lost once."""
    pair = established_pair(IK)
    pair.initiator.renegotiate(10.0)
    (again,) = pair.initiator.tick(11.0)
    pair.responder.receive(again, 11.0)  # its rotate-2 is lost
    (third,) = pair.initiator.tick(12.5)
    (rotate_2,) = pair.responder.receive(third, 12.5).to_send
    assert pair.initiator.receive(rotate_2, 12.5).to_send  # the question is lost
    assert (pair.initiator.epoch, pair.responder.epoch) == (1, 0)
    late = pair.responder.send(b"under the old epoch")
    pair.clock.now = 13.5
    pair.deliver(pair.initiator.tick(13.5), pair.responder)
    assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
    assert pair.initiator.receive(late, 40.0).plaintexts == [b"under the old epoch"]
    assert pair.initiator.tick(41.0) == []


def test_keys_of_the_previous_epoch_end_with_the_grace() -> None:
    """Thirty seconds after the new epoch was confirmed its predecessor opens nothing."""
    pair = established_pair(IK)
    late, later = pair.responder.send(b"late"), pair.responder.send(b"later")
    pair.deliver(pair.initiator.renegotiate(0.0), pair.responder)
    assert pair.initiator.receive(late, 29.0).plaintexts == [b"late"]
    refused(pair.initiator, later, 31.0)


def test_a_responder_that_is_silent_asks_for_a_rotation() -> None:
    """As responder the wish is a bit on what is sent, and a keep-alive after a second of silence."""
    pair = established_pair(IK)
    pair.responder.renegotiate(0.0)  # lost
    pair.clock.now = 1.0
    pair.deliver(pair.responder.tick(1.0), pair.initiator)
    assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
    assert pair.responder.tick(3.0) == []


def test_rotations_too_close_together_are_not_begun() -> None:
    """A rotate-1 within 5 s of a rotation is dropped; it is repeated, so it comes through later."""
    pair = established_pair(IK)
    pair.deliver(pair.initiator.renegotiate(0.0), pair.responder)
    (early,) = pair.initiator.renegotiate(1.0)
    assert pair.responder.receive(early, 1.0).to_send == []
    pair.clock.now = 5.5
    pair.deliver(pair.initiator.tick(5.5), pair.responder)
    assert (pair.initiator.epoch, pair.responder.epoch) == (2, 2)


def test_a_responders_wish_counts_once_in_ten_seconds() -> None:
    """The bit on many records, before and after the rotation, makes one rotation."""
    pair = established_pair(IK)
    for now in (20.0, 26.0, 31.0):
        pair.clock.now = now
        pair.deliver(pair.responder.renegotiate(now), pair.initiator)
    assert (pair.initiator.epoch, pair.responder.epoch) == (2, 2)


def test_data_of_a_new_epoch_is_answered_and_confirms_it() -> None:
    """The responder answers a new epoch's first record even when that asks for nothing."""
    pair = established_pair(IK)
    (rotate_2,) = pair.responder.receive(pair.initiator.renegotiate(10.0)[0], 10.0).to_send
    pair.initiator.receive(rotate_2, 10.0)  # its question is lost
    result = pair.responder.receive(pair.initiator.send(b"roll"), 10.5)
    assert (result.plaintexts, len(result.to_send)) == ([b"roll"], 1)
    pair.initiator.receive(result.to_send[0], 10.5)
    assert pair.initiator.tick(20.0) == []
    for player in (pair.initiator, pair.responder):
        assert player.session is not None
        assert player.session.previous is not None
        assert player.session.previous.root == b""


def test_a_rotation_keeps_the_sessions_static_keys() -> None:
    """A rotate-1 of another static key is not answered, even inside the session."""
    pair = established_pair(IK)
    assert pair.initiator.session is not None
    pair.initiator.session.identity = replace(pair.initiator.session.identity, static=bytes(range(64, 96)))
    assert pair.responder.receive(pair.initiator.renegotiate(10.0)[0], 10.0).to_send == []
    pair.talk()


def test_an_initiator_that_chooses_the_connection_id_is_followed() -> None:
    """As a service that initiates does; only the side that chose it can change it."""
    pair = make_pair(IK, connection_id=b"service!")
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    assert pair.responder.connection_id == pair.initiator.connection_id == b"service!"
    pair.talk()
    pair.deliver(pair.initiator.change_connection_id(0.0), pair.responder)
    assert pair.responder.connection_id != b"service!" == pair.initiator.connection_id
    late = pair.initiator.send(b"late")
    pair.talk()
    assert pair.responder.connection_id == pair.initiator.connection_id != b"service!"
    assert pair.deliver([late], pair.responder) == [b"late"]
    with pytest.raises(NotPossibleError):
        pair.responder.change_connection_id(0.0)


def test_close_ends_both_sides() -> None:
    """An authenticated close: nothing is sealed or opened afterwards, and no key is left."""
    pair = established_pair(IK)
    late = pair.responder.send(b"late")
    pair.deliver([pair.initiator.close()], pair.responder)
    assert not pair.initiator.established
    assert not pair.responder.established
    for player in (pair.initiator, pair.responder):
        assert player.session is not None
        lasting = player.session.lasting
        assert (player.session.current.root, lasting.export, lasting.mask) == (b"", b"", b"")
    refused(pair.initiator, late)
    with pytest.raises(NotPossibleError):
        pair.responder.send(b"more")


def test_an_established_session_is_not_replaced_by_a_new_step_1() -> None:
    """Once a record has opened, a handshake of anybody else changes nothing."""
    pair, stranger = established_pair(NK), make_pair(NK, seed=4)
    refused(pair.responder, stranger.initiator.start(0.0)[0])
    pair.talk()


def test_a_key_of_low_order_is_refused() -> None:
    """A spoofed message 1 with the point zero ends in the same refusal as any junk."""
    pair = make_pair(XX)
    (packet,) = pair.initiator.start(0.0)
    refused(pair.responder, packet[:-32] + bytes(32))
    pair.deliver([packet], pair.responder)
    pair.talk()


def test_unknown_kinds_are_ignored() -> None:
    """A record of a later version's kind opens and means nothing."""
    pair = established_pair(IK)
    assert pair.initiator.session is not None
    result = pair.responder.receive(pair.initiator.session.seal(0x2A, b"later")[0], 0.0)
    assert (result.plaintexts, result.to_send) == ([], [])
    pair.talk()


def test_secrets_are_not_shown() -> None:
    """Keys stand in no repr."""
    settings = Settings(offer=(Protocol(IK, 1),), static=RESPONDER_STATIC, psk=b"k" * 32)
    pair = established_pair(IK)
    shown = repr(settings) + repr(pair.initiator.ticket) + repr(pair.initiator)
    assert pair.initiator.ticket is not None
    for secret in (RESPONDER_STATIC, INITIATOR_STATIC, b"k" * 32, pair.initiator.ticket.psk):
        assert repr(secret) not in shown
