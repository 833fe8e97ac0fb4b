"""Who plays, how each one connects, and what happens to whom in which round."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

GROUP: Final = "dice-1"
PROLOGUE: Final = b"dice table 1"
"""Bound into every handshake: a player of another table's game cannot be talked into this one."""
MAX_EARLY_BYTES: Final = 512
"""What a player may say in the first packet of a resume."""
LEAST_ROUNDS: Final = 5
"""So many are needed for everything below to happen."""


class Act(StrEnum):
    """What happens to a player's session in the middle of the game."""

    REKEY = "rekey"
    """NOISE: both directions move to the next key, one way and at once."""
    RENEGOTIATE = "renegotiate"
    """NOISE: a new key agreement inside the session."""
    ROTATE = "rotate"
    """DATAGRAM: the table asks noisegate for a new key agreement; the rest happens by itself."""
    DROP = "drop"
    """The player bets, loses its connection and its session, and comes back with its ticket."""
    VANISH = "vanish"
    """As DROP, but the player bets while it is away: the bet comes as early data, in the resume's first packet."""
    MOVE = "move"
    """The player's address changes; what the next two begin with."""
    CELLULAR = "cellular"
    """The player goes from Wi-Fi to the cellular network."""
    WIFI = "wifi"
    """The player is on Wi-Fi again: a new connection id, so that nobody can follow it, and new keys."""
    BACKGROUND = "background"
    """The player's app stores what it needs and stops."""
    FOREGROUND = "foreground"
    """It goes on with the same session; follows the last one by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One player: TCP and WebSocket carry NOISE mode, UDP carries DATAGRAM mode."""

    name: str
    transport: str
    pattern: str
    suites: tuple[int, ...] = (1,)
    """What it offers, best first; 3 is the hybrid."""
    through_attacker: bool = False
    acts: dict[int, Act] = field(default_factory=dict)

    @property
    def suite(self) -> int:
        """What it would run."""
        return self.suites[0]


GUESTS: Final = (
    Guest(name="Ada", transport="TCP", pattern="XX", acts={2: Act.REKEY}),
    Guest(name="Ben", transport="TCP", pattern="IK", acts={3: Act.DROP}),
    Guest(name="Cleo", transport="UDP", pattern="XX", acts={2: Act.ROTATE, 4: Act.VANISH}),
    Guest(name="Dora", transport="UDP", pattern="IK", suites=(3, 1), through_attacker=True),
    Guest(name="Eve", transport="UDP", pattern="NK", acts={3: Act.CELLULAR, 5: Act.WIFI}),
    Guest(name="Finn", transport="WebSocket", pattern="IK", suites=(2,), acts={5: Act.RENEGOTIATE}),
    Guest(name="Gwen", transport="UDP", pattern="XX", suites=(3,), acts={4: Act.BACKGROUND}),
)
BY_NAME: Final = {guest.name: guest for guest in GUESTS}
PATTERNS: Final = {"XX": 1, "IK": 2, "NK": 3}
"""The numbers of the contract."""
CIPHERS: Final = {1: "ChaChaPoly", 2: "AESGCM"}
HYBRID: Final = 3
