"""Salted epochs: the eight rules of docs/protocol.md, section 5.

Tests are named by the rule that they hold to.
"""

from __future__ import annotations

import itertools

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.session.constants import (
    GRACE_S,
    MAX_HELD_ROOTS,
    SALTED_ANSWER_S,
)
from noisegate_server.session.datagram import SALTED
from noisegate_server.session.errors import DecryptFailed, ReplayDetected
from noisegate_server.session.fields import BlobRefused, Tag, read_record
from noisegate_server.session.suites import Suite
from tests.support.engines import ALL_OPTIONS, End, Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint
from tests.support.restored import ROLES, assert_both_ways, come_back, record_of, restore, settle, suspend

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


def test_rule_1_the_number_is_the_nearest_above_the_confirmed_one(engines: Engines, link: Link) -> None:
    """Its low byte wraps; the base's byte names an epoch below it."""
    for end in link.ends:
        end.datagrams.current.number = 254
    for _ in range(3):
        come_back(engines, link, "responder", tells=False)
    packet = link.responder.seal(b"roll")
    assert link.responder.datagrams.current.send_tail[0] == 254
    assert link.initiator.open(packet).epoch == 257
    settle(link)
    assert link.epochs() == (258, 258)


def test_rule_1_more_packets_of_an_epoch_are_known_by_base_and_salt(engines: Engines, link: Link) -> None:
    """They are records of the epoch that lives: nothing is derived for them; with another salt it is none."""
    owner = come_back(engines, link, "responder", tells=False)
    packets = [owner.seal(b"%d" % number) for number in range(3)]
    link.initiator.open(packets[0])
    current = link.initiator.datagrams.current
    link.initiator.open(packets[1])
    assert link.initiator.datagrams.current is current
    spoilt = packets[2][:16] + bytes(16) + packets[2][32:]
    assert outcome_of(link.initiator, spoilt) is DecryptFailed
    assert link.initiator.datagrams.current is current
    assert outcome_of(link.initiator, packets[2]) == b"2"


@pytest.mark.parametrize("role", ROLES)
def test_rule_2_any_flipped_bit_is_refused_without_a_trace(engines: Engines, every_link: Link, role: str) -> None:
    """One bit at every position of a SALTED: DECRYPT_FAILED, nothing changed, and the genuine one opens after all."""
    link = every_link
    owner = come_back(engines, link, role, tells=False)
    peer = link.peer_of(owner)
    packet = owner.seal(b"roll")
    before = fingerprint(peer.session)
    # With the mask and the first bytes of the AEAD output every header field is another one: no need of each bit.
    step = 1 if len(packet) < 60 else 5
    for bit in range(0, len(packet) * 8, step):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        assert outcome_of(peer, bytes(forged)) is DecryptFailed, bit
    assert fingerprint(peer.session) == before
    assert outcome_of(peer, packet) == b"roll"


@pytest.mark.parametrize("length", [0, 1, 15, 31, 32, 48])
def test_rule_2_a_short_packet_is_refused_without_a_trace(engines: Engines, link: Link, length: int) -> None:
    """Less than a header, a kind and a tag is no SALTED."""
    packet = come_back(engines, link, "responder", tells=False).seal(b"")
    before = fingerprint(link.initiator.session)
    assert outcome_of(link.initiator, packet[:length]) is DecryptFailed
    assert fingerprint(link.initiator.session) == before


def test_rule_2_older_epochs_are_refused_so_a_zombie_is_not_believed(engines: Engines, link: Link) -> None:
    """The owner before, which lives on and knows nothing, is not heard any more; nor is an older restore."""
    zombie = link.responder
    early = zombie.seal(b"early")
    older = restore(engines, zombie, record_of(zombie), tells=False)
    newest = restore(engines, older, record_of(older), tells=False)
    assert link.initiator.open(newest.seal(b"new")).epoch == 2
    before = fingerprint(link.initiator.session)
    for packet in (early, zombie.seal(b"late"), older.seal(b"late")):
        assert outcome_of(link.initiator, packet) is DecryptFailed
    assert fingerprint(link.initiator.session) == before


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("ratchet", [False, True])
def test_rule_2_a_rotation_gives_way_wherever_it_was(
    engines: Engines, step: int, role: str, both: bool, lost: bool, ratchet: bool
) -> None:
    """Suspended after each message of a rotation, one side or both, what was on its way lost or not: it goes on."""
    link = establish(engines, options=Options(mask=True, ratchet=ratchet))
    link.initiator.renegotiate()
    for end in (link.responder, link.initiator, link.responder, link.initiator)[:step]:
        end.open(end.inbox.popleft())
    if lost:
        link.lose_everything()
    for each in ROLES if both else [role]:
        come_back(engines, link, each)
    settle(link)
    for _ in range(4):
        # What a lost record delays: both sides say it again.
        engines.clock.step(6.0)
        for end in link.ends:
            end.send(b"any call")
        settle(link)
        for end in link.ends:
            end.received.clear()
    assert_both_ways(link)
    assert len(set(link.epochs())) == 1
    assert all(not end.datagrams.held for end in link.ends)


def test_rule_3_the_larger_number_and_salt_wins(engines: Engines, link: Link) -> None:
    """Both are restored at once: exactly one of the two takes the other's epoch, for a base."""
    for role in ROLES:
        come_back(engines, link, role, tells=False)
    first, second = link.ends
    behind = first.datagrams.current.send_tail[1:] < second.datagrams.current.send_tail[1:]
    loser, winner = (first, second) if behind else (second, first)
    from_loser, from_winner = loser.seal(b"refused"), winner.seal(b"dropped")
    assert loser.open(from_winner).plaintext is None
    assert loser.datagrams.epoch == 2
    opened = winner.engine.decrypt(winner.session_id, from_loser)
    assert (opened.plaintext, opened.control, len(opened.to_peer)) == (None, 3, 1)
    assert winner.datagrams.epoch == 1
    settle(link)
    assert_both_ways(link)


@pytest.mark.parametrize("role", ROLES)
def test_rule_4_the_base_s_root_is_kept_until_a_plain_record_opens(engines: Engines, link: Link, role: str) -> None:
    """SALTED packets leave it; the first plain RECORD under the new epoch wipes it."""
    owner = come_back(engines, link, role, tells=False)
    peer = link.peer_of(owner)
    peer.open(owner.seal(b"1"))
    base = peer.datagrams.held[0].root
    peer.open(owner.seal(b"2"))
    assert any(base)
    held = [root.root for root in owner.datagrams.held]
    owner.open(owner.inbox.popleft())
    assert owner.datagrams.held == []
    assert not any(map(any, held))
    assert any(base)
    plain = owner.seal(b"3")
    assert plain[:1] != SALTED
    peer.open(plain)
    assert peer.datagrams.held == []
    assert not any(base)


@pytest.mark.parametrize("role", ROLES)
def test_rule_4_late_salted_packets_still_open(engines: Engines, link: Link, role: str) -> None:
    """One that a plain RECORD, and the rotation after it, has overtaken opens until the grace ends, and once."""
    owner = come_back(engines, link, role, tells=False)
    peer = link.peer_of(owner)
    late, later = owner.seal(b"late"), owner.seal(b"later")
    owner.send(b"first")
    settle(link)
    assert link.epochs() == (2, 2)
    assert outcome_of(peer, late) == b"late"
    assert outcome_of(peer, late) is ReplayDetected
    engines.clock.step(GRACE_S)
    assert outcome_of(peer, later) is DecryptFailed


@pytest.mark.parametrize("seed", range(8))
def test_rule_5_both_sides_restored_at_once(engines: Engines, every_link: Link, seed: int) -> None:
    """Whichever salt is larger, and whatever is lost at first, both ends meet in one epoch."""
    link = every_link
    for role in ROLES:
        come_back(engines, link, role, tells=bool(seed & 1))
    if seed & 2:
        link.lose_everything()
    for end in link.ends if seed & 4 else reversed(link.ends):
        end.send(b"any call")
    settle(link)
    for end in link.ends:
        engines.clock.step(1.0)
        end.send(b"any call")
        settle(link)
        end.received.clear()
    assert_both_ways(link)
    assert len(set(link.epochs())) == 1


def test_rule_5_what_came_under_a_stored_base_is_not_taken(engines: Engines, link: Link) -> None:
    """Two owners of one record are sent the same data by a restored peer: neither takes it, and none seals alike."""
    record = suspend(link.responder)
    player = come_back(engines, link, "initiator", tells=False)
    packet = player.seal(b"once")
    owners: list[End] = []
    while len(owners) < 2:
        owner = restore(engines, link.responder, record, tells=False)
        # Of equal numbers the larger salt wins: it shall be the player's.
        if owner.datagrams.current.send_tail < player.datagrams.current.send_tail:
            owners.append(owner)
    answers = []
    for owner in owners:
        opened = owner.open(packet)
        assert (opened.plaintext, opened.epoch) == (None, 1)
        assert owner.datagrams.epoch == 2
        (answer,) = opened.to_peer
        assert answer[:1] == SALTED
        answers.append(answer)
    link.lose_everything()
    assert player.open(answers[0]).epoch == 2
    assert outcome_of(player, answers[1]) is DecryptFailed
    link.responder = owners[0]
    settle(link)
    assert_both_ways(link)
    assert outcome_of(player, owners[1].seal(b"zombie")) is DecryptFailed


@pytest.mark.parametrize("ratchet", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_rule_5_two_owners_of_one_record_never_seal_alike(engines: Engines, ratchet: bool, both: bool) -> None:
    """Both hear all and say what they can: the peer believes one, and the net under all tests finds no nonce twice."""
    link = establish(engines, options=Options(ratchet=ratchet))
    record = suspend(link.responder)
    owners = [restore(engines, link.responder, record) for _ in range(2)]
    peer = come_back(engines, link, "initiator") if both else link.initiator
    for _ in range(40):
        for owner in owners:
            owner.send(b"roll")
        peer.send(b"go")
        for _ in range(3):
            for packet in list(peer.inbox):
                outcome_of(peer, packet)
            peer.inbox.clear()
            for packet in list(peer.outbox):
                for owner in owners:
                    outcome_of(owner, packet)
            peer.outbox.clear()
        engines.clock.step(0.3)
    heard = [owner for owner in owners if not owner.datagrams.current.send_tail]
    assert len(heard) == 1
    link.lose_everything()
    link.responder = heard[0]
    for end in link.ends:
        end.received.clear()
    assert_both_ways(link)


def test_rule_6_the_initiator_s_base_is_the_epoch_whose_answer_it_opened(engines: Engines, link: Link) -> None:
    """The responder has it as `next`, and no older root any more where that was confirmed."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    link.initiator.open(link.initiator.inbox.popleft())
    record = record_of(link.initiator)
    link.settle()
    assert link.epochs() == (1, 1)
    owner = come_back(engines, link, "initiator", record, tells=False)
    assert owner.datagrams.current.send_tail[0] == 1
    assert owner.datagrams.epoch == 2
    assert link.responder.open(owner.seal(b"roll")).plaintext == b"roll"


def test_rule_6_the_responder_s_base_is_confirmed(engines: Engines, link: Link) -> None:
    """What it holds as `next` nobody may ever use: its base is the epoch before, its number is above both."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    owner = come_back(engines, link, "responder", tells=False)
    assert owner.datagrams.current.send_tail[0] == 0
    assert owner.datagrams.epoch == 2
    link.lose_everything()
    assert link.initiator.open(owner.seal(b"roll")).plaintext == b"roll"


def test_rule_7_every_root_that_a_peer_may_build_on_is_stored(engines: Engines, link: Link) -> None:
    """With its number, whether it was confirmed, and the highest number known, that of a rotation begun among them."""

    def stored(end: End) -> tuple[list[tuple[int, bool, bool]], int]:
        values, _ = read_record(record_of(end), secrets=True)
        return [(root.number, root.confirmed, root.agreed) for root in values[Tag.ROOTS]], values[Tag.HIGHEST_EPOCH]

    link.initiator.renegotiate()
    assert stored(link.initiator) == ([(0, True, False)], 1)
    link.responder.open(link.responder.inbox.popleft())
    assert stored(link.responder) == ([(0, True, False), (1, False, False)], 1)
    link.initiator.open(link.initiator.inbox.popleft())
    assert stored(link.initiator) == ([(0, True, False), (1, False, True)], 1)
    owner = come_back(engines, link, "responder", tells=False)
    assert stored(owner) == ([(0, True, False), (1, False, False), (2, False, False)], 2)
    link.initiator.open(owner.seal(b"roll"))
    assert stored(link.initiator)[0][:2] == [(0, True, False), (2, True, False)]


def test_rule_8_what_does_not_open_is_answered_at_most_every_200_ms(engines: Engines, link: Link) -> None:
    """A record of the epoch before makes the restored side say which is the newest; garbage does not, nor a flood."""
    packets = [link.initiator.seal(b"%d" % number) for number in range(4)]
    owner = come_back(engines, link, "responder", tells=False)
    expires_at = owner.session.expires_at
    opened = owner.engine.decrypt(owner.session_id, packets[0])
    assert (opened.plaintext, opened.control, opened.newest) == (None, 3, False)
    assert opened.to_peer[0][:1] == SALTED
    assert outcome_of(owner, packets[1]) is DecryptFailed
    engines.clock.step(SALTED_ANSWER_S)
    assert outcome_of(owner, packets[2][:31]) is DecryptFailed
    assert outcome_of(owner, b"\x09" + packets[2][1:]) is DecryptFailed
    assert owner.engine.decrypt(owner.session_id, packets[2]).to_peer
    assert owner.session.refused == 5
    assert owner.session.expires_at == expires_at
    link.lose_everything()
    link.initiator.inbox.extend(opened.to_peer)
    settle(link)
    engines.clock.step(SALTED_ANSWER_S)
    assert outcome_of(owner, packets[3]) is DecryptFailed
    assert_both_ways(link)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_suspended_again_while_unconfirmed(engines: Engines, link: Link, role: str, heard: bool, both: bool) -> None:
    """Restored ten times over, the peer hearing of none or of each: the last one goes on."""
    for _ in range(10):
        for each in ROLES if both else [role]:
            peer = link.peer_of(come_back(engines, link, each))
            if heard:
                outcome_of(peer, peer.inbox.popleft())
            link.lose_everything()
    assert all(len(end.datagrams.held) <= MAX_HELD_ROOTS for end in link.ends)
    for _ in range(3):
        engines.clock.step(1.0)
        for end in link.ends:
            end.send(b"any call")
        settle(link)
    for end in link.ends:
        end.received.clear()
    assert_both_ways(link)


def test_the_peer_s_rotation_under_way_is_forgotten(engines: Engines, link: Link) -> None:
    """Its rotate-1 is wiped with the epoch to which it belonged, and a late answer to it changes nothing."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    answer = link.initiator.inbox.popleft()
    owner = come_back(engines, link, "responder", tells=False)
    link.initiator.open(owner.seal(b"roll"))
    assert link.initiator.datagrams.begun is not None
    assert link.initiator.datagrams.begun.number == 3
    assert outcome_of(link.initiator, answer) is DecryptFailed
    settle(link)
    assert link.epochs() == (3, 3)


def test_no_salted_epoch_is_numbered_so_high_that_its_byte_says_another(engines: Engines, link: Link) -> None:
    """Restored 254 times unheard the peer still understands; once more, and there is nothing to restore."""
    for _ in range(254):
        come_back(engines, link, "responder", tells=False)
    record = record_of(link.responder)
    assert link.initiator.open(link.responder.seal(b"roll")).epoch == 254
    with pytest.raises(BlobRefused):
        restore(engines, link.responder, record)
