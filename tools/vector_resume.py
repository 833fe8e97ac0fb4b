"""Vectors of resumes: in both record modes, with and without early data, and with a full handshake beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from noisegate_server.noise import HandshakeState
from noisegate_server.session.hello import Flags, Hello, encode_hello, hello_prologue, resume_prologue
from noisegate_server.session.packets import (
    HandshakeStep,
    ResumeStep1,
    ResumeStep2,
    encode_handshake,
    encode_resume,
)
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from tools.vector_records import Schedule

Case = dict[str, Any]
Fixed = Callable[..., bytes]
Ends = Callable[..., tuple[HandshakeState, HandshakeState]]
Split = Callable[[HandshakeState], Schedule]

CALLER: Final = b"dice, table 7"
TIMESTAMP_MS: Final = 1_795_000_000_123
CHACHA, AESGCM = Suite.CHACHA20_POLY1305_X25519, Suite.AES256_GCM_X25519


def sections(fixed: Fixed, ends: Ends, split: Split) -> Case:
    """`resume` in RESUME packets, `resume_noise` in the game's own framing, `resume_fallback` for refused tickets."""
    return {
        "resume": [
            datagram(fixed, ends, split, CHACHA, early_data=b"", early=0),
            datagram(fixed, ends, split, AESGCM, early_data=b"", early=0),
            datagram(fixed, ends, split, CHACHA, early_data=b"all in", early=1),
            datagram(fixed, ends, split, AESGCM, early_data=b"all in", early=0),
        ],
        "resume_noise": [
            noise(fixed, ends, split, CHACHA, early_data=b"", early=0, greeted=False),
            noise(fixed, ends, split, AESGCM, early_data=b"all in", early=1, greeted=False),
            noise(fixed, ends, split, CHACHA, early_data=b"all in", early=0, greeted=True),
        ],
        "resume_fallback": [
            fallback(fixed, ends, split, Pattern.IK, CHACHA),
            fallback(fixed, ends, split, Pattern.XX, AESGCM),
        ],
    }


def datagram(fixed: Fixed, ends: Ends, split: Split, suite: Suite, *, early_data: bytes, early: int) -> Case:
    """A resume in RESUME packets."""
    label = f"resume {suite}" + (f" early {early}" if early_data else "")
    hello = _hello(Flags.DATAGRAM | Flags.TICKETS, (Pattern.NNPSK0, suite))
    case, first, second = _run(fixed, ends, split, suite, label, hello, early_data, early)
    connection_id, ticket = fixed(f"{label} connection id", 8), fixed(f"{label} ticket")
    return case | {
        "connection_id": connection_id.hex(),
        "packet_1": encode_resume(ResumeStep1(hello=hello, ticket=ticket, message=first)).hex(),
        "packet_2": encode_resume(ResumeStep2(connection_id=connection_id, message=second)).hex(),
    }


def noise(
    fixed: Fixed, ends: Ends, split: Split, suite: Suite, *, early_data: bytes, early: int, greeted: bool
) -> Case:
    """A resume of NOISE mode; `hello` is empty where the game's framing has none."""
    label = f"resume noise {suite} {early} {greeted}"
    hello = _hello(Flags(0), (Pattern.NNPSK0, suite)) if greeted else b""
    return _run(fixed, ends, split, suite, label, hello, early_data, early)[0]


def fallback(fixed: Fixed, ends: Ends, split: Split, pattern: Pattern, suite: Suite) -> Case:
    """A RESUME packet with a full handshake beside, and the answer of a service that refuses the ticket."""
    label = f"resume fallback {pattern.name} {suite}"
    hello = _hello(Flags.DATAGRAM | Flags.TICKETS, (pattern, suite))
    psk, ticket = fixed(f"{label} psk"), fixed(f"{label} ticket")
    resume_bound, bound = resume_prologue(hello, ticket, CALLER), hello_prologue(hello, CALLER)
    resuming, _ = ends(Pattern.NNPSK0, suite, f"{label} resume", resume_bound, psk)
    message = resuming.write_message(b"")
    ours, theirs = ends(pattern, suite, label, bound)
    first = ours.write_message(b"")
    theirs.read_message(first)
    second = theirs.write_message(b"welcome")
    ours.read_message(second)
    third = b"" if ours.is_finished else ours.write_message(b"")
    connection_id = fixed(f"{label} connection id", 8)
    packet = ResumeStep1(hello=hello, ticket=ticket, message=message, fallback=first)
    return {
        "noise_name": NOISE_NAMES[pattern, suite], "pattern": int(pattern), "suite": int(suite),
        "hello": hello.hex(), "caller_prologue": CALLER.hex(),
        "psk": psk.hex(), "ticket": ticket.hex(), "resume_prologue": resume_bound.hex(),
        "resume_ephemeral": fixed(f"{label} resume initiator e").hex(), "resume_message": message.hex(),
        "prologue": bound.hex(),
        "initiator_static": fixed("initiator s").hex(), "responder_static": fixed("responder s").hex(),
        "initiator_ephemeral": fixed(f"{label} initiator e").hex(),
        "responder_ephemeral": fixed(f"{label} responder e").hex(),
        "message_1": first.hex(), "payload_2": b"welcome".hex(), "message_2": second.hex(), "message_3": third.hex(),
        "connection_id": connection_id.hex(), "packet": encode_resume(packet).hex(),
        "answer": encode_handshake(HandshakeStep(connection_id=connection_id, step=2, message=second)).hex(),
        "schedule": split(ours).case(),
    }  # fmt: skip


def _hello(flags: Flags, protocol: tuple[Pattern, Suite]) -> bytes:
    return encode_hello(Hello(flags=flags, timestamp_ms=TIMESTAMP_MS, offer=(protocol,), choice=0))


def _run(
    fixed: Fixed,
    ends: Ends,
    split: Split,
    suite: Suite,
    label: str,
    hello: bytes,
    early_data: bytes,
    early: int,
) -> tuple[Case, bytes, bytes]:
    """What both modes have, and the two messages."""
    psk, ticket, payload = fixed(f"{label} psk"), fixed(f"{label} ticket"), b"welcome back"
    prologue = resume_prologue(hello, ticket, CALLER)
    initiator, responder = ends(Pattern.NNPSK0, suite, label, prologue, psk)
    first = initiator.write_message(early_data)
    responder.read_message(first)
    second = responder.write_message(bytes((early,)) + payload)
    initiator.read_message(second)
    case = {
        "noise_name": NOISE_NAMES[Pattern.NNPSK0, suite], "suite": int(suite), "hello": hello.hex(),
        "psk": psk.hex(), "ticket": ticket.hex(), "caller_prologue": CALLER.hex(), "prologue": prologue.hex(),
        "initiator_ephemeral": fixed(f"{label} initiator e").hex(),
        "responder_ephemeral": fixed(f"{label} responder e").hex(),
        "early_data": early_data.hex(), "message_1": first.hex(),
        "early": early, "payload": payload.hex(), "payload_2": (bytes((early,)) + payload).hex(),
        "message_2": second.hex(), "schedule": split(initiator).case(),
    }  # fmt: skip
    return case, first, second
