"""The SDKs of all languages behave alike: the cases of `tests/conformance/cases`, played by each of their drivers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate_server.rpc.errors import reason_name
from tests.conformance.suite.cases import SCRIPTED, answered, load
from tests.conformance.suite.languages import LANGUAGES, Language
from tests.conformance.suite.table import run, shown
from tests.support.go_program import NotAvailable
from tests.support.vectors import not_available

CASES = load()
KNOWN = {reason_name(number) for number in reasons.ErrorReason.values() if number}

# A driver's first build compiles gRPC.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_a_language_holds_every_case(language: Language) -> None:
    """The five RPCs in both record modes, lost answers, refusals, batches, the stream, deadlines, small windows."""
    rows = run([language], CASES)
    if rows[0].skipped:
        not_available(rows[0].skipped)
    assert rows[0].failures == {}, shown(rows, CASES)
    assert rows[0].passed == sum(language.name not in case.not_in for case in CASES)


def test_a_broken_driver_turns_its_row_red() -> None:
    """An SDK that takes forgeries for records, loses reasons and repeats nothing fails where that shows."""
    broken = Language(name="Broken", build=lambda _: [sys.executable, "-m", "tests.conformance.drivers.broken"])
    cases = [case for case in CASES if case.topic in ("records", "rotate") or "of Encrypt" in case.name]
    rows = run([broken], cases)
    (row,) = rows
    assert "records: NOISE: a forged record is a result, and the session goes on" in row.failures
    assert "records: a session that is unknown is lost: the player must resume" in row.failures
    assert "lost: DATAGRAM: of Encrypt, and no counter is lost" in row.failures
    assert not any(name.startswith("rotate: ") for name in row.failures)
    table = shown(rows, cases)
    assert f"{len(row.failures)} failed" in table.splitlines()[-1]
    assert any(line.startswith("records") and "FAILED" in line for line in table.splitlines())
    assert any(line.startswith("rotate") and "ok" in line for line in table.splitlines())


def test_a_language_that_cannot_be_built_says_why() -> None:
    """Its row is left out, and neither passed nor failed."""

    def build(_: Path) -> list[str]:
        raise NotAvailable("the compiler is not installed")

    rows = run([Language(name="Missing", build=build)], CASES)
    assert rows[0].skipped == "the compiler is not installed"
    assert shown(rows, CASES).splitlines()[-2:] == [
        "Missing: skipped, the compiler is not installed",
        "0 passed, 0 failed",
    ]


def test_every_reason_of_the_contract_is_a_case() -> None:
    """Whoever adds a reason adds its row."""
    assert {case.name for case in CASES if case.topic == "reasons"} == KNOWN


def test_every_reason_is_answered_by_the_service_itself_or_says_why_not() -> None:
    """A script in the service's place shows that an SDK can read a reason, and not that the service gives it."""
    real = answered(CASES)
    assert KNOWN - real == SCRIPTED.keys()
    assert not real & SCRIPTED.keys()


def test_every_case_has_a_name_of_its_own() -> None:
    """A failure must say which one it was."""
    names = [(case.topic, case.name) for case in CASES]
    assert len(names) == len(set(names))
