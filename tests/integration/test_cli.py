"""The program `noisegate` as a person runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from noisegate_server.config import Config

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "service"), str(ROOT / "clients" / "python")])}


def noisegate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    command = [sys.executable, "-m", "noisegate_server", *arguments]
    return subprocess.run(
        command, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False, timeout=30
    )


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server and its HOST:PORT."""
    command = [sys.executable, "-m", "noisegate_server", "serve", *arguments]
    with subprocess.Popen(
        command, env=ENVIRONMENT | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"noisegate listening on (127\.0\.0\.1:\d+)\n", line)
            assert match, line
            yield process, match[1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_says_one_line_serves_and_stops_on_a_signal(number: signal.Signals) -> None:
    """Standard output is for programs: one line; what people read is on standard error."""
    with serving("--dev", "--listen", "127.0.0.1:0") as (process, target):
        listed = noisegate("sessions", "--target", target)
        assert (listed.returncode, listed.stderr) == (0, "")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "callers are not authenticated" in err
    assert "--dev" in err
    assert "--ticket-key" in err


def test_a_server_makes_no_core_dump() -> None:
    """It would hold every key."""
    with serving("--dev", "--listen", "127.0.0.1:0") as (process, _):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0\s", limits)


def test_options_come_from_the_environment_too() -> None:
    """As NOISEGATE_ and the option's name."""
    with serving(NOISEGATE_DEV="1", NOISEGATE_LISTEN="127.0.0.1:0"):
        pass
    assert noisegate("serve", "--dev", NOISEGATE_MAX_SESSIONS="0").returncode == 2


def test_the_effective_options_are_shown_and_nothing_is_served(tmp_path: Path) -> None:
    """With the place that each is from; a file may be named by the environment."""
    file = tmp_path / "noisegate.toml"
    file.write_text("dev = true\n[rotation]\nsoft_age = 60\n")
    shown = noisegate("serve", "--print-config", "--grace", "2", NOISEGATE_CONFIG=str(file), NOISEGATE_DRAIN="1")
    assert (shown.returncode, shown.stderr) == (0, "")
    for line in (
        f"rotation_soft_age = 60.0  # {file}: rotation.soft_age",
        "grace = 2.0  # --grace",
        "drain = 1.0  # NOISEGATE_DRAIN",
        'listen = "127.0.0.1:7443"  # default',
    ):
        assert line in shown.stdout.splitlines()


def test_help_names_every_option_its_variable_and_its_default() -> None:
    """Whole, also in a terminal of 80 columns."""
    words = noisegate("serve", "--help", COLUMNS="80").stdout.split()
    for name, field in Config.model_fields.items():
        assert any(word.strip("(;)") == f"NOISEGATE_{name.upper()}" for word in words), name
        assert f"--{name.replace('_', '-')}" in words
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"{field.default:,}".removesuffix(".0") + ";" in words, name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--identity FILE", "--dev")),
        (("--dev", "--listen", "0.0.0.0:0"), ("--dev", "127.0.0.1")),
        (("--dev", "--max-sessions", "0"), ("--max-sessions",)),
        (("--dev", "--no-such-option"), ("--no-such-option",)),
        (("--identity", "/no/such/file", "--listen", "127.0.0.1:0"), ("--identity", "/no/such/file")),
        (("--dev", "--config", "/no/such/file"), ("--config", "/no/such/file")),
    ],
)
def test_a_start_that_cannot_be_meant_exits_with_2_and_the_remedy(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """On standard error, without a traceback."""
    result = noisegate("serve", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert all(word in result.stderr for word in words), result.stderr
    assert "Traceback" not in result.stderr


def test_the_doctor_says_what_to_mend_in_its_exit_code_and_as_json(tmp_path: Path) -> None:
    """Also of options with which the service would not start; with a remedy for each."""
    healthy = noisegate("doctor", "--dev", "--listen", "127.0.0.1:0")
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert "configuration" in healthy.stdout
    (tmp_path / "tickets").write_text("42" * 32)
    (tmp_path / "tickets").chmod(0o644)
    sick = noisegate("doctor", "--dev", "--listen", "127.0.0.1:0", "--ticket-key", str(tmp_path / "tickets"), "--json")
    assert (sick.returncode, sick.stderr) == (1, "")
    (finding,) = [each for each in json.loads(sick.stdout) if each["state"] == "mend"]
    assert (finding["check"], "chmod 600" in finding["remedy"]) == ("--ticket-key", True)
    refused = noisegate("doctor", "--json", NOISEGATE_MAX_SESSIONS="0")
    assert refused.returncode == 1
    assert [each["check"] for each in json.loads(refused.stdout)] == ["NOISEGATE_MAX_SESSIONS"]


def test_keygen_makes_a_key_that_serve_takes(tmp_path: Path) -> None:
    """Private to the file, public to standard output; and never over a file that exists."""
    out = tmp_path / "identity.hex"
    made = noisegate("keygen", "--out", str(out))
    assert made.returncode == 0
    assert re.fullmatch(r"[0-9a-f]{64}\n", made.stdout)
    assert out.stat().st_mode & 0o777 == 0o600
    assert made.stdout.strip() not in out.read_text()
    again = noisegate("keygen", "--out", str(out))
    assert again.returncode == 2
    assert "--out" in again.stderr
    with serving("--identity", str(out), "--listen", "127.0.0.1:0"):
        pass


def test_keygen_makes_a_secret_whose_entries_serve_takes(tmp_path: Path) -> None:
    """Three different keys, each of which is a file's content; the public one stands beside them."""
    made = noisegate("keygen", "--kubernetes", "--name", "game-keys")
    assert (made.returncode, made.stderr) == (0, "")
    secret = yaml.safe_load(made.stdout)
    assert (secret["apiVersion"], secret["kind"], secret["metadata"]["name"]) == ("v1", "Secret", "game-keys")
    entries = secret["stringData"]
    assert sorted(entries) == ["blob.key", "identity.key", "ticket.key"]
    assert len(set(entries.values())) == 3
    options = []
    for entry, key in entries.items():
        (tmp_path / entry).touch(mode=0o600)
        (tmp_path / entry).write_text(key)
        option = {"identity.key": "--identity", "ticket.key": "--ticket-key", "blob.key": "--blob-key"}[entry]
        options += [option, str(tmp_path / entry)]
    report = json.loads(noisegate("doctor", "--json", "--listen", "127.0.0.1:0", *options).stdout)
    (shown,) = [each["finding"] for each in report if each["check"] == "--identity"]
    assert shown.endswith(secret["metadata"]["annotations"]["noisegate/public-key"])
    assert not [each for each in report if each["state"] == "mend"]


def test_a_secret_goes_to_a_file_or_is_refused_by_its_name(tmp_path: Path) -> None:
    """Private keys are not on the terminal then; a name that Kubernetes would not take is none."""
    out = tmp_path / "secret.yaml"
    made = noisegate("keygen", "--kubernetes", "--out", str(out))
    assert re.fullmatch(r"[0-9a-f]{64}\n", made.stdout)
    assert out.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(out.read_text())["metadata"]["name"] == "noisegate-keys"
    for name in ("", "Keys", "no", "-keys", "a: b", "keys."):
        assert noisegate("keygen", "--kubernetes", "--name", name).returncode == (0 if name == "no" else 2), name


def test_sessions_of_a_server_that_is_not_there_is_an_error() -> None:
    """One line and exit code 1."""
    result = noisegate("sessions", "--target", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("noisegate: ")
    assert "Traceback" not in result.stderr


def test_the_version_is_shown() -> None:
    """The one that the distribution has."""
    assert noisegate("--version").stdout == "noisegate 0.1.0\n"


CLIENT_COMMANDS = """
import sys
from contextlib import suppress
from noisegate_server.cli import main
for name in sys.argv[1:]:
    sys.argv = ["noisegate", name, "--help"]
    with suppress(SystemExit):
        main()
print(sorted({"noisegate_server.config", "noisegate_server.engine", "noisegate_server.server"} & sys.modules.keys()))
"""


def test_a_command_loads_what_it_needs_and_not_the_server() -> None:
    """In a pod that is busy each second of CPU is one that calls wait for."""
    commands = ("health", "revoke", "sessions", "keygen", "bench")
    done = subprocess.run(
        [sys.executable, "-c", CLIENT_COMMANDS, *commands],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [f"noisegate {name} [OPTIONS]" in done.stdout for name in commands] == [True] * len(commands)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_that_is_not_there_is_an_error_and_all_are_listed() -> None:
    """In the order of their list."""
    assert "No such command 'nosuch'" in noisegate("nosuch").stderr
    listed = re.findall(r"^  ([a-z]+)  ", noisegate("--help").stdout, re.MULTILINE)
    assert listed == ["demo", "serve", "doctor", "keygen", "sessions", "health", "revoke", "bench"]
