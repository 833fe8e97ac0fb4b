"""Since when each sealing key is in use, in a small file beside the state file.

The date of a key's own file says little: a kubelet writes it anew at every start of a pod. Ids of keys stand in here,
never keys. Who loses the file loses the dates, and keys are young again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from noisegate_server.session.sealing import SealingKeys
from noisegate_server.telemetry.logs import LOG

__all__ = ["KeyDates", "read_dates"]

Dates = Mapping[str, Mapping[str, float]]
"""By option, then by the id of a key in hex: unix seconds."""


class KeyDates:
    """Of the instance whose state file is `state_file`; with None a key is as old as its file."""

    def __init__(self, state_file: Path | None) -> None:
        self._state_file: Final = state_file

    def since(self, option: str, keys: SealingKeys, written: float, wall: float) -> float:
        """When the current key was first seen (unix seconds), and known from now on, as is that of the previous one.

        `written`: the date of the file, which a key that is new here is as old as.
        """
        known = read_dates(self._state_file)
        before = known.get(option, {})
        ids = [each.key_id.hex() for each in (keys.current, keys.previous) if each is not None]
        dates = {key_id: before.get(key_id, min(written, wall)) for key_id in ids}
        if self._state_file is not None and dates != before:
            self._write(self._state_file, {**known, option: dates})
        return dates[ids[0]]

    def _write(self, state_file: Path, dates: Dates) -> None:
        path = _beside(state_file)
        fresh = path.with_name(f"{path.name}.new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_text(json.dumps(dates), encoding="ascii")
            os.replace(fresh, path)
        except OSError as error:
            LOG.warning("since when keys are in use cannot be kept", file=str(path), cause=error.strerror)


def read_dates(state_file: Path | None) -> Dates:
    """What is known beside `state_file`; nothing where there is no such file, or none that makes sense."""
    if state_file is None:
        return {}
    try:
        found = json.loads(_beside(state_file).read_bytes())
        return {option: {key_id: float(date) for key_id, date in dates.items()} for option, dates in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _beside(state_file: Path) -> Path:
    return state_file.with_name(f"{state_file.name}-keys.json")
