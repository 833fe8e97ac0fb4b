from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.dice.datagram_player import NotPossibleError
from tests.unit.dice.pair import IK, XX, Channel, make_pair


def noise_of_a_game(channel: Channel, sent: tuple[list[bytes], list[bytes]]) -> None:
    """Sixty seconds of messages, rekeys and rotations of both players over a bad path."""
    pair = channel.pair

    def act(chance: random.Random) -> None:
        for number, player in enumerate((pair.initiator, pair.responder)):
            if not player.established or chance.random() < 0.5:
                continue
            text = b"%d-%d" % (number, len(sent[number]))
            sent[number].append(text)
            channel.put([player.send(text)], to_initiator=bool(number))
            if chance.random() < 0.02:
                player.rekey()
            if chance.random() < 0.02:
                channel.put(player.renegotiate(pair.clock.now), to_initiator=bool(number))

    channel.run(60.0, act)


@pytest.mark.parametrize("pattern", [XX, IK])
@given(seed=st.integers(0, 2**32 - 1), loss=st.sampled_from([0.0, 0.1, 0.3, 0.5]), flags=st.sampled_from([24, 31]))
@settings(max_examples=12, deadline=None)
def test_a_session_outlives_a_bad_path(pattern: int, seed: int, loss: float, flags: int) -> None:
    """Loss, repeats and reordering cost messages, never a session, an epoch or a message read twice."""
    pair = make_pair(pattern, flags=flags, seed=seed)
    channel = Channel(pair, seed, loss)
    sent: tuple[list[bytes], list[bytes]] = [], []
    channel.put(pair.initiator.start(0.0), to_initiator=False)
    noise_of_a_game(channel, sent)

    channel.loss = 0.0
    channel.run(30.0)
    assert pair.initiator.established
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    assert pair.initiator.epoch == pair.responder.epoch
    for read, texts in zip(channel.read, sent, strict=True):
        assert len(set(read)) == len(read)
        assert set(read) <= set(texts)
        if not loss:
            assert len(read) > 100

    before = len(channel.read[0]), len(channel.read[1])
    channel.put([pair.initiator.send(b"end")], to_initiator=False)
    channel.put([pair.responder.send(b"end")], to_initiator=True)
    channel.run(1.0)
    assert (len(channel.read[0]), len(channel.read[1])) == (before[0] + 1, before[1] + 1)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_a_resume_gets_through_a_bad_path(seed: int) -> None:
    """A resume is repeated until it is answered, and its answer is the same each time."""
    pair = make_pair(IK, seed=seed)
    channel = Channel(pair, seed, 0.0)
    channel.put(pair.initiator.start(0.0), to_initiator=False)
    channel.run(1.0)
    channel.put([pair.initiator.send(b"hello")], to_initiator=False)
    channel.run(1.0)
    first = pair.initiator.handshake_hash
    channel.loss = 0.3
    channel.put(pair.initiator.resume(pair.clock.now), to_initiator=False)
    channel.run(11.0)
    channel.loss = 0.0
    channel.run(2.0)
    if pair.initiator.handshake_hash == first:
        return  # all three packets or their answers were lost: the caller begins anew
    assert pair.initiator.handshake_hash == pair.responder.handshake_hash
    pair.talk()


def test_an_own_age_limit_rotates_without_being_told() -> None:
    """After 120 s the initiator starts a rotation by itself, so that data is never refused at 180 s."""
    pair = make_pair(IK)
    channel = Channel(pair, 5, 0.0)
    channel.put(pair.initiator.start(0.0), to_initiator=False)
    channel.run(400.0)
    assert pair.initiator.epoch == pair.responder.epoch == 3
    pair.talk()


def test_data_is_refused_past_the_hard_age() -> None:
    """A session that nobody rotates stops sealing data at 180 s."""
    pair = make_pair(IK)
    pair.deliver(pair.initiator.start(0.0), pair.responder)
    pair.initiator.tick(181.0)
    with pytest.raises(NotPossibleError):
        pair.initiator.send(b"late")
