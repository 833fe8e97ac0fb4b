"""Sessions with tickets, and the first message of a resume, between two engines."""

from __future__ import annotations

from dataclasses import replace

from noisegate_server.engine.policy import Options
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import Engine, Engines, Link, establish
from tests.support.requests import resumption


def with_ticket(
    engines: Engines,
    mode: RecordMode = RecordMode.DATAGRAM,
    *,
    pattern: Pattern = Pattern.IK,
    suite: Suite = Suite.CHACHA20_POLY1305_X25519,
    options: Options | None = None,
    prologue: bytes = b"",
    responder: Engine | None = None,
    initiator: Engine | None = None,
) -> Link:
    """A session whose initiator holds a ticket of the responder."""
    link = establish(
        engines,
        mode=mode,
        pattern=pattern,
        suite=suite,
        options=options,
        prologue=prologue,
        responder=responder,
        initiator=initiator,
    )
    give_ticket(link)
    return link


def give_ticket(link: Link) -> None:
    """Another ticket of the responder for the initiator."""
    issued = link.responder.engine.issue(link.responder.session_id)
    link.initiator.open(issued.to_peer[0], ticket=link.initiator.session.mode is RecordMode.NOISE)


def resume_request(
    link: Link, *, prologue: bytes = b"", early_data: bytes = b"", accept_early: bool = True
) -> ResumeRequested:
    """The initiator's first message, as the game passes it on."""
    begun = link.initiator.engine.resume(link.initiator.session_id, prologue, early_data)
    mode = RecordMode.NOISE if begun.ticket else RecordMode.DATAGRAM
    return replace(resumption(begun, mode, prologue=prologue), accept_early=accept_early)
