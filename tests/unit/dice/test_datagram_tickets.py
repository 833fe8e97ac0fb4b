from __future__ import annotations

import pytest

from examples.dice.datagram_player import DatagramPlayer, PacketRefusedError
from tests.unit.dice.pair import IK, Clock, Pair, established_pair, make_pair


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
