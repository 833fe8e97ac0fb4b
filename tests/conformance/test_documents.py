"""The documents say what is: links resolve, commands run, generated parts are current, numbers are the code's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noisegate_server.engine.policy import Policy
from noisegate_server.session import constants
from noisegate_server.session.hello import Flags
from noisegate_server.session.packets import FIRST_BYTES, Kind, PacketType
from noisegate_server.session.state import TRANSITIONS
from noisegate_server.session.suites import PATTERN_NAMES, SUITES
from tools import make_error_catalogue, make_state_diagram

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "docs" / "protocol.md"
DESIGN = ROOT / "service" / "DESIGN.md"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMANDS = re.compile(r"^```console run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SKIPPED = frozenset({"node_modules", "build", "dist"})


def documents() -> list[Path]:
    """Every Markdown file of the repository; none of an environment or a tool's folder."""
    found = [path for path in ROOT.rglob("*.md") if not hidden(path.relative_to(ROOT))]
    return sorted(found)


def hidden(path: Path) -> bool:
    """Whether a path below the root is none of the project's own text."""
    return any(part.startswith(".") or part in SKIPPED for part in path.parts)


def anchors(path: Path) -> set[str]:
    """What a link into a Markdown file may name: its headings, as they are shown on the web."""
    headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path) -> Iterator[str]:
    """Relative links of a file that lead nowhere."""
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = path.parent / name if name else path
        if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
            yield target


def commands() -> list[tuple[Path, str, str]]:
    """(document, command, expected output) of every console block that is marked `run`."""
    found = []
    for path in documents():
        for block in COMMANDS.findall(path.read_text(encoding="utf-8")):
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((path, command, output))
    return found


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """The file is there and, in a Markdown file, the heading."""
    assert list(broken(path)) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    """A missing file, a missing heading; not a good link, one of the web or one in a code block."""
    path = tmp_path / "a.md"
    path.write_text(
        "# One thing, two\n[a](a.md#one-thing-two) [b](#no) [c](b.md) [d](https://x.example)\n```\n[e](f.md)\n```\n",
        encoding="utf-8",
    )
    assert list(broken(path)) == ["#no", "b.md"]


@pytest.mark.parametrize(
    ("command", "output"),
    [(command, output) for _, command, output in commands()],
    ids=[f"{path.name}: {command}" for path, command, _ in commands()],
)
def test_marked_commands_run(command: str, output: str) -> None:
    """Each ends with exit code 0 and prints what the document shows."""
    program, *arguments = shlex.split(command)
    assert program == "python", "mark commands of this checkout's own Python alone"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_there_are_marked_commands() -> None:
    """The search for them finds those of the protocol and of the design."""
    assert {path for path, _, _ in commands()} >= {PROTOCOL, DESIGN}


def test_the_state_diagram_is_the_table() -> None:
    """Every transition is an arrow and every arrow a transition; a diagram with one less is stale."""
    text = DESIGN.read_text(encoding="utf-8")
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", text, re.MULTILINE)
    assert arrows == [(before.name, after.name, event.name) for (before, event), after in TRANSITIONS.items()]
    assert make_state_diagram.replaced(text) == text
    spoilt = text.replace("    SUSPENDED --> ESTABLISHED: RESTORE\n", "")
    assert spoilt != text
    assert make_state_diagram.replaced(spoilt) == text


def test_the_error_catalogue_is_current() -> None:
    """docs/errors.md is what the table of errors gives, one row for each reason of the contract."""
    text = make_error_catalogue.FILE.read_text(encoding="utf-8")
    assert text == make_error_catalogue.render()
    contract = (ROOT / "proto" / "noisegate" / "v1" / "error_reason.proto").read_text(encoding="utf-8")
    reasons = re.findall(r"^  // ([A-Z_]+): .*\n(?:  // .*\n)*  ERROR_REASON_(\w+) = \d+;", contract, re.MULTILINE)
    rows = re.findall(r"^\| (\w+) \| (\w+) \|", text, re.MULTILINE)
    assert [row for row in rows if row != ("code", "reason")] == reasons
    assert len(reasons) == 27


def test_the_protocol_names_every_label_kind_and_number() -> None:
    """Labels, first bytes, kinds, patterns, suites and flags stand in the document as they are in the code."""
    text = PROTOCOL.read_text(encoding="utf-8")
    labels = [value for name, value in vars(constants).items() if name.startswith("LABEL_")]
    assert len(labels) == 13
    for label in labels:
        assert f'"{label.decode()}"' in text
    for packet in PacketType:
        assert f"| `0x{FIRST_BYTES[packet]:02x}` | {packet.name} |" in text
    for kind in Kind:
        assert (
            f"| {kind.value} | {kind.name.lower().replace('_', ' ' if kind is Kind.CONNECTION_ID else '-')} |" in text
        )
    for pattern, name in PATTERN_NAMES.items():
        assert re.search(rf"\| {pattern.value} \| {name}\b", text)
    for suite, names in SUITES.items():
        assert f"| {suite.value} | {'_'.join(names)}" in text
    assert ", ".join(f"{flag.value} {str(flag.name).lower()}" for flag in Flags) in text


def test_the_protocols_numbers_are_the_codes() -> None:
    """The table of constants, row by row."""
    policy = Policy()
    expected = {
        "protocol version": f"{constants.PROTOCOL_VERSION}",
        "hello": f"{constants.MIN_HELLO} to {constants.MAX_HELLO} bytes, at most {constants.MAX_OFFER} protocols",
        "connection id, echo, keep-alive token": f"{constants.CONNECTION_ID} bytes",
        "puzzle": f"at most {constants.MAX_PUZZLE} bytes",
        "ticket": f"at most {constants.MAX_TICKET:,} bytes, {constants.TICKET_LIFETIME_S // 3_600} h",
        "key, hash, secret, PSK": f"{constants.KEY} bytes",
        "tag": f"{constants.TAG} bytes",
        "header of RECORD, of SALTED": f"{constants.RECORD_HEADER} and {constants.SALTED_HEADER} bytes",
        "salt": f"{constants.SALT} bytes",
        "largest content in DATAGRAM mode": f"{constants.MAX_DATAGRAM_PLAINTEXT:,} bytes; "
        f"in a SALTED packet {constants.MAX_SALTED_INNER - 1:,}",
        "largest content and kind": f"{constants.MAX_INNER:,} bytes; in a SALTED packet {constants.MAX_SALTED_INNER:,}",
        "largest plaintext in NOISE mode": f"{constants.MAX_NOISE_PLAINTEXT:,} bytes",
        "largest counter": f"2^64 - {2**64 - constants.MAX_COUNTER}",
        "largest epoch": f"2^32 - {2**32 - constants.MAX_EPOCH}; "
        f"of a salted one 2^32 - {2**32 - constants.MAX_EPOCH + 1}",
        "phases of an epoch and direction": f"{constants.MAX_PHASES}",
        "messages of a phase with the ratchet": f"{constants.RATCHET_MESSAGES}",
        "grace of passed keys, old connection ids": f"{constants.GRACE_S:g} s",
        "a repeat gets the same answer for": f"{constants.REPEAT_ANSWER_S:g} s",
        "waits before a repeat of step 1": f"{', '.join(f'{delay:g}' for delay in constants.REPEAT_DELAYS_S)} s; "
        f"a new attempt after {constants.NEW_ATTEMPT_S:g} s",
        "waits before other repeats": f"{constants.REMIND_FIRST_S:g} s, "
        f"each {constants.REMIND_GROWTH:g} times the last, at most {constants.REMIND_LAST_S:g} s",
        "RESUME is sent at": f"{', '.join(f'{delay:g}' for delay in constants.RESUME_DELAYS_S)} s",
        "a new rotate-1 is dropped for": f"{constants.ROTATION_QUIET_S:g} s after a rotation, "
        f"{constants.ROTATE_AGAIN_S:g} s after another that was read",
        "an unconfirmed salted epoch is told again": f"at most every {constants.SALTED_ANSWER_S * 1000:g} ms",
        "the wish for a rotation counts once in": f"{constants.ROTATION_WISH_S:g} s",
        "soft and hard limits": "section 4",
        "replay window": f"{constants.WINDOW:,}",
        "unfinished handshake": f"{policy.handshake_timeout:g} s, {constants.HANDSHAKE_FAILURES} failures",
        "skew of a hello's timestamp": f"{policy.clock_skew:g} s",
        "idle time, lifetime": f"{policy.idle_timeout / 60:g} min, {policy.lifetime / 3_600:g} h, "
        "unless the caller sets them",
        "chain of resumes": f"{policy.chain_lifetime / 86_400:g} days",
    }
    section = PROTOCOL.read_text(encoding="utf-8").split("\n## 8. Constants\n")[1]
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section.split("\n## ")[0], re.MULTILINE))
    rows.pop("of this service", None)
    assert {name.strip(): value.strip() for name, value in rows.items() if name.strip("- ")} == expected


def test_the_protocols_limits_are_the_codes() -> None:
    """The table of an epoch's limits."""
    text = PROTOCOL.read_text(encoding="utf-8")
    powers = {2**20: "2^20", 2**23: "2^23"}
    messages = powers[constants.SOFT_MESSAGES], powers[constants.HARD_MESSAGES]
    assert f"| age | {constants.SOFT_AGE_S:g} s | {constants.HARD_AGE_S:g} s |" in text
    assert f"| messages sealed | {messages[0]} | {messages[1]} |" in text
    ratchet = f"{constants.RATCHET_SOFT_MESSAGES:,} | {constants.RATCHET_HARD_MESSAGES:,}"
    assert f"| messages sealed, with the ratchet | {ratchet} |" in text
    wide = {2**36: "2^36", 2**39: "2^39"}
    assert f"| bytes sealed | {wide[constants.SOFT_BYTES]} | {wide[constants.HARD_BYTES]} |" in text
    assert f"last {constants.RESERVED_COUNTERS:,} counters" in text


def test_every_flag_is_granted() -> None:
    """The default policy grants whatever a hello of version 1 may ask for."""
    assert Policy().flags == Flags.RATCHET | Flags.MASK | Flags.PAD | Flags.TICKETS | Flags.DATAGRAM


def test_the_protocol_describes_every_section_of_the_vectors() -> None:
    """Section 11 names each of them."""
    vectors = json.loads((ROOT / "docs" / "vectors" / "protocol-v1.json").read_text(encoding="ascii"))
    section = PROTOCOL.read_text(encoding="utf-8").split("\n## 11. Vectors\n")[1]
    assert set(re.findall(r"`(\w+)`", section)) - {"i2r", "provenance"} == set(vectors) - {"provenance"}
