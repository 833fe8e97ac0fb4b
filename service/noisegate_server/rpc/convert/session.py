"""Sessions as their owner sees them, and the pages of a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate.v1 import session_pb2
from noisegate_server.engine.outcomes import SessionView
from noisegate_server.rpc import limits
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert.established import established
from noisegate_server.rpc.convert.sealed import varint
from noisegate_server.session.errors import InvalidField

__all__ = ["Listed", "Page", "encode_listed", "encode_session", "page", "selector", "to_session"]

# Field 1 of ListSessionsResponse: its number << 3 | 2 (length).
_SESSION: Final = b"\x0a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which sessions a list shall hold."""

    peer_id: str
    group: str
    size: int
    """1 to 1,000."""
    token: str
    """Where the last page ended; empty for the first."""


@dataclass(slots=True)
class Listed:
    """What a list has come to hold."""

    token: str
    """Where it ends; empty where nothing follows."""
    sessions: list[bytes] = field(default_factory=list)
    """Each as it stands in the answer."""


def page(request: pb.ListSessionsRequest) -> Page:
    """The page that a request asks for."""
    if request.page_size > limits.MAX_PAGE_SIZE:
        raise InvalidField("page_size", f"at most {limits.MAX_PAGE_SIZE}")
    if len(request.page_token) > limits.MAX_PAGE_TOKEN_BYTES:
        raise InvalidField("page_token", "not a token of ListSessions")
    return Page(
        peer_id=fields.name(request.peer_id, "peer_id"),
        group=fields.name(request.group, "group"),
        size=request.page_size or limits.DEFAULT_PAGE_SIZE,
        token=request.page_token,
    )


def selector(request: pb.GetSessionRequest) -> tuple[bytes, bytes]:
    """Session id or connection id: exactly one of them is not empty."""
    if request.session_id:
        if request.connection_id:
            raise InvalidField("connection_id", "only where session_id is empty")
        return fields.session_id(request.session_id), b""
    if len(request.connection_id) != limits.CONNECTION_ID_BYTES:
        raise InvalidField(
            "connection_id" if request.connection_id else "session_id",
            f"session_id of {limits.SESSION_ID_BYTES} bytes or connection_id of {limits.CONNECTION_ID_BYTES}",
        )
    return b"", request.connection_id


def to_session(view: SessionView, endpoint: str) -> session_pb2.Session:
    """A session without any key."""
    session = session_pb2.Session(
        session_id=view.session_id,
        state=view.state,  # type: ignore[arg-type]  # the numbers of state.py are the contract's
        termination_reason=view.termination_reason,  # type: ignore[arg-type]  # likewise
        mode=view.mode,  # type: ignore[arg-type]  # likewise
        role=view.role,  # type: ignore[arg-type]  # likewise
        peer_id=view.peer_id,
        group=view.group,
        epoch=view.epoch,
        sealed=view.sealed,
        opened=view.opened,
        refused=view.refused,
        age=fields.duration(view.age),
        idle=fields.duration(view.idle),
        connection_id=view.connection_id,
        endpoint=endpoint,
        network=view.network,  # type: ignore[arg-type]  # likewise
        suspended_by_service=view.suspended_by_service,
        early=view.early,
    )
    if view.established is not None:
        session.established.CopyFrom(established(view.established))
    return session


def encode_session(view: SessionView, endpoint: str) -> bytes:
    """A session as one of those of a ListSessionsResponse."""
    body = to_session(view, endpoint).SerializeToString()
    return _SESSION + varint(len(body)) + body


def encode_listed(listed: Listed) -> bytes:
    """A serialised noisegate.v1.ListSessionsResponse."""
    return b"".join(listed.sessions) + pb.ListSessionsResponse(next_page_token=listed.token).SerializeToString()
