"""The ratchet in DATAGRAM mode: which keys exist when, and what a record that lies ahead costs."""

from __future__ import annotations

import hmac
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.noise import primitives
from noisegate_server.session import keys
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S, MAX_PHASES, RATCHET_MESSAGES, ROTATION_WISH_S, WINDOW
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.packets import RECORD_HEADER
from noisegate_server.session.ratchet import Ratchet, RatchetReceiver, RatchetSender
from noisegate_server.session.suites import Suite
from tests.support.engines import End, Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint, secrets_of

OPTIONS = [Options(ratchet=True), Options(ratchet=True, pad=True, mask=True, tickets=True)]
MOST = 321
"""HMACs that a packet may cost (protocol, section 3)."""


@pytest.fixture(params=list(itertools.product(Suite, OPTIONS)), ids=str)
def link(request: pytest.FixtureRequest, engines: Engines) -> Link:
    """A session with the ratchet between two engines."""
    suite, options = request.param
    return establish(engines, suite=suite, options=options)


@pytest.fixture
def hmacs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """[how many keys were derived]; the derivations are the genuine ones."""
    count = [0]
    genuine = primitives.expand

    def counting(secret: bytes | bytearray, label: bytes) -> bytearray:
        count[0] += 1
        return genuine(secret, label)

    monkeypatch.setattr(keys, "expand", counting)
    return count


@contextmanager
def untouched(end: End) -> Iterator[None]:
    """Whatever comes leaves no trace but the look-ahead."""
    before = fingerprint(end.session)
    yield
    assert fingerprint(end.session) == before


def receiver(end: End) -> RatchetReceiver:
    """The keys of what it opens."""
    found = end.datagrams.current.receiver
    assert isinstance(found, RatchetReceiver)
    return found


def sender(end: End) -> RatchetSender:
    """The keys of what it seals."""
    found = end.datagrams.current.sender
    assert isinstance(found, RatchetSender)
    return found


def forged(end: End, counter: int, phase: int | None = None) -> bytes:
    """A packet for `end` that claims to be message `counter`."""
    low = (counter >> 8 if phase is None else phase) & 0xFF
    return RECORD_HEADER.pack(0x0A, end.datagrams.connection_id, 0, low, counter) + bytes(40)


def key_by_hand(secret: bytes, counter: int) -> bytes:
    """Protocol, section 3, with HMAC alone."""
    for _ in range(counter >> 8):
        secret = hmac.digest(secret, b"ng1 next\x01", "sha256")
    chain = hmac.digest(secret, b"ng1 chain\x01", "sha256")
    for _ in range(counter & 255):
        chain = hmac.digest(chain, b"ng1 next\x01", "sha256")
    return hmac.digest(chain, b"ng1 key\x01", "sha256")


def test_every_message_has_the_specification_s_key(link: Link) -> None:
    """The first message of a phase, the last, and those of the next phases seal under the key computed by hand."""
    secret, nonce = os.urandom(32), bytes(12)
    cipher = link.initiator.datagrams.cipher
    sends = RatchetSender(Ratchet.begin(bytearray(secret)))
    receives = RatchetReceiver(Ratchet.begin(bytearray(secret)))
    for counter in (0, 1, 2, 255, 256, 257, 511, 15_359):
        context = sends.context(counter, cipher, AeadCache())
        assert sends.phase == counter >> 8
        sealed = context.encrypt(nonce, b"roll", b"")
        assert cipher.new(key_by_hand(secret, counter)).decrypt(nonce, sealed, b"") == b"roll"
        found, _ = receives.find(counter >> 8 & 0xFF, counter, cipher, AeadCache(), 0.0)
        assert found.decrypt(nonce, sealed, b"") == b"roll"


def test_both_ways_through_phases_and_rotations(link: Link) -> None:
    """Six hundred records each way open in order, under the next epoch too, without a context that is kept."""
    for _ in range(2):
        for number in range(600):
            for end in link.ends:
                end.send(b"%d" % number)
            link.settle()
        assert all(end.received[-1] == b"599" for end in link.ends)
        assert [sender(end).phase for end in link.ends] == [2, 2]
        link.clock.step(ROTATION_WISH_S)
        link.initiator.renegotiate()
        link.settle()
    assert link.epochs() == (2, 2)
    assert all(len(end.engine.parts.aeads) == 0 for end in link.ends)


def test_records_may_come_in_any_order(link: Link) -> None:
    """A record that was overtaken opens once, by the key that was kept for it."""
    packets = [link.initiator.seal(b"%d" % number) for number in range(300)]
    order = [299, 0, 298, 150, *range(1, 150), *range(151, 298)]
    for number in order:
        assert outcome_of(link.responder, packets[number]) == b"%d" % number
    assert not receiver(link.responder).skipped
    with untouched(link.responder):
        assert {outcome_of(link.responder, packet) for packet in packets} == {DecryptFailed}


def test_a_key_that_was_used_is_wiped(link: Link) -> None:
    """Neither end keeps the key, or the chain value, of a message that was sealed or opened."""
    early = link.initiator.seal(b"early")
    chain, following = receiver(link.responder).ratchet.chain, receiver(link.responder).ratchet.following
    sent = sender(link.initiator).ratchet.chain
    link.responder.open(link.initiator.seal(b"late"))
    key, _ = receiver(link.responder).skipped[min(receiver(link.responder).skipped)]
    assert any(key)
    link.responder.open(early)
    assert not any(key)
    assert not any(chain)
    assert not any(sent)
    for _ in range(RATCHET_MESSAGES):
        link.initiator.send(b"on")
    link.settle(most=300)
    assert not any(following)


def test_a_replay_is_refused_because_its_key_is_gone(link: Link) -> None:
    """Where nothing can be verified any more the answer is DECRYPT_FAILED (rows 7 and 8)."""
    packet = link.initiator.seal(b"roll")
    link.responder.open(packet)
    with untouched(link.responder):
        assert outcome_of(link.responder, packet) is DecryptFailed


def test_skipped_keys_live_for_the_grace(link: Link) -> None:
    """A record that was overtaken opens for 30 s; then its key is wiped at the next call."""
    first, second = link.initiator.seal(b"first"), link.initiator.seal(b"second")
    link.initiator.send(b"third")
    link.settle()
    link.clock.step(GRACE_S - 0.01)
    assert outcome_of(link.responder, first) == b"first"
    (key, _), *none = receiver(link.responder).skipped.values()
    assert not none
    link.clock.step(0.01)
    with untouched(link.responder):
        assert outcome_of(link.responder, second) is DecryptFailed
    link.responder.send(b"any call")
    assert not any(key)
    assert not receiver(link.responder).skipped


def test_skipped_keys_live_inside_the_window(engines: Engines) -> None:
    """After a jump of 3,000 messages 1,024 keys are kept, and those that the window passes are wiped."""
    link = establish(engines, options=Options(ratchet=True))
    packets = [link.initiator.seal(b"%d" % number) for number in range(3_000)]
    assert outcome_of(link.responder, packets[-1]) == b"2999"
    skipped = receiver(link.responder).skipped
    assert len(skipped) == WINDOW
    assert outcome_of(link.responder, packets[-1 - WINDOW]) == b"%d" % (2_999 - WINDOW)
    with untouched(link.responder):
        assert outcome_of(link.responder, packets[-2 - WINDOW]) is DecryptFailed
    lowest, _ = next(iter(skipped.values()))
    link.responder.open(link.initiator.seal(b"one more"))
    link.responder.open(link.initiator.seal(b"and more"))
    assert not any(lowest)
    assert len(skipped) <= WINDOW


@pytest.mark.parametrize("start", [0, 100, RATCHET_MESSAGES - 3])
def test_a_jump_of_64_phases_opens_and_65_cost_nothing(engines: Engines, hmacs: list[int], start: int) -> None:
    """Row 9: 64 phases ahead OK; 65 DECRYPT_FAILED without a trace and without a derivation."""
    link = establish(engines, options=Options(ratchet=True))
    for _ in range(start):
        link.initiator.send(b"on")
    link.settle(most=300)
    phase = receiver(link.responder).phase
    beyond = (phase + MAX_PHASES + 1) << 8
    hmacs[0] = 0
    with untouched(link.responder):
        assert outcome_of(link.responder, forged(link.responder, beyond)) is DecryptFailed
        assert outcome_of(link.responder, forged(link.responder, beyond, phase)) is DecryptFailed
    assert hmacs[0] == 0
    link.initiator.datagrams.current.sender.counter = beyond - 1
    assert outcome_of(link.responder, link.initiator.datagrams.record(
        link.initiator.datagrams.current, 1, b"far", b"", link.initiator.engine.parts.aeads
    )) == b"far"  # fmt: skip


def test_forged_packets_cost_their_price_once(engines: Engines, hmacs: list[int]) -> None:
    """The dearest one costs at most 321 HMACs; again, or near it, or anywhere ahead afterwards, at most 33."""
    link = establish(engines, options=Options(ratchet=True))
    link.talk()
    at = receiver(link.responder).ratchet.at
    dearest = ((at >> 8) + MAX_PHASES) << 8 | 255
    costs = []
    with untouched(link.responder):
        for counter in (dearest, dearest, dearest - 100, dearest):
            hmacs[0] = 0
            assert outcome_of(link.responder, forged(link.responder, counter)) is DecryptFailed
            costs.append(hmacs[0])
        assert 256 < costs[0] <= MOST
        assert max(costs[1:]) <= 33
        every = [*range(at, dearest, 61), *range(at, dearest, 61)]
        for counter in every:
            hmacs[0] = 0
            assert outcome_of(link.responder, forged(link.responder, counter)) is DecryptFailed
            assert hmacs[0] <= MOST
            costs.append(hmacs[0])
        assert max(costs[-len(every) // 2 :]) <= 33
    assert sum(len(secret) for secret in secrets_of(link.responder.session)) < 24_000


def test_the_look_ahead_gives_the_right_keys_while_the_session_goes_on(engines: Engines) -> None:
    """Forgeries between genuine records, also across phases, never make one of those fail."""
    link = establish(engines, options=Options(ratchet=True))
    for number in range(1_200):
        at = receiver(link.responder).ratchet.at
        for ahead in (1 + number * 7 % 700, 300):
            assert outcome_of(link.responder, forged(link.responder, at + ahead)) is DecryptFailed
        jump = 40 if number % 97 == 0 else 1
        packets = [link.initiator.seal(b"%d" % number) for _ in range(jump)]
        assert outcome_of(link.responder, packets[-1]) == b"%d" % number
        if number % 200 == 0:
            link.clock.step(5.0)


def test_the_look_ahead_is_wiped(engines: Engines) -> None:
    """What a forgery has made us derive goes with the grace, and with the session."""
    link = establish(engines, options=Options(ratchet=True))
    look_ahead = receiver(link.responder).look_ahead
    assert outcome_of(link.responder, forged(link.responder, 3_000)) is DecryptFailed
    buffers = [*look_ahead.phases, *(marks.values for marks in look_ahead.marks.values())]
    assert len(buffers) > 10
    assert all(map(any, buffers))
    link.clock.step(GRACE_S)
    link.talk()
    assert not any(map(any, buffers))
    assert not look_ahead.phases
    assert not look_ahead.marks


@pytest.mark.parametrize("phase", [1, 2, 0xFF])
def test_the_header_s_phase_must_be_the_counter_s(engines: Engines, hmacs: list[int], phase: int) -> None:
    """Another phase byte is refused before anything is derived."""
    link = establish(engines, options=Options(ratchet=True))
    at = receiver(link.responder).ratchet.at
    hmacs[0] = 0
    with untouched(link.responder):
        assert outcome_of(link.responder, forged(link.responder, at, phase)) is DecryptFailed
    assert hmacs[0] == 0


def test_any_flipped_bit_is_refused_without_a_trace(link: Link) -> None:
    """One bit at every position: DECRYPT_FAILED, and the genuine record opens after all (row 6)."""
    packet = link.initiator.seal(b"roll")
    with untouched(link.responder):
        for bit in range(len(packet) * 8):
            wrong = bytearray(packet)
            wrong[bit // 8] ^= 1 << bit % 8
            assert outcome_of(link.responder, bytes(wrong)) is DecryptFailed
    assert outcome_of(link.responder, packet) == b"roll"


def test_rekey_is_answered_as_done(link: Link) -> None:
    """There is nothing to do, however often: the next message has a new key anyway."""
    done = [link.responder.rekey() for _ in range(MAX_PHASES + 6)][-1]
    assert (done.to_peer, done.epoch, done.counter) == ((), 0, link.responder.datagrams.current.sender.counter)
    link.talk()


def test_a_passed_counter_has_no_key_to_seal_with(engines: Engines) -> None:
    """A counter that came back would find its key wiped."""
    link = establish(engines, options=Options(ratchet=True))
    with pytest.raises(ValueError, match="wiped"):
        sender(link.initiator).context(0, link.initiator.datagrams.cipher, AeadCache())


def test_wiping_leaves_no_secret(link: Link) -> None:
    """After its end every buffer of the session is zero: skipped keys and look-ahead too."""
    link.initiator.seal(b"lost")
    link.initiator.send(b"roll")
    link.settle()
    outcome_of(link.responder, forged(link.responder, 900))
    session = link.responder.session
    buffers = secrets_of(session)
    link.responder.engine.close(link.responder.session_id)
    assert len(buffers) > 6
    assert not any(map(any, buffers))
