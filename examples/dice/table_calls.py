"""What the table counts, and how it times its calls to noisegate."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from noisegate import Session

T = TypeVar("T")


SHORT: Final = {"WebSocket": "WS"}


def seen(transport: str, way: str, sealed: bytes) -> str:
    """What the table can see of a record, as the screen shows it."""
    name = SHORT.get(transport, transport)
    return f"{name:3} {way:3} {len(sealed):3} B  {sealed[:4].hex()}..{sealed[-2:].hex()}"


COUNTED: Final = (
    "calls", "sealed", "opened", "forged", "replays", "rotated", "resumed", "early", "moved", "suspended", "lured",
    "closed",
)  # fmt: skip


@dataclass(slots=True)
class Counts:
    """Everything that the screen's last line shows, and what the books need besides.

    `early`: resumes that brought early data. `lured`: first packets that chose less than both ends can do, which got a
    RETRY. `refused`: by the sender's port, forged and replayed packets.
    """

    calls: int = 0
    sealed: int = 0
    opened: int = 0
    forged: int = 0
    lured: int = 0
    replays: int = 0
    rotated: int = 0
    resumed: int = 0
    early: int = 0
    moved: int = 0
    suspended: int = 0
    closed: int = 0
    refused: dict[int, list[int]] = field(default_factory=dict)

    async def timed(self, call: Awaitable[T]) -> tuple[T, float]:
        """What a call to noisegate gave, and how many milliseconds it took."""
        start = time.perf_counter()
        self.calls += 1
        answer = await call
        return answer, round((time.perf_counter() - start) * 1000, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A record that went by: what the table could see of it, and what noisegate took for it."""

    wire: str
    rpc: str
    ms: float


class Link(Protocol):
    """One player's session, as the game uses it. There is no key in it."""

    session: Session
    label: str
    """The name under which noisegate keeps the player; a ticket brings it back."""
    resumed: bool
    transport: str

    async def send(self, plaintext: bytes) -> Passed:
        """Has a game message sealed and sends it. WireLostError, NoisegateError."""

    async def rotate(self) -> float:
        """Asks noisegate for fresh keys; milliseconds. DATAGRAM only."""

    async def end(self) -> float:
        """Has the session ended and hangs up; milliseconds."""
