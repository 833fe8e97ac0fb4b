"""What several tests of the receiver need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import noisegate
from tests.unit.sdk.receiving import QUICK, Game
from tests.unit.sdk.scripted_service import scripted_service


@pytest.fixture
async def game() -> AsyncIterator[Game]:
    """A receiver over a running scripted service."""
    async with scripted_service() as scripted, noisegate.connect(scripted.address, policy=QUICK) as client:
        yield Game(scripted, client)
