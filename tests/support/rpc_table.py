"""A small table around one scripted handler, and readers of its refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.rpc import error_details_pb2, status_pb2

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.rpc.call import Method, Reply, Table
from noisegate_server.rpc.policy import Policy
from noisegate_server.rpc.table import serve
from noisegate_server.rpc.unary import Row, Rpc

METHOD = "/test.Service/Seal"
SESSION = bytes(range(24))


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Script:
    """A handler that counts its calls and answers, or raises, what `then` says."""

    def __init__(self, then: Callable[[Any], Any] | None = None) -> None:
        self.calls: list[Any] = []
        self.then = then

    def __call__(self, parts: object, tenant: str, request: Any, now: float, wall: float) -> Any:
        self.calls.append((tenant, request, now, wall))
        if self.then is not None:
            return self.then(request)
        return pb.EncryptResponse(ciphertext=b"%d" % len(self.calls))


def session_of(request: Any, response: Any) -> bytes:
    """As the rows of the real table have it."""
    found: bytes = request.session_id
    return found


def make_rpc(clock: Clock | None = None, **more: Any) -> Rpc:
    """What methods share, with the clock at hand."""
    return Rpc(parts=None, clock=clock or Clock(), wall=lambda: 5.0, **more)


def make_table(rpc: Rpc, handle: Any, **row: Any) -> Table:
    """One unary method, METHOD, that takes an EncryptRequest with a request_id."""
    defaults: dict[str, Any] = {"request": pb.EncryptRequest, "repeat_for": 5.0, "owner_of": session_of}
    return {METHOD: Method(unary=serve(METHOD, Row(handle=handle, **(defaults | row)), rpc))}


def request(request_id: str = "", plaintext: bytes = b"p", session_id: bytes = SESSION) -> bytes:
    """A serialised EncryptRequest."""
    message = pb.EncryptRequest(session_id=session_id, request_id=request_id, plaintext=plaintext)
    return message.SerializeToString()


def only(*methods: str) -> Policy:
    """A policy in which the local caller is tenant "game" and may call these."""
    return Policy(tenants={"local": "game"}, rights={"local": frozenset(methods)})


def reason(reply: Reply) -> str:
    """The ErrorInfo's reason, after a check that the whole refusal is well formed."""
    code, body = reply
    status = status_pb2.Status.FromString(body)
    assert status.code == code != 0
    assert status.message
    found: str = error_info(reply).reason
    return found


def error_info(reply: Reply) -> Any:
    """The refusal's ErrorInfo, which must come first."""
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(reply[1]).details[0].Unpack(info)
    assert info.domain == "noisegate"
    return info


def detail(reply: Reply, kind: Any) -> Any:
    """The refusal's second detail, which must be of this type."""
    message = kind()
    assert status_pb2.Status.FromString(reply[1]).details[1].Unpack(message)
    return message
