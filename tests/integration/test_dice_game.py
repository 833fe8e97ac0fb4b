from __future__ import annotations

import ast
import os
import random
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.dice.__main__ import NEXT
from examples.dice.books import Report, check_books
from examples.dice.conversation import Conversation
from examples.dice.game import Bank, Outcome, commitment, judge, throw

ROOT = Path(__file__).parents[2]
DICE = ROOT / "examples" / "dice"
COMMAND = (sys.executable, "-m", "examples.dice", "--fast", "--plain", "--seed", "11")
OURS = frozenset({"noisegate", "noisegate_server", "grpc"})
CRYPTO = frozenset({"cryptography", "noise", "noisegate_server", "nacl", "Crypto"})
PAST_THE_LONGEST_GAME_S = 110


def play(*options: str) -> subprocess.CompletedProcess[str]:
    """A whole game, in processes of its own."""
    return subprocess.run(
        (*COMMAND, *options), cwd=ROOT, capture_output=True, text=True, timeout=PAST_THE_LONGEST_GAME_S, check=False
    )


@pytest.fixture(scope="module")
def game() -> subprocess.CompletedProcess[str]:
    """One game that several tests look at."""
    return play()


# --- the whole game


def test_the_game_ends_well_and_everything_has_happened(game: subprocess.CompletedProcess[str]) -> None:
    """Exit code 0, and the counts of rotations, resumes, moves and refusals that the script promises."""
    assert game.returncode == 0, game.stdout + game.stderr
    line = re.search(r"^counts \| (.*)$", game.stdout, re.MULTILINE)
    assert line is not None
    counts = {name: int(number) for name, number in re.findall(r"([a-z ]+?) (\d+)", line[1])}
    counts = {name.strip(): number for name, number in counts.items()}
    assert counts["rotated"] >= 4
    assert counts["resumed"] >= 2
    assert counts["early data"] >= 1
    assert counts["suspended"] == 1
    assert counts["moved"] >= 2
    assert counts["forged refused"] >= 5
    assert counts["replays refused"] >= 2
    assert counts["sealed"] > 100 < counts["opened"]


def test_every_line_of_the_books_is_right(game: subprocess.CompletedProcess[str]) -> None:
    """All fourteen checks, among them what the processes had imported and that no session is left."""
    marks = re.findall(r"^books \| (\w+) \|", game.stdout, re.MULTILINE)
    assert marks == ["ok"] * 14


@pytest.mark.parametrize(
    "sentence",
    [
        "Ada rekeys both directions of the session.",
        "Cleo rotates inside the session, to epoch 1.",
        "Finn agrees on fresh keys inside the session.",
        "Ben loses the connection, bet on the table.",
        "Ben is back by ticket with the same bankroll.",
        "Cleo is back by ticket with the same bankroll.",
        "Cleo's bet of $20 is in the first packet back.",
        "Eve echoes a sealed number: that is the proof.",
        "The attacker replays 4 packets of Dora's.",
        "The attacker forges a RETRY: choose a classical one.",
        "Dora follows it, and keeps the first attempt too.",
        "noisegate computes the choice itself: hybrid.",
        "noisegate tells: Gwen's session is out of memory.",
        "Gwen's app stops, and has stored no traffic key.",
        "Gwen is back in the same session: a salted epoch.",
        "Eve is to say something every 60 s from now on.",
        "Eve's packets carry a new connection id.",
        "Eve rotates inside the session, to epoch 1.",
        "noisegate tells: Cleo's session has new keys, epoch 1.",
    ],
)
def test_an_event_is_told_in_a_plain_line(game: subprocess.CompletedProcess[str], sentence: str) -> None:
    """Each scripted event is one line of time, player, table server and noisegate."""
    (line,) = [line for line in game.stdout.splitlines() if f"| {sentence} |" in line][:1]
    assert len(line.split(" | ")) == 4


def test_the_same_seed_gives_the_same_bets_and_dice(game: subprocess.CompletedProcess[str]) -> None:
    """What depends on chance is the game's alone: keys and packets differ, throws and bankrolls do not."""
    pattern = re.compile(r"reads \d \+ \d = \d+|leaves with \$\d+")
    first, second = (sorted(pattern.findall(run.stdout)) for run in (game, play()))
    assert first == second
    assert len(first) > 6


def test_wrong_books_fail_the_game() -> None:
    """A dollar that vanishes at the table is found, named, and makes the exit code 1."""
    game = play("--sabotage")
    assert game.returncode == 1
    assert "The books are wrong: all the money is there: $1699" in game.stderr
    assert "by the throws it is" in game.stderr


def test_a_game_that_takes_too_long_is_ended_and_says_who_is_late() -> None:
    """A limit that no game can keep: exit code 1 and the names of those who have not finished."""
    game = play("--limit", "0.01")
    assert game.returncode == 1
    assert re.search(r"not finished after 0.01 s: the table server, .*Finn", game.stderr)


def _descendants(pid: int) -> list[int]:
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [*children, *(below for child in children for below in _descendants(child))]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What this process starts hears Ctrl-C, even where a shell runs it in the background, which takes that away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to see processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_outlives_the_one_that_started_it(number: signal.Signals, code: int) -> None:
    """After Ctrl-C, and even after the parent was killed, all eleven processes are gone."""
    command = [option for option in COMMAND if option != "--fast"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert any("bets $" in line for line in parent.stdout)
        children = _descendants(parent.pid)
        assert len(children) == 11  # the service and its keeper, the table, seven players, the attacker
        handles = [os.pidfd_open(child) for child in children]
        parent.send_signal(number)
        parent.communicate(timeout=30)
        for handle in handles:
            gone = select.poll()
            gone.register(handle, select.POLLIN)
            assert gone.poll(10_000)
            os.close(handle)
    assert parent.returncode == code


# --- who imports what


def _imports(module: str, seen: dict[str, set[str]]) -> dict[str, set[str]]:
    """The packages that each file reachable from a module of the example imports, read without running it."""
    path = DICE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    seen[module] = {name.partition(".")[0] for name in found}
    for name in found:
        inner = name.removeprefix("examples.dice.")
        if inner != name and inner not in seen:
            _imports(inner, seen)
    return seen


@pytest.mark.parametrize(
    ("module", "forbidden", "needed"),
    [
        ("player_process", OURS, {"noise", "cryptography"}),
        ("attacker", OURS | CRYPTO, set()),
        ("table_server", CRYPTO, {"noisegate"}),
    ],
)
def test_a_process_imports_only_what_it_may(module: str, forbidden: frozenset[str], needed: set[str]) -> None:
    """Players nothing of ours, the table no crypto, the attacker neither."""
    imported = set().union(*_imports(module, {}).values())
    assert not imported & forbidden
    assert needed <= imported


def test_the_commands_to_try_next_exist() -> None:
    """Each is a target of the Makefile or a command of the installed program."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert len(NEXT) == 3
    for command, _ in NEXT:
        program, name, *options = command.split()
        if program == "make":
            assert name in targets
            continue
        assert program == ".venv/bin/noisegate"
        shown = subprocess.run(
            (sys.executable, "-m", "noisegate_server", name, "--help"),
            capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert all(option in shown.stdout for option in options if option.startswith("--"))


# --- the rules


@pytest.mark.parametrize(
    ("throws", "outcome"),
    [
        ([7], Outcome.WIN),
        ([11], Outcome.WIN),
        ([2], Outcome.LOSE),
        ([3], Outcome.LOSE),
        ([12], Outcome.LOSE),
        ([4, 11, 2, 4], Outcome.WIN),
        ([10, 12, 3, 7], Outcome.LOSE),
        ([6, 5, 8], None),
    ],
)
def test_the_pass_line(throws: list[int], outcome: Outcome | None) -> None:
    """Come-out and point as in every casino's rules."""
    point, result = 0, None
    for total in throws:
        assert result is None
        point, result = judge(point, total)
    assert result is outcome


def test_every_face_is_about_as_likely() -> None:
    """12,000 throws: each face within five standard deviations of 4,000; each throw the same when asked again."""
    seed = commitment("00")
    faces = [face for number in range(12_000) for face in throw(seed, ["a", "b"], number)]
    for face in range(1, 7):
        assert abs(faces.count(face) - 4_000) < 5 * (24_000 * 1 / 6 * 5 / 6) ** 0.5
    assert throw(seed, ["a", "b"], 5) == throw(seed, ["a", "b"], 5)


def test_money_is_never_made_or_lost() -> None:
    """Bets and payouts move money; a bet that nobody can pay is refused."""
    bank = Bank({"Ada": 100, "Ben": 20})
    total = bank.total
    for outcome in (Outcome.WIN, Outcome.LOSE):
        bank.bet("Ada", 30)
        bank.bet("Ben", 5)
        assert bank.total == total
        bank.settle(outcome)
        assert bank.total == total
    assert bank.bankrolls == {"Ada": 100, "Ben": 20}
    for name, amount in (("Ada", 101), ("Ben", -5)):
        with pytest.raises(ValueError, match="cannot bet"):
            bank.bet(name, amount)


@pytest.mark.parametrize("seed", range(20))
def test_a_conversation_delivers_everything_once_and_in_order(seed: int) -> None:
    """Over a path that loses, doubles and reorders half of what it gets."""
    chance = random.Random(seed)
    ends = Conversation(repeat_s=1), Conversation(repeat_s=1)
    path: list[tuple[int, bytes]] = []
    heard: list[list[int]] = [[], []]
    for now in range(400):
        if now < 60:
            path.extend((at, ends[at].say({"t": now}, now)[1]) for at in (0, 1))
        for at in (0, 1):
            path.extend((at, plaintext) for _, plaintext in ends[at].due(now))
        chance.shuffle(path)
        for at, plaintext in path[: len(path) // 2]:
            for _ in range(chance.choice((0, 1, 2))):
                heard[1 - at] += [message["t"] for message in ends[1 - at].hear(plaintext).messages]
        path = path[len(path) // 2 :]
    assert heard == [list(range(60))] * 2
    assert all(end.settled and end.sent == end.delivered == 60 for end in ends)


# --- the books


def _table(**changes: object) -> Report:
    """One round in which Ada won 10 dollars."""
    played = {"number": 1, "bets": {"Ada": 10}, "throws": [[3, 4]], "outcome": "win"}
    return {
        "start": 1_100, "total": 1_100, "bankrolls": {"Ada": 110}, "rounds": [played], "sent": {"Ada": 5},
        "delivered": {"Ada": 3}, "refused": {"4000": [8, 4]}, "open_sessions": 0, "modules": [],
        "counts": {"rotated": 4, "resumed": 2, "early": 1, "moved": 2, "suspended": 1, "lured": 1, "closed": 1},
        "told": {"established": 3, "ended": 3, "rotated": 2, "suspended": 1, "restored": 1}, **changes,
    }  # fmt: skip


def _player(**changes: object) -> Report:
    return {
        "name": "Ada", "bankroll": 110, "bets": {"1": 10}, "throws": [[1, 3, 4]], "proofs": 1, "sent": 3,
        "delivered": 5, "modules": [], "lured": 1, "suite": 3, "ids": 1, **changes,
    }  # fmt: skip


ATTACKER: Report = {"port": 4000, "forged": 8, "replayed": 4, "lures": 1}


def test_good_books_are_right() -> None:
    """Every check of a good game holds."""
    assert all(check.ok for check in check_books(_table(), [_player()], ATTACKER))


@pytest.mark.parametrize(
    ("table", "player", "attacker", "wrong"),
    [
        ({"total": 1_099}, {}, {}, "all the money is there"),
        ({}, {"bankroll": 120}, {}, "every bankroll is right"),
        ({}, {"bets": {"1": 5}}, {}, "every bankroll is right"),
        ({}, {"throws": [[1, 4, 3]]}, {}, "everybody saw the same dice"),
        ({"delivered": {"Ada": 2}}, {}, {}, "no message of a player was lost or doubled"),
        ({}, {"delivered": 6}, {}, "no message to a player was lost or doubled"),
        ({}, {"proofs": 0}, {}, "the dice were fixed before the bets"),
        ({}, {}, {"forged": 9}, "every forged packet was refused"),
        ({}, {}, {"replayed": 5}, "every replay was refused"),
        (
            {"counts": {"rotated": 3, "resumed": 2, "early": 1, "moved": 2, "suspended": 1, "lured": 1, "closed": 1}},
            {},
            {},
            "keys, sessions and an address changed",
        ),
        ({}, {"suite": 1}, {}, "the forged downgrade led nowhere"),
        ({}, {"lured": 0}, {}, "the forged downgrade led nowhere"),
        (
            {"told": {"established": 3, "ended": 2, "suspended": 1, "restored": 1}},
            {},
            {},
            "noisegate told of every session",
        ),
        (
            {"told": {"established": 3, "ended": 3, "suspended": 1, "restored": 1, "lagged": 1}},
            {},
            {},
            "noisegate told of every session",
        ),
        ({"told": {"established": 3, "ended": 3, "suspended": 1}}, {}, {}, "who went away came back"),
        ({}, {"ids": 0}, {}, "who went away came back"),
        ({"open_sessions": 1}, {}, {}, "every session ended cleanly"),
        ({"modules": ["noise"]}, {}, {}, "nobody held what it must not"),
        ({}, {"modules": ["noisegate"]}, {}, "nobody held what it must not"),
    ],
)
def test_each_check_finds_its_own_fault(
    table: dict[str, object], player: dict[str, object], attacker: dict[str, object], wrong: str
) -> None:
    """One fault in one account makes one line wrong, and no other."""
    checks = check_books(_table(**table), [_player(**player)], {**ATTACKER, **attacker})
    assert [check.name for check in checks if not check.ok] == [wrong]
