"""An initiator among forged and genuine RETRYs, against a model that knows only the document's rules."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate_server.engine.outcomes import HandshakeStep
from noisegate_server.engine.policy import Options, Policy
from noisegate_server.session.errors import HandshakeFailed, HandshakeNotDue
from noisegate_server.session.hello import Flags
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engines
from tests.support.fingerprint import fingerprint
from tests.support.requests import initiation, response
from tests.support.written_out import sha256

OFFER = ((Pattern.XX, 1), (Pattern.XX, 2), (Pattern.XX, 3), (99, 1))
ALLOWED = (Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519)
"""The third suite is offered, and our own policy forbids it; the fourth protocol is nobody's."""
RATCHET, DATAGRAM, ASKED = 1, 16, 1 | 2 | 4 | 16


@dataclass(frozen=True)
class Sent:
    """A first packet, as far as the rules care."""

    packet: bytes
    choice: int
    flags: int
    time: bytes


@dataclass(frozen=True)
class Said:
    """A RETRY: to which packet (past the last one: to none of ours), and its bytes from the reason on."""

    to: int
    tail: bytes


choose = st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 255), st.sampled_from((ASKED, 31, 27)))).map(
    lambda pair: bytes((1, *pair))
)
clocks = st.integers(0, 2**64 - 1).map(lambda time: b"\x02\0" + time.to_bytes(8, "big"))
others = st.one_of(st.binary(max_size=12), st.binary(min_size=9, max_size=9).map(lambda rest: b"\x02" + rest))
said = st.builds(Said, to=st.integers(0, 4), tail=st.one_of(choose, choose, clocks, others))


def read(packet: bytes) -> Sent:
    """What a first packet of ours offers (docs/protocol.md, section 2)."""
    hello = packet[12 : 12 + int.from_bytes(packet[10:12], "big")]
    assert hello[10:-1] == bytes((len(OFFER), *(number for pair in OFFER for number in pair)))
    return Sent(packet, hello[-1], hello[1], hello[2:10])


def followed(refused: Sent, tail: bytes) -> tuple[int, int, bytes | None] | None:
    """(choice, flags, time or None for our own) of the packet that it leads to; None where it leads nowhere."""
    if len(tail) == 3 and tail[0] == 1:
        choice, flags = tail[1], refused.flags & (tail[2] | DATAGRAM)
        new = (choice, flags) != (refused.choice, refused.flags)
        if choice in (0, 1) and flags & RATCHET and new:
            return choice, flags, None
    if len(tail) == 10 and tail[:2] == b"\x02\0":
        return refused.choice, refused.flags, tail[2:]
    return None


@settings(max_examples=150, deadline=None)
@given(st.lists(said, max_size=12), st.integers(0, 2))
def test_an_initiator_follows_what_the_rules_allow_and_nothing_else(steps: list[Said], answered: int) -> None:
    """Each reason once, each refusal without a trace; and whichever attempt is answered makes the session."""
    engines = Engines()
    first = engines.make(policy=Policy(suites=ALLOWED))
    begun = first.initiate(
        initiation(pattern=Pattern.XX, suite=1, offer=OFFER, options=Options(ratchet=True, mask=True, pad=True))
    )
    sent = [read(begun.to_peer[0])]
    reasons: set[int] = set()
    answers: dict[bytes, bytes] = {}
    for step in steps:
        refused = sent[step.to] if step.to < len(sent) else None
        packet = b"\x0e" + bytes(8) + sha256(refused.packet if refused else b"none of ours")[:8] + step.tail
        leads = followed(refused, step.tail) if refused else None
        before = fingerprint(first.session(begun.session_id))
        done: HandshakeStep | None
        try:
            done = first.proceed(begun.session_id, packet)
        except HandshakeFailed:
            done = None
            assert leads is None
        except HandshakeNotDue:
            done = None
            assert step.tail[0] in reasons
        if done is None:
            assert packet not in answers
            assert fingerprint(first.session(begun.session_id)) == before
            continue
        (following,) = done.to_peer
        if packet in answers:
            assert following == answers[packet]
            continue
        assert leads is not None
        assert step.tail[0] not in reasons
        reasons.add(step.tail[0])
        answers[packet] = following
        new = read(following)
        assert (new.choice, new.flags) == leads[:2]
        assert leads[2] is None or new.time == leads[2]
        sent.append(new)
    assert len(sent) == 1 + len(reasons) <= 3
    assert len({each.packet[-32:] for each in sent}) == len(sent)
    last = sent[answered % len(sent)]
    second = engines.make(policy=Policy(suites=(Suite(OFFER[last.choice][1]),)))
    second.clock.wall = int.from_bytes(last.time, "big") / 1000
    reply = second.respond(response(last.packet))
    assert first.proceed(begun.session_id, reply.to_peer[0]).established is not None
    assert first.session(begun.session_id).suite == OFFER[last.choice][1]
    assert first.session(begun.session_id).flags == Flags(last.flags)
