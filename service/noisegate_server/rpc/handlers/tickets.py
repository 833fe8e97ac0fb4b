"""IssueTicket."""

from __future__ import annotations

from noisegate.v1 import session_crypto_service_pb2 as pb
from noisegate_server.engine import tickets as engine
from noisegate_server.engine.parts import Parts
from noisegate_server.rpc.convert import fields

__all__ = ["issue_ticket"]


def issue_ticket(
    parts: Parts, tenant: str, request: pb.IssueTicketRequest, now: float, wall: float
) -> pb.IssueTicketResponse:
    """Make a single-use ticket, sealed for the player."""
    issued = engine.issue(parts, tenant, fields.session_id(request.session_id), now, wall)
    return pb.IssueTicketResponse(to_peer=issued.to_peer, expires_in=fields.duration(issued.expires_in))
