"""In which form a ticket may come back: the record mode that it was issued in, and a hello that says the same."""

from __future__ import annotations

import pytest

from noisegate_server.engine.opening import resume_handshake
from noisegate_server.engine.policy import Options
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.errors import TicketRejected
from noisegate_server.session.hello import Flags, Hello, encode_hello, resume_prologue
from noisegate_server.session.packets import ResumeStep1, encode_resume
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern
from tests.support.engines import TENANT, Engines, Link, resumed
from tests.support.tickets import with_ticket

MODES = pytest.mark.parametrize("mode", list(RecordMode))


def hello(flags: Flags = Flags.DATAGRAM) -> bytes:
    """A hello that offers the resume."""
    return encode_hello(Hello(flags=flags, timestamp_ms=1, offer=((Pattern.NNPSK0, 1),), choice=0))


def brought(link: Link, mode: RecordMode, hello_bytes: bytes) -> ResumeRequested:
    """The link's ticket as somebody who knows its PSK brings it: in this mode, with these bytes for a hello."""
    engine = link.initiator.engine
    kept = engine.parts.received.get((TENANT, link.initiator.session_id), link.clock.now)
    assert kept is not None
    prologue = resume_prologue(hello_bytes, kept.ticket, b"")
    noise = resume_handshake(engine.parts, kept.suite, bytes(kept.psk), prologue, initiator=True)
    message = noise.write_message(b"")
    ticket, beside = kept.ticket, hello_bytes
    if mode is RecordMode.DATAGRAM:
        message = encode_resume(ResumeStep1(hello=hello_bytes, ticket=ticket, message=message))
        ticket = beside = b""
    return ResumeRequested(mode=mode, message=message, ticket=ticket, hello=beside, prologue=b"", payload=b"")


@MODES
def test_a_ticket_comes_back_in_its_own_mode_alone(engines: Engines, mode: RecordMode) -> None:
    """Everything else about it is right, the key included."""
    link = with_ticket(engines, mode)
    other = RecordMode.DATAGRAM if mode is RecordMode.NOISE else RecordMode.NOISE
    taker = link.responder.engine
    with pytest.raises(TicketRejected):
        taker.accept_resume(brought(link, other, hello() if other is RecordMode.DATAGRAM else b""))
    assert len(taker.parts.spent) == 0
    assert taker.accept_resume(brought(link, mode, hello() if mode is RecordMode.DATAGRAM else b"")).established


@pytest.mark.parametrize(
    ("mode", "wrong"),
    [
        (RecordMode.DATAGRAM, hello(Flags(0))),
        (RecordMode.DATAGRAM, b"\x02" + hello()[1:]),
        (RecordMode.NOISE, hello()),
        (RecordMode.NOISE, hello(Flags(0)) + b"\0"),
    ],
)
def test_a_hello_of_another_mode_or_form_is_refused(engines: Engines, mode: RecordMode, wrong: bytes) -> None:
    """The datagram bit must be right, and it must be a hello; in NOISE mode it may be left out."""
    link = with_ticket(engines, mode)
    taker = link.responder.engine
    with pytest.raises(TicketRejected):
        taker.accept_resume(brought(link, mode, wrong))
    right = hello(Flags.DATAGRAM if mode is RecordMode.DATAGRAM else Flags(0))
    assert taker.accept_resume(brought(link, mode, right)).established


@pytest.mark.parametrize("wanted", [True, False])
def test_a_resumed_session_has_the_next_ticket_by_itself_where_the_first_had(engines: Engines, wanted: bool) -> None:
    """The flag is the ticket's: with the first record comes the next ticket."""
    link = resumed(with_ticket(engines, options=Options(tickets=wanted)))
    link.talk()
    kept = link.initiator.engine.parts.received.get((TENANT, link.initiator.session_id), engines.clock.now)
    assert (kept is not None) is wanted
