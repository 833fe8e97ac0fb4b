"""Files of sealing keys: read at the start, read again when they change, and never half."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from noisegate_server.config import ConfigError, read_config
from noisegate_server.files import TICKET_KEYS, KeyFile, is_private
from noisegate_server.server import Server

FIRST, SECOND, THIRD = (digit * 64 for digit in "123")


def written(path: Path, *keys: str, mode: int = 0o600) -> Path:
    """A file of keys, put in the place of the one before as an operator does: written, then renamed."""
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(keys) + "\n")
    fresh.chmod(mode)
    fresh.replace(path)
    return path


def file_of(path: Path) -> KeyFile:
    """As --ticket-key reads it."""
    return KeyFile("--ticket-key", path, TICKET_KEYS)


def test_the_first_key_seals_and_the_second_opens(tmp_path: Path) -> None:
    """Ids follow from the keys, so that instances with one file agree."""
    path = written(tmp_path / "keys", FIRST, SECOND)
    keys = file_of(path).read()
    assert keys.current.key == bytes.fromhex(FIRST)
    assert keys.previous is not None
    assert keys.previous.key == bytes.fromhex(SECOND)
    assert keys == file_of(path).read()
    assert keys.current.key_id != keys.previous.key_id


def test_a_file_that_was_replaced_touched_or_removed_has_changed(tmp_path: Path) -> None:
    """Once read it has not, whatever came of the reading."""
    path = written(tmp_path / "keys", FIRST)
    file = file_of(path)
    file.read()
    assert not file.has_changed()
    written(path, SECOND, FIRST)
    assert file.has_changed()
    file.read()
    assert not file.has_changed()
    os.utime(path, ns=(1, 1))
    assert file.has_changed()
    file.read()
    path.unlink()
    assert file.has_changed()
    with pytest.raises(ConfigError):
        file.read()
    assert not file.has_changed()


@pytest.mark.parametrize("content", ["", "12", "g" * 64, "0" * 64, FIRST[:-1], f"{FIRST}\n{SECOND}\n{THIRD}"])
def test_a_file_that_is_of_no_use_is_refused_without_a_word_of_it(tmp_path: Path, content: str) -> None:
    """The refusal names option and path."""
    path = written(tmp_path / "keys", content)
    with pytest.raises(ConfigError, match="--ticket-key") as caught:
        file_of(path).read()
    assert len(content) < 10 or content not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """It says what to do."""
    with pytest.raises(ConfigError, match="chmod 600"):
        file_of(written(tmp_path / "keys", FIRST, mode=0o640)).read()


def test_where_no_mode_can_be_changed_the_volume_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod that starts again and again nobody can run chmod, and its Secret is mounted to be read."""
    path = written(tmp_path / "keys", FIRST, mode=0o644)
    mount = os.statvfs(path)
    fields = [getattr(mount, name) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files")]
    read_only = os.statvfs_result((*fields, mount.f_ffree, mount.f_favail, mount.f_flag | os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: read_only)
    with pytest.raises(ConfigError, match="defaultMode 0400, and the pod an fsGroup") as refused:
        file_of(path).read()
    assert "chmod" not in str(refused.value)


@pytest.mark.parametrize(
    ("owner", "mode", "process", "private"),
    [
        (65_532, 0o600, 65_532, True),
        (65_532, 0o640, 65_532, False),
        (0, 0o440, 65_532, True),
        (0, 0o640, 65_532, True),
        (0, 0o660, 65_532, False),
        (0, 0o444, 65_532, False),
        (0, 0o640, 0, False),
        (1_000, 0o440, 65_532, False),
    ],
)
def test_root_may_lend_a_key_to_a_group(owner: int, mode: int, process: int, private: bool) -> None:
    """A pod that is not root reads its Secret through its group: nobody but root could have changed that."""
    assert is_private(owner=owner, mode=mode, process=process) is private


async def test_a_running_server_takes_new_keys_and_survives_broken_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a change of the file, and by SIGHUP; a broken file is said once and changes nothing."""
    caplog.set_level(logging.INFO, "noisegate")
    path = written(tmp_path / "keys", FIRST)
    time = [100.0]
    server = Server(read_config({"listen": "127.0.0.1:0", "dev": True, "ticket_key": path}), clock=lambda: time[0])
    await server.start()
    try:
        parts = server._parts
        assert parts is not None

        def key_after(seconds: float) -> str:
            time[0] += seconds
            server._renewal.look(time[0])
            return parts.ticket_keys.current.key.hex()

        written(path, SECOND, FIRST)
        assert key_after(2.0) == SECOND
        written(path, "broken")
        assert [key_after(2.0) for _ in range(3)] == [SECOND] * 3
        assert caplog.text.count("what was read before stays in use") == 1
        assert "broken" not in caplog.text
        written(path, THIRD)
        server.read_files_again()
        assert key_after(0.0) == THIRD
        assert THIRD not in caplog.text
    finally:
        await server.stop(now=True)


async def test_a_key_is_as_old_at_the_next_start_whatever_the_date_of_its_file(tmp_path: Path) -> None:
    """The metric that alerts read; a key that comes while the service runs begins at nought."""
    path = written(tmp_path / "keys", FIRST)
    # A whole second: of an instant like 0.1 s the last bit is lost between a file's date and ours.
    day, began = 86_400.0, 1_800_000_000.0
    os.utime(path, (began, began))

    async def age(wall: float, *, then: str = "") -> float:
        now = [wall]
        options = {"listen": "127.0.0.1:0", "dev": True, "blob_key": path, "state_file": tmp_path / "state"}
        server = Server(read_config(options), wall=lambda: now[0])
        await server.start()
        try:
            if then:
                written(path, then, FIRST)
                os.utime(path, (wall, wall))
                server.read_files_again()
            parts = server._parts
            assert parts is not None
            return wall - parts.blob_ring.since
        finally:
            await server.stop(now=True)

    assert await age(began) == 0
    os.utime(path, (began + 91 * day,) * 2)
    assert await age(began + 91 * day) == 91 * day
    assert await age(began + 92 * day, then=SECOND) == 0
    os.utime(path, (began + 93 * day,) * 2)
    assert await age(began + 93 * day) == day
