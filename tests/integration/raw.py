"""Calls as bytes, and refusals taken apart: what no stub would send and no SDK would show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from noisegate.v1 import session_crypto_service_pb2 as pb

SERVICE: Final = "noisegate.v1.SessionCryptoService"
DETAILS: Final = "grpc-status-details-bin"

Body = Message | bytes
Row = tuple[grpc.StatusCode, str, str]
"""Code, ErrorInfo.reason, and the type of the second detail (empty for none)."""


def bytes_method(channel: Any, path: str) -> Any:
    """The method at /package.Service/Method of a channel of either kind; bytes in, bytes out."""
    return channel.unary_unary(path, request_serializer=None, response_deserializer=None)


def aio_method(channel: grpc.aio.Channel, name: str) -> Callable[..., Awaitable[bytes]]:
    """A method of our service, as bytes."""
    method: Callable[..., Awaitable[bytes]] = bytes_method(channel, f"/{SERVICE}/{name}")
    return method


def trailers(error: grpc.aio.AioRpcError) -> dict[str, str | bytes]:
    """Trailing metadata by key."""
    pairs: Any = error.trailing_metadata() or ()
    return dict(pairs)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused caller sees."""

    row: Row
    text: str
    metadata: dict[str, str]


class Raw:
    """Calls with bytes that no stub would send."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: str, body: Body) -> bytes:
        """The answer's bytes. Raises grpc.aio.AioRpcError."""
        data = body if isinstance(body, bytes) else body.SerializeToString()
        return await aio_method(self._channel, method)(data, timeout=10)

    async def refused(self, method: str, body: Body) -> Refusal:
        """The refusal, which must be well formed: an ErrorInfo of ours first, and at most one detail after it."""
        try:
            await self.call(method, body)
        except grpc.aio.AioRpcError as error:
            return _refusal(error)
        pytest.fail(f"{method} was not refused")

    async def fingerprint(self, session_id: bytes) -> bytes:
        """Everything that GetSession tells, but for times and the count of refusals."""
        session = await self.session(session_id)
        session.ClearField("age")
        session.ClearField("idle")
        session.ClearField("refused")
        session.established.ClearField("expires_in")
        fingerprint: bytes = session.SerializeToString(deterministic=True)
        return fingerprint

    async def session(self, session_id: bytes) -> Any:
        """What GetSession tells."""
        answer = await self.call("GetSession", pb.GetSessionRequest(session_id=session_id))
        return pb.GetSessionResponse.FromString(answer).session


def _refusal(error: grpc.aio.AioRpcError) -> Refusal:
    found = trailers(error).get(DETAILS)
    assert isinstance(found, bytes), error
    status = status_pb2.Status.FromString(found)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "noisegate"
    kinds = [detail.TypeName().rpartition(".")[2] for detail in status.details[1:]]
    assert len(kinds) <= 1
    return Refusal((error.code(), info.reason, "".join(kinds)), status.message, dict(info.metadata))
