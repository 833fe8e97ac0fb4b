"""The service and the dice example's own player where one of them was suspended: salted epochs, both halves.

The player was written from docs/protocol.md alone; each side comes back over what the other one holds.
"""

from __future__ import annotations

import pytest

from examples.dice.datagram_player import FLAG_DATAGRAM, FLAG_MASK, FLAG_PAD, FLAG_RATCHET, FLAG_TICKETS
from noisegate_server.session.errors import SessionError
from noisegate_server.session.suites import Pattern
from tests.support.engines import Engines
from tests.support.player_ends import CLASSICAL, a_player, back, sit_down

EVERY_FLAG = FLAG_DATAGRAM | FLAG_RATCHET | FLAG_MASK | FLAG_PAD | FLAG_TICKETS


@pytest.mark.parametrize("service_initiates", [False, True])
@pytest.mark.parametrize("flags", [FLAG_DATAGRAM, EVERY_FLAG])
def test_a_player_comes_back_from_the_background(engines: Engines, service_initiates: bool, flags: int) -> None:
    """It says so in a salted epoch, the service follows, and a rotation puts fresh keys in its place."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, CLASSICAL), flags=flags)
    ends = sit_down(engine, player, service_initiates=service_initiates, flags=flags)
    ends.talk()
    late = engine.encrypt(ends.session_id, b"said to nobody").ciphertext
    stored = player.suspend(ends.now)
    engine.clock.step(60.0)
    (salted,) = back(ends, stored)
    assert salted[0] == 0x0B
    (again,) = ends.player.receive(late, ends.now).to_send  # it cannot be opened any more: the service is told
    assert again[0] == 0x0B
    ends.to_service([again])
    ends.talk()
    ends.run(8.0)
    assert ends.epochs == (2, 2)
    ends.talk()
    engine.decrypt(ends.session_id, salted)  # late, and of the previous epoch by now
    with pytest.raises(SessionError):
        engine.decrypt(ends.session_id, salted)


@pytest.mark.parametrize("service_initiates", [False, True])
def test_a_player_is_suspended_in_the_middle_of_a_rotation(engines: Engines, service_initiates: bool) -> None:
    """Whatever message the rotation had come to: both ends are in one epoch again."""
    for steps in range(4):
        engine = engines.make()
        player = a_player(engine, (Pattern.IK, CLASSICAL))
        ends = sit_down(engine, player, service_initiates=service_initiates, flags=FLAG_DATAGRAM)
        ends.talk()
        engine.clock.step(20.0)
        flying = [(False, packet) for packet in player.renegotiate(ends.now)]
        for _ in range(steps):
            if not flying:
                break
            to_player, packet = flying.pop(0)
            if to_player:
                flying += [(False, answer) for answer in player.receive(packet, ends.now).to_send]
            else:
                flying += [(True, answer) for answer in engine.decrypt(ends.session_id, packet).to_peer]
        stored = player.suspend(ends.now)
        engine.clock.step(1.0)
        ends.to_service(back(ends, stored))
        ends.talk()
        ends.run(12.0)
        assert len(set(ends.epochs)) == 1
        ends.talk()


# --- the service


@pytest.mark.parametrize("service_initiates", [False, True])
@pytest.mark.parametrize("flags", [FLAG_DATAGRAM, EVERY_FLAG])
@pytest.mark.parametrize("who", ["service", "both", "both, the player first"])
def test_a_suspended_session_of_the_service_comes_back(
    engines: Engines, service_initiates: bool, flags: int, who: str
) -> None:
    """The service's salted epoch is followed; where both come back, one salt goes over the other, and data flows."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, CLASSICAL), flags=flags)
    ends = sit_down(engine, player, service_initiates=service_initiates, flags=flags)
    ends.talk()
    engine.suspend(ends.session_id)
    said: list[bytes] = []
    if who != "service":
        said = back(ends, player.suspend(ends.now))
    engine.clock.step(60.0)
    told = engine.restore(ends.session_id).to_peer
    assert [packet[0] for packet in told] == [0x0B]
    if who == "both, the player first":
        ends.to_service(said)  # and what the service told got lost
    else:
        ends.to_player(told)
    ends.run(1.0)
    ends.talk()
    ends.run(12.0)
    assert len(set(ends.epochs)) == 1
    ends.talk()


@pytest.mark.parametrize("service_initiates", [False, True])
@pytest.mark.parametrize("messages", [1, 2, 3])
def test_the_service_is_restored_after_a_rotation_of_which_messages_got_lost(
    engines: Engines, service_initiates: bool, messages: int
) -> None:
    """What the service had confirmed when it was suspended is a base that the player still holds."""
    engine = engines.make()
    player = a_player(engine, (Pattern.IK, CLASSICAL))
    ends = sit_down(engine, player, service_initiates=service_initiates, flags=FLAG_DATAGRAM | FLAG_TICKETS)
    ends.talk()
    engine.clock.step(20.0)
    flying = [(False, packet) for packet in player.renegotiate(ends.now)]
    for _ in range(messages):
        to_player, packet = flying.pop(0)
        if to_player:
            flying += [(False, answer) for answer in player.receive(packet, ends.now).to_send]
        else:
            flying += [(True, answer) for answer in engine.decrypt(ends.session_id, packet).to_peer]
        if not flying:
            break
    try:
        engine.suspend(ends.session_id)
    except SessionError:
        return  # it waits for the newest epoch's confirmation
    engine.clock.step(1.0)
    ends.to_player(engine.restore(ends.session_id).to_peer)
    ends.run(2.0)
    ends.talk()
    ends.run(12.0)
    assert len(set(ends.epochs)) == 1
    ends.talk()
