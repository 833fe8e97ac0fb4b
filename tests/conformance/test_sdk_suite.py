"""The SDKs of all languages behave alike: the cases of `tests/conformance/cases`, played by each of their drivers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from noisegate.v1 import error_reason_pb2 as reasons
from noisegate_server.rpc.errors import reason_name
from tests.conformance.suite.__main__ import main
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
    """The five RPCs in both record modes, lost answers, refusals, batches, the stream, restarts, small windows."""
    rows = run([language], CASES)
    if rows[0].skipped:
        not_available(rows[0].skipped)
    assert rows[0].failures == {}, shown(rows, CASES)
    assert rows[0].passed == sum(language.name not in case.not_in for case in CASES)


def test_a_broken_driver_turns_its_row_red() -> None:
    """An SDK that takes forgeries for records, loses reasons and repeats nothing fails where that shows."""
    broken = Language(name="Broken", build=lambda _: [sys.executable, "-m", "tests.conformance.drivers.broken"])
    telling = ("of Encrypt", "a packet outlasts it")
    cases = [
        case for case in CASES if case.topic in ("records", "rotate") or any(each in case.name for each in telling)
    ]
    rows = run([broken], cases)
    (row,) = rows
    assert "records: NOISE: a forged record is a result, and the session goes on" in row.failures
    assert "records: a session that is unknown is lost: the player must resume" in row.failures
    assert "lost: DATAGRAM: of Encrypt, and no counter is lost" in row.failures
    assert "restart: a call, NOISE: a packet outlasts it" in row.failures
    assert not any(name.startswith("rotate: ") for name in row.failures)
    table = shown(rows, cases)
    assert f"{len(row.failures)} failed" in table.splitlines()[-1]
    assert any(line.startswith("records") and "FAILED" in line for line in table.splitlines())
    assert any(line.startswith("rotate") and "ok" in line for line in table.splitlines())


# Python drivers, each with another fault, and what is said of it.
FAULTY = {
    "has no program": (["/no/such/driver"], "the driver does not start"),
    "ends at once": ([sys.executable, "-c", "pass"], "the driver has ended"),
    "says what is no JSON": ([sys.executable, "-c", "print('hello')"], "no answer: b'hello"),
    "spoils what a player gets": (
        [
            sys.executable,
            "-c",
            """import asyncio
from tests.conformance.drivers.python.driver import Driver, serve

class Spoiling(Driver):
    async def respond(self, request):
        answer = await super().respond(request)
        return {**answer, "to_peer": ["00" * (len(each) // 2) for each in answer["to_peer"]]}

    async def encrypt(self, request):
        return {}

asyncio.run(serve(Spoiling()))""",
        ],
        "NoiseRefusedError",
    ),
}


@pytest.mark.parametrize(("command", "why"), FAULTY.values(), ids=FAULTY.keys())
def test_whatever_is_wrong_with_a_driver_the_table_comes_and_is_red(command: list[str], why: str) -> None:
    """No fault of one language keeps the others' rows from being shown."""
    cases = [case for case in CASES if case.topic == "records"][:6]
    (row,) = rows = run([Language(name="Faulty", build=lambda _: command)], cases)
    assert len(row.failures) >= 4
    assert why in "".join(row.failures.values())
    table = shown(rows, cases).splitlines()
    assert f"{len(row.failures)} FAILED" in table[1]
    assert table[-1] == f"{row.passed} passed, {len(row.failures)} failed"


def test_a_driver_that_does_not_compile_fails_every_case() -> None:
    """It was there to be built, so its row is red, and the compiler's words are said once."""

    def build(_: Path) -> list[str]:
        raise RuntimeError("expected a semicolon")

    rows = run([Language(name="Faulty", build=build)], CASES)
    assert rows[0].failures.keys() == {case.title for case in CASES}
    text = shown(rows, CASES)
    assert text.count("expected a semicolon") == 1
    assert text.endswith(f"0 passed, {len(CASES)} failed")


def test_a_language_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside one that does, too: its row would be missed by nobody."""
    with pytest.raises(SystemExit):
        main(["python", "pyhton"])
    assert "there is no pyhton" in capsys.readouterr().err


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
    names = [case.title for case in CASES]
    assert len(names) == len(set(names))
