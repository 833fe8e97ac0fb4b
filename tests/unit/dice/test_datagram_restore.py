from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from examples.dice.datagram_player import DatagramPlayer, NotPossibleError, PacketRefusedError
from tests.unit.dice.pair import IK, NK, XX, Channel, Pair, established_pair

RECORD, SALTED = 0x0A, 0x0B


def back(pair: Pair, player: DatagramPlayer, stored: bytes, seed: int = 77) -> tuple[DatagramPlayer, list[bytes]]:
    """A new process of the same app, with what the old one has left, and what it says first."""
    fresh = DatagramPlayer(player.own.settings, random_bytes=random.Random(seed).randbytes, wall=pair.clock.wall)
    packets = fresh.restore(stored, pair.clock.now)
    if player is pair.initiator:
        pair.initiator = fresh
    else:
        pair.responder = fresh
    return fresh, packets


def lose(packets: list[bytes]) -> None:
    """The path has lost them."""
    assert packets


@pytest.mark.parametrize("pattern", [XX, IK, NK])
@pytest.mark.parametrize("side", ["initiator", "responder"])
@pytest.mark.parametrize("flags", [16, 16 | 1 | 2 | 4 | 8])
def test_a_suspended_player_comes_back_in_a_salted_epoch(pattern: int, side: str, flags: int) -> None:
    """The first records are SALTED; once the peer has answered they are plain, and a rotation follows at once."""
    pair = established_pair(pattern, flags=flags)
    pair.deliver(pair.initiator.renegotiate(10.0), pair.responder)
    pair.clock.now = 30.0
    player: DatagramPlayer = getattr(pair, side)
    stored = player.suspend(30.0)
    assert not player.established
    fresh, packets = back(pair, player, stored)
    assert [packet[0] for packet in packets] == [SALTED]
    assert fresh.send(b"in the salted epoch")[0] == SALTED
    other = pair.responder if fresh is pair.initiator else pair.initiator
    pair.deliver(packets, other)
    assert (fresh.epoch, other.epoch) == (3, 3)  # 2 was the salted one
    assert fresh.send(b"x")[0] == RECORD
    pair.talk()
    assert fresh.connection_id == other.connection_id
    assert fresh.handshake_hash == other.handshake_hash
    assert fresh.exporter(b"voice", b"7", 32) == other.exporter(b"voice", b"7", 32)


def test_a_lost_first_word_is_said_again() -> None:
    """SALTED goes again after 1, 1.5 ... s, and, at most every 200 ms, in answer to what cannot be opened any more."""
    pair = established_pair(IK)
    stored = pair.initiator.suspend(0.0)
    fresh, packets = back(pair, pair.initiator, stored)
    lose(packets)
    old = [pair.responder.send(b"%d" % number) for number in range(3)]
    answers = fresh.receive(old[0], 0.05).to_send
    assert [packet[0] for packet in answers] == [SALTED]
    with pytest.raises(PacketRefusedError):
        fresh.receive(old[1], 0.2)
    lose(fresh.receive(old[2], 0.26).to_send)
    assert [packet[0] for packet in fresh.tick(1.0)] == [SALTED]
    pair.deliver(answers, pair.responder)
    pair.talk()


def test_data_says_that_a_player_is_back_as_well_as_a_keep_alive() -> None:
    """The first SALTED record may be the game's; it is delivered and answered."""
    pair = established_pair(IK)
    fresh, packets = back(pair, pair.initiator, pair.initiator.suspend(0.0))
    lose(packets)
    result = pair.responder.receive(fresh.send(b"roll"), 0.0)
    assert result.plaintexts == [b"roll"]
    pair.deliver(result.to_send, fresh)
    pair.talk()


@pytest.mark.parametrize("first", ["initiator", "responder"])
def test_both_sides_may_come_back_at_once(first: str) -> None:
    """Neither goes on under an epoch to which it has added nothing: one salt goes over the other, and data flows."""
    pair = established_pair(IK)
    stored = {"initiator": pair.initiator.suspend(0.0), "responder": pair.responder.suspend(0.0)}
    said = {side: back(pair, getattr(pair, side), stored[side], seed=ord(side[0]))[1] for side in stored}
    receiver = pair.responder if first == "initiator" else pair.initiator
    pair.clock.now = 0.3
    pair.deliver(said[first], receiver)
    pair.clock.now = 2.0
    pair.deliver(pair.initiator.tick(2.0), pair.responder)
    pair.talk()
    assert pair.initiator.epoch == pair.responder.epoch


def test_data_of_a_peer_that_was_restored_too_is_dropped() -> None:
    """Whatever it says over a root from our storage may have been said before: only our own salt makes it new."""
    pair = established_pair(IK)
    stored = pair.initiator.suspend(0.0), pair.responder.suspend(0.0)
    initiator, _ = back(pair, pair.initiator, stored[0], seed=1)
    responder, _ = back(pair, pair.responder, stored[1], seed=2)
    mine, theirs = initiator.session, responder.session
    assert mine is not None
    assert theirs is not None
    larger, smaller = (initiator, responder) if mine.current.salt > theirs.current.salt else (responder, initiator)
    number = larger.epoch
    result = smaller.receive(larger.send(b"roll"), 0.0)
    assert (result.plaintexts, [packet[0] for packet in result.to_send]) == ([], [SALTED])
    assert (smaller.epoch, result.to_send[0][15]) == (number + 1, number)
    answer = larger.receive(result.to_send[0], 0.0)
    assert answer.to_send[0][0] == RECORD
    pair.deliver(answer.to_send, smaller)
    pair.talk()


@pytest.mark.parametrize("lost", ["rotate-1", "rotate-2", "question", "answer"])
@pytest.mark.parametrize("side", ["initiator", "responder"])
def test_a_player_may_be_suspended_in_the_middle_of_a_rotation(lost: str, side: str) -> None:
    """Wherever the rotation was: the peer holds the base, and both ends are in one epoch again."""
    pair = established_pair(IK)
    (rotate_1,) = pair.initiator.renegotiate(10.0)
    if lost != "rotate-1":
        (rotate_2,) = pair.responder.receive(rotate_1, 10.0).to_send
        if lost != "rotate-2":
            (question,) = pair.initiator.receive(rotate_2, 10.0).to_send
            if lost != "question":
                pair.responder.receive(question, 10.0)
    pair.clock.now = 20.0
    player: DatagramPlayer = getattr(pair, side)
    other = pair.responder if player is pair.initiator else pair.initiator
    _, packets = back(pair, player, player.suspend(20.0))
    pair.deliver(packets, other)
    pair.talk()
    assert pair.initiator.epoch == pair.responder.epoch


def test_a_ticket_survives_with_its_age() -> None:
    """What was left of its lifetime is left of it, by the wall clock."""
    pair = established_pair(IK)
    pair.clock.now = 100.0
    before = pair.initiator.ticket
    assert before is not None
    stored = pair.initiator.suspend(100.0)
    pair.clock.now = 1_000.0
    fresh, _ = back(pair, pair.initiator, stored)
    assert fresh.ticket is not None
    assert (fresh.ticket.psk, fresh.ticket.ticket) == (before.psk, before.ticket)
    assert fresh.ticket.expires_at == pytest.approx(before.expires_at)
    pair.deliver(fresh.resume(1_000.0), pair.responder)
    pair.talk()


def test_stored_bytes_hold_roots_and_no_traffic_keys() -> None:
    """Nothing in them seals or opens a record, and our own static key is not there either."""
    pair = established_pair(IK)
    session = pair.initiator.session
    assert session is not None
    key = session.current.sender.take()[1]
    stored = pair.initiator.suspend(0.0)
    assert sorted(json.loads(stored)) == sorted(
        ["version", "initiator", "suite", "flags", "h", "export", "mask", "remote", "anonymous", "connection_id",
         "chosen", "confirmed", "highest", "roots", "ticket"]
    )  # fmt: skip
    assert key.hex() not in stored.decode()
    assert (session.identity.static or b"").hex() not in stored.decode()


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"version": 1}', b'{"version": 2}']))
@examples(deadline=None)
def test_other_bytes_are_refused(stored: bytes) -> None:
    """What is no stored session makes no session, and says so."""
    pair = established_pair(IK)
    with pytest.raises(NotPossibleError):
        back(pair, pair.initiator, stored)


@pytest.mark.parametrize("loss", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(6))
def test_sessions_outlive_restores_over_a_bad_path(seed: int, loss: float) -> None:
    """Either side or both are suspended now and then, in rotations too; nothing is read twice, both ways flow on."""
    pair = established_pair(IK, flags=16 | (1 if seed % 2 else 0))
    channel, chance, numbers = Channel(pair, seed, loss), random.Random(seed), iter(range(1_000_000))
    for _ in range(12):
        for side in ("initiator", "responder"):
            if chance.random() < 0.4:
                player: DatagramPlayer = getattr(pair, side)
                if chance.random() < 0.5:
                    channel.put(player.renegotiate(pair.clock.now), to_initiator=side == "responder")
                    channel.run(chance.choice([0.1, 0.3, 1.0]))
                stored = getattr(pair, side).suspend(pair.clock.now)
                _, packets = back(pair, getattr(pair, side), stored, seed=chance.getrandbits(32))
                channel.put(packets, to_initiator=side == "responder")

        def speak(_: random.Random) -> None:
            channel.put([pair.initiator.send(b"%d" % next(numbers))], to_initiator=False)
            channel.put([pair.responder.send(b"%d" % next(numbers))], to_initiator=True)

        channel.run(chance.uniform(0.5, 12.0), speak)
    channel.loss = 0.0
    channel.run(15.0)
    pair.talk()
    for read in channel.read:
        assert len(read) == len(set(read)) > 50


def test_two_owners_of_the_same_bytes_share_no_key() -> None:
    """Restored twice, against the rule: neither seals what the other one seals, and one of them alone is believed."""
    pair = established_pair(IK)
    stored = pair.initiator.suspend(0.0)
    owners = [back(pair, pair.initiator, stored, seed=seed) for seed in (1, 2)]
    sessions = [owner.session for owner, _ in owners]
    assert all(session is not None for session in sessions)
    assert len({session.current.root for session in sessions if session is not None}) == 2
    pair.initiator = owners[0][0]
    pair.deliver(owners[0][1], pair.responder)
    pair.talk()
    with pytest.raises(PacketRefusedError):  # its base was wiped with the first plain record
        pair.responder.receive(owners[1][0].send(b"a zombie"), 0.0)
    pair.talk()


def test_a_player_that_is_restored_unheard_again_and_again_keeps_few_roots() -> None:
    """Twenty times without an answer: the newest confirmed epoch stays its base, and the peer follows in the end."""
    pair = established_pair(IK)
    packets: list[bytes] = []
    for seed in range(20):
        stored = pair.initiator.suspend(float(seed))
        assert len(json.loads(stored)["roots"]) <= 8
        _, packets = back(pair, pair.initiator, stored, seed=seed)
    assert (pair.initiator.epoch, packets[0][15]) == (20, 0)
    pair.deliver(packets, pair.responder)
    pair.talk()
    assert pair.initiator.epoch == pair.responder.epoch
