"""Keys that outlive their use are wiped when their time is over, though nobody calls for the session."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.session.constants import GRACE_S, MAX_PHASES, RATCHET_MESSAGES
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.ratchet import RatchetReceiver
from noisegate_server.session.state import RecordMode
from noisegate_server.store.sharded import ShardedStore
from noisegate_server.store.suspended import SuspendedSession
from tests.support.engines import End, Engines, Link, establish, outcome_of


def forged(end: End, counter: int) -> bytes:
    """A packet with the session's header for a message far ahead, and nothing that opens."""
    records = end.datagrams
    phase = (counter // RATCHET_MESSAGES) & 0xFF
    return (
        b"\x0a" + records.connection_id + bytes((records.epoch & 0xFF, phase)) + counter.to_bytes(4, "big") + bytes(40)
    )


def _rotated(link: Link) -> list[bytearray]:
    link.initiator.renegotiate()
    link.settle()
    previous = link.responder.datagrams.previous
    assert previous is not None
    receiver = previous.receiver
    return [receiver.ratchet.chain if isinstance(receiver, RatchetReceiver) else receiver.secret]


def _rekeyed(link: Link) -> list[bytearray]:
    link.initiator.rekey()
    link.initiator.send(b"x")
    link.settle()
    receiver = link.responder.datagrams.current.receiver
    assert not isinstance(receiver, RatchetReceiver)
    return [key for key, _ in receiver.passed.values()]


def _overtaken(link: Link) -> list[bytearray]:
    for _ in range(5):
        link.initiator.seal(b"lost")
    link.initiator.send(b"x")
    link.settle()
    receiver = link.responder.datagrams.current.receiver
    assert isinstance(receiver, RatchetReceiver)
    return [key for key, _ in receiver.skipped.values()]


def _forged_ahead(link: Link) -> list[bytearray]:
    for phase in range(1, MAX_PHASES + 1):
        assert outcome_of(link.responder, forged(link.responder, phase * RATCHET_MESSAGES + 255)) is DecryptFailed
    receiver = link.responder.datagrams.current.receiver
    assert isinstance(receiver, RatchetReceiver)
    ahead = receiver.look_ahead
    return [*ahead.phases, *(marks.values for marks in ahead.marks.values())]


@pytest.mark.parametrize(
    ("leave", "ratchet", "least"),
    [
        (_rotated, False, 1),
        (_rotated, True, 1),
        (_rekeyed, False, 1),
        (_overtaken, True, 5),
        (_forged_ahead, True, 120),
    ],
)
def test_a_sweep_wipes_what_is_over_though_nobody_calls(
    engines: Engines, leave: Callable[[Link], list[bytearray]], ratchet: bool, least: int
) -> None:
    """Keys before a rotation, passed phases, overtaken messages, and what forgeries have made a receiver derive."""
    link = establish(engines, options=Options(ratchet=ratchet))
    engine = link.responder.engine
    kept = leave(link)
    assert len(kept) >= least
    assert all(any(secret) for secret in kept)
    engines.clock.step(GRACE_S - 1)
    engine.sweep()
    assert all(any(secret) for secret in kept)
    assert engine.parts.store.wiped == 0
    engines.clock.step(2)
    engine.sweep()
    assert not any(any(secret) for secret in kept)
    assert engine.parts.store.wiped == 1
    assert engine.parts.store.counts().tended == 0
    link.talk()


def test_the_session_goes_on_and_is_tended_again(engines: Engines) -> None:
    """Each rotation leaves keys behind, each is seen to; the wheel never holds more than a few entries of a session."""
    link = establish(engines)
    store = link.responder.engine.parts.store
    for number in range(1, 6):
        link.initiator.renegotiate()
        link.settle()
        link.talk()
        assert store.counts().tended <= 2
        engines.clock.step(GRACE_S + 1)
        link.responder.engine.sweep()
        assert link.responder.datagrams.previous is None
        assert store.wiped == number


def test_a_session_that_ended_meanwhile_is_left_alone(engines: Engines) -> None:
    """Its entry finds nothing."""
    link = establish(engines)
    engine = link.responder.engine
    link.initiator.renegotiate()
    link.settle()
    engine.close(link.responder.session_id)
    assert engine.parts.store.counts().tended == 1
    engines.clock.step(GRACE_S + 1)
    engine.sweep()
    assert (engine.parts.store.counts().tended, engine.parts.store.wiped) == (0, 0)


def test_a_call_that_comes_first_wipes_and_the_sweep_finds_nothing(engines: Engines) -> None:
    """Whoever comes by first does it."""
    link = establish(engines)
    link.initiator.renegotiate()
    link.settle()
    engines.clock.step(GRACE_S + 1)
    link.talk()
    assert link.responder.datagrams.previous is None
    link.responder.engine.sweep()
    assert link.responder.engine.parts.store.counts().tended == 0


def test_slices_are_bounded_and_nothing_is_scanned(engines: Engines) -> None:
    """Sessions without anything to wipe are not on the wheel; those with it are looked at a few in a slice."""
    first, second = engines.make(), engines.make()
    links = [establish(engines, initiator=first, responder=second) for _ in range(12)]
    store = second.parts.store
    assert isinstance(store, ShardedStore)
    assert store.counts().tended == 0
    for link in links[:9]:
        link.initiator.renegotiate()
        link.settle()
    assert store.counts().tended == 9
    engines.clock.step(GRACE_S + 1)
    wiped = [0]
    for _ in range(12):
        looked_at = store.looked_at
        second.parts.store.sweep(engines.clock.now, 3)
        assert store.looked_at - looked_at <= 3
        wiped.append(store.wiped)
    # The deadlines of twelve handshakes come by in the same slices.
    assert all(after - before <= 3 for before, after in pairwise(wiped))
    assert wiped[-1] == 9


def test_noise_sessions_have_nothing_to_tend(engines: Engines) -> None:
    """Passed keys of that mode are wiped at once."""
    link = establish(engines, mode=RecordMode.NOISE)
    link.responder.rekey(1)
    link.initiator.rekey(2)
    link.initiator.open(link.responder.seal(b"x"))
    assert link.responder.engine.parts.store.counts().tended == 0


def test_a_session_that_was_nearly_suspended_is_tended_again(engines: Engines) -> None:
    """Its entry came up while it was on its way out and found nobody; back again, it has another."""
    link = establish(engines)
    engine = link.responder.engine
    store, session = engine.parts.store, link.responder.session
    link.initiator.renegotiate()
    link.settle()
    record = SuspendedSession(
        session_id=session.session_id,
        tenant=session.tenant,
        peer_id=session.peer_id,
        group=session.group,
        mode=session.mode,
        remote_static=session.remote_static,
        bound=session.connection_ids(),
        by_service=True,
        resumable=False,
        suspended_at=engines.clock.now,
        expires_at=session.expires_at,
        moving=True,
    )
    store.suspend(session, record)
    engines.clock.step(GRACE_S + 1)
    engine.sweep()
    assert session.records is not None
    store.restore(record, session, engines.clock.now)
    link.talk()
    link.initiator.renegotiate()
    link.settle()
    assert store.counts().tended == 1
    engines.clock.step(GRACE_S + 1)
    engine.sweep()
    assert (link.responder.datagrams.previous, store.wiped) == (None, 1)
