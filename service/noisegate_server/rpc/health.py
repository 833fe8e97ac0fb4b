"""grpc.health.v1 on the seam, and the one fact behind it: whether this server takes calls.

grpcio-health-checking has a servicer, but it is bound to grpcio; here the protocol stands on the seam, so that a second
transport answers health checks with the same code. Only that package's messages are used, which do not import grpc.

Names: "" is liveness and stays SERVING while the process runs; the service's own name is readiness, and a load balancer
must look at that one. Health needs no identity: a probe has none, and the answer tells nothing about a tenant.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2

from noisegate_server.rpc import limits
from noisegate_server.rpc.call import Call, Code, Inbox, Method, Outbox, Reply
from noisegate_server.rpc.errors import Draining, refusal
from noisegate_server.session.errors import Overloaded

__all__ = ["LIVENESS", "SERVICE", "Health", "health_methods"]

LIVENESS: Final = ""
SERVICE: Final = "noisegate.v1.SessionCryptoService"
_HEALTH: Final = "/grpc.health.v1.Health/"

_Response = health_pb2.HealthCheckResponse


class Health:
    """What is served, and who watches it."""

    __slots__ = ("_service", "_statuses", "_watches", "draining")

    def __init__(self, service: str = SERVICE) -> None:
        """`service`: the full name of what the listener serves."""
        self._service: Final = service
        self.draining = False
        """True from the moment at which the server refuses new calls."""
        self._statuses: dict[str, int] = {LIVENESS: _Response.SERVING, service: _Response.SERVING}
        self._watches: set[_Watch] = set()

    def drain(self) -> None:
        """From now on readiness says NOT_SERVING and every other method refuses with DRAINING. Twice is once."""
        self.draining = True
        self._statuses[self._service] = _Response.NOT_SERVING
        for watch in list(self._watches):
            watch.changed()

    def status(self, service: str) -> int | None:
        """The ServingStatus of a name; None for an unknown one."""
        return self._statuses.get(service)

    def statuses(self) -> dict[str, int]:
        """Every name with its ServingStatus."""
        return dict(self._statuses)

    def join(self, watch: _Watch) -> bool:
        """Tell this watch of changes from now on; False when there are too many."""
        if len(self._watches) >= limits.MAX_WATCHERS:
            return False
        self._watches.add(watch)
        return True

    def leave(self, watch: _Watch) -> None:
        """Tell it no more."""
        self._watches.discard(watch)

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watches)


class _Watch(Inbox):
    """One Watch stream. While its outbox is full it only remembers that something is due: the newest status will do."""

    __slots__ = ("_due", "_full", "_health", "_last", "_outbox", "_service")

    def __init__(self, health: Health, outbox: Outbox) -> None:
        self._health = health
        self._outbox = outbox
        self._service: str | None = None
        self._full = False
        self._due = False
        self._last: int | None = None

    def message(self, body: bytes) -> None:
        """The one request."""
        if self._service is not None:
            self._end(DecodeError())
            return
        try:
            service = health_pb2.HealthCheckRequest.FromString(body).service
        except DecodeError as error:
            self._end(error)
            return
        self._service = service
        if not self._health.join(self):
            self._end(Overloaded("too many watches"))
            return
        self.changed()

    def half_closed(self) -> None:
        if self._service is None:
            self._end(DecodeError())

    def changed(self) -> None:
        """A status may be another one now."""
        if self._full:
            self._due = True
            return
        status = self._health.status(self._service or "")
        current = _Response.SERVICE_UNKNOWN if status is None else status
        if current != self._last:
            self._last = current
            self._full = not self._outbox.send(_response(current).SerializeToString())

    def writable(self) -> None:
        self._full = False
        if self._due:
            self._due = False
            self.changed()

    def draining(self) -> None:
        self._end(Draining())

    def cancelled(self) -> None:
        self._health.leave(self)

    def _end(self, error: Exception) -> None:
        self._health.leave(self)
        code, status = refusal(error) or (Code.INTERNAL, b"")
        self._outbox.finish(code, status)


def _response(status: int) -> Any:
    response = _Response()
    response.status = status
    return response


def health_methods(health: Health) -> dict[str, Method]:
    """The rows of grpc.health.v1.Health."""
    return {
        f"{_HEALTH}Check": Method(unary=partial(_check, health)),
        f"{_HEALTH}List": Method(unary=partial(_list, health)),
        f"{_HEALTH}Watch": Method(stream=partial(_watch, health), server_streaming=True),
    }


def _check(health: Health, _: Call, body: bytes) -> Reply:
    try:
        service = health_pb2.HealthCheckRequest.FromString(body).service
    except DecodeError as error:
        return _refused(error)
    status = health.status(service)
    if status is None:
        # The protocol of grpc.health.v1 asks for this code; it is not one of our refusals and has no ErrorInfo.
        unknown = status_pb2.Status(code=Code.NOT_FOUND, message="unknown service")
        return Code.NOT_FOUND, unknown.SerializeToString()
    return 0, _response(status).SerializeToString()


def _list(health: Health, _: Call, body: bytes) -> Reply:
    try:
        health_pb2.HealthListRequest.FromString(body)
    except DecodeError as error:
        return _refused(error)
    response = health_pb2.HealthListResponse()
    for service, status in health.statuses().items():
        response.statuses[service].CopyFrom(_response(status))
    return 0, response.SerializeToString()


def _watch(health: Health, _: Call, outbox: Outbox) -> Inbox:
    return _Watch(health, outbox)


def _refused(error: Exception) -> Reply:
    return refusal(error) or (Code.INTERNAL, b"")
