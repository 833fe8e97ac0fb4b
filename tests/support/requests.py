"""Requests of Handshake and Resume, with every field that a test does not care about filled in."""

from __future__ import annotations

from noisegate_server.engine import handshake
from noisegate_server.engine.outcomes import ResumeStep
from noisegate_server.engine.policy import Options
from noisegate_server.engine.redeem import ResumeRequested
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Pattern, Suite


def initiation(
    *,
    mode: RecordMode = RecordMode.DATAGRAM,
    pattern: int = Pattern.IK,
    suite: int = Suite.CHACHA20_POLY1305_X25519,
    offer: tuple[tuple[int, int], ...] = (),
    remote_static_key: bytes = b"",
    psk: bytes = b"",
    prologue: bytes = b"",
    payload: bytes = b"",
    options: Options | None = None,
) -> handshake.Initiation:
    """An Initiation with every field that a test does not care about filled in."""
    return handshake.Initiation(
        mode=mode,
        pattern=pattern,
        suite=suite,
        offer=offer,
        remote_static_key=remote_static_key,
        psk=psk,
        prologue=prologue,
        payload=payload,
        peer_id="bob",
        group="table 7",
        options=options or Options(),
    )


def response(
    message: bytes,
    *,
    mode: RecordMode = RecordMode.DATAGRAM,
    pattern: int = 0,
    suite: int = 0,
    hello: bytes = b"",
    psk: bytes = b"",
    prologue: bytes = b"",
    payload: bytes = b"",
    options: Options | None = None,
) -> handshake.Response:
    """As initiation."""
    return handshake.Response(
        mode=mode,
        pattern=pattern,
        suite=suite,
        hello=hello,
        message=message,
        psk=psk,
        prologue=prologue,
        payload=payload,
        peer_id="ann",
        group="table 7",
        options=options or Options(),
    )


def resumption(begun: ResumeStep, mode: RecordMode, *, prologue: bytes = b"") -> ResumeRequested:
    """What the game passes on when its player resumes."""
    return ResumeRequested(
        mode=mode, message=begun.to_peer[0], ticket=begun.ticket, hello=b"", prologue=prologue, payload=b""
    )
