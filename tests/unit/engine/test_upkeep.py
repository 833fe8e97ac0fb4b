"""What nobody calls for: sessions and rows whose time is over, and the end of the process."""

from __future__ import annotations

import pytest

from noisegate_server.engine import upkeep
from noisegate_server.engine.policy import Options
from noisegate_server.session.errors import SessionClosed
from noisegate_server.session.state import RecordMode, TerminationReason
from noisegate_server.session.suites import Pattern
from tests.support.engines import ALL_OPTIONS, Engines, establish, resumed
from tests.support.fingerprint import secrets_of
from tests.support.requests import initiation


def test_time_alone_empties_an_engine(engines: Engines) -> None:
    """Sessions, handshakes, tickets, spent marks, repeated answers, tombstones: each runs out by itself, wiped."""
    link = establish(engines, options=ALL_OPTIONS)
    again = resumed(link)
    again.talk()
    again.initiator.renegotiate()
    link.initiator.engine.initiate(initiation(pattern=Pattern.XX))
    buffers = [buffer for each in (link, again) for end in each.ends for buffer in secrets_of(end.session)]
    tables = [each for engine in engines.made for each in (engine.parts.answers, engine.parts.spent)]
    assert sum(map(len, tables)) > 0
    for _ in range(3):
        engines.clock.step(90_001.0)
        for engine in engines.made:
            engine.sweep()
    assert [engine.leftovers() for engine in engines.made] == [[], []]
    assert not any(map(any, buffers))


def test_a_sweep_names_what_it_ended_and_why(engines: Engines) -> None:
    """Each ended session is reported once, with its reason."""
    link = establish(engines, options=Options(idle_timeout=60.0))
    engine = link.initiator.engine
    engines.clock.step(60.0)
    ended = engine.parts.store.sweep(engines.clock.now, 1_000)
    assert [(each.session_id, each.reason) for each in ended] == [(link.initiator.session_id, TerminationReason.IDLE)]
    assert engine.parts.store.sweep(engines.clock.now, 1_000) == []


def test_a_received_ticket_is_wiped_when_its_time_is_over(engines: Engines) -> None:
    """Its PSK does not outlive it."""
    link = establish(engines, options=ALL_OPTIONS)
    parts = link.initiator.engine.parts
    (kept,) = [value for value, _ in parts.received._rows.values()]
    engines.clock.step(86_400.0)
    link.initiator.engine.sweep()
    assert len(parts.received) == 0
    assert not any(kept.psk)


@pytest.mark.parametrize("mode", list(RecordMode))
def test_the_end_of_the_process_wipes_everything(engines: Engines, mode: RecordMode) -> None:
    """Sessions, half-open handshakes and received tickets; the owner learns that it was the shutdown."""
    options = ALL_OPTIONS if mode is RecordMode.DATAGRAM else None
    link = establish(engines, mode=mode, options=options)
    engine = link.initiator.engine
    begun = engine.initiate(initiation(pattern=Pattern.XX))
    buffers = secrets_of(link.initiator.session) + secrets_of(engine.session(begun.session_id))
    tickets = [value.psk for value, _ in engine.parts.received._rows.values()]
    assert upkeep.end_all(engine.parts, engines.clock.now) == 2
    assert not any(map(any, buffers + tickets))
    assert len(engine.parts.aeads) == len(engine.parts.received) == len(engine.parts.answers) == 0
    with pytest.raises(SessionClosed, match="SHUTDOWN"):
        link.initiator.seal(b"roll")
