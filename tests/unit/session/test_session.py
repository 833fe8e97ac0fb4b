"""A session's deadlines, its state, and what is left of it when it ends."""

from __future__ import annotations

import pytest

from noisegate_server.engine.policy import Options
from noisegate_server.session.errors import SessionClosed, SessionNotFound
from noisegate_server.session.state import IllegalTransition, RecordMode, SessionState, TerminationReason
from tests.support.engines import ALL_OPTIONS, Engines, establish
from tests.support.fingerprint import secrets_of
from tests.support.requests import initiation

OPTIONS = Options(idle_timeout=60.0, lifetime=200.0)


def test_use_puts_off_the_idle_end_and_never_the_last_one(engines: Engines) -> None:
    """Idle time begins anew with each record; the lifetime does not (row 47)."""
    link = establish(engines, options=OPTIONS, settle=False)
    session, began = link.initiator.session, engines.clock.now
    assert session.expires_at == began + 60.0
    for seconds in (50.0, 50.0, 50.0):
        engines.clock.step(seconds)
        link.initiator.seal(b"roll")
    assert session.expires_at == began + 200.0
    assert session.expiry_cause(began + 200.0) is TerminationReason.LIFETIME
    assert session.expiry_cause(began + 199.0) is TerminationReason.IDLE


def test_a_refused_record_does_not_keep_a_session_alive(engines: Engines) -> None:
    """Spoofed packets do not put off the idle end."""
    link = establish(engines, options=OPTIONS)
    before = link.responder.session.expires_at
    engines.clock.step(30.0)
    packet = link.initiator.seal(b"roll")
    with pytest.raises(Exception, match="did not open"):
        link.responder.open(packet[:-1] + bytes((packet[-1] ^ 1,)))
    assert link.responder.session.expires_at == before


@pytest.mark.parametrize(("seconds", "cause"), [(60.0, "IDLE"), (200.0, "LIFETIME")])
def test_a_session_past_its_time_is_closed_with_its_reason(engines: Engines, seconds: float, cause: str) -> None:
    """Even before a sweep comes by, it is gone; its owner learns why while the tombstone lives."""
    link = establish(engines, options=OPTIONS)
    engines.clock.step(seconds)
    with pytest.raises(SessionClosed, match=cause):
        link.initiator.seal(b"roll")
    engines.clock.step(61.0)
    with pytest.raises(SessionNotFound):
        link.initiator.seal(b"roll")


@pytest.mark.parametrize("mode", list(RecordMode))
def test_every_secret_is_wiped_when_it_ends(engines: Engines, mode: RecordMode) -> None:
    """However much a session holds, all its buffers are zero after the end, and no AEAD context is left."""
    link = establish(engines, mode=mode, options=ALL_OPTIONS if mode is RecordMode.DATAGRAM else None)
    link.talk()
    if mode is RecordMode.DATAGRAM:
        for _ in range(2):
            link.initiator.rekey()
            link.talk()
        link.initiator.renegotiate()
        link.responder.open(link.responder.inbox.popleft())
        assert link.responder.datagrams.next is not None
    for end in link.ends:
        buffers = secrets_of(end.session)
        assert sum(map(any, buffers)) >= 4
        end.engine.close(end.session_id)
        assert not any(map(any, buffers))
        assert len(end.engine.parts.aeads) == 0


def test_a_half_open_session_is_wiped_when_its_time_is_over(engines: Engines) -> None:
    """The handshake's secrets go with it, and nothing stays behind, not even a tombstone (row 31)."""
    link = establish(engines, mode=RecordMode.NOISE)
    engine = engines.make()
    begun = engine.initiate(initiation(remote_static_key=link.responder.engine.identity.public))
    buffers = secrets_of(engine.session(begun.session_id))
    assert any(map(any, buffers))
    engines.clock.step(10.0)
    with pytest.raises(SessionNotFound):
        engine.encrypt(begun.session_id, b"roll")
    assert not any(map(any, buffers))


def test_a_session_ends_once(engines: Engines) -> None:
    """Ending what has ended is a defect of the caller, and the table says so."""
    link = establish(engines)
    session = link.initiator.session
    link.initiator.engine.close(link.initiator.session_id)
    assert session.state is SessionState.TERMINATED
    with pytest.raises(IllegalTransition):
        session.wipe()


def test_its_repr_shows_its_id_and_state_alone(engines: Engines) -> None:
    """What a debugger prints of a session, its records and its handshake holds no secret."""
    link = establish(engines)
    session = link.initiator.session
    assert repr(session) == f"Session({session.session_id.hex()}, ESTABLISHED)"
    shown = repr(session) + repr(session.records) + repr(link.initiator.datagrams.current)
    for secret in secrets_of(session):
        assert secret.hex() not in shown
        assert repr(bytes(secret))[2:-1] not in shown
