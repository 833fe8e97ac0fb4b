"""The guard around streaming methods, over the in-process transport."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from noisegate_server.rpc.call import Call, Caller, Inbox, Method, Outbox, Table
from noisegate_server.rpc.health import Health
from noisegate_server.rpc.streams import guarded
from noisegate_server.session.errors import DecryptFailed, SessionNotFound
from tests.support.in_process import LOCAL, Stream
from tests.support.rpc_table import make_rpc, only, reason
from tests.support.streams import Echo

METHOD = "/test.Service/Echo"


class Probe:
    """A table with one guarded stream, and what it was told."""

    def __init__(self, start: Callable[[Call, Outbox], Inbox] | None = None, **rpc: Any) -> None:
        self.heard: list[str] = []
        self.tenants: list[str] = []
        self.defects: list[str] = []
        rpc.setdefault("on_defect", lambda method, error: self.defects.append(type(error).__name__))
        stream = guarded(METHOD, make_rpc(**rpc), start or self.start)
        self.table: Table = {METHOD: Method(stream=stream, client_streaming=True, server_streaming=True)}

    def start(self, call: Call, outbox: Outbox) -> Inbox:
        self.tenants.append(call.caller.tenant)
        return Echo(outbox, self.heard)

    def open(self, caller: Caller = LOCAL, room: float = 100) -> Stream:
        return Stream(self.table, METHOD, caller, room=room)


def ended_by(stream: Stream) -> str:
    """The reason of the refusal that ended it."""
    assert stream.final is not None
    return reason(stream.final)


def test_a_stream_runs_from_its_first_message_to_its_end() -> None:
    """What comes goes back, and half-closing ends it well."""
    probe = Probe()
    stream = probe.open()
    stream.deliver(b"one")
    stream.deliver(b"two")
    stream.inbox.half_closed()
    assert (list(stream.sent), stream.final) == ([b"one", b"two"], (0, b""))
    assert probe.tenants == ["local"]


def test_a_full_outbox_is_not_read() -> None:
    """What the caller sends meanwhile waits, and `writable` comes when there is room."""
    probe = Probe()
    stream = probe.open(room=2)
    for body in (b"1", b"2", b"3", b"4"):
        stream.deliver(body)
    assert probe.heard == ["message 1", "message 2", "full"]
    assert [stream.take() for _ in range(4)] == [b"1", b"2", b"3", b"4"]
    assert probe.heard == [
        "message 1", "message 2", "full", "writable", "message 3", "full", "writable", "message 4", "full", "writable",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("caller", "rpc", "expected"),
    [
        (Caller(identity="", tenant=""), {}, "CALLER_UNAUTHENTICATED"),
        (Caller(identity="spiffe://a/b", tenant=""), {}, "CALLER_FORBIDDEN"),
        (LOCAL, {"policy": only("/test.Service/Other")}, "CALLER_FORBIDDEN"),
    ],
)
def test_who_may_not_call_gets_no_stream(caller: Caller, rpc: dict[str, Any], expected: str) -> None:
    """The same admission as for unary methods, before the method sees anything."""
    probe = Probe(**rpc)
    stream = probe.open(caller)
    stream.inbox.message(b"x")
    stream.inbox.cancelled()
    assert ended_by(stream) == expected
    assert probe.tenants == []


def test_a_draining_server_opens_no_stream() -> None:
    """Those that are open are told; new ones go elsewhere."""
    health = Health()
    probe = Probe(health=health)
    health.drain()
    assert ended_by(probe.open()) == "DRAINING"


@pytest.mark.parametrize("step", ["message", "half_closed", "writable", "draining"])
@pytest.mark.parametrize(("error", "expected"), [(SessionNotFound(), "SESSION_NOT_FOUND"), (KeyError(), "INTERNAL")])
def test_an_error_anywhere_ends_the_stream_once(step: str, error: Exception, expected: str) -> None:
    """As a refusal with its reason, or as INTERNAL; the method is told that its stream is gone, once."""

    class Failing(Echo):
        def fail(self, *_: object) -> None:
            raise error

    setattr(Failing, step, Failing.fail)
    heard: list[str] = []
    probe = Probe(lambda _, outbox: Failing(outbox, heard))
    stream = probe.open()
    arguments = (b"x",) if step == "message" else ()
    getattr(stream.inbox, step)(*arguments)
    assert ended_by(stream) == expected
    for late in ("half_closed", "writable", "draining", "cancelled"):
        getattr(stream.inbox, late)()
    stream.inbox.message(b"late")
    assert heard == ["cancelled"]
    assert probe.defects == (["KeyError"] if expected == "INTERNAL" else [])


@pytest.mark.parametrize(("error", "expected"), [(SessionNotFound(), "SESSION_NOT_FOUND"), (KeyError(), "INTERNAL")])
async def test_an_error_in_the_rest_of_a_message_ends_the_stream(error: Exception, expected: str) -> None:
    """As one in its first part."""

    async def rest() -> None:
        raise error

    heard: list[str] = []
    probe = Probe(lambda _, outbox: Echo(outbox, heard, slow={b"x": rest()}))
    stream = probe.open()
    more = stream.inbox.message(b"x")
    assert more is not None
    await more
    assert ended_by(stream) == expected
    assert heard == ["message x", "cancelled"]


def test_an_error_while_opening_ends_the_stream() -> None:
    """There is no inbox yet to tell."""

    def fail(call: Call, outbox: Outbox) -> Inbox:
        raise DecryptFailed

    assert ended_by(Probe(fail).open()) == "DECRYPT_FAILED"


@pytest.mark.parametrize("end", ["finished", "cancelled", "failed"])
def test_a_stream_that_has_ended_leaves_no_cycle(end: str) -> None:
    """What is old is not collected: a cycle would stay for ever."""

    class Method(Echo):
        def writable(self) -> None:
            raise SessionNotFound

    inboxes: list[weakref.ref[Inbox]] = []

    def start(_: Call, outbox: Outbox) -> Inbox:
        inbox = Method(outbox, [])
        inboxes.append(weakref.ref(inbox))
        return inbox

    gc.disable()
    try:
        stream = Probe(start).open()
        stream.deliver(b"x")
        ends = {"finished": "half_closed", "cancelled": "cancelled", "failed": "writable"}
        getattr(stream.inbox, ends[end])()
        assert inboxes[0]() is None
    finally:
        gc.enable()


def test_an_error_of_a_method_that_hears_of_its_end_is_a_defect() -> None:
    """There is nobody left to answer; the owner hears of it."""

    class Failing(Echo):
        def cancelled(self) -> None:
            raise KeyError

    probe = Probe(lambda _, outbox: Failing(outbox, []))
    stream = probe.open()
    stream.inbox.cancelled()
    assert (stream.final, probe.defects) == (None, ["KeyError"])


def test_nothing_follows_the_end() -> None:
    """A method that sends or finishes after the end, whoever ended it, reaches nobody."""
    outboxes: list[Outbox] = []

    def start(_: Call, outbox: Outbox) -> Inbox:
        outboxes.append(outbox)
        return Echo(outbox, [])

    finished = Probe(start).open()
    finished.inbox.half_closed()
    cancelled = Probe(start).open()
    cancelled.inbox.cancelled()
    for outbox in outboxes:
        assert outbox.send(b"late") is False
        outbox.finish(3, b"")
    assert (finished.final, list(finished.sent)) == ((0, b""), [])
    assert (cancelled.final, list(cancelled.sent)) == (None, [])
