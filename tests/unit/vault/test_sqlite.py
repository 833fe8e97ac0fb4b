"""The vault in a file: what outlives the process, whose file it takes, and what it does when the disk does not."""

from __future__ import annotations

import asyncio
import gc
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from noisegate_server.store.vault import Revocation, VaultFailed
from noisegate_server.vault.schema import prepare
from noisegate_server.vault.sqlite import SqliteVault, UnusableFile
from tests.unit.vault.test_vault import ISSUER, WALL, kept

ROOT = Path(__file__).resolve().parents[3]


async def test_what_was_kept_used_and_revoked_is_there_after_a_restart(tmp_path: Path) -> None:
    """The issuer too: it is as old as the knowledge of what was used."""
    path = tmp_path / "state"
    first = SqliteVault(path, ISSUER)
    await first.keep([kept(1)])
    await first.spend(b"n" * 16, WALL)
    revocation = Revocation(tenant="acme", peer_id="ann", revoked_wall=WALL)
    await first.revoke(revocation)
    await first.close()
    second = SqliteVault(path, b"else")
    assert (second.issuer, second.survives) == (ISSUER, True)
    assert await second.spend(b"n" * 16, WALL) is False
    assert await second.revoked() == [revocation]
    assert await second.take(kept(1).session_id) == b"blob 1"
    await second.close()


def files(folder: Path) -> list[Path]:
    """The vault's file, and what SQLite has put beside it."""
    return list(folder.iterdir())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from noisegate_server.vault.sqlite import SqliteVault
from tests.unit.vault.test_vault import WALL, kept

async def main() -> None:
    vault = SqliteVault(Path(sys.argv[1]), b"1234")
    for number in range(1_000_000):
        await vault.keep([kept(number)])
        await vault.spend(number.to_bytes(16, "big"), WALL)
        if number % 3 == 0:
            await vault.take(kept(number).session_id)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("rounds", [1, 7, 40])
def test_what_was_answered_before_a_kill_is_there_after_it(tmp_path: Path, rounds: int) -> None:
    """Killed with SIGKILL between two operations, or in the middle of one: nothing that was answered is missing."""
    path = tmp_path / "state"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        for _ in range(rounds):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        # It may have answered more before it died.
        last = max([last, *map(int, process.stdout.read().split("\n")[:-1])])
    asyncio.run(find_all(path, last))


async def find_all(path: Path, last: int) -> None:
    """Everything up to `last` is as the program above left it."""
    vault = SqliteVault(path, ISSUER)
    assert vault.issuer == b"1234"
    there = {each.session_id for each in await vault.kept()}
    for number in range(last + 1):
        assert (kept(number).session_id in there) is (number % 3 != 0), number
        assert await vault.spend(number.to_bytes(16, "big"), WALL) is False, number
    await vault.close()


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    """The write-ahead log too. A file that others may read is refused."""
    path = tmp_path / "state"
    vault = SqliteVault(path, ISSUER)
    await vault.keep([kept(1)])
    assert {stat.S_IMODE(each.stat().st_mode) for each in files(tmp_path)} == {0o600}
    await vault.close()
    path.chmod(0o640)
    with pytest.raises(UnusableFile, match="chmod 600"):
        SqliteVault(path, ISSUER)


def test_what_it_sorts_lies_in_no_file_beside(tmp_path: Path) -> None:
    """On a read-only root there is no place for one, and a restart with many sessions would fail."""
    with closing(sqlite3.connect(tmp_path / "vault", isolation_level=None)) as connection:
        prepare(connection, ISSUER)
        in_memory = 2
        assert connection.execute("PRAGMA temp_store").fetchall() == [(in_memory,)]


async def test_a_second_process_does_not_get_the_file(tmp_path: Path) -> None:
    """Two owners of one file would each restore the same sessions."""
    path = tmp_path / "state"
    vault = SqliteVault(path, ISSUER)
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom noisegate_server.vault.sqlite import SqliteVault\n"
        "async def main():\n    SqliteVault(Path(sys.argv[1]), b'1234')\nasyncio.run(main())\n"
    )
    second = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert "UnusableFile: another process has it open" in second.stderr
    await vault.spend(b"n" * 16, WALL)
    await vault.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"no database, " * 1_000), "no state file"),
        (lambda path: path.write_bytes(path.read_bytes()[:6_000]), "damaged"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:4_000] + b"\xa5" * 3_000 + path.read_bytes()[7_000:]),
            "damaged|used",
        ),
        (lambda path: execute(path, "PRAGMA application_id = 77"), "another program"),
        (lambda path: execute(path, "PRAGMA journal_mode = DELETE", "PRAGMA application_id = 77"), "another program"),
        (lambda path: execute(path, "PRAGMA user_version = 2"), "version 2"),
    ],
    ids=["text", "truncated", "overwritten", "foreign", "foreign, no log", "newer"],
)
async def test_a_file_that_is_not_a_sound_vault_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: object, said: str
) -> None:
    """To begin anew over it is the operator's choice, not ours."""
    path = tmp_path / "state"
    vault = SqliteVault(path, ISSUER)
    await vault.keep([kept(number) for number in range(50)])
    await vault.close()
    assert callable(damage)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(UnusableFile, match=said):
        SqliteVault(path, ISSUER)
    assert path.read_bytes() == before


def execute(path: Path, *statements: str) -> None:
    """Another program's hand in the file."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.commit()
    connection.close()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As every file that cannot be opened."""
    with pytest.raises(UnusableFile, match="No such file"):
        SqliteVault(tmp_path / "missing" / "state", ISSUER)


async def test_a_full_disk_fails_what_needs_room_and_nothing_else(tmp_path: Path) -> None:
    """What failed was not done, for certain; what was kept can still be taken, and then there is room again."""
    path = tmp_path / "state"
    first = SqliteVault(path, ISSUER)
    await first.keep([kept(1)])
    await first.close()
    vault = SqliteVault(path, ISSUER)
    pages = path.stat().st_size // 4_096
    await vault._worker.run(
        lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    )  # the disk's end
    large = [kept(number) for number in range(2, 400)]
    answers = await asyncio.gather(vault.keep(large), vault.spend(b"n" * 16, WALL), return_exceptions=True)
    failed, spent = answers
    assert isinstance(failed, VaultFailed)
    assert failed.certain
    assert spent is True
    assert [each.session_id for each in await vault.kept()] == [kept(1).session_id]
    assert await vault.take(kept(1).session_id) == b"blob 1"
    await vault.close()


async def test_a_failure_leaves_nothing_for_the_garbage_collector(tmp_path: Path) -> None:
    """Else every failed attempt to keep sessions could keep their blobs for ever."""
    vault = SqliteVault(tmp_path / "state", ISSUER)
    await vault._worker.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(VaultFailed):
                await vault.keep([kept(number) for number in range(400)])
        assert gc.collect() == 0
    finally:
        gc.enable()
    await vault.close()


async def test_a_closed_vault_fails_every_call(tmp_path: Path) -> None:
    """What was asked for before is done first; closing twice does no harm."""
    vault = SqliteVault(tmp_path / "state", ISSUER)
    asked = asyncio.ensure_future(vault.spend(b"n" * 16, WALL))
    await asyncio.sleep(0)
    await vault.close()
    assert await asked is True
    with pytest.raises(VaultFailed, match="closed"):
        await vault.spend(b"m" * 16, WALL)
    await vault.close()


async def test_nothing_of_a_deleted_blob_is_left_in_the_file(tmp_path: Path) -> None:
    """Its place is overwritten, and at the end the write-ahead log is gone."""
    path = tmp_path / "state"
    vault = SqliteVault(path, ISSUER)
    await vault.keep([kept(1)])
    await vault.take(kept(1).session_id)
    await vault.close()
    assert b"blob 1" not in path.read_bytes()
    assert [each.name for each in files(tmp_path)] == ["state"]


async def test_calls_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    """Otherwise a burst of a thousand would wait for the disk a thousand times."""
    vault = SqliteVault(tmp_path / "state", ISSUER)
    committed: list[str] = []
    await vault._worker.run(lambda connection: connection.set_trace_callback(committed.append))
    await asyncio.gather(*(vault.spend(number.to_bytes(16, "big"), WALL) for number in range(1_000)))
    assert sum(statement == "COMMIT" for statement in committed) < 10
    await vault.close()


@pytest.mark.parametrize(
    ("name", "certain"),
    [("SQLITE_FULL", True), ("SQLITE_IOERR_WRITE", True), ("SQLITE_IOERR_FSYNC", False), ("SQLITE_CORRUPT", False)],
)
async def test_what_failed_says_whether_it_may_be_there_after_all(tmp_path: Path, name: str, certain: bool) -> None:
    """Of a sync that failed nobody knows what reached the disk. Others that share the commit are done all the same."""

    def fail(_connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("as the test wants")
        error.sqlite_errorname = name
        raise error

    vault = SqliteVault(tmp_path / "state", ISSUER)
    spent, failed = await asyncio.gather(vault.spend(b"n" * 16, WALL), vault._worker.run(fail), return_exceptions=True)
    assert spent is True
    assert isinstance(failed, VaultFailed)
    assert failed.certain is certain
    assert "as the test wants" not in str(failed)
    await vault.close()
