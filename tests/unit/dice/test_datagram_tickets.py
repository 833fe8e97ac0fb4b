from __future__ import annotations

import pytest

from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError
from tests.unit.dice.pair import IK, NK, Clock, Pair, established_pair, make_pair


def refused(player: DatagramPlayer, packet: bytes, now: float = 0.0) -> None:
    """The packet must be refused."""
    with pytest.raises(PacketRefusedError):
        player.receive(packet, now)


def test_a_ticket_is_for_once() -> None:
    """A repeat gets the same answer for 10 s, a second resume with the ticket gets none."""
    pair = established_pair(IK)
    ticket = pair.initiator.ticket
    (packet,) = pair.initiator.resume(0.0)
    result = pair.responder.receive(packet, 0.0)
    again = pair.responder.receive(packet, 9.0)
    assert (again.to_send, again.payloads) == (result.to_send, [])
    assert pair.initiator.ticket is None
    (second,) = pair.initiator.resume(0.0, ticket)
    refused(pair.responder, second)


def test_a_resume_is_sent_at_0_2_and_10_seconds() -> None:
    """Section 6's times."""
    pair = established_pair(IK)
    (packet,) = pair.initiator.resume(0.0)
    sent = [now for now in range(60) for again in pair.initiator.tick(float(now)) if again == packet]
    assert sent == [2, 10]


def test_a_refused_ticket_falls_back_to_the_full_handshake() -> None:
    """Message 1 of a full handshake in the RESUME packet is answered by HANDSHAKE step 2."""
    pair = established_pair(IK)
    ticket = pair.initiator.ticket
    stranger = make_pair(IK, seed=8).responder
    (packet,) = pair.initiator.resume(0.0, ticket, full=True)
    fallback = Pair(initiator=pair.initiator, responder=stranger, clock=Clock())
    fallback.deliver([packet], stranger)
    fallback.talk()


def test_a_forged_resume_does_not_spend_the_ticket() -> None:
    """Only a message 1 that opens spends it."""
    pair = established_pair(IK)
    (packet,) = pair.initiator.resume(0.0)
    refused(pair.responder, packet[:-1] + bytes([packet[-1] ^ 1]))
    pair.deliver([packet], pair.responder)
    pair.talk()


def test_an_anonymous_player_can_be_resumed_but_not_renegotiated_with() -> None:
    """The responder of NK comes back as initiator: it knows no static key to rotate with, and neither end fails."""
    pair = established_pair(NK)
    assert pair.initiator.session is not None
    pair.deliver(pair.initiator.session.issue(), pair.responder)
    pair.deliver(pair.responder.resume(0.0), pair.initiator)
    pair.talk()
    for player in (pair.responder, pair.initiator):
        pair.clock.now += 125.0
        player.renegotiate(pair.clock.now)
        player.tick(pair.clock.now)
    assert (pair.initiator.epoch, pair.responder.epoch) == (0, 0)


def test_what_is_no_ticket_takes_no_tickets_place() -> None:
    """Too short, too long, or a psk of zeros: the ticket of before stays."""
    pair = established_pair(IK)
    before = pair.initiator.ticket
    assert before is not None
    assert pair.responder.session is not None
    head = (60).to_bytes(4, "big") + bytes(4)
    for content in (head + b"p" * 32, head + b"p" * 32 + bytes(1_025), head + bytes(32) + b"ticket", b""):
        pair.deliver(pair.responder.session.seal(4, content), pair.initiator)
        assert pair.initiator.ticket == before
    pair.deliver(pair.responder.session.seal(4, head + b"p" * 32 + b"t"), pair.initiator)
    assert getattr(pair.initiator.ticket, "ticket", b"") == b"t"
