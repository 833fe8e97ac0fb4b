"""Since when keys are in use: by their ids, whatever happens to the files that they come in."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from noisegate_server.session.sealing import SealingKey, SealingKeys
from noisegate_server.vault.key_dates import KeyDates, read_dates

WALL = 1_900_000_000.0
OPTION = "--blob-key"


def key(number: int) -> SealingKey:
    """One of several."""
    return SealingKey(key_id=bytes([number]) * 8, key=bytes([number + 100]) * 32)


def since(state: Path | None, keys: SealingKeys, *, written: float, wall: float) -> float:
    """What a process says that starts at `wall`."""
    return KeyDates(state).since(OPTION, keys, written, wall)


def test_a_file_that_is_laid_out_anew_makes_its_key_no_younger(tmp_path: Path) -> None:
    """As a kubelet does it at every start of a pod."""
    keys = SealingKeys(current=key(1))
    assert since(tmp_path / "state", keys, written=WALL - 5, wall=WALL) == WALL - 5
    assert since(tmp_path / "state", keys, written=WALL + 9_000, wall=WALL + 9_001) == WALL - 5


def test_a_new_key_is_as_old_as_its_file_and_the_one_before_keeps_its_date(tmp_path: Path) -> None:
    """It may come back, when a rotation is taken back. Those that are in the file no more are forgotten."""
    state = tmp_path / "state"
    since(state, SealingKeys(current=key(1)), written=WALL, wall=WALL)
    rotated = SealingKeys(current=key(2), previous=key(1))
    assert since(state, rotated, written=WALL + 100, wall=WALL + 101) == WALL + 100
    taken_back = SealingKeys(current=key(1), previous=key(2))
    assert since(state, taken_back, written=WALL + 200, wall=WALL + 201) == WALL
    since(state, SealingKeys(current=key(3)), written=WALL + 300, wall=WALL + 301)
    assert read_dates(state) == {OPTION: {key(3).key_id.hex(): WALL + 300}}


def test_a_file_from_the_future_is_as_old_as_now(tmp_path: Path) -> None:
    """Else an alert would wait for that day, and then for its time."""
    assert since(tmp_path / "state", SealingKeys(current=key(1)), written=WALL + 9_000, wall=WALL) == WALL


def test_each_option_has_keys_of_its_own(tmp_path: Path) -> None:
    """One that changes does not forget the other's."""
    dates = KeyDates(tmp_path / "state")
    dates.since("--ticket-key", SealingKeys(current=key(1)), WALL, WALL)
    dates.since("--blob-key", SealingKeys(current=key(2)), WALL, WALL)
    assert read_dates(tmp_path / "state").keys() == {"--ticket-key", "--blob-key"}


def test_no_key_is_in_it_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Ids are hashes of keys, and stand in every ticket."""
    since(tmp_path / "state", SealingKeys(current=key(1), previous=key(2)), written=WALL, wall=WALL)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for each in (key(1), key(2)):
        assert each.key not in path.read_bytes()
        assert each.key.hex() not in path.read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"--blob-key": 7}', '{"--blob-key": {"00": "x"}}', "\udcff"])
def test_a_file_that_makes_no_sense_is_written_anew(tmp_path: Path, content: str) -> None:
    """Dates are no reason not to start."""
    (tmp_path / "state-keys.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    keys = SealingKeys(current=key(1))
    assert since(tmp_path / "state", keys, written=WALL, wall=WALL) == WALL
    assert json.loads((tmp_path / "state-keys.json").read_text()) == {OPTION: {key(1).key_id.hex(): WALL}}


def test_without_a_state_file_a_key_is_as_old_as_its_file(tmp_path: Path) -> None:
    """There is no place to keep it, nor where one cannot be written, and the service starts all the same."""
    keys = SealingKeys(current=key(1))
    for state in (None, tmp_path / "none" / "state"):
        since(state, keys, written=WALL, wall=WALL)
        assert since(state, keys, written=WALL + 50, wall=WALL + 60) == WALL + 50
