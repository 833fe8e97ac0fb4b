"""How a batch seals for each of its sessions: by what was found out before, as long as that holds."""

from __future__ import annotations

import pytest

from noisegate_server.session.batch import ADDED, SealedRecords, seal_each
from noisegate_server.session.rotation import rekey
from noisegate_server.session.session import Session
from tests.support.engines import Engines, Link, establish


@pytest.fixture
def link(engines: Engines) -> Link:
    """A session with a record each way behind it: the first one of an epoch looks at its limits."""
    link = establish(engines)
    link.initiator.send(b"here")
    link.responder.send(b"welcome")
    link.settle()
    return link


def sealed(link: Link, sessions: list[Session | None], plaintext: bytes = b"tick") -> list[bytes]:
    """The records of one plaintext for each of the sessions, as far as a batch seals them in one go."""
    out, count, engine = SealedRecords(), len(sessions), link.responder.engine
    sizes = [len(plaintext)] * count
    done = seal_each(sessions, [plaintext] * count, sizes, [b""] * count, engine.clock.now, engine.parts.aeads, out)
    packed, size = b"".join(out.pieces), len(plaintext) + ADDED
    assert len(packed) == done * size
    assert len(out.counters) == len(out.epochs) == len(out.lengths) == done
    return [packed[at : at + size] for at in range(0, len(packed), size)]


def test_whoever_comes_twice_after_a_rekey_seals_under_the_new_key_both_times(link: Link) -> None:
    """What was found out before it does not come to life again with what is found out anew."""
    session, records = link.responder.session, link.responder.datagrams
    assert len(sealed(link, [session])) == 1
    old = session.seal_path
    assert old is not None
    assert rekey(records, link.responder.engine.parts.aeads)
    packets = sealed(link, [session, session])
    new = session.seal_path
    assert new is not None
    assert new.header != old.header
    assert [packet[: len(new.header)] for packet in packets] == [new.header] * 2
    assert [link.initiator.open(packet).plaintext for packet in packets] == [b"tick"] * 2


def test_a_batch_stops_before_a_session_that_is_not_there(link: Link) -> None:
    """Whoever comes before has sealed, whoever comes after has lost no counter."""
    session, records = link.responder.session, link.responder.datagrams
    before = records.sealed
    assert sealed(link, [None, session]) == []
    assert len(sealed(link, [session, None, session])) == 1
    assert records.sealed == before + 1


def test_a_path_that_was_left_seals_no_more(link: Link) -> None:
    """Neither where something is due, nor after the session's end."""
    session, records = link.responder.session, link.responder.datagrams
    assert len(sealed(link, [session])) == 1
    records.fall_due()
    assert sealed(link, [session]) == []
    records.wipe(link.responder.engine.parts.aeads)
    assert sealed(link, [session]) == []


def test_a_limit_in_the_middle_of_a_batch_stops_it_there(link: Link) -> None:
    """The counter at which a limit has to be looked at is not consumed."""
    session, records = link.responder.session, link.responder.datagrams
    sealed(link, [session])
    assert session.seal_path is not None
    stop = session.seal_path.stop
    records.current.sender.counter = stop - 2
    assert len(sealed(link, [session] * 5)) == 2
    assert records.sealed == stop
    assert sealed(link, [session]) == []
