"""GetSession, ListSessions and CloseSession."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import sessions as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields
from noisegate_server.rpc.convert import session as convert

__all__ = ["close_session", "get_session", "list_sessions"]


def get_session(
    parts: Parts, tenant: str, request: pb.GetSessionRequest, now: float, wall: float
) -> pb.GetSessionResponse:
    """Describe one session."""
    session_id, connection_id = convert.selector(request)
    view = engine.get(parts, tenant, session_id, connection_id, now)
    return pb.GetSessionResponse(session=convert.to_session(view, parts.endpoint))


def list_sessions(
    parts: Parts, tenant: str, request: pb.ListSessionsRequest, now: float, wall: float
) -> pb.ListSessionsResponse:
    """One page of the caller's sessions."""
    page = convert.page(request)
    views, next_token = engine.listing(parts, tenant, page.peer_id, page.group, page.size, page.token, now)
    sessions = [convert.to_session(view, parts.endpoint) for view in views]
    return pb.ListSessionsResponse(sessions=sessions, next_page_token=next_token)


async def close_session(
    parts: Parts, tenant: str, request: pb.CloseSessionRequest, now: float, wall: float
) -> pb.CloseSessionResponse:
    """End a session or a handshake."""
    to_peer = await engine.close(parts, tenant, fields.session_id(request.session_id), now)
    return pb.CloseSessionResponse(to_peer=to_peer)
