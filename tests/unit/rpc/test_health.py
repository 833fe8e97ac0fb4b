"""grpc.health.v1 over the seam, and draining."""

from __future__ import annotations

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Caller, Code, Table
from noisegate_server.rpc.health import SERVICE, Health, health_methods
from tests.support.in_process import Stream, call
from tests.support.rpc_table import reason

CHECK, LIST, WATCH = (f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch"))
STATUS = health_pb2.HealthCheckResponse
NOBODY = Caller(identity="", tenant="")


def asks(service: str) -> bytes:
    """A serialised request of Check or Watch."""
    body: bytes = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    return body


def status(body: bytes) -> int:
    """The status in a response."""
    found: int = STATUS.FromString(body).status
    return found


async def checked(table: Table, service: str) -> int:
    """What Check says of a name."""
    code, body = await call(table, CHECK, asks(service), NOBODY)
    assert code == 0
    return status(body)


async def test_liveness_outlives_readiness() -> None:
    """A draining process must not be killed as dead; and probes have no tenant."""
    health = Health()
    table = health_methods(health)
    assert [await checked(table, name) for name in ("", SERVICE)] == [STATUS.SERVING, STATUS.SERVING]
    health.drain()
    assert [await checked(table, name) for name in ("", SERVICE)] == [STATUS.SERVING, STATUS.NOT_SERVING]


async def test_an_unknown_service_is_not_found() -> None:
    """As grpc.health.v1 says of Check."""
    assert (await call(health_methods(Health()), CHECK, asks("other")))[0] == Code.NOT_FOUND


async def test_list_names_all() -> None:
    """Both names with their statuses."""
    health = Health()
    health.drain()
    code, body = await call(health_methods(health), LIST, b"")
    listed = health_pb2.HealthListResponse.FromString(body).statuses
    assert code == 0
    assert {name: entry.status for name, entry in listed.items()} == {"": STATUS.SERVING, SERVICE: STATUS.NOT_SERVING}


async def test_malformed_requests_are_ours_to_refuse() -> None:
    """Otherwise a transport would call them UNKNOWN."""
    table = health_methods(Health())
    for method in (CHECK, LIST):
        assert reason(await call(table, method, b"\xff")) == "INVALID_REQUEST"
    watch = Stream(table, WATCH)
    watch.deliver(b"\xff")
    assert watch.final is not None
    assert reason(watch.final) == "INVALID_REQUEST"


def test_a_watch_sees_each_change_once() -> None:
    """First the state, then the change; a second drain is no change."""
    health = Health()
    watch = Stream(health_methods(health), WATCH)
    watch.deliver(asks(SERVICE))
    watch.inbox.half_closed()
    health.drain()
    health.drain()
    assert [status(body) for body in watch.sent] == [STATUS.SERVING, STATUS.NOT_SERVING]
    assert watch.final is None


def test_a_watch_of_an_unknown_service_stays_open() -> None:
    """As grpc.health.v1 says of Watch."""
    watch = Stream(health_methods(Health()), WATCH)
    watch.deliver(asks("other"))
    assert [status(body) for body in watch.sent] == [STATUS.SERVICE_UNKNOWN]
    assert watch.final is None


def test_a_full_outbox_gets_only_the_newest_status_later() -> None:
    """Nothing piles up for a watcher that does not read."""
    health = Health()
    watch = Stream(health_methods(health), WATCH, room=1)
    watch.deliver(asks(SERVICE))
    health.drain()
    assert status(watch.take()) == STATUS.SERVING
    assert [status(body) for body in watch.sent] == [STATUS.NOT_SERVING]
    watch.take()
    assert not watch.sent


def test_a_second_message_ends_a_watch() -> None:
    """Watch takes one request; so does no request at all."""
    health = Health()
    table = health_methods(health)
    twice, never = Stream(table, WATCH), Stream(table, WATCH)
    twice.deliver(asks(""))
    twice.deliver(asks(""))
    never.inbox.half_closed()
    for watch in (twice, never):
        assert watch.final is not None
        assert reason(watch.final) == "INVALID_REQUEST"
    assert health.watching == 0


def test_a_watch_that_is_gone_is_forgotten() -> None:
    """Cancelled or told to go, it holds nothing any more."""
    health = Health()
    table = health_methods(health)
    cancelled, drained = Stream(table, WATCH), Stream(table, WATCH)
    for watch in (cancelled, drained):
        watch.deliver(asks(SERVICE))
    assert health.watching == 2
    cancelled.inbox.cancelled()
    drained.inbox.draining()
    assert health.watching == 0
    assert drained.final is not None
    assert reason(drained.final) == "DRAINING"
    health.drain()
    assert len(cancelled.sent) == 1


def test_watches_have_a_cap() -> None:
    """Each one is memory that a caller without identity can take."""
    health = Health()
    table = health_methods(health)
    for _ in range(limits.MAX_WATCHERS):
        Stream(table, WATCH).deliver(asks(""))
    one_more = Stream(table, WATCH)
    one_more.deliver(asks(""))
    assert one_more.final is not None
    assert reason(one_more.final) == "OVERLOADED"


def test_health_needs_only_messages_of_its_package() -> None:
    """So that a second transport can use it without grpc."""
    assert issubclass(STATUS, Message)
    method = health_methods(Health())[CHECK]
    assert method.unary is not None
    assert method.unary(Call(NOBODY), b"") == (0, STATUS(status=STATUS.SERVING).SerializeToString())
