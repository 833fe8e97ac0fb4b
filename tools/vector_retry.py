"""Vectors of RETRY: conversations of first packets, and RETRYs that an initiator does not follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from noisegate_server.session.hello import Flags, Hello, encode_hello, hello_prologue
from noisegate_server.session.packets import (
    HandshakeStep1,
    Retry,
    RetryChoice,
    RetryPuzzle,
    clock_challenge,
    encode_handshake,
    encode_retry,
    retry_echo,
)
from noisegate_server.session.suites import NOISE_NAMES, Pattern, Suite
from tools.vector_tables import TIMESTAMP_MS, Ends, Fixed

Case = dict[str, Any]

CALLER: Final = b"dice, table 7"
CLASSICAL: Final = ((int(Pattern.IK), 2), (int(Pattern.IK), 1), (99, 200))
"""The responder prefers the second."""
GRANTED: Final = int(Flags.DATAGRAM | Flags.TICKETS | Flags.RATCHET | Flags.PAD)
ALL: Final = Flags.DATAGRAM | Flags.TICKETS | Flags.RATCHET | Flags.PAD | Flags.MASK
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A RETRY, and what the hello after it has in place of the refused one's."""

    choice: int | None = None
    """Reason 1, with all that is granted; None is reason 2 with `clock_ms`."""
    clock_ms: int = 0
    following_ms: int = TIMESTAMP_MS + 1
    """Reason 1: the initiator's clock by then."""


CONVERSATIONS: Final[tuple[tuple[str, Flags, int, tuple[Turn, ...]], ...]] = (
    ("another choice", Flags.DATAGRAM | Flags.RATCHET, 0, (Turn(choice=1),)),
    ("a flag that is not granted", ALL, 1, (Turn(choice=1),)),
    ("another clock", Flags.DATAGRAM, 1, (Turn(clock_ms=TIMESTAMP_MS + HOUR_MS),)),
    (
        "choice and flag, then the clock",
        ALL,
        0,
        (Turn(choice=1, following_ms=TIMESTAMP_MS + 250), Turn(clock_ms=TIMESTAMP_MS - HOUR_MS)),
    ),
)


def conversations(fixed: Fixed, ends: Ends) -> list[Case]:
    """First packets of IK and the RETRYs between them; the responder would answer the last one."""
    cases = []
    for number, (why, flags, choice, turns) in enumerate(CONVERSATIONS):
        hello = Hello(flags=flags, timestamp_ms=TIMESTAMP_MS, offer=CLASSICAL, choice=choice)
        attempts, retries = [], []
        for step, turn in enumerate((*turns, None)):
            attempt, packet = _attempt(fixed, ends, f"retry {number} attempt {step}", hello)
            attempts.append(attempt)
            if turn is None:
                break
            retry, hello = _turn(turn, packet, hello)
            retries.append(encode_retry(retry).hex())
        cases.append(
            {
                "why": why, "caller_prologue": CALLER.hex(), "initiator_static": fixed("initiator s").hex(),
                "responder_static": fixed("responder s").hex(), "attempts": attempts, "retries": retries,
            }
        )  # fmt: skip
    return cases


def _attempt(fixed: Fixed, ends: Ends, label: str, hello: Hello) -> tuple[Case, bytes]:
    encoded = encode_hello(hello)
    prologue = hello_prologue(encoded, CALLER)
    pattern, suite = Pattern(hello.chosen[0]), Suite(hello.chosen[1])
    message = ends(pattern, suite, label, prologue)[0].write_message(b"hi")
    packet = encode_handshake(HandshakeStep1(hello=encoded, message=message))
    case = {
        "noise_name": NOISE_NAMES[pattern, suite], "hello": encoded.hex(), "prologue": prologue.hex(),
        "initiator_ephemeral": fixed(f"{label} initiator e").hex(),
        "responder_ephemeral": fixed(f"{label} responder e").hex(),
        "payload": b"hi".hex(), "packet": packet.hex(),
    }  # fmt: skip
    return case, packet


def _turn(turn: Turn, packet: bytes, hello: Hello) -> tuple[Retry, Hello]:
    echo = retry_echo(packet)
    if turn.choice is None:
        following = replace(hello, timestamp_ms=turn.clock_ms)
        return RetryPuzzle(echo=echo, challenge=clock_challenge(turn.clock_ms)), following
    flags = Flags(hello.flags & GRANTED)
    following = replace(hello, timestamp_ms=turn.following_ms, choice=turn.choice, flags=flags)
    return RetryChoice(echo=echo, choice=turn.choice, flags=GRANTED), following


def refused(fixed: Fixed, ends: Ends) -> Case:
    """RETRYs that the initiator of the first conversation does not follow, each coming first."""
    first = conversations(fixed, ends)[0]["attempts"][0]
    packet = bytes.fromhex(first["packet"])
    echo = retry_echo(packet)
    head = b"\x0e" + bytes(8) + echo
    retries = {
        "the echo of another packet": b"\x0e" + bytes(8) + retry_echo(packet + b"\0") + b"\x01\x01\x1f",
        "a choice outside the offer": head + b"\x01\x03\x1f",
        "a protocol that nobody has": head + b"\x01\x02\x1f",
        "the same choice and flags": head + b"\x01\0\x1f",
        "no ratchet": head + b"\x01\x01\x1e",
        "a puzzle with work": head + b"\x02\x10" + TIMESTAMP_MS.to_bytes(8, "big"),
        "a clock of seven bytes": head + b"\x02\0" + TIMESTAMP_MS.to_bytes(8, "big")[1:],
        "a byte after the clock": head + b"\x02\0" + TIMESTAMP_MS.to_bytes(8, "big") + b"\0",
        "reason 3": head + b"\x03\x01\x1f",
        "a byte after the flags": head + b"\x01\x01\x1f\0",
        "no flags": head + b"\x01\x01",
        "a connection id": b"\x0e" + fixed("retry connection id", 8) + echo + b"\x01\x01\x1f",
    }
    return {
        "hello": first["hello"], "packet": first["packet"],
        "retries": [{"why": why, "retry": retry.hex()} for why, retry in retries.items()],
    }  # fmt: skip
