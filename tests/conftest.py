"""What holds under every test: no (key, nonce) pair is sealed twice, and a test's engines leave nothing behind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.beside import Beside
from tests.support.engines import Engines
from tests.support.minutes import Minutes
from tests.support.recording import Recorder, install, repeats_among

TESTS = Path(__file__).parent
FIXED_EPHEMERAL = (
    # Published vectors, and pairs with seeded keys that are compared with a computation by hand.
    "conformance",
    "unit/noise",
    "unit/dice",
    "unit/session/test_packets.py",
)
"""Where the same keys come back by design; a single test says so with the marker `fixed_ephemeral`."""

_recorder = pytest.StashKey[Recorder]()
_sealed_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """The markers of this suite; and no test fails because the machine is busy, or by a draw that none can repeat.

    `make test` draws the same examples each time; `make fuzz` draws new ones, and more of them.
    """
    settings.register_profile("test", deadline=None, derandomize=True)
    settings.register_profile("fuzz", deadline=None, max_examples=100 * int(os.environ.get("NOISEGATE_FUZZ", "1")))
    settings.load_profile("fuzz" if "NOISEGATE_FUZZ" in os.environ else "test")
    config.pluginmanager.register(Minutes())
    config.addinivalue_line(
        "markers", "fixed_ephemeral: its keys are fixed, so its (key, nonce) pairs are not recorded"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders whose keys are fixed are marked as a whole."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
        if place.startswith(FIXED_EPHEMERAL):
            item.add_marker(pytest.mark.fixed_ephemeral)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Beside:
    """What starts no server and builds nothing runs beside the rest."""
    return Beside(config, log)


@pytest.fixture(scope="session", autouse=True)
def nonces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """The record of all that is sealed in this run, by this process and by the servers that it starts."""
    recorder, remove = install()
    request.config.stash[_recorder] = recorder
    request.config.stash[_sealed_folder] = tmp_path_factory.mktemp("sealed")
    yield recorder
    remove()


@pytest.fixture(autouse=True)
def _every_nonce_once(request: pytest.FixtureRequest, nonces: Recorder) -> Iterator[None]:
    if request.node.get_closest_marker("fixed_ephemeral") is not None:
        with nonces.pause():
            yield
        return
    yield
    if nonces.repeats:
        request.session.shouldfail = f"a nonce was used twice: {nonces.repeats[0]}"
        pytest.fail(f"a nonce was used twice: {nonces.repeats}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What the servers sealed, against what this process sealed. A worker of pytest-xdist stops the run with it."""
    folder = session.config.stash.get(_sealed_folder, None)
    if folder is None:
        return
    repeats = repeats_among(folder, session.config.stash[_recorder].seen)
    if not repeats:
        return
    found = f"a nonce was used twice across processes: {repeats}"
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["shouldfail"] = found
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(found, red=True)


@pytest.fixture
def sealed_file(request: pytest.FixtureRequest, nonces: Recorder) -> Callable[[], Path]:
    """Makes a path for NOISEGATE_TEST_SEALED: one for each start of `tests.support.recorded_server`."""
    folder = request.config.stash[_sealed_folder]
    taken = len(list(folder.iterdir()))
    numbers = itertools.count(taken)

    def make() -> Path:
        path = folder / f"{next(numbers)}.sealed"
        path.touch()
        return path

    return make


@pytest.fixture
def engines() -> Iterator[Engines]:
    """Makes engines on one stepped clock. After the test every session ends, and nothing may be left of any."""
    made = Engines()
    yield made
    made.assert_nothing_is_left()
