"""`noisegate doctor`: what keeps a service from starting, or from being reached, is found and has a remedy."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from noisegate_server.config import read_config
from noisegate_server.doctor.clock import judge
from noisegate_server.doctor.examination import examine
from noisegate_server.doctor.findings import Finding, Findings, State
from noisegate_server.doctor.key_files import OLD
from noisegate_server.doctor.limits import _examine_memory
from noisegate_server.files import BLOB_KEYS, KeyFile
from noisegate_server.server import Server
from noisegate_server.vault.key_dates import KeyDates
from noisegate_server.vault.sqlite import SqliteVault
from tests.support.certificates import Authority
from tests.unit.vault.test_vault import ISSUER, kept

Options = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Those of a service that is in order, with a port that is free."""
    for name in ("identity", "tickets", "blobs"):
        write(tmp_path / name, os.urandom(32).hex())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    certificate, key, ca = Authority().write_server_files(tmp_path)[1::2]
    return {
        "listen": f"127.0.0.1:{port}",
        "identity": [str(tmp_path / "identity")],
        "ticket_key": str(tmp_path / "tickets"),
        "blob_key": str(tmp_path / "blobs"),
        "state_file": str(tmp_path / "state"),
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": ca,
    }


def write(path: Path, text: str | bytes, mode: int = 0o600) -> str:
    """A file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


def today(options: Options) -> float:
    """A moment at which the test's certificates are valid."""
    certificate = x509.load_pem_x509_certificate(Path(options["tls_certificate"]).read_bytes())
    return certificate.not_valid_before_utc.timestamp() + 1_800


def found(options: Options, wall: float | None = None) -> Findings:
    """The report. The clock of the machine that runs the tests is not in question."""
    return examine(read_config(options), today(options) if wall is None else wall)


def mends(findings: Findings) -> list[Finding]:
    """What must be mended."""
    return [finding for finding in findings if finding.state is State.MEND]


def of(findings: Findings, check: str) -> list[str]:
    """What is said of one option."""
    return [finding.text for finding in findings if finding.check == check]


def test_a_service_that_is_in_order_has_nothing_to_mend(options: Options, tmp_path: Path) -> None:
    """All that was looked at is said; no key is."""
    findings = found(options)
    assert mends(findings) == []
    assert findings.healthy
    checks = {finding.check for finding in findings}
    assert checks >= {"configuration", "clock", "--identity", "--tls-key", "--tls-certificate", "--tls-client-ca"}
    assert checks >= {"--ticket-key", "--blob-key", "--state-file", "--listen"}
    report = "".join(finding.text + finding.remedy for finding in findings)
    for name in ("identity", "tickets", "blobs"):
        assert (tmp_path / name).read_text() not in report


def test_it_changes_nothing(options: Options, tmp_path: Path) -> None:
    """Not even a state file is made."""
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    found(options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


Spoil = Callable[[Options, Path], None]


def _readable(options: Options, folder: Path) -> None:
    (folder / "tickets").chmod(0o644)


def _no_key(options: Options, folder: Path) -> None:
    write(folder / "blobs", "no key")


def _foreign_key(options: Options, folder: Path) -> None:
    options["tls_key"] = write(folder / "other.key", Authority().server()[1])


def _wrong_order(options: Options, folder: Path) -> None:
    own, other = Path(options["tls_certificate"]).read_bytes(), Authority().certificate
    write(folder / "server.pem", own + other)


def _no_name(options: Options, folder: Path) -> None:
    certificate, key = Authority().issue("server", [])
    write(folder / "server.pem", certificate)
    write(folder / "server.key", key)


def _other_name(options: Options, folder: Path) -> None:
    options["advertise"] = "noisegate-0.game.example:7443"


def _no_authority(options: Options, folder: Path) -> None:
    options["tls_client_ca"] = options["tls_certificate"]


def _no_policy(options: Options, folder: Path) -> None:
    options["policy"] = write(folder / "policy.toml", "[[caller]]\nid = 'x'\n")


def _foreign_state(options: Options, folder: Path) -> None:
    write(folder / "state", b"no database, " * 1_000)


def _shared_state(options: Options, folder: Path) -> None:
    write(folder / "state", b"", mode=0o644)


def _no_folder(options: Options, folder: Path) -> None:
    options["state_file"] = str(folder / "none" / "state")


def _address_of_another(options: Options, folder: Path) -> None:
    options |= {"listen": "192.0.2.1:7443", "advertise": "127.0.0.1:7443"}


@pytest.mark.parametrize(
    ("spoil", "check", "says"),
    [
        (_readable, "--ticket-key", "chmod 600"),
        (_no_key, "--blob-key", "64 hex digits"),
        (_foreign_key, "--tls-key", "is not the key of"),
        (_wrong_order, "--tls-certificate", "behind each certificate the one that signed it"),
        (_no_name, "--tls-certificate", "the name that callers use"),
        (_other_name, "--tls-certificate", "noisegate-0.game.example"),
        (_no_authority, "--tls-client-ca", "authority"),
        (_no_policy, "--policy", "tenant"),
        (_foreign_state, "--state-file", "no state file"),
        (_shared_state, "--state-file", "chmod 600"),
        (_no_folder, "--state-file", "make the folder"),
        (_address_of_another, "--listen", "address of this machine"),
    ],
)
def test_what_is_wrong_is_named_by_its_option_with_a_remedy(
    options: Options, tmp_path: Path, spoil: Spoil, check: str, says: str
) -> None:
    """And nothing else is called wrong."""
    spoil(options, tmp_path)
    findings = found(options)
    assert not findings.healthy
    assert {finding.check for finding in mends(findings)} == {check}
    assert all(finding.remedy for finding in mends(findings))
    assert any(says in finding.text + finding.remedy for finding in mends(findings))


def test_a_key_is_as_old_as_the_service_has_known_it(options: Options) -> None:
    """Not as its file, which a kubelet lays out anew at each start; and too old when the alerts say so."""
    alerts = {"--ticket-key": "NoisegateTicketKeyOld", "--blob-key": "NoisegateBlobKeyOld"}
    rules = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    limits = {rule["alert"]: rule["expr"].rpartition(" > ")[2] for group in rules for rule in group["rules"]}
    for option, alert in alerts.items():
        assert prod(map(int, limits[alert].split(" * "))) == OLD[option]
    wall = today(options)
    file = KeyFile("--blob-key", Path(options["blob_key"]), BLOB_KEYS)
    KeyDates(Path(options["state_file"])).since("--blob-key", file.read(), wall - 91 * 86_400, wall)
    notes = {finding.check: finding.remedy for finding in found(options, wall) if finding.state is State.NOTE}
    assert "--ticket-key" not in notes
    assert "put a new key before it" in notes["--blob-key"]
    assert "since 20" in of(found(options, wall), "--blob-key")[0]


@pytest.mark.parametrize(("hours", "says"), [(2, "was valid until"), (-2, "is valid only from")])
def test_certificates_have_their_time(options: Options, hours: int, says: str) -> None:
    """Roots as well."""
    late = mends(found(options, today(options) + hours * 3_600))
    assert {finding.check for finding in late} == {"--tls-certificate", "--tls-client-ca"}
    assert all(says in finding.text for finding in late)


@pytest.mark.parametrize(
    ("state", "status", "error", "expected"),
    [
        (0, 0, 1_000, State.OK),
        (5, 0, 0, State.NOTE),
        (0, 0x40, 0, State.NOTE),
        (0, 0, 31_000_000, State.MEND),
        (-1, 0, 0, State.NOTE),
    ],
)
def test_the_clock_is_judged_by_what_the_kernel_knows(state: int, status: int, error: int, expected: State) -> None:
    """Without synchronisation it may still be right; off by more than a hello may be, it is wrong."""
    findings = Findings()
    judge(findings, state, status, error)
    (finding,) = findings
    assert finding.state is expected


async def test_a_clock_that_was_put_back_is_seen_by_the_state_file(options: Options) -> None:
    """What was suspended in the future tells."""
    wall = today(options)
    vault = SqliteVault(Path(options["state_file"]), ISSUER)
    await vault.keep([replace(kept(1), suspended_wall=wall + 900, expires_wall=wall + 9_000)])
    await vault.close()
    findings = found(options)
    assert [finding.check for finding in mends(findings)] == ["clock"]
    assert "1 suspended sessions" in of(findings, "--state-file")[-1]


def test_what_a_crash_left_is_read_and_left_as_it_is(options: Options, tmp_path: Path) -> None:
    """Its log is not worked off, and nothing stays beside it."""
    folder = tmp_path / "crashed"
    folder.mkdir()
    options["state_file"] = str(folder / "state")
    program = (
        "import asyncio, os, sys; from pathlib import Path\n"
        "from noisegate_server.vault.sqlite import SqliteVault; from tests.unit.vault.test_vault import kept\n"
        "async def main():\n"
        "    await SqliteVault(Path(sys.argv[1]), b'1234').keep([kept(1)])\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program, options["state_file"]], check=True, timeout=60, cwd=ROOT)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["state-wal"]
    assert "1 suspended sessions" in of(found(options), "--state-file")[-1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


async def test_a_state_file_of_another_version_is_to_be_kept_for_it(options: Options) -> None:
    """As after a rollback: what is in it is lost only to who gives another file."""
    path = Path(options["state_file"])
    await SqliteVault(path, ISSUER).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2").fetchall()
    (finding,) = mends(found(options))
    assert "version 2 of the state, where this one has 1" in finding.text
    assert "run that one again" in finding.remedy


def test_a_disk_that_has_no_room_is_noted(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts, but could not put all of its sessions away."""
    usage = shutil.disk_usage(Path(options["state_file"]).parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    findings = found(options)
    assert findings.healthy
    assert "1,000,000 sessions may need" in of(findings, "--state-file")[0]


def test_sessions_that_memory_or_a_stop_is_not_enough_for_are_noted(options: Options) -> None:
    """The service starts, and loses sessions on the day when there are so many."""
    enough = found(options | {"max_sessions": 1_000, "suspend_grace": 0.2})
    assert of(enough, "--suspend-grace") == []
    assert "enough for 1,000 sessions" in of(enough, "--max-sessions")[0]
    notes = {each.check: each for each in found(options | {"max_sessions": 10_000_000}) if each.state is State.NOTE}
    assert "10,000,000 sessions may take 2000 s" in notes["--suspend-grace"].text
    findings = Findings()
    _examine_memory(findings, 200_000, 1_194_000_000)
    (finding,) = findings
    assert finding.state is State.NOTE
    assert "200,000 sessions in use may take 1.2 GB" in finding.text
    assert "lower it" in finding.remedy


def test_what_is_never_suspended_needs_no_time(options: Options) -> None:
    """Without a key for it, or a file."""
    del options["blob_key"]
    assert of(found(options | {"max_sessions": 10_000_000}), "--suspend-grace") == []


def test_a_port_that_something_else_has_is_named(options: Options) -> None:
    """Without client certificates the doctor can ask what it is."""
    del options["tls_client_ca"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        options["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        (finding,) = mends(found(options))
    assert finding.check == "--listen"
    assert "no healthy service" in finding.text


async def test_a_service_that_runs_is_asked_how_it_is(options: Options) -> None:
    """Its ports and its state file are taken, as they should be; on the plain port it can be asked."""
    server = Server(read_config(options | {"health_listen": "127.0.0.1:0"}))
    await server.start()
    assert server.health_bound is not None
    running = options | {"health_listen": str(server.health_bound)}
    findings = await asyncio.to_thread(found, running)
    await server.stop(now=True)
    assert mends(findings) == []
    assert "takes calls" in of(findings, "--health-listen")[0]
    assert "only a caller with a certificate" in of(findings, "--listen")[0]
    assert "in use by a running service" in of(findings, "--state-file")[-1]
    assert {finding.remedy for finding in findings if finding.check == "--listen"} == {""}


def test_a_port_that_only_a_certificate_may_ask_wants_one_for_health(options: Options) -> None:
    """Where there is none yet."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        options["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        remedies = [finding.remedy for finding in found(options) if finding.check == "--listen"]
    assert ["--health-listen" in remedy for remedy in remedies] == [True]
