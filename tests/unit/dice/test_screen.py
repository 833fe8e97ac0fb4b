from __future__ import annotations

import io

import pytest
from rich.console import Console

from examples.dice.screen import LEAST_SIZE, Screen
from examples.dice.script import GUESTS


def drawn(width: int, height: int) -> list[str]:
    """The screen in the middle of a game, as lines."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    screen = Screen(console, 6)
    where = {"Ben": "away", "Eve": "cellular", "Gwen": "background"}
    seats = [
        {"name": guest.name, "bankroll": 100, "bet": 25, "here": True, "where": where.get(guest.name, "")}
        for guest in GUESTS
    ]
    counts = {"sealed": 1_000, "opened": 500, "forged": 24, "replays": 12, "rotated": 5, "resumed": 2, "calls": 1_500}
    state = {"round": 3, "throw": 12, "dice": [3, 4], "point": 6, "shooter": "Gwen", "outcome": "lose"}
    screen.event("table", {"kind": "state", "seats": seats, "counts": counts, **state})
    for _ in range(40):
        note = {"kind": "note", "text": "Eve echoes a sealed number: that is the proof.", "style": "move"}
        screen.event("table", {**note, "wire": "UDP in  126 B  0a91652a..c5a4", "rpc": "Decrypt", "ms": 12.5})
    screen.event("table", {"kind": "told", "text": "Eve's session has new keys, epoch 1"})
    with console.capture() as capture:
        console.print(screen._draw(), height=height)
    return capture.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [LEAST_SIZE, (90, 28), (120, 40), (89, 50), (200, 24)])
def test_the_screen_fits_its_terminal(width: int, height: int) -> None:
    """Every seat, the dice, the newest events and the counts, at the smallest size and at larger ones."""
    lines = drawn(width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    where = ("TCP, away", "UDP, background", "UDP, spied on")
    for needle in (*(guest.name for guest in GUESTS), *where, "$100", "the pass line loses", "WatchSessions: Eve's"):
        assert needle in text
    events = [line for line in lines if "Eve echoes a sealed number: that is the proof." in line]
    assert len(events) >= 8
    assert "Decrypt" in events[-1]
    assert ("12.5 ms  Decrypt" in events[-1]) == (width >= 115 and height >= 28)
    assert "rotated 5" in text
    assert text.rstrip("─╰╯│ \n").endswith("0 s")
    assert "\u2026" not in text
