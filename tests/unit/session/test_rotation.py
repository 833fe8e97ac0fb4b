"""RENEGOTIATE in DATAGRAM mode: what is lost, what comes twice, and what both sides want at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from noisegate_server.session import rotation
from noisegate_server.session.constants import GRACE_S, ROTATE_AGAIN_S, ROTATION_QUIET_S, ROTATION_WISH_S
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.packets import WANTS_ROTATION, Kind
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.state import SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import ALL_OPTIONS, End, Engines, Link, establish, outcome_of
from tests.support.fingerprint import fingerprint


@pytest.fixture
def link(engines: Engines) -> Link:
    """A session between two engines."""
    return establish(engines, options=ALL_OPTIONS)


def epochs_alive(end: End) -> int:
    """How many epochs have keys at this end."""
    return sum(epoch is not None for epoch in (end.datagrams.previous, end.datagrams.current, end.datagrams.next))


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK, Pattern.NK, Pattern.NKPSK2])
@pytest.mark.parametrize("suite", list(Suite))
def test_both_ends_reach_the_new_epoch(engines: Engines, pattern: Pattern, suite: Suite) -> None:
    """A rotation without loss ends ESTABLISHED at both ends, under new keys, anonymous initiators too."""
    link = establish(engines, pattern=pattern, suite=suite)
    before = [bytes(end.datagrams.current.root) for end in link.ends]
    assert link.initiator.renegotiate().state == SessionState.ROTATING
    link.settle()
    assert link.epochs() == (1, 1)
    assert [end.session.state for end in link.ends] == [SessionState.ESTABLISHED] * 2
    roots = [bytes(end.datagrams.current.root) for end in link.ends]
    assert roots[0] == roots[1]
    assert roots[0] not in before
    link.talk()


def test_a_responder_s_wish_makes_the_initiator_rotate(link: Link) -> None:
    """Only the initiator starts; a responder asks with bit 0x80 of a kind."""
    link.clock.step(ROTATION_WISH_S)
    assert link.responder.renegotiate().state == SessionState.ROTATING
    assert link.responder.datagrams.wants_rotation == WANTS_ROTATION
    link.settle()
    assert link.epochs() == (1, 1)
    assert link.responder.datagrams.wants_rotation == 0
    assert link.responder.session.state is SessionState.ESTABLISHED


def test_the_wish_travels_in_data_as_well(link: Link) -> None:
    """When the keep-alive with the wish is lost, the next record of the game carries it."""
    link.clock.step(ROTATION_WISH_S)
    link.responder.renegotiate()
    link.lose_everything()
    link.responder.send(b"roll")
    link.settle()
    assert link.initiator.received == [b"roll"]
    assert link.epochs() == (1, 1)


def test_a_wish_counts_once_in_ten_seconds(link: Link) -> None:
    """A wish right after a rotation starts none; one that stays is granted once the time has passed."""
    link.initiator.renegotiate()
    link.settle()
    link.responder.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    link.clock.step(ROTATION_WISH_S)
    link.responder.send(b"any call")
    link.settle()
    assert link.epochs() == (2, 2)


def test_both_ends_at_once_converge_on_one_rotation(link: Link) -> None:
    """RENEGOTIATE at both ends before anything arrives: one new epoch, not two (row 35)."""
    link.initiator.renegotiate()
    link.responder.renegotiate()
    link.settle()
    assert link.epochs() == (1, 1)
    link.talk()
    assert link.epochs() == (1, 1)


def test_calling_twice_makes_one_rotation(link: Link) -> None:
    """A second call while the first is under way sends the same handshake message in a new record (row 35)."""
    first = link.initiator.renegotiate().to_peer
    begun = link.initiator.datagrams.begun
    second = link.initiator.renegotiate().to_peer
    assert first != second
    assert link.initiator.datagrams.begun is begun
    link.settle()
    assert link.epochs() == (1, 1)


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_lost_first_message_is_repeated(link: Link, lost: int) -> None:
    """Rotate-1 goes out again inside whatever call comes, in a new record, until it is answered."""
    link.initiator.renegotiate()
    message = link.initiator.datagrams.begun
    for _ in range(lost):
        link.lose_everything()
        link.clock.step(6.0)
        link.initiator.seal(b"any call")
        assert len(link.responder.inbox) == 1
    assert link.initiator.datagrams.begun is message
    link.settle()
    assert link.epochs() == (1, 1)


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_a_lost_second_message_gets_the_same_answer_again(link: Link, lost: int) -> None:
    """A repeated rotate-1 is answered with the same rotate-2: the epoch that waits stays the same."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    waiting = link.responder.datagrams.next
    for _ in range(lost):
        link.lose_everything()
        link.clock.step(6.0)
        link.initiator.seal(b"any call")
        link.responder.open(link.responder.inbox.popleft())
        assert link.responder.datagrams.next is waiting
    link.settle()
    assert link.epochs() == (1, 1)
    assert link.responder.datagrams.current is waiting


def test_a_lost_confirmation_is_asked_for_again(link: Link) -> None:
    """After rotate-2 the initiator asks until a record of the new epoch opens."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    link.initiator.open(link.initiator.inbox.popleft())
    for _ in range(3):
        link.lose_everything()
        assert link.initiator.session.state is SessionState.ROTATING
        link.clock.step(6.0)
        link.initiator.seal(b"any call")
    link.settle()
    assert link.epochs() == (1, 1)
    assert link.initiator.session.state is SessionState.ESTABLISHED


def test_reminders_wait_longer_each_time_and_never_over_five_seconds(link: Link) -> None:
    """1, 1.5, 2.25, 3.375, then 5 s lie between two repeats (protocol, section 4)."""
    link.initiator.renegotiate()
    link.lose_everything()
    last = link.clock.now
    waits: list[float] = []
    while len(waits) < 6:
        link.clock.step(0.125)
        link.initiator.seal(b"any call")
        if link.responder.inbox:
            waits.append(link.clock.now - last)
            last = link.clock.now
            link.lose_everything()
    assert waits == [1.0, 1.5, 2.25, 3.375, 5.0, 5.0]


def test_the_responder_seals_under_the_old_epoch_until_the_new_one_is_used(link: Link) -> None:
    """`next` opens and does not seal: its first record promotes it, and a forged one does not (row 14)."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    assert link.epochs() == (0, 0)
    link.initiator.open(link.initiator.inbox.popleft())
    link.lose_everything()
    packet = link.initiator.seal(b"roll")
    before = fingerprint(link.responder.session)
    assert outcome_of(link.responder, packet[:-1] + bytes((packet[-1] ^ 1,))) is DecryptFailed
    assert fingerprint(link.responder.session) == before
    assert outcome_of(link.responder, packet) == b"roll"
    assert link.epochs() == (1, 1)


def test_the_old_epoch_opens_until_its_grace_ends(link: Link) -> None:
    """Records that the rotation overtook open for 30 s after it was confirmed, then no more, both ways (row 13)."""
    early = [end.seal(b"early") for end in link.ends]
    late = [end.seal(b"late") for end in link.ends]
    link.initiator.renegotiate()
    link.settle()
    link.clock.step(GRACE_S - 0.01)
    assert [outcome_of(link.peer_of(end), early[at]) for at, end in enumerate(link.ends)] == [b"early"] * 2
    link.clock.step(0.01)
    for at, end in enumerate(link.ends):
        before = fingerprint(link.peer_of(end).session)
        assert outcome_of(link.peer_of(end), late[at]) is DecryptFailed
        assert fingerprint(link.peer_of(end).session) == before


def test_the_old_epoch_s_secrets_are_wiped_step_by_step(link: Link) -> None:
    """Its sending key goes at the change, its root when the new epoch is confirmed, the rest when the grace ends."""
    old = [end.datagrams.current for end in link.ends]
    link.initiator.renegotiate()
    link.settle()
    for epoch in old:
        assert isinstance(epoch.sender, PhaseSender)
        assert isinstance(epoch.receiver, PhaseReceiver)
        assert not any(epoch.sender.secret)
        assert not any(epoch.root)
        assert any(epoch.receiver.secret)
    link.clock.step(GRACE_S)
    link.talk()
    for end, epoch in zip(link.ends, old, strict=True):
        assert isinstance(epoch.receiver, PhaseReceiver)
        assert not any(epoch.receiver.secret)
        assert end.datagrams.previous is None


def test_a_rotation_that_fails_at_its_end_leaves_the_old_keys(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for the new epoch the session goes on under the old one: nothing was wiped for it yet."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    link.initiator.renegotiate()
    rotate_1 = link.initiator.outbox.popleft()
    link.responder.open(rotate_1)
    with monkeypatch.context() as full:
        full.setattr(rotation, "begin_epoch", fail)
        with pytest.raises(MemoryError):
            link.initiator.open(link.initiator.inbox.popleft())
    link.lose_everything()
    link.talk()
    assert [end.received for end in link.ends] == [[b"ping"]] * 2
    assert link.epochs() == (0, 0)


def test_a_rotation_soon_after_a_rotation_is_dropped(link: Link) -> None:
    """Another rotate-1 within 5 s changes nothing at the responder; later it is answered."""
    link.initiator.renegotiate()
    link.settle()
    link.initiator.renegotiate()
    link.settle()
    assert link.responder.datagrams.next is None
    assert link.epochs() == (1, 1)
    link.clock.step(ROTATION_QUIET_S + 1)
    link.initiator.seal(b"any call")
    link.settle()
    assert link.epochs() == (2, 2)


def test_of_different_first_messages_one_a_second_is_read(link: Link) -> None:
    """Each costs a key agreement: the second of one instant is dropped, its repeat a second later is answered."""
    parts = link.initiator.engine.parts
    records = link.initiator.datagrams
    begun = []
    for _ in range(3):
        link.initiator.renegotiate()
        begun.append(records.begun)
        records.begun = None
        link.lose_everything()
    messages = [each.message for each in begun if each is not None]
    assert len(set(messages)) == 3

    def ask(message: bytes) -> tuple[bytes, ...]:
        return link.responder.open(records.control(Kind.ROTATE_1, message, parts.aeads)).to_peer

    assert ask(messages[0])
    assert [ask(message) for message in messages[1:]] == [(), ()]
    assert ask(messages[0])
    link.clock.step(ROTATE_AGAIN_S)
    assert ask(messages[1])
    assert ask(bytes(96)) == ()
    assert ask(messages[2]) == ()
    records.begun = begun[1]
    link.settle()
    assert link.epochs() == (1, 1)


def test_a_late_repeat_of_the_first_message_does_not_rotate_again(link: Link) -> None:
    """A rotate-1 record that was under way for a long time fits no rotation any more, and is dropped."""
    link.initiator.renegotiate()
    late = link.initiator.renegotiate().to_peer[0]
    link.responder.inbox.pop()
    link.settle()
    link.clock.step(ROTATION_QUIET_S + 1)
    opened = link.responder.open(late)
    assert opened.control == 1
    assert opened.to_peer == ()
    assert link.responder.datagrams.next is None
    assert link.epochs() == (1, 1)


def test_a_garbled_answer_leaves_the_rotation_under_way(link: Link) -> None:
    """A rotate-2 that does not fit is dropped; the genuine one is still taken."""
    link.initiator.renegotiate()
    link.responder.open(link.responder.inbox.popleft())
    begun = link.initiator.datagrams.begun
    parts = link.responder.engine.parts
    link.initiator.open(link.responder.datagrams.control(Kind.ROTATE_2, bytes(48), parts.aeads))
    assert link.initiator.datagrams.begun is begun
    assert link.epochs() == (0, 0)
    link.settle()
    assert link.epochs() == (1, 1)


@pytest.mark.parametrize("kind", [Kind.ROTATE_1, Kind.ROTATE_2])
def test_a_step_in_the_wrong_direction_is_ignored(link: Link, kind: Kind) -> None:
    """An initiator answers no rotate-1, and a responder takes no rotate-2."""
    sender, receiver = (link.responder, link.initiator) if kind is Kind.ROTATE_1 else (link.initiator, link.responder)
    opened = receiver.open(sender.datagrams.control(kind, bytes(96), sender.engine.parts.aeads))
    assert opened.to_peer == ()
    assert receiver.session.state is SessionState.ESTABLISHED
    assert link.epochs() == (0, 0)


def test_never_more_than_three_epochs(link: Link) -> None:
    """Ten rotations in a row leave two epochs alive, and three while one is under way."""
    for number in range(1, 11):
        link.clock.step(ROTATION_WISH_S)
        link.initiator.renegotiate()
        link.responder.open(link.responder.inbox.popleft())
        assert epochs_alive(link.responder) <= 3
        link.settle()
        assert [epochs_alive(end) for end in link.ends] == [2, 2]
        assert link.epochs() == (number, number)


@pytest.mark.parametrize("kind", ["rekey", "renegotiate"])
def test_epoch_numbers_wrap_in_the_header_only(link: Link, kind: str) -> None:
    """After 300 rotations the header's epoch byte has wrapped, and records still find their epoch."""
    act: Callable[[End], object] = End.rekey if kind == "rekey" else End.renegotiate
    rounds = 40 if kind == "rekey" else 300
    for _ in range(rounds):
        # So fast that no rotation falls due by age beside the REKEYs.
        link.clock.step(1.0 if kind == "rekey" else ROTATION_WISH_S)
        act(link.initiator)
        link.settle()
    link.talk()
    assert link.epochs() == ((0, 0) if kind == "rekey" else (300, 300))
