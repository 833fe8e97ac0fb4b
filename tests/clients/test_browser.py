"""The dice table for a browser: played in Chromium, and served by the command that a person gives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Final

import pytest

from tests.support.go_program import NotAvailable
from tests.support.node_program import BROWSER, NOISEGATE_COMMAND, build_browser, run_tests
from tests.support.server import ROOT, STOP_SECONDS
from tests.support.vectors import not_available

FREE_OF_CRYPTO: Final = {"@noisegate/client", "@noisegate/client/testing", "ws"} | {
    f"node:{name}" for name in ("events", "fs/promises", "http", "module", "net", "path", "url")
}
SECONDS: Final = 10.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def node() -> str:
    """The node command, with the example compiled."""
    try:
        return build_browser()
    except NotAvailable as reason:
        not_available(str(reason))


@pytest.fixture
def served(node: str) -> Iterator[str]:
    """HOST:PORT that `make browser` says."""
    with subprocess.Popen(
        ["make", "browser"],
        cwd=ROOT,
        env=os.environ | {"PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"http://(127\.0\.0\.1:\d+)", line) for line in process.stdout)))
            yield found[1]
        finally:
            # As Ctrl-C does: to make, the lobby and noisegate.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(SECONDS)


def fetch(address: str, path: str) -> tuple[int, bytes, str]:
    """(status, body, content security policy) of a path, which is asked for as it stands."""
    with closing(HTTPConnection(address, timeout=SECONDS)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Security-Policy"]


def test_a_player_in_chromium_sees_handshakes_dice_rotations_and_refused_attacks(node: str) -> None:
    """Twice in one browser, with what is on the screen compared with what travelled."""
    made = subprocess.run(["tools/setup.sh", "chromium"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shutil.which("chromium") is None:
        not_available((made.stdout + made.stderr).strip() or "Chromium is not installed")
    run_tests(node, BROWSER / "dist" / "test")


def test_make_browser_serves_the_page_and_what_it_loads(served: str) -> None:
    """Everything that the page names is there; nothing beside it is, and no other origin may give it scripts."""
    status, page, policy = fetch(served, "/")
    assert status == 200
    assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.decode())
    assert len(named) >= 6
    for path in (*named, "/noise-c/noise-c.wasm"):
        status, body, _ = fetch(served, path)
        assert (path, status, bool(body)) == (path, 200, True)
    for path in ("/package.json", "/../package.json", "/page/../lobby/lobby.js"):
        assert fetch(served, path)[:2] == (404, b"")


def test_a_port_that_is_taken_is_said_and_no_service_stays_behind(node: str) -> None:
    """Exit code 1; the service that was started for it has ended, or its output would stay open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = subprocess.run(
            [node, str(BROWSER / "dist" / "src" / "lobby" / "main.js")],
            env=os.environ | {"PORT": str(taken.getsockname()[1]), "NOISEGATE_COMMAND": NOISEGATE_COMMAND},
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "EADDRINUSE" in ran.stderr


def test_the_lobby_imports_no_cryptography() -> None:
    """Its imports are these and its own files; what it hashes are its dice, by Web Crypto (rules.ts)."""
    sources = list((BROWSER / "src" / "lobby").glob("*.ts"))
    assert sources
    named = {name for path in sources for name in re.findall(r'from "([^"]+)"', path.read_text(encoding="utf-8"))}
    assert {name for name in named if not name.startswith(".")} <= FREE_OF_CRYPTO
