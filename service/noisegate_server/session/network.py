"""The networks that players are on, and what each means for a session. Never its suite."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

__all__ = ["KEEP_ALIVES", "PROFILES", "Network", "Profile"]


class Network(IntEnum):
    """Numbers are the contract's."""

    WIFI = 1
    CELLULAR = 2
    NONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a network asks for."""

    keep_alive: float
    """Seconds after which a player that has nothing to say sends a keep-alive."""
    patience: float
    """How many times the service's idle timeout a session may be silent, unless its caller set an own one."""
    pads: bool
    """Whether we pad what we seal, where the session agreed on padding."""


PROFILES: Final[dict[Network, Profile]] = {
    # Cheap and mostly on; home routers forget a UDP port after 30 s.
    Network.WIFI: Profile(keep_alive=20.0, patience=1.0, pads=True),
    # Each packet wakes the radio for seconds, and the device sleeps half of the time.
    Network.CELLULAR: Profile(keep_alive=60.0, patience=3.0, pads=False),
}
"""NONE has no profile: whoever is on no network is suspended."""

KEEP_ALIVES: Final = 3
"""Keep-alives in an idle timeout at least, so that a lost one ends no session."""
