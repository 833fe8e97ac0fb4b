"""What the examples of every client are played against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A service for the examples."""
    running = RunningServer(("--dev", "--listen", "127.0.0.1:0"))
    yield running
    running.kill()
