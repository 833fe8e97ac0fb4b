"""Where published test vectors are, and what their absence means.

`NOISEGATE_VECTORS` names the folder. Without it a test that needs them is skipped, with the reason; with
`NOISEGATE_REQUIRE_ALL=1`, as before a release, whatever is missing is a failure.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest


def vectors_folder() -> Path:
    """The folder of published vectors; skips or fails the test where there is none."""
    value = os.environ.get("NOISEGATE_VECTORS")
    if not value:
        not_available("NOISEGATE_VECTORS is not set")
    folder = Path(value)
    if not folder.is_dir():
        not_available("NOISEGATE_VECTORS names no folder")
    return folder


def load_json(relative: str) -> dict[str, Any]:
    """A JSON file of the vectors' folder."""
    found: dict[str, Any] = json.loads((vectors_folder() / relative).read_text(encoding="utf-8"))
    return found


def peer_library(module: str) -> ModuleType:
    """Another implementation that a test runs against; skips or fails the test where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        not_available(f"the module {module} is not installed")


def not_available(reason: str) -> NoReturn:
    """Skip the test, or fail it where everything is required."""
    if os.environ.get("NOISEGATE_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
