"""README.md keeps what it says: its commands and programs run as they stand there, its tables are those of the code."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from noisegate.v1 import session_crypto_service_pb2
from noisegate_server.bench.claims import CLAIMS
from noisegate_server.cli.sources import read_settings
from noisegate_server.config import read_config
from tests.bench.rows import PEER_ROWS
from tests.support.vectors import not_available
from tools.make_speed_table import ROW

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:7443"
READY = re.compile(rb"noisegate listening on (\S+)\n")
PATIENCE = 60.0
PARTS = re.compile(r"^(?P<heading>#+ [^\n]*)$|^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Lines after a prompt."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]


def sections() -> dict[str, list[Block]]:
    """Headings, with what is to be run under each, in order."""
    found: dict[str, list[Block]] = {}
    heading = ""
    for part in PARTS.finditer(README):
        if part["heading"]:
            heading = part["heading"].lstrip("# ")
        elif part["language"] in ("console", "python"):
            found.setdefault(heading, []).append(Block(part["language"], part["body"]))
    return found


@dataclass(slots=True)
class Reader:
    """Somebody who types what the README says, in an empty folder, with the environment's programs on the path."""

    folder: Path
    address: str = ADDRESS
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Any free port in place of the default one, which may be taken here."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        # A terminal of the usual 80 columns has no room for every column of a table.
        return os.environ | {"PATH": path, "NOISEGATE_LISTEN": "127.0.0.1:0", "COLUMNS": "132"}

    def type(self, command: str) -> str:
        """One command; what it prints. A server runs on, the one before is stopped."""
        if command.startswith("noisegate serve"):
            self.stop()
            return self._serve(command)
        text = command.replace(ADDRESS, self.address)
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def program(self, text: str) -> str:
        """A program saved as a file and run; what it prints."""
        (self.folder / "hello.py").write_text(text.replace(ADDRESS, self.address), encoding="utf-8")
        return self.type("python -W error hello.py")

    def stop(self) -> None:
        """Ctrl-C for the server, as the README says."""
        for server in self.servers:
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) == 0

    def _serve(self, command: str) -> str:
        # `exec`, so that the signal reaches the server and not a shell.
        with (self.folder / "serve.log").open("wb") as log:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.servers.append(server)
        assert server.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(server.stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE), f"{command}: no word"
        line = server.stdout.readline()
        ready = READY.fullmatch(line)
        assert ready, f"{command}\n{line!r}\n{(self.folder / 'serve.log').read_text()}"
        self.address = ready[1].decode()
        return line.decode()


@contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader; no server outlives it."""
    reader = Reader(folder)
    try:
        yield reader
        reader.stop()
    finally:
        for server in reader.servers:
            with server:
                server.kill()


@pytest.mark.parametrize("heading", sections())
def test_what_the_readme_tells_to_run_runs(heading: str, tmp_path: Path) -> None:
    """Every console block and every Python program under a heading, in order, in an empty folder."""
    blocks = sections()[heading]
    if any("openssl " in block.text for block in blocks) and shutil.which("openssl") is None:
        not_available("openssl is not installed")
    players: list[str] = []
    with reading(tmp_path) as reader:
        for block in blocks:
            if block.language == "python":
                printed = reader.program(block.text)
                assert "b'roll'" in printed
                assert "b'four and three'" in printed
                assert "same session: True" in printed
                players.append("ann")
                continue
            assert block.commands, f"a console block without a prompt: {block.text}"
            for command in block.commands:
                printed = reader.type(command)
                if command.startswith("noisegate sessions"):
                    assert all(player in printed for player in players), printed


def test_the_readme_has_something_to_run() -> None:
    """The test above is not empty: a service, a program against it, keys, certificates, a caller."""
    blocks = [block for found in sections().values() for block in found]
    commands = [command for block in blocks for command in block.commands]
    assert sum(block.language == "python" for block in blocks) == 1
    for start in ("noisegate demo", "noisegate serve --dev", "noisegate keygen", "openssl req", "noisegate sessions"):
        assert any(command.startswith(start) for command in commands), start
    assert any("--tls-client-ca" in command for command in commands)


def test_the_address_of_the_examples_is_the_default() -> None:
    """A reader gives no --listen."""
    assert read_config({"dev": True}).listen == ADDRESS


def test_the_example_of_a_configuration_is_one(tmp_path: Path) -> None:
    """Whoever copies it has no more to do than to make its files."""
    blocks = re.findall(r"```toml\n(listen .*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    file = tmp_path / "noisegate.toml"
    file.write_text(blocks[0])
    config = read_settings({}, file).config
    assert (str(config.tls_key), config.rotation_soft_age) == ("server.key", 60)


def test_every_target_of_make_exists() -> None:
    """Those in the text, too."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"setup", "run", "test", "bench"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_table_of_rpcs_is_the_contract() -> None:
    """Each method once, in the contract's order, and no other."""
    rows = re.findall(r"^\| `([A-Z]\w+)` \|", README, re.MULTILINE)
    service = session_crypto_service_pb2.DESCRIPTOR.services_by_name["SessionCryptoService"]
    assert rows == [method.name for method in service.methods]


def test_the_figures_are_of_rows_that_the_bench_has() -> None:
    """Each row once, with what it compares in the bench's own words."""
    claims = CLAIMS | {id_: row.claim for id_, row in PEER_ROWS.items()}
    lines = [(found["id"], found["what"], found["reference"]) for found in ROW.finditer(README)]
    assert lines == [(id_, claim.what, claim.reference) for id_, claim in claims.items()]


def test_every_link_leads_to_a_file() -> None:
    """Links inside the repository."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_first_lines_say_what_it_is_and_for_whom() -> None:
    """Before any picture."""
    first = " ".join(README.splitlines()[:7])
    assert all(word in first for word in ("# noisegate", "Session crypto", "multiplayer games", "gRPC", "key"))
