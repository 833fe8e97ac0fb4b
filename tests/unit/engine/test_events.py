"""What watchers are told, when, and of whom; and that nothing is told twice or to the wrong one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from noisegate_server.engine import events
from noisegate_server.engine.events import WATCHERS, WATCHERS_PER_TENANT, EventKind, SessionEvent, Watch
from noisegate_server.engine.policy import Policy
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.constants import HARD_FAILURES
from noisegate_server.session.errors import DecryptFailed, HandshakeFailed, Overloaded, SessionClosed, SessionQuota
from noisegate_server.session.limits import RotationLimits
from noisegate_server.session.packets import Kind
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.session.suites import Pattern
from noisegate_server.store.base import StoreLimits
from tests.support.engines import TENANT, Engine, Engines, Link, establish, resumed
from tests.support.requests import initiation, response

K = EventKind


def watched(engine: Engine, *, tenant: str = TENANT, peer_id: str = "", group: str = "") -> list[SessionEvent]:
    """The events that a watcher of `engine` is told, from here on."""
    told: list[SessionEvent] = []
    engine.parts.events.join(Watch(tenant, peer_id, group, told.append))
    return told


def ended(told: list[SessionEvent]) -> tuple[int, bool]:
    """Cause and resumable of the one end that was told, last."""
    assert [event.kind for event in told].count(K.ENDED) == 1
    assert told[-1].kind is K.ENDED
    return told[-1].reason, told[-1].resumable


@pytest.mark.parametrize("mode", RecordMode)
def test_a_session_is_told_from_its_handshake_to_its_end(engines: Engines, mode: RecordMode) -> None:
    """Both sides, with the names that the caller gave; a watcher in place hears of what comes after, and only once."""
    first, second = engines.make(), engines.make()
    both = watched(first), watched(second)
    link = establish(engines, mode=mode, initiator=first, responder=second)
    for told, end, peer in zip(both, link.ends, ("bob", "ann"), strict=True):
        assert told == [SessionEvent(K.ESTABLISHED, end.session_id, peer, "table 7", 0)]
        end.engine.close(end.session_id)
        assert ended(told)[0] is TerminationReason.CLOSED


def test_watchers_hear_of_their_tenant_player_and_group_alone(engines: Engines) -> None:
    """Another tenant's watcher and one of another player hear nothing; both filters must fit."""
    engine = engines.make()
    other = watched(engine, tenant="other")
    fit = (("ann", ""), ("", "table 7"), ("ann", "table 7"))
    unfit = (("bob", ""), ("ann", "table 8"), ("", "t"))
    told = [watched(engine, peer_id=peer_id, group=group) for peer_id, group in (*fit, *unfit)]
    link = establish(engines, responder=engine)
    engine.close(link.responder.session_id)
    assert other == []
    assert [[event.kind for event in each] for each in told] == [[K.ESTABLISHED, K.ENDED]] * 3 + [[]] * 3


def test_who_has_left_is_told_no_more_and_nothing_is_kept(engines: Engines) -> None:
    """Leaving twice is once, and the place is free again."""
    engine = engines.make()
    told: list[SessionEvent] = []
    watch = Watch(TENANT, "", "", told.append)
    engine.parts.events.join(watch)
    engine.parts.events.leave(watch)
    engine.parts.events.leave(watch)
    establish(engines, responder=engine)
    assert (told, len(engine.parts.events)) == ([], 0)


def test_watchers_are_capped_per_tenant_and_in_all(engines: Engines) -> None:
    """The tenant's own cap is a quota; the process's is overload."""
    engine = engines.make()
    for _ in range(WATCHERS_PER_TENANT):
        watched(engine)
    with pytest.raises(SessionQuota, match="64 watchers"):
        watched(engine)
    tenants = WATCHERS // WATCHERS_PER_TENANT
    for number in range(1, tenants):
        for _ in range(WATCHERS_PER_TENANT):
            watched(engine, tenant=f"t{number}")
    with pytest.raises(Overloaded):
        watched(engine, tenant="one more")
    assert len(engine.parts.events) == WATCHERS


def test_a_due_rotation_is_told_once_an_epoch_and_the_new_keys_when_confirmed(engines: Engines) -> None:
    """DATAGRAM: however many records pass the limit; ROTATED comes with the first record of the new epoch."""
    policy = Policy(limits=RotationLimits(soft_messages=4))
    first, second = engines.make(policy=policy), engines.make(policy=policy)
    link = establish(engines, initiator=first, responder=second)
    told = watched(second)
    kinds: list[tuple[EventKind, int]] = []
    for _ in range(3):
        for _ in range(8):
            link.responder.send(b"x")
        link.settle()
        kinds += [(event.kind, event.epoch) for event in told]
        told.clear()
        engines.clock.step(20)
    epochs = [epoch for kind, epoch in kinds if kind is K.ROTATED]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= 2
    due = [epoch for kind, epoch in kinds if kind is K.ROTATION_DUE]
    assert due == sorted(set(due))
    assert len(due) >= 2


def test_a_noise_session_is_told_due_once_and_rotated_when_both_directions_are(engines: Engines) -> None:
    """One direction alone is not yet the player's confirmation."""
    policy = Policy(limits=RotationLimits(soft_messages=2))
    link = establish(engines, mode=RecordMode.NOISE, responder=engines.make(policy=policy))
    told = watched(link.responder.engine)
    for _ in range(5):
        link.initiator.open(link.responder.seal(b"x"))
    assert [(event.kind, event.epoch) for event in told] == [(K.ROTATION_DUE, 0)]
    message = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
    answer = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message)).to_peer[0]
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answer))
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True))
    assert len(told) == 1
    link.responder.rotate(RotateCommand(kind=RENEGOTIATE, switch_receive=True))
    assert [(event.kind, event.epoch) for event in told[1:]] == [(K.ROTATED, 1)]


def _idle(link: Link) -> None:
    link.clock.step(601)
    link.responder.engine.sweep()


def _lifetime(link: Link) -> None:
    link.responder.session.idle_timeout = 100_000.0
    link.responder.send(b"x")
    link.clock.step(86_401)
    with pytest.raises(SessionClosed):
        link.responder.engine.encrypt(link.responder.session_id, b"x")


def _peer_closed(link: Link) -> None:
    packet = link.initiator.datagrams.control(Kind.CLOSE, b"", link.initiator.engine.parts.aeads)
    link.responder.open(packet)


def _closed(link: Link) -> None:
    link.responder.engine.close(link.responder.session_id)


def _exhausted(link: Link) -> None:
    link.responder.session.refused = HARD_FAILURES - 1
    with pytest.raises(DecryptFailed):
        link.responder.open(bytes(40))


def _shutdown(link: Link) -> None:
    link.responder.engine.shut_down()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (_idle, TerminationReason.IDLE),
        (_lifetime, TerminationReason.LIFETIME),
        (_peer_closed, TerminationReason.PEER_CLOSED),
        (_closed, TerminationReason.CLOSED),
        (_exhausted, TerminationReason.EXHAUSTED),
        (_shutdown, TerminationReason.SHUTDOWN),
    ],
)
def test_every_end_is_told_with_its_cause(
    engines: Engines, end: Callable[[Link], None], reason: TerminationReason
) -> None:
    """Once each, whether a call, a sweep or the player brought it, and nothing is told of the session after it."""
    link = establish(engines)
    link.responder.datagrams.fall_due()
    told = watched(link.responder.engine)
    end(link)
    assert ended(told) == (reason, False)


def test_an_end_says_whether_a_ticket_may_help(engines: Engines) -> None:
    """It does where the player has one; and the resumed session is a new one, established."""
    link = establish(engines)
    told = watched(link.responder.engine)
    issued = link.responder.engine.issue(link.responder.session_id)
    link.initiator.open(issued.to_peer[0])
    link.responder.engine.close(link.responder.session_id)
    assert ended(told) == (TerminationReason.CLOSED, True)
    back = resumed(link)
    assert (told[-1].kind, told[-1].session_id) == (K.ESTABLISHED, back.responder.session_id)


def test_handshakes_that_never_finished_are_not_told(engines: Engines) -> None:
    """Neither one that failed nor one whose time was over: there was no session yet."""
    engine = engines.make()
    told = watched(engine)
    player = engines.make()
    begun = [player.initiate(initiation(mode=RecordMode.NOISE, pattern=Pattern.XX)) for _ in range(2)]
    _, failing = (
        engine.respond(response(each.to_peer[0], mode=RecordMode.NOISE, pattern=Pattern.XX, suite=1)) for each in begun
    )
    with pytest.raises(HandshakeFailed):
        engine.proceed(failing.session_id, bytes(64))
    engines.clock.step(11)
    engine.sweep()
    assert told == []
    assert engine.parts.store.counts().sessions == 0


def test_nothing_is_built_where_nobody_watches(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of a session that is due with every record."""

    def forbidden(*_: object) -> SessionEvent:
        raise AssertionError("an event was built")

    monkeypatch.setattr(events, "_event", forbidden)
    engine = engines.make(policy=Policy(limits=RotationLimits(soft_messages=1)))
    watched(engine, tenant="other")
    link = establish(engines, mode=RecordMode.NOISE, responder=engine)
    for _ in range(4):
        link.initiator.open(link.responder.seal(b"x"))
    engine.close(link.responder.session_id)


def test_a_full_store_tells_nothing(engines: Engines) -> None:
    """A session that found no room was never one."""
    engine = engines.make(limits=StoreLimits(capacity=1))
    establish(engines, responder=engine)
    told = watched(engine)
    with pytest.raises(Overloaded):
        establish(engines, responder=engine)
    assert told == []
