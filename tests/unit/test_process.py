"""What the process asks of the system for itself, in a process of its own each time."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noisegate_server.config import ConfigError, read_config

ROOT = Path(__file__).resolve().parents[2]
_PR_GET_DUMPABLE = 3


def said(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_memory_is_hidden_as_the_kernel_says() -> None:
    """prctl(PR_GET_DUMPABLE) is 1 before and 0 after."""
    asked = f"ctypes.CDLL(None).prctl({_PR_GET_DUMPABLE}, 0, 0, 0, 0)"
    program = f"import ctypes; from noisegate_server import process; print({asked}, process.hide_memory(), {asked})"
    assert said(program) == "1 True 0"


def test_core_files_have_no_size_left() -> None:
    """Soft and hard: nothing in the process can raise it again, short of root."""
    program = "import resource; from noisegate_server import process; process.forbid_core_files();"
    assert said(f"{program} print(resource.getrlimit(resource.RLIMIT_CORE))") == "(0, 0)"


def test_a_process_that_hides_its_memory_leaves_no_core(tmp_path: Path) -> None:
    """However the limit stands: killed by a signal that dumps, its status says that nothing was dumped."""
    program = "import os; from noisegate_server import process; process.hide_memory(); os.abort()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "service")},
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_the_log_level_is_one_of_four(level: str) -> None:
    """And no other."""
    assert read_config({"dev": True, "log_level": level}).log_level == level
    with pytest.raises(ConfigError, match="--log-level"):
        read_config({"dev": True, "log_level": level.lower()})


def test_the_collector_looks_no_more_at_what_has_outlived_it() -> None:
    """Of 50,000 objects that stay, some hundred are left for it to walk; a cycle that dies young is still freed."""
    program = """
import gc, weakref
from noisegate_server import process

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

process.collect_what_is_new()
kept = [[] for _ in range(50_000)]
dead = cycle()
more = [[] for _ in range(10_000)]
print(len(gc.get_objects()) < 10_000, len(kept), dead())
"""
    assert said(program) == "True 50000 None"
