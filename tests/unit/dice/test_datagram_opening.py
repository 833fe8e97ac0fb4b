from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from examples.dice.datagram_player import (
    FLAG_RATCHET,
    DatagramPlayer,
    NotPossibleError,
    PacketRefusedError,
    Protocol,
    Received,
)
from examples.dice.datagram_player.fragments import MAX_SETS, Reassembler, cut
from tests.unit.dice.pair import IK, IKPSK2, NK, XX, Channel, Clock, Pair, established_pair, make_pair

HYBRID = 3
RETRY, FRAGMENT = 0x0E, 0x0D


def retry(packet: bytes, rest: bytes) -> bytes:
    """A RETRY for this packet, from anybody."""
    return b"\x0e" + bytes(8) + hashlib.sha256(packet).digest()[:8] + rest


def with_settings(player: DatagramPlayer, **changes: object) -> None:
    """Changes what the player brings."""
    player.own.settings = replace(player.own.settings, **changes)  # type: ignore[arg-type]  # fields of Settings


def tapped(receive: Callable[[bytes, float], Received], seen: list[bytes]) -> Callable[[bytes, float], Received]:
    """The same, with every packet noted."""

    def watched(packet: bytes, now: float) -> Received:
        seen.append(packet)
        return receive(packet, now)

    return watched


# --- suite 3, which needs fragments


@pytest.mark.parametrize("pattern", [XX, IK, NK, IKPSK2])
@pytest.mark.parametrize("flags", [16 | 8, 16 | 1 | 2 | 4 | 8])
def test_hybrid_players_agree_rotate_and_resume_in_fragments(
    pattern: int, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handshake, rotation and resume each need more than 1,200 bytes, and no packet on the path has more."""
    pair = make_pair(pattern, HYBRID, flags)
    seen: list[bytes] = []
    for player in (pair.initiator, pair.responder):
        monkeypatch.setattr(player, "receive", tapped(player.receive, seen))
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    pair.talk()
    pair.clock.now = 10.0
    pair.deliver(pair.initiator.renegotiate(10.0), pair.responder)
    assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
    pair.talk()
    pair.deliver(pair.initiator.resume(10.0), pair.responder)
    pair.talk()
    assert max(map(len, seen)) == 1200
    assert sum(packet[0] == FRAGMENT for packet in seen) >= 12


@pytest.mark.parametrize("seed", range(3))
def test_a_hybrid_session_outlives_a_bad_path(seed: int) -> None:
    """A lost fragment costs its whole set, which goes again under another message id."""
    pair = make_pair(IK, HYBRID, seed=seed)
    channel = Channel(pair, seed, loss=0.2)
    channel.put(pair.initiator.start(0.0), to_initiator=False)
    channel.run(60.0)
    assert pair.initiator.established
    pair.clock.now += 70.0
    channel.run(60.0, lambda _: channel.put([pair.initiator.send(b"")], to_initiator=False))
    channel.loss = 0.0
    channel.run(10.0)
    assert pair.initiator.epoch == pair.responder.epoch >= 1
    pair.talk()


@given(size=st.integers(1, 5_000), mtu=st.integers(14, 1_500), seed=st.integers(0, 2**16), id_=st.integers(0, 65_535))
@examples(deadline=None)
def test_fragments_give_the_packet_again_in_any_order(size: int, mtu: int, seed: int, id_: int) -> None:
    """Cut, shuffled and doubled: the packet comes out once, with the last part that was missing."""
    chance = random.Random(seed)
    packet = b"\x09" + chance.randbytes(8 + size)
    if -(-len(packet) // (mtu - 13)) > 255:
        return
    fragments = cut(packet, id_, mtu)
    assert all(len(fragment) <= mtu for fragment in fragments)
    order = fragments[:-1] + chance.sample(fragments[:-1], len(fragments) // 2)
    chance.shuffle(order)
    parts = Reassembler()
    assert [parts.add(fragment, 0.0) for fragment in order] == [None] * len(order)
    assert parts.add(fragments[-1], 0.0) == packet


def test_fragments_are_bounded_and_refused_where_they_make_no_set() -> None:
    """Few sets, for a while; an index past the count, no part, a fragment inside, another connection id."""
    packet = b"\x09" + bytes(3_000)
    parts = Reassembler()
    first, *rest = cut(packet, 0, 1_200)
    parts.add(first, 0.0)
    for number in range(1, MAX_SETS + 1):
        parts.add(cut(packet, number, 1_200)[0], 0.0)
    assert [parts.add(fragment, 0.0) for fragment in rest] == [None, None]  # its beginning had given way
    parts = Reassembler()
    parts.add(first, 0.0)
    assert [parts.add(fragment, 11.0) for fragment in rest] == [None, None]
    assert parts.add(first[:12] + b"\x09" + first[13:], 11.0) is None  # a set of its own
    for wrong in (first[:11] + b"\x03\x03" + first[13:], first[:13], first[:5], b""):
        with pytest.raises(PacketRefusedError):
            parts.add(wrong, 11.0)
    for inner in (b"\x0d" + packet[1:], b"\x09other id" + packet[9:]):
        parts, fragments = Reassembler(), cut(inner, 5, 1_200)
        fragments = [fragment[:1] + bytes(8) + fragment[9:] for fragment in fragments]
        parts.add(fragments[0], 0.0)
        parts.add(fragments[1], 0.0)
        with pytest.raises(PacketRefusedError):
            parts.add(fragments[2], 0.0)


# --- RETRY


def test_a_wrong_clock_is_told_the_right_one_once() -> None:
    """RETRY with the responder's time: the next hello has it, and nothing after that does."""
    pair = make_pair(IK)
    ahead = Clock(now=86_400.0)
    pair.initiator.own.wall = ahead.wall
    (packet,) = pair.initiator.start(0.0)
    (told,) = pair.responder.receive(packet, 0.0).to_send
    assert told == retry(packet, b"\x02\x00" + (1_800_000_000_000).to_bytes(8, "big"))
    (second,) = pair.initiator.receive(told, 0.0).to_send
    assert abs(int.from_bytes(second[14:22], "big") - 1_800_000_000_000) < 2
    assert second[25:57] != packet[25:57]  # another ephemeral key
    assert pair.initiator.receive(told, 0.0).to_send == [second]
    with pytest.raises(PacketRefusedError):
        pair.initiator.receive(retry(second, told[17:]), 0.0)
    pair.deliver([second], pair.responder)
    pair.talk()
    (fresh,) = pair.initiator.start(0.0)
    assert int.from_bytes(fresh[14:22], "big") > 1_800_000_000_000 + 80_000_000


def test_a_wrong_clock_and_a_wrong_choice_are_both_mended() -> None:
    """Each reason is followed once, in either order; the clock of the first RETRY holds for the second."""
    for clock_first in (True, False):
        pair = make_pair(IK)
        with_settings(pair.initiator, offer=(Protocol(XX, 2), Protocol(IK, 1)), choice=1)
        pair.initiator.own.wall = Clock(now=-86_400.0).wall
        (packet,) = pair.initiator.start(0.0)
        rests = [b"\x02\x00" + (1_800_000_000_000).to_bytes(8, "big"), b"\x01\x00\x18"]
        for rest in rests if clock_first else rests[::-1]:
            (packet,) = pair.initiator.receive(retry(packet, rest), 0.0).to_send
        assert abs(int.from_bytes(packet[14:22], "big") - 1_800_000_000_000) < 5
        assert packet[27] == 0


def test_a_puzzle_that_asks_for_work_is_not_followed() -> None:
    """Version 1 has none: such a RETRY is dropped, and so is one of another length."""
    pair = make_pair(IK)
    (packet,) = pair.initiator.start(0.0)
    for rest in (b"\x02\x01" + bytes(8), b"\x02\x00" + bytes(7), b"\x02\x00" + bytes(9), b"\x03\x00", b""):
        with pytest.raises(PacketRefusedError):
            pair.initiator.receive(retry(packet, rest), 0.0)
    pair.deliver([packet], pair.responder)
    pair.talk()


@pytest.mark.parametrize("suite", [1, 2])
def test_a_forged_retry_to_a_classical_suite_leads_nowhere(suite: int) -> None:
    """The responder computes the choice itself: what the forger wanted is answered by RETRY, and hybrid keys come."""
    pair = make_pair(IK)
    offer = (Protocol(IK, HYBRID), Protocol(IK, suite))
    for player in (pair.initiator, pair.responder):
        with_settings(player, offer=offer, mtu=65_507)
    (packet,) = pair.initiator.start(0.0)
    (lured,) = pair.initiator.receive(retry(packet, b"\x01\x01\x18"), 0.0).to_send
    (mended,) = pair.responder.receive(lured, 0.0).to_send
    assert mended == retry(lured, b"\x01\x00\x1f")
    with pytest.raises(PacketRefusedError):  # the reason was followed already; the first attempt lives
        pair.initiator.receive(mended, 0.0)
    pair.deliver([packet], pair.responder)
    assert pair.initiator.session is not None
    assert pair.initiator.session.lasting.terms.suite == HYBRID
    pair.talk()


def test_a_stripped_offer_leads_nowhere() -> None:
    """The prologue binds the offer: with another one in the packet, message 1 does not open."""
    pair = make_pair(IK)
    offer = (Protocol(IK, 2), Protocol(IK, 1))
    for player in (pair.initiator, pair.responder):
        with_settings(player, offer=offer, choice=0)
    (packet,) = pair.initiator.start(0.0)
    hello = packet[12:22] + bytes([1, IK, 2, 0])
    stripped = packet[:10] + len(hello).to_bytes(2, "big") + hello + packet[28:]
    with pytest.raises(PacketRefusedError):
        pair.responder.receive(stripped, 0.0)


def test_no_retry_takes_the_ratchet_away() -> None:
    """Anybody can forge a RETRY: one without the ratchet is dropped; tickets, mask and pad can be left out."""
    pair = make_pair(IK, flags=16 | 8 | FLAG_RATCHET)
    (packet,) = pair.initiator.start(0.0)
    with pytest.raises(PacketRefusedError):
        pair.initiator.receive(retry(packet, b"\x01\x00\x18"), 0.0)
    for less in (b"\x01\x00\x09", b"\x01\x00\x1f"):  # without the DATAGRAM flag; with all that was asked for
        with pytest.raises(PacketRefusedError):
            pair.initiator.receive(retry(packet, less), 0.0)
    (second,) = pair.initiator.receive(retry(packet, b"\x01\x00\xf1"), 0.0).to_send
    assert second[13] == 0x11


@pytest.mark.parametrize(
    ("pattern", "other", "changes"),
    [(IKPSK2, IK, {}), (XX, IK, {"remote": None}), (NK, IK, {"static": None}), (IK, IKPSK2, {"psk": None})],
)
def test_no_retry_leads_where_the_players_keys_do_not_go(pattern: int, other: int, changes: dict[str, None]) -> None:
    """From a pre-shared key to none, or to a pattern that needs a key which the player does not have."""
    pair = make_pair(pattern)
    with_settings(pair.initiator, offer=(Protocol(pattern, 1), Protocol(other, 1)), **changes)
    (packet,) = pair.initiator.start(0.0)
    with pytest.raises(PacketRefusedError):
        pair.initiator.receive(retry(packet, b"\x01\x01\x1f"), 0.0)


def test_a_fallback_beside_a_resume_follows_retry_too() -> None:
    """The ticket is refused, the choice of the full handshake is wrong: a HANDSHAKE with the right one goes."""
    pair = established_pair(IK)
    ticket = pair.initiator.ticket
    stranger = make_pair(IK, seed=8).responder
    offer = (Protocol(XX, 2), Protocol(IK, 1))
    with_settings(pair.initiator, offer=offer, choice=1)
    with_settings(stranger, offer=(Protocol(XX, 2),))
    (packet,) = pair.initiator.resume(0.0, ticket, full=True)
    (told,) = stranger.receive(packet, 0.0).to_send
    assert told == retry(packet, b"\x01\x00\x1f")
    fallback = Pair(initiator=pair.initiator, responder=stranger, clock=pair.clock)
    fallback.deliver([told], pair.initiator)
    fallback.talk()
    (alone,) = pair.initiator.resume(0.0, ticket)
    with pytest.raises(PacketRefusedError):
        pair.initiator.receive(retry(alone, b"\x01\x00\x18"), 0.0)


# --- early data


def test_early_data_is_delivered_once_where_the_ticket_allows_it() -> None:
    """Message 2's first byte says whether it went through; a repeat of message 1 delivers nothing."""
    pair = make_pair(IK)
    with_settings(pair.responder, max_early=16)
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    pair.talk()
    ticket = pair.initiator.ticket
    assert ticket is not None
    assert ticket.max_early == 16
    with pytest.raises(NotPossibleError):
        pair.initiator.resume(0.0, early_data=bytes(17))
    (packet,) = pair.initiator.resume(0.0, early_data=b"bet 5")
    result = pair.responder.receive(packet, 0.0)
    assert (result.payloads, result.early) == ([b"bet 5"], True)
    again = pair.responder.receive(packet, 5.0)
    assert (again.payloads, again.early, again.to_send) == ([], None, result.to_send)
    told = pair.initiator.receive(result.to_send[0], 5.0)
    assert (told.payloads, told.early) == ([b""], True)
    pair.talk()


def test_no_early_data_is_told_apart_from_dropped_early_data() -> None:
    """None was sent: the answer says 0, as it does where it was dropped."""
    pair = established_pair(IK)
    (packet,) = pair.initiator.resume(0.0)
    result = pair.responder.receive(packet, 0.0)
    assert (result.payloads, result.early) == ([], False)
    assert pair.initiator.receive(result.to_send[0], 0.0).early is False


# --- what both ends share, and what an epoch may do


def test_both_ends_derive_the_same_exporter_secrets() -> None:
    """Label, context and length each change the secret; lengths and labels outside the bounds are refused."""
    pair = established_pair(IK)
    secrets = {
        end.exporter(label, context, length)
        for end in (pair.initiator, pair.responder)
        for label, context, length in (
            (b"voice", b"", 32),
            (b"voice", b"x", 32),
            (b"chat", b"", 32),
            (b"voice", b"", 255),
        )
    }
    assert sorted(map(len, secrets)) == [32, 32, 32, 255]
    for label, context, length in ((b"", b"", 32), (bytes(65), b"", 32), (b"l", bytes(1025), 32), (b"l", b"", 15)):
        with pytest.raises(NotPossibleError):
            pair.initiator.exporter(label, context, length)


def test_limits_of_messages_leave_room_for_control_records() -> None:
    """At the hard limit less 1,024 no data is sealed; control records are, up to the limit itself, and then nothing."""
    pair = established_pair(IK)
    session = pair.initiator.session
    assert session is not None
    session._use.messages = (1 << 23) - 1_025
    pair.initiator.send(b"the last one")
    with pytest.raises(NotPossibleError):
        pair.initiator.send(b"one more")
    assert pair.initiator.tick(6.0)[0][0] == 0x0A  # rotate-1
    session._use.messages = 1 << 23
    assert session.seal(5) == []
    assert pair.responder.send(b"still read")


def test_a_limit_of_bytes_and_many_failures_ask_for_a_rotation() -> None:
    """2^36 bytes of the game's, or 2^20 records that did not open, and the initiator begins."""
    for name, value in (("data_bytes", 1 << 36), ("failures", 1 << 20)):
        pair = established_pair(IK)
        session = pair.initiator.session
        assert session is not None
        assert pair.initiator.tick(6.0) == []
        setattr(session._use, name, value)
        pair.clock.now = 6.0
        pair.deliver(pair.initiator.tick(6.0), pair.responder)
        assert (pair.initiator.epoch, pair.responder.epoch) == (1, 1)
        pair.talk()
