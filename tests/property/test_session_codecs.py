"""The session layer's leaf modules on any input: parsers refuse or return, codecs give back what they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from noisegate_server.session import packets
from noisegate_server.session.constants import WINDOW
from noisegate_server.session.hello import Flags, Hello, MalformedHello, choose, decode_hello, encode_hello
from noisegate_server.session.packets import (
    Fragment,
    HandshakeStep,
    HandshakeStep1,
    MalformedPacket,
    ResumeStep1,
    ResumeStep2,
    RetryChoice,
    RetryPuzzle,
)
from noisegate_server.session.padding import MalformedPadding, pad, padded_length, unpad
from noisegate_server.session.replay import ReplayWindow, Verdict, nearest
from noisegate_server.session.state import RecordMode, Role
from noisegate_server.session.suites import Suite
from noisegate_server.session.ticket import (
    Ticket,
    TicketContent,
    TicketKey,
    TicketKeys,
    TicketUnusable,
    decode_ticket_content,
    encode_ticket_content,
    open_ticket,
    seal_ticket,
)

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

byte = st.integers(0, 255)
cids = st.binary(min_size=8, max_size=8)
keys32 = st.binary(min_size=32, max_size=32)
hello_bytes = st.binary(min_size=14, max_size=44)
messages = st.binary(min_size=1, max_size=100)
puzzles = st.binary(max_size=255)
echoes = st.binary(min_size=8, max_size=8)
offers = st.lists(st.tuples(byte, byte), min_size=1, max_size=16).map(tuple)


@st.composite
def hellos(draw):
    """Any hello that can be encoded."""
    offer = draw(offers)
    return Hello(
        flags=Flags(draw(byte)),
        timestamp_ms=draw(st.integers(0, 2**64 - 1)),
        offer=offer,
        choice=draw(st.integers(0, len(offer) - 1)),
    )


@st.composite
def fragments(draw):
    """Any fragment that can be encoded."""
    count = draw(st.integers(1, 255))
    return Fragment(
        connection_id=draw(cids),
        message_id=draw(st.integers(0, 65_535)),
        index=draw(st.integers(0, count - 1)),
        count=count,
        part=draw(messages),
    )


def _stepped(parts: tuple[int, bytes]) -> bytes:
    step, tail = parts
    return bytes((step,)) + tail


handshakes = st.one_of(
    st.builds(HandshakeStep1, hello=hello_bytes, message=messages, puzzle=puzzles, connection_id=cids),
    st.builds(HandshakeStep, connection_id=cids, step=st.sampled_from((2, 3)), message=messages),
)
resumes = st.one_of(
    st.builds(
        ResumeStep1,
        hello=hello_bytes,
        ticket=st.binary(min_size=1, max_size=1_024),
        message=messages,
        puzzle=puzzles,
        fallback=st.binary(max_size=100),
        connection_id=cids,
    ),
    st.builds(ResumeStep2, connection_id=cids, message=messages),
)
retries = st.one_of(
    st.builds(RetryChoice, echo=echoes, choice=byte, flags=byte),
    st.builds(RetryPuzzle, echo=echoes, challenge=st.binary(min_size=1, max_size=255)),
)

PACKETS = {
    "handshake": (handshakes, packets.encode_handshake, packets.decode_handshake, b"\x09"),
    "resume": (resumes, packets.encode_resume, packets.decode_resume, b"\x0c"),
    "retry": (retries, packets.encode_retry, packets.decode_retry, b"\x0e"),
    "fragment": (fragments(), packets.encode_fragment, packets.decode_fragment, b"\x0d"),
}
each_packet = pytest.mark.parametrize(("values", "encode", "decode", "first"), PACKETS.values(), ids=PACKETS)


@each_packet
@given(data=st.data())
def test_every_packet_comes_back(values, encode: Encode, decode: Decode, first: bytes, data) -> None:
    """Decoding what was encoded gives the same value, and peek agrees about its connection id."""
    value = data.draw(values)
    encoded = encode(value)
    assert decode(encoded) == value
    peeked = packets.peek(encoded)
    assert peeked is not None
    assert peeked[1] == getattr(value, "connection_id", bytes(8))


@each_packet
@given(tail=st.one_of(st.binary(max_size=200), st.tuples(st.integers(1, 3), st.binary(max_size=200)).map(_stepped)))
def test_no_packet_is_read_two_ways(values, encode: Encode, decode: Decode, first: bytes, tail: bytes) -> None:
    """Any bytes are refused with the one exception, or are exactly what their value encodes to."""
    packet = first + bytes(8) + tail
    try:
        value = decode(packet)
    except MalformedPacket:
        return
    assert encode(value) == packet


@each_packet
@given(data=st.data())
def test_a_damaged_packet_is_refused_or_another_packet(
    values, encode: Encode, decode: Decode, first: bytes, data
) -> None:
    """One changed byte or a cut never raises anything but MalformedPacket, and never gives the same value."""
    value = data.draw(values)
    encoded = bytearray(encode(value))
    if data.draw(st.booleans()):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del encoded[data.draw(st.integers(0, len(encoded) - 1)) :]
    try:
        damaged = decode(bytes(encoded))
    except MalformedPacket:
        return
    assert damaged != value
    assert encode(damaged) == encoded


@given(packet=st.binary(max_size=40))
def test_peek_never_fails(packet: bytes) -> None:
    """Whatever comes from the network, peek answers, and only for first bytes 0x09 to 0x0e."""
    peeked = packets.peek(packet)
    assert (peeked is not None) == (len(packet) >= 9 and 0x09 <= packet[0] <= 0x0E)


@given(hello=hellos())
def test_every_hello_comes_back(hello: Hello) -> None:
    """Decoding what was encoded gives the same hello in 12 + 2n bytes."""
    encoded = encode_hello(hello)
    assert len(encoded) == 12 + 2 * len(hello.offer)
    assert decode_hello(encoded) == hello


@given(head=st.sampled_from((b"", b"\x01", b"\x01" + bytes(9) + b"\x02")), tail=st.binary(max_size=50))
def test_no_hello_is_read_two_ways(head: bytes, tail: bytes) -> None:
    """Any bytes are refused, or are exactly what their hello encodes to."""
    data = head + tail
    try:
        hello = decode_hello(data)
    except MalformedHello:
        return
    assert encode_hello(hello) == data


@given(offer=offers, preference=offers)
def test_the_choice_is_the_responders_first_that_is_offered(
    offer: tuple[tuple[int, int], ...], preference: tuple[tuple[int, int], ...]
) -> None:
    """Nothing that the responder prefers to the choice was offered; without a choice nothing is shared."""
    index = choose(offer, preference)
    if index is None:
        assert not set(offer) & set(preference)
    else:
        assert not set(offer) & set(preference[: preference.index(offer[index])])
        assert offer[index] not in offer[:index]


@given(content=st.binary(max_size=2_000), zeros=st.integers(0, 50), kind=st.integers(1, 255), padded=st.booleans())
def test_padded_content_comes_back(content: bytes, zeros: int, kind: int, padded: bool) -> None:
    """Whatever the content ends in, kind and content are found again and lengths are a class's."""
    content += bytes(zeros)
    inner = pad(content, kind, padded)
    assert unpad(inner) == (kind, content)
    if padded:
        assert len(inner) in {32, 64, 128, 256, 512, 1_024} or (len(inner) > 1_024 and len(inner) % 256 == 0)
    else:
        assert len(inner) == len(content) + 1


@given(plaintext=st.binary(max_size=200))
def test_any_plaintext_has_a_kind_or_is_zeros(plaintext: bytes) -> None:
    """Unpadding splits at the last byte that is not zero, and refuses only where there is none."""
    if not any(plaintext):
        with pytest.raises(MalformedPadding):
            unpad(plaintext)
        return
    kind, content = unpad(plaintext)
    assert kind != 0
    assert content + bytes((kind,)) == plaintext[: len(content) + 1]
    assert not any(plaintext[len(content) + 1 :])


@given(n=st.integers(1, 65_476))
def test_padding_grows_with_the_length_and_wastes_at_most_half(n: int) -> None:
    """A class is at least the length, at most 32 or twice it, never over a datagram, and itself its own class."""
    length = padded_length(n)
    assert n <= length <= min(max(32, 2 * n), 65_476)
    assert padded_length(length) == length


@given(bits=st.sampled_from((8, 16, 32)), highest=st.integers(-1, 2**64 - 2), low=st.integers(0, 2**32 - 1))
@example(bits=8, highest=300, low=172)
@example(bits=8, highest=-1, low=255)
def test_the_nearest_number_is_the_nearest(bits: int, highest: int, low: int) -> None:
    """Of all numbers from zero with these low bits none is nearer, and an equally near one is not later."""
    span = 2**bits
    low %= span
    found = nearest(low, bits, highest)
    base = highest - highest % span
    candidates = [base + low + step * span for step in (-2, -1, 0, 1, 2)]
    assert found == min((c for c in candidates if c >= 0), key=lambda c: (abs(c - highest), -c))


class WindowAgainstSet(RuleBasedStateMachine):
    """A window beside a set of all counters that ever came."""

    def __init__(self) -> None:
        super().__init__()
        self.window = ReplayWindow()
        self.seen: set[int] = set()

    def _expected(self, counter: int) -> Verdict:
        if counter < max(self.seen, default=-1) - WINDOW:
            return Verdict.TOO_OLD
        return Verdict.REPLAYED if counter in self.seen else Verdict.FRESH

    def _receive(self, counter: int) -> None:
        counter = min(max(counter, 0), 2**64 - 2)
        expected = self._expected(counter)
        assert self.window.highest == max(self.seen, default=-1)
        assert self.window.check(counter) is expected
        if expected is Verdict.FRESH:
            self.window.commit(counter)
            self.seen.add(counter)
        else:
            with pytest.raises(ValueError, match="not fresh"):
                self.window.commit(counter)

    @rule(run=st.integers(1, 200))
    def in_order(self, run: int) -> None:
        for counter in range(self.window.highest + 1, self.window.highest + 1 + run):
            self._receive(counter)

    @rule(back=st.integers(0, WINDOW + 130))
    def late(self, back: int) -> None:
        self._receive(self.window.highest - back)

    @rule(ahead=st.one_of(st.integers(1, 70), st.integers(WINDOW - 70, WINDOW + 140), st.integers(1, 2**33)))
    def jump(self, ahead: int) -> None:
        self._receive(self.window.highest + ahead)

    @rule(counter=st.integers(0, 2**64 - 2))
    def anywhere_without_a_valid_tag(self, counter: int) -> None:
        assert self.window.check(counter) is self._expected(counter)

    @rule()
    def packed_and_unpacked(self) -> None:
        self.window = ReplayWindow.unpack(self.window.pack())

    @invariant()
    def knows_its_highest(self) -> None:
        assert self.window.highest == max(self.seen, default=-1)


TestWindowAgainstSet = WindowAgainstSet.TestCase
TestWindowAgainstSet.settings = settings(TestWindowAgainstSet.settings, max_examples=40, stateful_step_count=40)


names = st.text(max_size=16)
times = st.floats(0, 2**40)
tickets = st.builds(
    Ticket,
    id=st.binary(min_size=16, max_size=16),
    psk=keys32.filter(any).map(bytearray),
    remote_static=st.one_of(st.just(b""), keys32),
    prologue_hash=keys32,
    tenant=st.text(min_size=1, max_size=16),
    peer_id=names,
    group=names,
    role=st.sampled_from(Role),
    suite=st.sampled_from(Suite),
    mode=st.sampled_from(RecordMode),
    flags=byte,
    issuer=st.binary(max_size=64),
    issued_wall=times,
    absolute_end_wall=st.just(2.0**41),
    identity=st.binary(max_size=32),
)
RING = TicketKeys(current=TicketKey(key_id=b"01234567", key=bytes(range(32))))


@given(ticket=tickets, nonce=st.binary(min_size=12, max_size=12))
def test_every_ticket_comes_back_to_its_tenant(ticket: Ticket, nonce: bytes) -> None:
    """A sealed ticket opens to the same ticket, within its bound, and for no other tenant."""
    blob = seal_ticket(RING, ticket, lambda n: nonce)
    assert len(blob) <= 1_024
    assert open_ticket(RING, ticket.tenant, blob, ticket.issued_wall) == ticket
    with pytest.raises(TicketUnusable):
        open_ticket(RING, ticket.tenant + "x", blob, ticket.issued_wall)


@given(blob=st.one_of(st.binary(max_size=1_200), st.binary(max_size=1_200).map(lambda rest: b"01234567" + rest)))
def test_no_garbage_is_a_ticket(blob: bytes) -> None:
    """Whatever comes from the network, only TicketUnusable is raised."""
    with pytest.raises(TicketUnusable):
        open_ticket(RING, "arena", blob, 1e9)


@given(data=st.binary(max_size=1_100))
def test_ticket_content_is_not_read_two_ways(data: bytes) -> None:
    """Any bytes are refused, or are exactly what their content encodes to."""
    try:
        content = decode_ticket_content(data)
    except TicketUnusable:
        return
    assert encode_ticket_content(content) == data


@given(lifetime_s=st.integers(0, 2**32 - 1), max_early=st.integers(0, 2**32 - 1), psk=keys32.filter(any))
def test_every_ticket_content_comes_back(lifetime_s: int, max_early: int, psk: bytes) -> None:
    """Decoding what was encoded gives the same content."""
    content = TicketContent(lifetime_s=lifetime_s, max_early=max_early, psk=bytearray(psk), ticket=b"opaque")
    assert decode_ticket_content(encode_ticket_content(content)) == content
