"""What is wrong with a state file: for each error of SQLite that a disk can cause there is a way out."""

from __future__ import annotations

import pytest

from noisegate_server.vault.troubles import trouble


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        ("SQLITE_FULL", "its disk is full", "make room"),
        ("SQLITE_IOERR_FSYNC", "its disk fails", "look at the disk"),
        ("SQLITE_READONLY_DBMOVED", "cannot be written", "fsGroup"),
        ("SQLITE_CANTOPEN", "cannot be written", "fsGroup"),
        ("SQLITE_BUSY_RECOVERY", "another process has it open", "a file of its own"),
        ("SQLITE_CORRUPT_INDEX", "is damaged", "are lost"),
        ("SQLITE_NOMEM", "cannot be used (SQLITE_NOMEM)", "noisegate doctor"),
        ("the vault is closed", "cannot be used (the vault is closed)", "noisegate doctor"),
    ],
)
def test_an_error_has_words_and_a_remedy_by_its_kind(error: str, what: str, remedy: str) -> None:
    """Extended names belong to their kind; one that is not known is shown as it is."""
    said, to_do = trouble(error)
    assert what in said
    assert remedy in to_do
