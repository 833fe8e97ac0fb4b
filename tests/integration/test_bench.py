"""The command `noisegate bench`, as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from noisegate_server.bench.claims import CLAIMS
from noisegate_server.bench.many import Million
from noisegate_server.bench.run import measures
from tests.bench.rows import PEER_ROWS

NOISEGATE = str(Path(sys.executable).parent / "noisegate")


def test_one_row_goes_to_the_terminal_and_into_both_files(tmp_path: Path) -> None:
    """Whatever the figure is on this machine; the row checks what it seals."""
    result, picture = tmp_path / "seam.json", tmp_path / "seam.svg"
    command = [NOISEGATE, "bench", "seam", "--json", str(result), "--plot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (0, 1), done.stderr
    (row,) = json.loads(result.read_text(encoding="utf-8"))
    claim = CLAIMS["seam"]
    assert (row["id"], row["better"]) == ("seam", "lower")
    assert (row["what"], row["reference"]) == (claim.what, claim.reference)
    assert 0 < row["low"] <= row["ratio"] <= row["high"]
    assert set(row) == {"id", "ratio", "better", "low", "high", "what", "reference"}
    assert f"seam: {claim.what}" in done.stdout
    assert "seam" in picture.read_text(encoding="utf-8")


def test_a_row_that_is_not_there_is_refused_before_anything_is_measured() -> None:
    """The answer names those that are."""
    done = subprocess.run([NOISEGATE, "bench", "seam", "sean"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("noisegate: no such row: sean; there are batch, ")
    assert done.stdout == ""


def test_every_claim_has_a_row() -> None:
    """And a row of the peers takes no other's id."""
    assert list(measures(Million())) == list(CLAIMS)
    assert not set(PEER_ROWS) & set(CLAIMS)
