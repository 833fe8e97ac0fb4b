"""Salted epochs: one side comes back from a record, and the session goes on (docs/protocol.md, section 5)."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.noise import primitives
from noisegate_server.session import keys
from noisegate_server.session.constants import (
    GRACE_S,
    MAX_UDP_PAYLOAD,
    SALTED_OVERHEAD,
    SOFT_AGE_S,
)
from noisegate_server.session.datagram import SALTED
from noisegate_server.session.errors import DecryptFailed, MessageTooLarge, ReplayDetected
from noisegate_server.session.packets import Kind
from noisegate_server.session.record import packable
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import ALL_OPTIONS, End, Engines, Link, establish, outcome_of
from tests.support.requests import initiation, response
from tests.support.restored import ROLES, assert_both_ways, come_back, restore, settle, suspend

EVERY_OPTION = [
    Options(),
    Options(mask=True),
    Options(pad=True),
    Options(ratchet=True),
    Options(ratchet=True, mask=True, pad=True),
]


@pytest.fixture(params=list(itertools.product(Suite, EVERY_OPTION)), ids=str)
def every_link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session of every suite and option."""
    suite, options = request.param
    return establish(engines, suite=suite, options=options)


@pytest.fixture
def link(engines: Engines) -> Link:
    """A session between two engines."""
    return establish(engines, options=ALL_OPTIONS)


@pytest.mark.parametrize("role", ROLES)
def test_a_restored_side_goes_on_in_an_epoch_of_its_own(engines: Engines, every_link: Link, role: str) -> None:
    """It seals SALTED until the peer has answered; then both have new keys by RENEGOTIATE, at once, and talk on."""
    link = every_link
    owner = come_back(engines, link, role)
    peer = link.peer_of(owner)
    assert owner.session.state is SessionState.ROTATING
    assert peer.inbox[0][:1] == SALTED
    assert owner.datagrams.epoch == 1
    settle(link)
    assert link.epochs() == (2, 2)
    assert all(end.session.state is SessionState.ESTABLISHED for end in link.ends)
    assert all(not end.datagrams.held for end in link.ends)
    assert_both_ways(link)


@pytest.mark.parametrize("role", ROLES)
def test_data_flows_before_anything_was_answered(engines: Engines, every_link: Link, role: str) -> None:
    """What a restored side seals opens at once, in any order, and its first packet may be data, with the game's AD."""
    owner = come_back(engines, every_link, role, tells=False)
    peer = every_link.peer_of(owner)
    packets = [owner.seal(b"%d" % number, b"seat 4") for number in range(4)]
    assert {packet[:1] for packet in packets} == {SALTED}
    for number in (2, 0, 3, 1):
        opened = peer.open(packets[number], b"seat 4")
        assert (opened.plaintext, opened.epoch, opened.counter) == (b"%d" % number, 1, number)
    assert outcome_of(peer, packets[0], b"seat 4") in (ReplayDetected, DecryptFailed)
    settle(every_link)
    assert_both_ways(every_link)


def test_a_salted_record_is_49_bytes_longer_and_the_largest_fits_a_datagram(engines: Engines) -> None:
    """Header 32, kind, tag; 65,458 bytes are the most, one more is refused, and no counter is spent on it."""
    for options in (Options(), Options(pad=True)):
        link = establish(engines, options=options)
        owner = come_back(engines, link, "responder", tells=False)
        records = owner.datagrams
        assert records.overhead == SALTED_OVERHEAD == 49
        if not options.pad:
            assert len(owner.seal(b"x" * 100)) == 149
        largest = bytes(MAX_UDP_PAYLOAD - SALTED_OVERHEAD)
        before = records.current.sender.counter
        with pytest.raises(MessageTooLarge, match="65458"):
            owner.seal(largest + b"\0")
        assert records.current.sender.counter == before
        packet = owner.seal(largest)
        assert len(packet) == MAX_UDP_PAYLOAD
        assert link.initiator.open(packet).plaintext == largest
        settle(link)
        assert records.overhead == 32
        assert len(owner.seal(bytes(65_475))) == MAX_UDP_PAYLOAD


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.NK])
@pytest.mark.parametrize("role", ROLES)
def test_renegotiation_follows_at_once(engines: Engines, pattern: Pattern, role: str) -> None:
    """The initiator starts it, restored or not; the responder asks for it; anonymous initiators too."""
    link = establish(engines, pattern=pattern)
    link.initiator.renegotiate()
    link.settle()
    owner = come_back(engines, link, role)
    settle(link)
    assert link.epochs() == (3, 3)
    assert owner.datagrams.current.confirmed
    assert not owner.datagrams.due


@pytest.mark.parametrize(
    ("options", "counter", "phase", "most"),
    [
        (Options(), 0, 0, 6),
        (Options(), 63, 63, 69),
        (Options(), 0, 64, 5),
        (Options(ratchet=True), 0, 0, 8),
        (Options(ratchet=True), 64 * 256 + 255, 64, 327),
        (Options(ratchet=True), 65 * 256, 65, 7),
        (Options(ratchet=True), 0, 1, 7),
    ],
)
def test_a_forged_packet_costs_few_derivations(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, options: Options, counter: int, phase: int, most: int
) -> None:
    """Five HMACs for the salted secrets, two to begin a ratchet, and what a forged RECORD costs; no context is lost."""
    link = establish(engines, options=options)
    owner = come_back(engines, link, "responder", tells=False)
    packet = bytearray(owner.seal(bytes(16)))
    packet[10] = phase
    packet[11:15] = counter.to_bytes(4, "big")
    packet[-1] ^= 1
    calls = 0
    expand, extract = primitives.expand, primitives.extract

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: bytes) -> Any:
            nonlocal calls
            calls += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(keys, "expand", counted(expand))
    monkeypatch.setattr(keys, "extract", counted(extract))
    contexts = len(link.initiator.engine.parts.aeads)
    for _ in range(3):
        calls = 0
        assert outcome_of(link.initiator, bytes(packet)) is DecryptFailed
        assert calls == most
    assert len(link.initiator.engine.parts.aeads) == contexts


def test_rekey_holds_in_a_salted_epoch(engines: Engines, link: Link) -> None:
    """A restored side may step to its next phase before and after the peer has answered."""
    owner = come_back(engines, link, "initiator", tells=False)
    for _ in range(3):
        owner.rekey()
        assert link.responder.open(owner.seal(b"roll")).plaintext == b"roll"
    link.responder.rekey()
    assert owner.open(link.responder.seal(b"go")).plaintext == b"go"
    link.lose_everything()
    owner.rekey()
    assert link.responder.open(owner.seal(b"roll")).plaintext == b"roll"


@pytest.mark.parametrize("role", ROLES)
def test_a_session_with_a_salted_epoch_under_way_is_not_at_rest(engines: Engines, link: Link, role: str) -> None:
    """It is not packable before a rotation has replaced the salted epoch, and its grace is over."""
    owner = come_back(engines, link, role, tells=False)
    peer = link.peer_of(owner)
    peer.open(owner.seal(b"1"))
    assert not packable(owner.session)
    assert not packable(peer.session)
    settle(link)
    engines.clock.step(GRACE_S)
    link.talk()
    assert packable(owner.session)
    assert packable(peer.session)


@pytest.mark.parametrize("role", ROLES)
def test_no_rotation_begins_before_the_peer_has_answered(engines: Engines, link: Link, role: str) -> None:
    """Rotate starts nothing yet, nor does an old epoch, and the question goes on; the rotation follows by itself."""
    owner = come_back(engines, link, role)
    asked = owner.datagrams.reminder.record
    assert owner.renegotiate().to_peer == ()
    engines.clock.step(SOFT_AGE_S)
    link.lose_everything()
    owner.send(b"roll")
    assert owner.datagrams.reminder.record == asked
    assert not owner.datagrams.wants_rotation
    settle(link)
    assert link.epochs() == (2, 2)


def test_a_handshake_whose_last_packet_was_lost_is_finished_after_a_restore(engines: Engines) -> None:
    """The initiator's step 3 is in its record: it is repeated until a record opens, and then SALTED is understood."""
    first, second = engines.make(), engines.make()
    begun = first.initiate(initiation(mode=RecordMode.DATAGRAM, pattern=Pattern.XX))
    answered = second.respond(response(begun.to_peer[0], mode=RecordMode.DATAGRAM))
    step_3 = first.proceed(begun.session_id, answered.to_peer[0]).to_peer[0]
    to_first: deque[bytes] = deque()
    to_second: deque[bytes] = deque()
    ours = End(engine=first, session_id=begun.session_id, inbox=to_first, outbox=to_second)
    theirs = End(engine=second, session_id=answered.session_id, inbox=to_second, outbox=to_first)
    owner = restore(engines, ours, suspend(ours), tells=False)
    engines.clock.step(1.0)
    owner.send(b"roll")
    assert to_second[0] == step_3
    confirmed = second.proceed(answered.session_id, to_second.popleft())
    to_first.extend(confirmed.to_peer)
    link = Link(initiator=owner, responder=theirs)
    settle(link)
    assert theirs.received == [b"roll"]
    assert_both_ways(link)


def test_a_close_is_said_in_a_salted_record_too(engines: Engines, link: Link) -> None:
    """A restored side that ends its session at once tells the peer."""
    owner = come_back(engines, link, "responder", tells=False)
    packet = owner.datagrams.control(Kind.CLOSE, b"", owner.engine.parts.aeads)
    assert link.initiator.engine.decrypt(link.initiator.session_id, packet).control == 5
