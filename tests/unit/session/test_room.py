"""A room's path: when there is one, what it seals, and that it ends with the path of any of its sessions."""

from __future__ import annotations

import pytest

from noisegate_server.session.batch import ADDED
from noisegate_server.session.phases import PhaseSender
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


def sealed(links: list[Link], path: RoomPath, plaintext: bytes) -> tuple[list[bytes], list[int]]:
    """The records of one plaintext for all, and their counters."""
    engine = links[0].responder.engine
    done = path.seal_same(plaintext, b"", engine.clock.now, engine.parts.aeads)
    assert done is not None
    counters, packed = list(done[0]), b"".join(done[1])
    size = len(plaintext) + ADDED
    assert len(packed) == size * len(counters)
    return [packed[at : at + size] for at in range(0, len(packed), size)], counters


def bring_before_limit(link: Link, records: int = 0) -> None:
    """So many records later a limit of the session has to be looked at."""
    path = link.responder.session.seal_path
    assert path is not None
    link.responder.datagrams.current.sender.counter = path.stop - records


def test_every_player_opens_what_its_room_was_sealed(links: list[Link], engines: Engines) -> None:
    """The same text for all or one for each, with associated data and without; counters go up by one each time."""
    now, before = engines.clock.now, counters(links)
    sent = [link.responder.datagrams.sealed_bytes for link in links]
    path = room_of(links, now)
    packets, numbers = sealed(links, path, b"to all")
    assert [link.initiator.open(packet).plaintext for link, packet in zip(links, packets, strict=True)] == [
        b"to all"
    ] * 3
    assert numbers == before
    texts, bound, at = [b"a", b"bb", b""], [b"", b"x", b"yy"], 0
    aeads = links[0].responder.engine.parts.aeads
    done = path.seal_each(texts, [1, 2, 0], bound, now + 1, aeads)
    assert done is not None
    numbers, packed = list(done[0]), b"".join(done[1])
    assert numbers == [counter + 1 for counter in before]
    for link, text, data in zip(links, texts, bound, strict=True):
        end = at + len(text) + ADDED
        assert link.initiator.open(packed[at:end], data).plaintext == text
        at = end
    assert counters(links) == [counter + 2 for counter in before]
    for session in (link.responder.session for link in links):
        assert (session.last_used, session.expires_at) == (now + 1, now + 1 + session.idle_timeout)
    assert [link.responder.datagrams.sealed_bytes for link in links] == [
        size + len(b"to all") + len(text) for size, text in zip(sent, texts, strict=True)
    ]


def test_a_session_with_many_places_seals_under_as_many_counters(links: list[Link], engines: Engines) -> None:
    """Every record opens, and counts; the last place has no counter beyond a limit."""
    now, before = engines.clock.now, counters(links)
    path = room_of([links[0], links[1], *[links[0]] * 9], now)
    sent = links[0].responder.datagrams.sealed_bytes
    packets, numbers = sealed(links, path, b"twice")
    assert numbers == [before[0], before[1], *range(before[0] + 1, before[0] + 10)]
    assert [links[0].initiator.open(packets[at]).plaintext for at in (2, 0, *range(3, 11))] == [b"twice"] * 10
    assert links[0].responder.datagrams.sealed_bytes == sent + 10 * len(b"twice")
    bring_before_limit(links[0], records=10)
    sealed(links, path, b"the last")
    bring_before_limit(links[0], records=9)
    assert path.seal_same(b"one too many", b"", now, links[0].responder.engine.parts.aeads) is None


def test_a_room_seals_for_nobody_where_a_limit_of_one_has_to_be_looked_at(links: list[Link], engines: Engines) -> None:
    """Nobody has lost a counter or counts a byte, no session was used, and there is no path any more."""
    now, aeads = engines.clock.now, links[0].responder.engine.parts.aeads
    for late in range(len(links)):
        path = room_of(links, now)
        counter = links[late].responder.datagrams.current.sender.counter
        bring_before_limit(links[late])
        before, sent = counters(links), [link.responder.datagrams.sealed_bytes for link in links]
        used = [link.responder.session.last_used for link in links]
        if late % 2:
            assert path.seal_same(b"to all", b"", now + 1, aeads) is None
        else:
            assert path.seal_each([b"one", b"another", b""], [3, 7, 0], (), now + 1, aeads) is None
        assert not path.holds(now)
        assert counters(links) == before
        assert [link.responder.datagrams.sealed_bytes for link in links] == sent
        assert [link.responder.session.last_used for link in links] == used
        links[late].responder.datagrams.current.sender.counter = counter


def test_a_room_seals_up_to_the_last_record_before_a_limit(links: list[Link], engines: Engines) -> None:
    """That one for everybody, the next for nobody."""
    now = engines.clock.now
    path = room_of(links, now)
    bring_before_limit(links[1], records=1)
    sealed(links, path, b"the last")
    assert path.holds(now)
    assert path.seal_same(b"one more", b"", now, links[0].responder.engine.parts.aeads) is None


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
    sender = links[0].responder.datagrams.current.sender
    assert isinstance(sender, PhaseSender)
    assert len(sender.holds) == 8


def test_what_a_room_has_sealed_counts_for_each_session_at_once_and_for_good(
    links: list[Link], engines: Engines
) -> None:
    """While the path holds, after it has ended, and where a room was let go for others; nothing counts twice."""
    now = engines.clock.now
    records = [link.responder.datagrams for link in links]
    before = [each.sealed_bytes for each in records]
    path = room_of(links, now)
    sealed(links, path, b"12345")
    assert [each.sealed_bytes for each in records] == [size + 5 for size in before]
    for number in range(10):
        sealed(links, room_of([links[0], links[number % 2 + 1]], now), b"1")
    assert [each.sealed_bytes for each in records] == [before[0] + 15, before[1] + 10, before[2] + 10]
    for each in records:
        each.leave_fast_path()
        each.leave_fast_path()
    assert [each.sealed_bytes for each in records] == [before[0] + 15, before[1] + 10, before[2] + 10]
    assert [each.current.sender.sent_bytes for each in records] == [each.sealed_bytes for each in records]


def test_the_limit_of_bytes_counts_what_rooms_have_sealed(links: list[Link], engines: Engines) -> None:
    """Sealed for a room or alone: past the soft limit a rotation is due, no byte later."""
    now, records = engines.clock.now, links[0].responder.datagrams
    records.current.sender.sent_bytes = records.limits.soft_bytes - 5
    sealed(links, room_of(links, now), b"12345")
    assert not records.due
    records.look(records.current)
    assert records.due
