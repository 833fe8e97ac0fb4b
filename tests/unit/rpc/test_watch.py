"""WatchSessions over the in-process transport: its request, its order, a slow reader, its end."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.events import WATCHERS_PER_TENANT, EventKind, SessionEvent
from noisegate_server.rpc.call import Caller
from noisegate_server.rpc.handlers.watch import QUEUE
from noisegate_server.rpc.table import SERVICE_PREFIX
from tests.support.engine_table import Service
from tests.support.in_process import LOCAL, Stream
from tests.support.rpc_table import reason

METHOD = SERVICE_PREFIX + "WatchSessions"
OTHER = Caller(identity="spiffe://game.example/other", tenant="spiffe://game.example/other")


class Watcher:
    """A caller of WatchSessions and what it reads."""

    def __init__(self, service: Service, caller: Caller = LOCAL, *, room: float = math.inf, **request: Any) -> None:
        self.stream = Stream(service.table, METHOD, caller, room=room)
        self.stream.deliver(pb.WatchSessionsRequest(**request).SerializeToString())
        self.stream.inbox.half_closed()

    def read(self) -> list[pb.WatchSessionsResponse]:
        """Everything that is there, one message after the other."""
        messages = []
        while self.stream.sent:
            messages.append(pb.WatchSessionsResponse.FromString(self.stream.take()))
        return messages

    def ended_by(self) -> str:
        assert self.stream.final is not None
        return reason(self.stream.final)


def publish(service: Service, epoch: int) -> None:
    """Tell an event that its epoch makes known."""
    service.parts.events.publish("local", SessionEvent(EventKind.ROTATED, bytes(24), "", "", epoch))


def test_watching_comes_first_and_then_what_happens() -> None:
    """With every field that the contract has, from a real session."""
    service = Service()
    watcher = Watcher(service, peer_id="p1")
    assert [each.WhichOneof("what") for each in watcher.read()] == ["watching"]
    session_id, _ = service.session(peer_id="p1", group="g1")
    service.session(peer_id="p2", group="g1")
    service.call("CloseSession", pb.CloseSessionRequest(session_id=session_id))
    established, closed = [each.event for each in watcher.read()]
    assert established == pb.SessionEvent(
        kind=pb.SESSION_EVENT_KIND_ESTABLISHED, session_id=session_id, peer_id="p1", group="g1"
    )
    assert closed == pb.SessionEvent(
        kind=pb.SESSION_EVENT_KIND_ENDED,
        session_id=session_id,
        peer_id="p1",
        group="g1",
        termination_reason=session_pb2.TERMINATION_REASON_CLOSED,
    )


def test_another_tenant_is_told_nothing() -> None:
    """As with every other method: what is another's does not exist."""
    service = Service()
    foreign = Watcher(service, OTHER)
    service.session()
    assert [each.WhichOneof("what") for each in foreign.read()] == ["watching"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.WatchSessionsRequest(peer_id="p" * 65).SerializeToString(), "INVALID_REQUEST"),
        (pb.WatchSessionsRequest(group="é" * 33).SerializeToString(), "INVALID_REQUEST"),
        (b"\xff", "INVALID_REQUEST"),
    ],
)
def test_a_bad_request_ends_the_stream(request_: bytes, expected: str) -> None:
    """Before a watch is in place; nothing is left of it."""
    service = Service()
    stream = Stream(service.table, METHOD)
    stream.deliver(request_)
    assert stream.final is not None
    assert reason(stream.final) == expected
    assert len(service.parts.events) == 0


def test_no_request_and_a_second_one_are_refused() -> None:
    """The method takes exactly one."""
    service = Service()
    silent = Stream(service.table, METHOD)
    silent.inbox.half_closed()
    double = Stream(service.table, METHOD)
    double.deliver(b"")
    double.deliver(b"")
    for stream in (silent, double):
        assert stream.final is not None
        assert reason(stream.final) == "INVALID_REQUEST"
    assert len(service.parts.events) == 0


def test_one_watcher_too_many_is_refused_and_a_place_is_free_again() -> None:
    """SESSION_QUOTA, until one of the tenant's leaves; other tenants have places of their own."""
    service = Service()
    watchers = [Watcher(service) for _ in range(WATCHERS_PER_TENANT)]
    assert Watcher(service).ended_by() == "SESSION_QUOTA"
    assert Watcher(service, OTHER).stream.final is None
    watchers[0].stream.inbox.cancelled()
    assert Watcher(service).stream.final is None


def test_a_stopping_server_ends_the_watch() -> None:
    """With DRAINING, so that the caller goes to another instance; the place is free."""
    service = Service()
    watcher = Watcher(service)
    watcher.stream.inbox.draining()
    assert watcher.ended_by() == "DRAINING"
    assert len(service.parts.events) == 0


def test_a_slow_watcher_is_told_in_its_place_how_much_it_has_missed() -> None:
    """What waits is bounded; what is missed is counted; nobody else is the slower for it."""
    service = Service()
    slow, quick = Watcher(service, room=2), Watcher(service)
    total = QUEUE + 50
    for epoch in range(total):
        publish(service, epoch)
    assert [each.event.epoch for each in quick.read()[1:]] == list(range(total))
    assert len(slow.stream.sent) == 2
    # One place in the outbox was Watching's; QUEUE events wait behind those that it has.
    read = [pb.WatchSessionsResponse.FromString(slow.stream.take()) for _ in range(2)]
    publish(service, total)
    read += slow.read()
    expected = [("watching", 0), *(("event", epoch) for epoch in range(1 + QUEUE))]
    expected += [("lagged", total - QUEUE - 1), ("event", total)]
    assert [(each.WhichOneof("what"), each.lagged.missed or each.event.epoch) for each in read] == expected


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.integers(min_value=-40, max_value=1_500), max_size=12), room=st.integers(1, 5))
def test_whatever_the_pace_every_event_is_told_or_counted_in_its_place(steps: list[int], room: int) -> None:
    """Positive: so many events happen; negative: the watcher reads so many. In the end they add up, in order."""
    service = Service()
    watcher = Watcher(service, room=room)
    happened = 0
    read: list[pb.WatchSessionsResponse] = []
    for step in steps:
        for _ in range(step):
            publish(service, happened)
            happened += 1
        taken = (watcher.stream.take() for _ in range(min(-step, len(watcher.stream.sent))))
        read += map(pb.WatchSessionsResponse.FromString, taken)
    read += watcher.read()
    due = 0
    for each in read[1:]:
        if each.HasField("lagged"):
            assert each.lagged.missed > 0
            due += each.lagged.missed
        else:
            assert each.event.epoch == due
            due += 1
    assert due == happened
