"""GetSession, ListSessions and CloseSession."""

from __future__ import annotations

from typing import Final

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import sessions as engine
from noisegate_server.engine.batch import Steps
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert import session as convert

__all__ = ["close_session", "get_session", "list_sessions"]

_SLICE: Final = 16
"""Sessions that are described at once: less than a millisecond."""


def get_session(
    parts: Parts, tenant: str, request: pb.GetSessionRequest, now: float, wall: float
) -> pb.GetSessionResponse:
    """Describe one session."""
    session_id, connection_id = convert.selector(request)
    view = engine.get(parts, tenant, session_id, connection_id, now)
    return pb.GetSessionResponse(session=convert.to_session(view, parts.endpoint))


def list_sessions(
    parts: Parts, tenant: str, request: pb.ListSessionsRequest, now: float, wall: float
) -> Steps[convert.Listed]:
    """One page of the caller's sessions, a slice at a time."""
    page = convert.page(request)
    listed = convert.Listed(page.token)
    left = page.size
    while True:
        count = min(left, _SLICE)
        views, listed.token = engine.listing(parts, tenant, page.peer_id, page.group, count, listed.token, now)
        listed.sessions += [convert.encode_session(view, parts.endpoint) for view in views]
        left -= count
        if not left or not listed.token:
            return listed
        moment = yield None
        if moment is not None:
            now, _ = moment


async def close_session(
    parts: Parts, tenant: str, request: pb.CloseSessionRequest, now: float, wall: float
) -> pb.CloseSessionResponse:
    """End a session or a handshake."""
    to_peer = await engine.close(parts, tenant, fields.session_id(request.session_id), now)
    return pb.CloseSessionResponse(to_peer=to_peer)
