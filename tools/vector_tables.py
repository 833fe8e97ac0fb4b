"""The parts of the protocol's vectors that are layouts and tables; tools/make_vectors.py puts them into the file."""

from __future__ import annotations

from typing import Any, Protocol

from noisegate_server.noise import HandshakeState
from noisegate_server.session.constants import MAX_INNER
from noisegate_server.session.hello import (
    Flags,
    Hello,
    encode_hello,
    hello_prologue,
    renegotiate_prologue,
    resume_prologue,
)
from noisegate_server.session.packets import (
    Fragment,
    RetryChoice,
    RetryPuzzle,
    encode_fragment,
    encode_retry,
    retry_echo,
)
from noisegate_server.session.padding import padded_length
from noisegate_server.session.replay import ReplayWindow, Verdict, nearest
from noisegate_server.session.suites import Pattern, Suite
from noisegate_server.session.ticket import TicketContent, encode_ticket_content

Case = dict[str, Any]
TIMESTAMP_MS = 1_795_000_000_000


class Fixed(Protocol):
    """`make_vectors.fixed`."""

    def __call__(self, label: str, size: int = 32) -> bytes: ...


class Ends(Protocol):
    """`make_vectors.ends`."""

    def __call__(
        self, pattern: Pattern, suite: Suite, label: str, prologue: bytes, psk: bytes = b""
    ) -> tuple[HandshakeState, HandshakeState]: ...


HELLOS = (
    (Flags.DATAGRAM, ((1, 1),), 0),
    (Flags.DATAGRAM | Flags.MASK | Flags.PAD | Flags.TICKETS, ((2, 1), (1, 1), (1, 2)), 2),
    (Flags(0), ((3, 2), (99, 200)), 0),
    (Flags(0xFF), tuple((pattern, suite) for suite in (1, 2) for pattern in range(1, 9)), 15),
)


def hellos() -> list[Case]:
    """Hellos of 14, 18, 16 and 44 bytes; the third offers a protocol that nobody knows, the last sets every flag."""
    cases = []
    for flags, offer, choice in HELLOS:
        data = encode_hello(Hello(flags=flags, timestamp_ms=TIMESTAMP_MS, offer=offer, choice=choice))
        cases.append(
            {
                "flags": int(flags),
                "timestamp_ms": TIMESTAMP_MS,
                "offer": [list(pair) for pair in offer],
                "choice": choice,
                "hello": data.hex(),
            }
        )
    return cases


def refused_hellos() -> list[Case]:
    """What is no hello of version 1."""
    good = bytes.fromhex(hellos()[1]["hello"])
    return [
        {"why": "version 2", "hello": (b"\x02" + good[1:]).hex()},
        {"why": "a byte too many", "hello": (good + b"\0").hex()},
        {"why": "a byte too few", "hello": good[:-1].hex()},
        {"why": "no protocol", "hello": (good[:10] + b"\0\0").hex()},
        {"why": "the choice is not in the offer", "hello": (good[:-1] + b"\x03").hex()},
        {"why": "17 protocols", "hello": (good[:10] + b"\x11" + b"\x01\x01" * 17 + b"\0").hex()},
        {"why": "nothing", "hello": ""},
    ]


def prologues(fixed: Fixed) -> list[Case]:
    """Every prologue of ours, and the one that is the caller's alone."""
    hello = bytes.fromhex(hellos()[1]["hello"])
    caller, ticket, h = b"dice, table 7", fixed("prologue ticket"), fixed("prologue h")
    given = {"hello": hello.hex(), "caller_prologue": caller.hex()}
    return [
        {"of": "handshake", **given, "prologue": hello_prologue(hello, caller).hex()},
        {"of": "handshake", **given, "caller_prologue": "", "prologue": hello_prologue(hello, b"").hex()},
        {"of": "handshake", **given, "hello": "", "prologue": hello_prologue(None, caller).hex()},
        {"of": "resume", **given, "ticket": ticket.hex(), "prologue": resume_prologue(hello, ticket, caller).hex()},
        {
            "of": "resume",
            **given,
            "hello": "",
            "ticket": ticket.hex(),
            "prologue": resume_prologue(None, ticket, caller).hex(),
        },
        {"of": "renegotiate", "h": h.hex(), "new_epoch": 1, "prologue": renegotiate_prologue(h, 1).hex()},
        {"of": "renegotiate", "h": h.hex(), "new_epoch": 70_000, "prologue": renegotiate_prologue(h, 70_000).hex()},
        {"of": "renegotiate", "h": h.hex(), "new_epoch": None, "prologue": renegotiate_prologue(h, None).hex()},
    ]


def padding() -> list[Case]:
    """Bytes of content and kind, to how many bytes they are padded."""
    lengths = (1, 31, 32, 33, 64, 65, 128, 129, 256, 257, 512, 513, 1_024, 1_025, 1_280, 1_281, 65_280, 65_281)
    return [{"content_and_kind": length, "padded": padded_length(length)} for length in (*lengths, MAX_INNER)]


def nearest_examples() -> list[Case]:
    """Low bits of a header and the highest number authenticated (-1: none), the number that is meant."""
    half = 1 << 31
    examples = (
        (0, 32, -1), (5, 32, -1), (0xFFFFFFFF, 32, -1), (0, 32, 0xFFFFFFFF), (5, 32, 0xFFFFFFF0),
        (0xFFFFFFF0, 32, (1 << 32) + 5), (7, 32, (1 << 40) + 3), (half, 32, 0), (half + 1, 32, 1), (half + 2, 32, 1),
        (half, 32, (1 << 32)), (half + 1, 32, (1 << 32)), (0, 8, 0), (1, 8, 0), (63, 8, 0), (128, 8, 0), (255, 8, 0),
        (3, 8, 5), (0, 8, 255), (255, 8, 256), (129, 8, 1),
    )  # fmt: skip
    return [
        {"low": low, "bits": bits, "highest": highest, "number": nearest(low, bits, highest)}
        for low, bits, highest in examples
    ]


def replay_window() -> list[Case]:
    """Counters in the order in which authentic records come; FRESH ones are taken before the next is looked at."""
    counters = (
        5, 5, 3, 3, 0, 4, 1_028, 1_029, 5, 6, 4, 3, 2_000, 976, 975, 977, 976, 100_000, 2_000, 98_976, 98_975, 99_999,
        (1 << 32) - 1, 1 << 32, (1 << 32) - 1, (1 << 32) - 1_024, (1 << 32) - 1_025, 1 << 40, (1 << 40) - 1_024,
        (1 << 40) + 1, (1 << 40) - 1_024, (1 << 40) - 1_023,
    )  # fmt: skip
    window, cases = ReplayWindow(), []
    for counter in counters:
        verdict = window.check(counter)
        newest = counter > window.highest
        if verdict is Verdict.FRESH:
            window.commit(counter)
        cases.append({"counter": counter, "verdict": verdict.name, "newest": newest, "highest": window.highest})
    return cases


def packets(fixed: Fixed) -> list[Case]:
    """RETRY and FRAGMENT packets: defined, not served by version 0.1."""
    refused, connection_id = fixed("refused packet"), fixed("fragment connection id", 8)
    echo, challenge, part = retry_echo(refused), fixed("challenge", 24), fixed("part")
    fragment = Fragment(connection_id=connection_id, message_id=513, index=1, count=2, part=part)
    return [
        {
            "type": "RETRY", "reason": 1, "refused": refused.hex(), "choice": 1, "flags": 24,
            "packet": encode_retry(RetryChoice(echo=echo, choice=1, flags=24)).hex(),
        },
        {
            "type": "RETRY", "reason": 2, "refused": refused.hex(), "challenge": challenge.hex(),
            "packet": encode_retry(RetryPuzzle(echo=echo, challenge=challenge)).hex(),
        },
        {
            "type": "FRAGMENT", "connection_id": connection_id.hex(), "message_id": 513, "index": 1, "count": 2,
            "part": part.hex(), "packet": encode_fragment(fragment).hex(),
        },
    ]  # fmt: skip


def ticket_contents(fixed: Fixed) -> list[Case]:
    """The content of a record of kind ticket."""
    cases = []
    for lifetime_s, max_early, size in ((86_400, 0, 32), (3_600, 512, 1)):
        psk, ticket = fixed(f"ticket psk {lifetime_s}"), fixed(f"ticket {lifetime_s}", size)
        content = encode_ticket_content(
            TicketContent(lifetime_s=lifetime_s, max_early=max_early, psk=bytearray(psk), ticket=ticket)
        )
        cases.append(
            {
                "lifetime_s": lifetime_s, "max_early": max_early, "psk": psk.hex(), "ticket": ticket.hex(),
                "content": content.hex(),
            }
        )  # fmt: skip
    return cases
