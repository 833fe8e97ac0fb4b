"""A room's path: when there is one, what it seals, and that it ends with the path of any of its sessions."""

from __future__ import annotations

import pytest

from noisegate_server.session.batch import SealedRecords
from noisegate_server.session.fast_path import SealPath
from noisegate_server.session.room import RoomPath, prepare_room
from noisegate_server.session.state import TerminationReason
from tests.support.engines import Engines, Link, establish


@pytest.fixture
def links(engines: Engines) -> list[Link]:
    """Three sessions of one service, each with a record behind it: the first one of an epoch looks at its limits."""
    service = engines.make()
    links = [establish(engines, responder=service) for _ in range(3)]
    for link in links:
        link.initiator.send(b"here")
        link.responder.send(b"welcome")
        link.settle()
    return links


def room_of(links: list[Link], now: float) -> RoomPath:
    """Their path."""
    path = prepare_room([link.responder.session for link in links], now)
    assert path is not None
    assert path.holds(now)
    return path


def counters(links: list[Link]) -> list[int]:
    """What each has sealed so far."""
    return [link.responder.datagrams.sealed for link in links]


def sealed(links: list[Link], path: RoomPath, plaintext: bytes) -> tuple[list[bytes], SealedRecords]:
    """The records of one plaintext for all, and the whole."""
    out = SealedRecords()
    engine = links[0].responder.engine
    done = path.seal_same(plaintext, b"", engine.clock.now, engine.parts.aeads, out)
    packets, whole, at = [], b"".join(out.pieces), 0
    for length in out.lengths:
        packets.append(whole[at : at + length])
        at += length
    assert (at, done) == (len(whole), len(out.counters))
    return packets, out


def test_every_player_opens_what_its_room_was_sealed(links: list[Link], engines: Engines) -> None:
    """The same text for all or one for each, with associated data and without; counters go up by one each time."""
    now, before = engines.clock.now, counters(links)
    sent = [link.responder.datagrams.current.sent_bytes for link in links]
    path = room_of(links, now)
    packets, out = sealed(links, path, b"to all")
    assert [link.initiator.open(packet).plaintext for link, packet in zip(links, packets, strict=True)] == [
        b"to all"
    ] * 3
    assert out.counters == before
    each = SealedRecords()
    texts, bound = [b"a", b"bb", b""], [b"", b"x", b"yy"]
    assert path.seal_each(texts, [1, 2, 0], bound, now, links[0].responder.engine.parts.aeads, each) == 3
    whole, at = b"".join(each.pieces), 0
    for link, text, data, length in zip(links, texts, bound, each.lengths, strict=True):
        assert link.initiator.open(whole[at : at + length], data).plaintext == text
        at += length
    assert counters(links) == [counter + 2 for counter in before]
    assert [link.responder.datagrams.current.sent_bytes for link in links] == [
        size + len(b"to all") + len(text) for size, text in zip(sent, texts, strict=True)
    ]


def test_a_session_with_two_places_seals_under_two_counters(links: list[Link], engines: Engines) -> None:
    """Both records open."""
    now, before = engines.clock.now, counters(links)
    packets, out = sealed(links, room_of([links[0], links[1], links[0]], now), b"twice")
    assert out.counters == [before[0], before[1], before[0] + 1]
    assert [links[0].initiator.open(packets[at]).plaintext for at in (2, 0)] == [b"twice"] * 2


def test_a_room_stops_before_a_limit_has_to_be_looked_at(links: list[Link], engines: Engines) -> None:
    """Who comes before has sealed, who comes after has lost no counter, and there is no path any more."""
    now = engines.clock.now
    path = room_of(links, now)
    stop = links[1].responder.session.seal_path
    assert stop is not None
    links[1].responder.datagrams.current.send_counter = stop.stop
    before = counters(links)
    packets, _ = sealed(links, path, b"to some")
    assert [links[0].initiator.open(packet).plaintext for packet in packets] == [b"to some"]
    assert counters(links) == [before[0] + 1, *before[1:]]
    assert not path.holds(now)


def test_a_room_ends_with_the_path_of_any_of_its_sessions(links: list[Link], engines: Engines) -> None:
    """A rekey, its time, the end of the session; with all of them well there is a new one."""
    now = engines.clock.now
    path = room_of(links, now)
    links[2].responder.datagrams.reschedule()
    assert not path.holds(now)
    path = room_of(links, now)
    assert not path.holds(now + links[0].responder.session.idle_timeout)
    links[0].responder.engine.parts.store.end(links[0].responder.session, TerminationReason.CLOSED, now)
    assert not path.holds(now)


def test_sessions_with_too_little_in_common_have_no_path(links: list[Link], engines: Engines) -> None:
    """One that is not there, one that something is due for, one with another idle timeout, one far ahead of a limit."""
    now = engines.clock.now
    sessions = [link.responder.session for link in links]
    assert prepare_room([*sessions, None], now) is None
    sessions[1].idle_timeout += 1
    links[1].responder.datagrams.leave_fast_path()
    assert prepare_room(sessions, now) is None
    assert prepare_room(sessions[::2], now) is not None
    links[2].responder.datagrams.fall_due()
    assert prepare_room(sessions[::2], now) is None


def test_the_oldest_of_too_many_rooms_of_a_session_ends(links: list[Link], engines: Engines) -> None:
    """A session that is in one room after the other keeps hold of the latest ones alone."""
    now = engines.clock.now
    rooms = [room_of([links[0], links[number % 2 + 1]], now) for number in range(10)]
    assert [room.holds(now) for room in rooms] == [False] * 2 + [True] * 8
    path = links[0].responder.session.seal_path
    assert isinstance(path, SealPath)
    assert len(path.holds) == 8
