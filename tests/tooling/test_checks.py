"""The repository's own checks accept a good tree and refuse a bad one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools import check_sizes, check_tracked, generate

ROOT = Path(__file__).resolve().parents[2]
RPC_FILE = "service/noisegate_server/rpc/handlers/encrypt.py"


def write(root: Path, name: str, text: str) -> None:
    """Makes a file and its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def function(lines: int, docstring: str = "") -> str:
    """A function of so many lines, with its docstring on top of them."""
    body = ["    x = 0"] * (lines - 1)
    return "\n".join(["def encrypt():", *([docstring] if docstring else []), *body]) + "\n"


def repository(root: Path) -> Path:
    """An empty git repository; git is asked for the file list as in a checkout."""
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


class TestSizes:
    """tools.check_sizes."""

    def test_a_file_of_400_lines_passes_and_one_of_401_is_refused(self, tmp_path: Path) -> None:
        """The limit itself is allowed."""
        write(tmp_path, "tests/unit/test_good.py", "x = 0\n" * 400)
        assert check_sizes.complaints(tmp_path, {}) == []
        write(tmp_path, "tests/unit/test_bad.py", "x = 0\n" * 401)
        assert check_sizes.complaints(tmp_path, {}) == ["tests/unit/test_bad.py: 401 lines, at most 400"]

    def test_the_limit_holds_in_every_language(self, tmp_path: Path) -> None:
        """A long file is no easier to hold in Go."""
        write(tmp_path, "clients/go/client.go", "\n" * 401)
        assert check_sizes.complaints(tmp_path, {}) == ["clients/go/client.go: 401 lines, at most 400"]

    @pytest.mark.parametrize("keyword", ["", "async "])
    def test_an_rpc_function_of_26_lines_is_refused(self, tmp_path: Path, keyword: str) -> None:
        """Plain and async functions of the rpc package alike."""
        write(tmp_path, RPC_FILE, keyword + function(25))
        assert check_sizes.complaints(tmp_path, {}) == []
        write(tmp_path, RPC_FILE, keyword + function(26))
        assert check_sizes.complaints(tmp_path, {}) == [f"{RPC_FILE}::encrypt: 26 lines, at most 25"]

    def test_a_docstring_does_not_count_and_other_layers_may_have_longer_functions(self, tmp_path: Path) -> None:
        """Documentation is never a reason to be refused."""
        write(tmp_path, RPC_FILE, function(25, '    """One.\n\n    Two.\n    """'))
        write(tmp_path, "service/noisegate_server/engine/records.py", function(60))
        assert check_sizes.complaints(tmp_path, {}) == []

    def test_generated_files_may_be_long(self, tmp_path: Path) -> None:
        """Nobody reads what protoc wrote."""
        write(tmp_path, "clients/python/noisegate/v1/session_pb2.py", "x = 0\n" * 401)
        write(tmp_path, "clients/go/noisegate/v1/session.pb.go", "\n" * 401)
        assert check_sizes.complaints(tmp_path, {}) == []

    def test_an_exception_is_honoured_while_needed_and_refused_when_stale(self, tmp_path: Path) -> None:
        """The table of exceptions cannot outgrow the code."""
        exceptions = {f"{RPC_FILE}::encrypt": "a reason"}
        write(tmp_path, RPC_FILE, function(26))
        assert check_sizes.complaints(tmp_path, exceptions) == []
        write(tmp_path, RPC_FILE, function(25))
        assert check_sizes.complaints(tmp_path, exceptions) == [f"{RPC_FILE}::encrypt: an exception that nothing needs"]

    def test_the_exit_code_says_whether_anything_was_refused(self, tmp_path: Path) -> None:
        """`make check` sees the exit code only."""
        assert check_sizes.main([str(tmp_path)]) == 0
        write(tmp_path, RPC_FILE, function(26))
        assert check_sizes.main([str(tmp_path)]) == 1


class TestTracked:
    """tools.check_tracked."""

    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("https://" + "pypi" + ".org" + "/simple", "a registry's host name"),
            (
                'source = "registry+https://github.com/rust-lang/' + "crates" + ".io" + '"',
                "a registry's host name",
            ),
            ("--index" + "-url https://mirror.example", "a registry setting"),
            ('"resolved":' + ' "https://mirror.example/buf.tgz"', "a registry setting"),
            ("cd " + "/ho" + "me/someone/noisegate", "a path of one machine"),
            ("cd " + "/Us" + "ers/someone", "a path of one machine"),
        ],
    )
    def test_a_line_that_ties_the_tree_to_a_place_is_refused(self, tmp_path: Path, line: str, what: str) -> None:
        """Hosts, settings and paths, each with its line number."""
        write(repository(tmp_path), "docs/page.md", f"fine\n{line}\n")
        assert check_tracked.complaints(tmp_path, check_tracked.tracked(tmp_path)) == [f"docs/page.md:2: {what}"]

    @pytest.mark.parametrize("name", ["uv.lock", "clients/rust/Cargo.lock", "pylock.toml"])
    def test_a_lock_file_that_records_addresses_is_refused(self, tmp_path: Path, name: str) -> None:
        """Whatever is in it, wherever it lies."""
        write(repository(tmp_path), name, "version = 1\n")
        assert check_tracked.main([str(tmp_path)]) == 1

    def test_an_ordinary_tree_passes(self, tmp_path: Path) -> None:
        """Relative paths, system paths, project links, binary files and ignored files are no reason to refuse."""
        root = repository(tmp_path)
        write(root, "README.md", "see docs/work/home.md, /etc/noisegate/config.toml, https://noiseprotocol.org\n")
        write(root, ".gitignore", "uv.lock\n")
        write(root, "uv.lock", "ignored\n")
        (root / "picture.bin").write_bytes(b"\xff\xfe\x00")
        assert check_tracked.main([str(root)]) == 0


class TestGenerated:
    """tools.generate."""

    def test_missing_left_over_and_changed_files_are_named(self) -> None:
        """Each of the three ways in which committed stubs go stale."""
        fresh = {"same.py": b"1", "changed.py": b"1", "missing.py": b"1"}
        committed = {"same.py": b"1", "changed.py": b"2", "left_over.py": b"1"}
        assert generate.differences(fresh, committed) == ["changed.py", "left_over.py", "missing.py"]


class TestChart:
    """`make check-chart`."""

    @pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 2)])
    def test_a_lint_that_cannot_run_is_said_and_refused_where_nothing_may_be_skipped(
        self, required: str, code: int
    ) -> None:
        """Silence would look like a chart that is in order."""
        done = subprocess.run(
            ["make", "--silent", "check-chart", "HELM=/nonexistent"],
            cwd=ROOT,
            env=os.environ | {"NOISEGATE_REQUIRE_ALL": required},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code
        assert "the chart is not linted" in done.stdout
