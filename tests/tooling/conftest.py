"""The image, which is built once for all who look at what is installed in it."""

from __future__ import annotations

import pytest

from tests.support.image import Image, walk


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the Dockerfile's steps leave."""
    return walk(tmp_path_factory.mktemp("image"))
