"""A ticket that a peer gave us inside a session: what a resume as its initiator needs (docs/protocol.md, section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from noisegate_server.session.ticket import TicketContent


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReceivedTicket:
    """Single use: who takes it out of the table uses it or wipes it."""

    psk: bytearray
    ticket: bytes
    mode: RecordMode
    suite: Suite
    flags: int
    peer_id: str
    group: str
    remote_static: bytes
    anonymous_initiator: bool
    prologue_hash: bytes
    chain_end_wall: float
    received_wall: float
    expires_wall: float
    max_early: int
    """How many bytes of early data the peer takes."""
    idle_timeout: float
    """That of the session in which it came, as what follows; seconds."""
    lifetime: float
    offered_early: int
    """How many bytes our own tickets allow."""
    rotation: LowerLimits

    def wipe(self) -> None:
        """Overwrites the PSK."""
        wipe(self.psk)


def received_ticket(session: Session, content: TicketContent, wall: float) -> ReceivedTicket:
    """The ticket of `content`, with what it takes over from the session in which it came."""
    return ReceivedTicket(
        psk=content.psk,
        ticket=content.ticket,
        mode=session.mode,
        suite=session.suite,
        flags=session.flags,
        peer_id=session.peer_id,
        group=session.group,
        remote_static=session.remote_static,
        anonymous_initiator=session.anonymous_initiator,
        prologue_hash=session.prologue_hash,
        chain_end_wall=session.chain_end_wall,
        received_wall=wall,
        expires_wall=wall + content.lifetime_s,
        max_early=content.max_early,
        idle_timeout=session.idle_timeout if session.own_idle_timeout else 0.0,
        lifetime=session.lifetime,
        offered_early=session.max_early,
        rotation=session.rotation,
    )
