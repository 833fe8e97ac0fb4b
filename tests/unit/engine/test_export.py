"""Exporter secrets: the same at both ends, for as long as the session lives, and for one purpose only."""

from __future__ import annotations

from itertools import pairwise

import pytest

from noisegate_server.engine.export import export_secret
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.errors import NotEstablished, SessionClosed, SessionNotFound
from noisegate_server.session.keys import exporter_secret
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern
from tests.support import written_out as second
from tests.support.engines import TENANT, End, Engines, Link, establish, resumed
from tests.support.requests import initiation


def exported(end: End, label: bytes = b"voice", context: bytes = b"", length: int = 32, tenant: str = TENANT) -> bytes:
    """The secret as one end has it."""
    parts = end.engine.parts
    return bytes(export_secret(parts, tenant, end.session_id, label, context, length=length, now=end.engine.clock.now))


def _renegotiate(link: Link) -> None:
    if link.initiator.session.mode is RecordMode.DATAGRAM:
        link.initiator.renegotiate()
        link.settle()
        return
    message = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
    answer = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=message)).to_peer[0]
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=answer))
    for end in link.ends:
        end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))


@pytest.mark.parametrize("mode", RecordMode)
def test_both_ends_have_the_same_secret_and_keep_it_through_rotations(engines: Engines, mode: RecordMode) -> None:
    """And it is HKDF-Expand of the session's export secret, as a second computation has it."""
    link = establish(engines, mode=mode)
    expected = second.exporter(bytes(link.initiator.session.export), "voice", b"table 7", 40)
    for _ in range(3):
        assert [exported(end, context=b"table 7", length=40) for end in link.ends] == [expected] * 2
        _renegotiate(link)
        assert {end.session.records.epoch for end in link.ends if end.session.records} != {0}


def test_label_context_length_and_session_tell_secrets_apart(engines: Engines) -> None:
    """No two are equal, and none begins like another but for the length, as HKDF-Expand has it."""
    link, other = establish(engines), establish(engines)
    secrets = [
        exported(link.responder),
        exported(link.responder, label=b"voice2"),
        exported(link.responder, label=b"voic", context=b"e"),
        exported(link.responder, context=b"x"),
        exported(other.responder),
        exported(resumed(_with_ticket(link)).responder),
    ]
    assert len({secret[:16] for secret in secrets}) == len(secrets)
    assert all(len(secret) == 32 for secret in secrets)


def _with_ticket(link: Link) -> Link:
    link.initiator.open(link.responder.engine.issue(link.responder.session_id).to_peer[0])
    return link


def test_an_export_is_no_use_of_the_session(engines: Engines) -> None:
    """Its idle time runs on, and nothing of it changes."""
    link = establish(engines)
    before = link.responder.session.expires_at, link.responder.session.last_used
    engines.clock.step(5)
    exported(link.responder)
    assert (link.responder.session.expires_at, link.responder.session.last_used) == before


def test_a_handshake_an_ended_and_a_foreign_session_export_nothing(engines: Engines) -> None:
    """Each by its own refusal."""
    engine = engines.make()
    begun = engine.initiate(initiation(mode=RecordMode.NOISE, pattern=Pattern.XX))
    half_open = End(engine=engine, session_id=begun.session_id)
    with pytest.raises(NotEstablished):
        exported(half_open)
    link = establish(engines, responder=engine)
    with pytest.raises(SessionNotFound):
        exported(link.responder, tenant="other")
    engine.close(link.responder.session_id)
    with pytest.raises(SessionClosed):
        exported(link.responder)


@pytest.mark.parametrize("length", [16, 31, 32, 33, 64, 65, 255])
def test_every_length_is_that_of_the_library(length: int) -> None:
    """Blocks of HKDF-Expand are counted and cut as RFC 5869 says."""
    export = bytes(range(32))
    assert exporter_secret(export, b"l", b"c", length) == second.exporter(export, "l", b"c", length)


@pytest.mark.parametrize(("label", "length"), [(b"", 32), (b"l" * 65, 32), (b"l", 15), (b"l", 256)])
def test_what_the_protocol_has_no_room_for_is_a_defect_of_the_caller(label: bytes, length: int) -> None:
    """The service checks before."""
    with pytest.raises(ValueError, match="label"):
        exporter_secret(bytes(32), label, b"", length)


def test_longer_secrets_begin_like_shorter_ones() -> None:
    """A property of HKDF-Expand that callers must know: the length is not bound."""
    secrets = [bytes(exporter_secret(bytes(32), b"l", b"", length)) for length in (16, 32, 48, 255)]
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(secrets))
