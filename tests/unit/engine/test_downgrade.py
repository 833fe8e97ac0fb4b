"""An attacker in the middle who wants a weaker handshake: forged RETRYs, stripped offers, altered choices.

Both ends offer the hybrid suite and a classical one, and choose the hybrid. Whatever the attacker does, both end with
the hybrid or with nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.policy import Policy
from noisegate_server.noise import KeyPair
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue
from noisegate_server.session.packets import RetryReason
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engine, Engines
from tests.support.requests import initiation, response
from tests.support.written_out import sha256

CLASSICAL, HYBRID = Suite.CHACHA20_POLY1305_X25519, Suite.MLKEM1024_X25519_CHACHA20_POLY1305
HELLO_AT = 12
"""Where the hello of a HANDSHAKE packet begins (docs/protocol.md, section 2)."""
PATTERNS = [Pattern.XX, Pattern.IK, Pattern.NK]


def begin(first: Engine, second: Engine, pattern: Pattern, suite: Suite = HYBRID) -> HandshakeStep:
    """A handshake of an offer of both suites."""
    remote = b"" if pattern is Pattern.XX else second.identity.public
    offer = ((pattern, HYBRID), (pattern, CLASSICAL))
    return first.initiate(initiation(pattern=pattern, suite=suite, offer=offer, remote_static_key=remote))


def forged_retry(packet: bytes, choice: int) -> bytes:
    """RETRY 'choose': anybody who sees the packet can make it."""
    return b"\x0e" + bytes(8) + sha256(packet)[:8] + bytes((1, choice, 0xFF))


def with_hello(packet: bytes, hello: bytes) -> bytes:
    """The packet with another hello before its Noise message."""
    length = int.from_bytes(packet[10:12], "big")
    return packet[:10] + len(hello).to_bytes(2, "big") + hello + packet[HELLO_AT + length :]


def hello_in(packet: bytes) -> bytes:
    """The hello in a packet."""
    return packet[HELLO_AT : HELLO_AT + int.from_bytes(packet[10:12], "big")]


def stripped(packet: bytes) -> bytes:
    """The hybrid taken out of the offer: one protocol, the classical one, chosen."""
    hello = hello_in(packet)
    return with_hello(packet, hello[:10] + b"\x01" + hello[13:15] + b"\0")


def other_choice(packet: bytes) -> bytes:
    """The offer intact, the choice the classical one."""
    return with_hello(packet, hello_in(packet)[:-1] + b"\x01")


def runs(engine: Engine, session_id: bytes) -> str:
    """The protocol of an established session; empty while there is none."""
    view = engine.view(session_id).established
    return "" if view is None else view.protocol_name


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_forged_retry_with_the_offer_intact_fails(engines: Engines, pattern: Pattern) -> None:
    """The initiator goes where it is sent, and the responder does not: it computes its choice from the same offer.

    Its own RETRY is not followed, since one was; the first attempt, which the attacker has held back, still works.
    """
    first, second = engines.make(), engines.make()
    begun = begin(first, second, pattern)
    lured = first.proceed(begun.session_id, forged_retry(begun.to_peer[0], 1))
    answer = second.respond(response(lured.to_peer[0]))
    assert answer.retry is RetryReason.CHOOSE
    assert second.parts.store.counts().sessions == 0
    with pytest.raises(HandshakeNotDue):
        first.proceed(begun.session_id, answer.to_peer[0])
    assert runs(first, begun.session_id) == ""
    answered = second.respond(response(begun.to_peer[0]))
    for message in first.proceed(begun.session_id, answered.to_peer[0]).to_peer:
        second.proceed(b"", message)
    assert "hfs" in runs(first, begun.session_id)
    assert runs(first, begun.session_id) == runs(second, answered.session_id)


@pytest.mark.parametrize("alter", [stripped, other_choice])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_stripped_offer_fails(engines: Engines, pattern: Pattern, alter: Callable[[bytes], bytes]) -> None:
    """Under a cut offer or another choice the prologues differ: no Noise message opens that has a tag.

    XX's first message has none, so there the responder answers, and the initiator cannot read it.
    """
    first, identity = engines.make(), KeyPair.generate(os.urandom)
    begun = begin(first, engines.make(identity=identity), pattern)
    lured = first.proceed(begun.session_id, forged_retry(begun.to_peer[0], 1))
    for packet in (begun.to_peer[0], lured.to_peer[0]):
        second = engines.make(identity=identity)
        try:
            answered = second.respond(response(alter(packet)))
        except HandshakeFailed:
            assert pattern is not Pattern.XX
            continue
        if answered.retry is None:
            assert pattern is Pattern.XX
            with pytest.raises(HandshakeFailed):
                first.proceed(begun.session_id, answered.to_peer[0])
            assert runs(second, answered.session_id) == ""
    assert runs(first, begun.session_id) == ""


def test_a_responder_that_is_not_the_attackers_friend_is_not_impersonated(engines: Engines) -> None:
    """The attacker answers a lured IK itself: it has not the static key that the caller named."""
    first, second = engines.make(), engines.make()
    attacker = engines.make(policy=Policy(suites=(CLASSICAL, HYBRID)))
    begun = begin(first, second, Pattern.IK)
    lured = first.proceed(begun.session_id, forged_retry(begun.to_peer[0], 1))
    with pytest.raises(HandshakeFailed):
        attacker.respond(response(lured.to_peer[0]))
    assert runs(first, begun.session_id) == ""


def test_a_genuine_retry_goes_up_only(engines: Engines) -> None:
    """Who began with the classical suite is sent to the hybrid, by a RETRY that nobody forged, and arrives."""
    first, second = engines.make(), engines.make()
    begun = begin(first, second, Pattern.IK, CLASSICAL)
    again = first.proceed(begun.session_id, second.respond(response(begun.to_peer[0])).to_peer[0])
    answered = second.respond(response(again.to_peer[0]))
    first.proceed(begun.session_id, answered.to_peer[0])
    assert runs(first, begun.session_id) == runs(second, answered.session_id)
    assert "hfs" in runs(first, begun.session_id)
