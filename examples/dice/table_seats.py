"""One player's place at the table, and what happens to it while the player is somewhere else."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.dice.child import emit, row
from examples.dice.conversation import Conversation
from examples.dice.script import Act
from examples.dice.table_calls import Counts, Link
from examples.dice.table_datagrams import DatagramLink
from noisegate import Network

NETWORKS = {Act.CELLULAR: Network.CELLULAR, Act.WIFI: Network.WIFI}


@dataclass(slots=True, kw_only=True)
class Challenge:
    """A number that only the player at `address` can read. `asked`: monotonic seconds; 0 for not yet."""

    token: str
    address: tuple[str, int]
    asked: float = 0.0


@dataclass(slots=True, kw_only=True)
class Seat:
    """One player's place; it outlives sessions. `moving`: the network that the player has gone to, until it is told."""

    name: str
    talk: Conversation
    link: Link | None = None
    label: str = ""
    luck: str = ""
    thrown: bool = False
    bye: bool = False
    left: bool = False
    asleep: bool = False
    network: str = ""
    moving: Act | None = None
    acts: set[Act] = field(default_factory=set)
    untold: set[int] = field(default_factory=set)
    challenge: Challenge | None = None

    @property
    def where(self) -> str:
        """What the screen says of its player's connection; empty for nothing in particular."""
        return "away" if self.link is None else "background" if self.asleep else self.network

    @property
    def reachable(self) -> bool:
        """Whether the table may say something to its player now."""
        return self.link is not None and self.challenge is None and not self.asleep


async def suspend(seat: Seat, counts: Counts) -> None:
    """The player's app goes to the background: its session leaves noisegate's memory."""
    if not isinstance(seat.link, DatagramLink):
        return
    seat.asleep = True
    ms = await seat.link.suspend()
    counts.suspended += 1
    row((seat.name, "suspend", 1), wire="no packet until it is back", rpc="SuspendSession", ms=ms, style="drop")


async def wake(seat: Seat) -> None:
    """A packet of a salted epoch has come: the player is back, and so is its session."""
    if not isinstance(seat.link, DatagramLink) or not seat.asleep:
        return
    ms = await seat.link.restore()
    seat.asleep = False
    seat.acts.add(Act.BACKGROUND)
    row((seat.name, "restore", 1), wire="UDP in and out: SALTED", rpc="RestoreSession", ms=ms, style="resume")
    seat.talk.hurry()


async def tell_network(seat: Seat) -> None:
    """The player's new address is proven: noisegate is told on which network it is."""
    act, seat.moving = seat.moving, None
    if act is None or not isinstance(seat.link, DatagramLink):
        return
    network = NETWORKS[act]
    change, ms = await seat.link.change_network(network)
    seat.network, rpc = network.name.lower(), f"ChangeNetwork {network.name}"
    if network is Network.WIFI:  # done when the new keys are confirmed
        wire = f"UDP out new id {change.connection_id.hex()}"
        row((seat.name, "id", 1), wire=wire, rpc=rpc, ms=ms, style="move")
        return
    seat.acts.add(act)
    text = f"{seat.name} is to say something every {change.keep_alive:.0f} s from now on."
    emit("note", style="move", text=text, wire="no padding any more", rpc=rpc, ms=ms)
